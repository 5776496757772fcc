"""Writes the documentation page of every hazard: ``python -m "
"django_safemigrations.hazards.pages DIR``."""

from __future__ import annotations

import sys
from pathlib import Path

from django_safemigrations.hazards.catalogue import CATALOGUE
from django_safemigrations.hazards.examples import (
    BASE,
    before_source,
    migration_source,
    rules_source,
)
from django_safemigrations.hazards.hazard import Example, Hazard

GENERATED = (
    "<!-- Generated from django_safemigrations/hazards by "
    "`python -m django_safemigrations.hazards.pages docs/reference/hazards`. -->\n"
)

GROUPS = {
    "1": "Indexes",
    "2": "NOT NULL",
    "3": "Renames",
    "4": "History, deploys and data",
    "5": "Fields, constraints and models",
    "6": "Raw SQL",
    "7": "Data migrations in Python",
    "9": "Migration files and suppressions",
}


def pages() -> dict[str, str]:
    """Return the text of every page by file name."""
    return {
        "index.md": index_page(),
        **{f"{code}.md": hazard_page(hazard) for code, hazard in CATALOGUE.items()},
    }


def hazard_page(hazard: Hazard) -> str:
    """Return one hazard's page in Markdown."""
    growth = f"* **Grows with the table**: {hazard.growth}\n" if hazard.growth else ""
    return (
        f"{GENERATED}\n"
        f"# {hazard.code} {hazard.name}\n\n"
        f"{hazard.title}.\n\n"
        f"* **Severity**: {hazard.severity}\n"
        f"* **Lock**: {hazard.lock}\n"
        f"* **Who waits**: {hazard.who_waits}\n"
        f"{growth}\n"
        f"## Why\n\n{hazard.why}\n\n"
        f"## What to write instead\n\n{hazard.way_out}\n\n"
        f"## Example\n\n"
        f"{_reported(hazard)}\n\n{_code(hazard.bad)}\n\n"
        f"`lintmigrations` finds nothing in:\n\n{_code(hazard.good)}\n\n"
        "The tables are those of [the examples' shop](index.md#the-examples-shop).\n"
    )


def index_page() -> str:
    """Return the overview of all hazards."""
    parts = [
        f"{GENERATED}\n# Hazards\n",
        (
            "What `lintmigrations` finds, and what the plans of `safemigrate` carry. An "
            "*error* makes "
            "requests fail or wait when the migration runs under traffic; a *warning* wants "
            "a look. "
            "One operation gives one finding for each separate harm: null → NOT NULL is DSM201, or "
            "DSM203 when Django also writes a default to all rows, and not both; a removal "
            "that looks "
            "like a rename is DSM305 and not DSM503 too.\n"
        ),
    ]
    for digit, title in GROUPS.items():
        rows = [
            f"| [{code}]({code}.md) | {hazard.name} | {hazard.severity} | {hazard.title} |"
            for code, hazard in CATALOGUE.items()
            if code[3] == digit
        ]
        parts.append(
            f"## {title}\n\n| Code | Name | Severity | What goes wrong |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n"
        )
    parts.append(f"## The examples' shop\n\n```python\n{BASE.rstrip()}\n```\n")
    return "\n".join(parts)


def write(directory: Path) -> list[Path]:
    """Write all pages into a directory, remove pages of codes that are gone, return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for old in directory.glob("DSM*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in wanted]


def _reported(hazard: Hazard) -> str:
    codes = " and ".join(f"`{code}`" for code in (hazard.code, *hazard.bad.also))
    return f"`lintmigrations` reports {codes} for:"


def _code(example: Example) -> str:
    text = f"```python\n{rules_source(example).rstrip()}\n```\n\n" if example.rules else ""
    if (before := before_source(example)) is not None:
        text += f"```python\n{before.rstrip()}\n```\n\nand then:\n\n"
    for name, other in example.others:
        text += f"```python\n# {name}\n{other.rstrip()}\n```\n\nand then:\n\n"
    return f"{text}```python\n{migration_source(example).rstrip()}\n```"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m django_safemigrations.hazards.pages DIRECTORY")
    write(Path(sys.argv[1]))
