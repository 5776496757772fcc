"""The support matrix is what the hook makes of the tests' cases, and has no empty cell."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest
from pytest_django import DjangoDbBlocker

from tests.invariants.shape_cases import REPRESENTATIVES, SINCE
from tests.kit.matrix import BEGIN, END, PAGE, case_app, page, rows, title
from tests.kit.shapes import Shape

NEWEST = (6, 1)
"""Only there all cases exist."""


@pytest.fixture(autouse=True)
def database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let django.contrib.postgres look for its types, which it does if a connection is open."""
    with django_db_blocker.unblock():
        yield


def committed() -> list[list[str]]:
    """Return the cells of the committed table, row by row."""
    generated = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in generated.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_column_of_ordinary_tables_is_what_makemigrations_writes() -> None:
    known = {row[0]: row[1] for row in committed()}
    with case_app():
        made = {title(change): cells[0] for change, cells, _ in rows(Shape.ORDINARY)}
    assert {name: known.get(name) for name in made} == made, "run `python -m tests.kit.matrix`"


@pytest.mark.exhaustive
def test_the_page_is_what_python_m_tests_kit_matrix_writes() -> None:
    with case_app():
        wanted = page()
    if django.VERSION[:2] >= NEWEST:
        assert wanted == PAGE.read_text(), "run `python -m tests.kit.matrix`"
        return
    # An older Django lacks some changes; what it has is the same.
    known = {_bare(line) for line in PAGE.read_text().splitlines()}
    lines = [line for line in wanted.splitlines() if line.startswith("| ")]
    assert [line for line in lines if _bare(line) not in known] == []


def test_no_cell_is_empty_and_no_row_is_missing() -> None:
    table = committed()
    assert len(table) > 10
    for row in table:
        assert len(row) == len(Shape) + 1, row
        assert all(row), row
    names = {row[0] for row in table}
    assert {title(change) for change in REPRESENTATIVES} <= names


def test_a_change_is_missing_only_from_the_djangos_that_lack_it() -> None:
    if django.VERSION[:2] >= NEWEST:
        assert set(SINCE) <= set(REPRESENTATIVES)


def _bare(line: str) -> str:
    """Leave the numbers of notes out: they count the rows before."""
    parts = line.split("<sup>")
    return parts[0] + "".join(part.partition("</sup>")[2] for part in parts[1:])
