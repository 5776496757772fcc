"""What the linter says of thousands of operations is what PostgreSQL did when they were run.

The labels were written by `tests.lint.truth`, which knows nothing of the linter: see
docs/explanation/lint-accuracy.md. Figures are printed with `pytest -s`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lint.truth.cases import PROJECTS, SYSTEMATIC, Case, read_cases
from tests.lint.truth.label import prepared_database
from tests.lint.truth.labels import TRACED, UNEXPLAINED, labels
from tests.lint.truth.scoring import Scores, compare, described
from tests.lint.truth.tracer import trace

LEAST = 0.98
"""Of precision and of recall, on each hazard."""

EVERY = {PROJECTS: 120, SYSTEMATIC: 60}
"""How many cases a quick run passes over for each that it traces anew."""

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "lint-accuracy.md"


@pytest.fixture(scope="module")
def projects() -> Scores:
    return compare(read_cases(PROJECTS))


@pytest.fixture(scope="module")
def systematic() -> Scores:
    return compare(read_cases(SYSTEMATIC))


def too_low(scores: Scores) -> list[str]:
    """Return the hazards that are missed or cried too often."""
    return [
        f"{code}: precision {score.precision:.3f}, recall {score.recall:.3f}"
        for code, score in [*sorted(scores.by_code.items()), ("any", scores.unsafe)]
        if score.precision < LEAST or score.recall < LEAST
    ]


def test_each_hazard_is_found_in_operations_of_real_projects(projects: Scores) -> None:
    sys.stdout.write(f"\n{projects.operations} operations of projects\n{projects.table()}\n")
    assert projects.operations >= 2_000
    assert too_low(projects) == [], described(projects.disagreements)


def test_each_hazard_is_found_in_the_table_of_changes(systematic: Scores) -> None:
    sys.stdout.write(f"\n{systematic.operations} operations of the table\n{systematic.table()}\n")
    assert too_low(systematic) == [], described(systematic.disagreements)


def test_the_sets_hold_every_hazard_that_a_trace_can_show(
    projects: Scores, systematic: Scores
) -> None:
    there = {
        code
        for scores in (projects, systematic)
        for code, score in scores.by_code.items()
        if score.cases
    }
    assert set(TRACED) - there == {"DSM538"}, "Django can't render what DSM538 leaves behind"


def test_of_a_hundred_harmless_operations_less_than_one_is_reported(projects: Scores) -> None:
    sys.stdout.write(f"\n{projects.alarms_per_100_safe:.2f} false alarms in 100 harmless ones\n")
    assert projects.alarms_per_100_safe < 1


def test_what_breaks_old_code_has_a_hazard_of_its_own() -> None:
    unexplained = [
        f"{case.source}: {operation}"
        for path in (PROJECTS, SYSTEMATIC)
        for case in read_cases(path)
        for operation, codes in zip(case.operations, case.labels, strict=True)
        if UNEXPLAINED in codes
    ]
    assert unexplained == []


def test_the_page_shows_the_figures(projects: Scores, systematic: Scores) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for scores in (projects, systematic):
        assert scores.table() in page


@pytest.fixture(scope="module")
def database(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock(), prepared_database():  # type: ignore[attr-defined]
        yield


def sample(path: Path) -> list[Case]:
    return list(read_cases(path))[:: EVERY[path]]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "case",
    [*sample(PROJECTS), *sample(SYSTEMATIC)],
    ids=lambda case: case.source,
)
def test_a_case_does_what_its_labels_say(case: Case) -> None:
    assert [sorted(codes) for codes in labels(case, trace(case))] == list(map(list, case.labels))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_every_case_does_what_its_labels_say(path: Path) -> None:
    different = [
        f"{case.source}: {case.labels} were {traced}"
        for case in read_cases(path)
        if list(map(list, case.labels))
        != (traced := [sorted(codes) for codes in labels(case, trace(case))])
    ]
    assert different == []
