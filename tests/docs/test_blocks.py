"""Every page: its Python compiles, its migrations and operations can be made, its links lead somewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from django_safemigrations import operations
from django_safemigrations.phases import migration_phase
from tests.docs.markdown import DOCS, Block, anchors, blocks, links, pages

ALL = [block for page in pages() for block in blocks(page) if block.language == "python"]
# The hazards' pages show what is wrong: of DSM904, a file that can't be read.
WRONG = [block for block in ALL if block.lead.startswith("`lintmigrations` reports")]
PYTHON = [block for block in ALL if not (block in WRONG and block.path.stem == "DSM904")]
MIGRATIONS = [block for block in PYTHON if "class Migration(" in block.text and block not in WRONG]
OPERATIONS = [block for block in PYTHON if "operations" in block.attributes]

# What a file that makemigrations wrote has imported, for fragments of one.
NAMES: dict[str, Any] = {
    "migrations": migrations,
    "models": models,
    **{name: getattr(operations, name) for name in operations.__all__},
}


def place(value: Block | Path) -> str:
    return value.place if isinstance(value, Block) else str(value.relative_to(DOCS))


@pytest.mark.parametrize("block", PYTHON, ids=place)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize("block", MIGRATIONS, ids=place)
def test_a_migration_can_be_imported(block: Block) -> None:
    names = {**NAMES, "__name__": "documented"}
    exec(compile(block.text, block.place, "exec"), names)
    assert isinstance(names["Migration"]("0002_documented", "store"), migrations.Migration)


@pytest.mark.parametrize("block", OPERATIONS, ids=place)
def test_operations_can_be_made_and_are_of_one_phase(block: Block) -> None:
    names = dict(NAMES)
    exec(compile(block.text, block.place, "exec"), names)
    made = names["operations"]
    assert made
    assert all(isinstance(operation, Operation) for operation in made)
    migration = type("Migration", (migrations.Migration,), {"operations": made})
    assert migration_phase(migration("0002_documented", "store"))


@pytest.mark.parametrize("page", pages(), ids=place)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), f"{place(page)} links to {link}"
        assert not anchor or anchor in anchors(path), f"{place(page)} links to {link}"


@pytest.mark.parametrize("page", pages(), ids=place)
def test_every_page_is_reached_from_the_index(page: Path) -> None:
    reached = {DOCS / "index.md"}
    queue = [*reached]
    while queue:
        current = queue.pop()
        for link in links(current):
            path = (current.parent / link.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.is_file() and path not in reached:
                reached.add(path)
                queue.append(path)
    assert page in reached
