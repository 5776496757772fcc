"""Writes the support matrix from what the hook makes of the tests' cases: `python -m tests.kit.matrix`.

No database is asked: a cell says what makemigrations writes for the case that stands for a
change on a kind of table, what the linter says of that, and which refusals the tests expect.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.conf import settings

if TYPE_CHECKING:
    from tests.kit.case import Case
    from tests.kit.shapes import Shape

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"
BEGIN = "<!-- The tables from here on are written by `python -m tests.kit.matrix`. -->"
END = "<!-- The tables end here. -->"


@dataclass
class Notes:
    """What cells refer to by number, below the table."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """Return the mark of a note; notes of one text share it."""
        if text not in self.texts:
            self.texts.append(text)
        return f"<sup>{self.texts.index(text) + 1}</sup>"

    def lines(self) -> list[str]:
        """Return the notes as a list."""
        return [
            f"{number}. {text[:1].upper()}{text[1:]}." for number, text in enumerate(self.texts, 1)
        ]


def link(code: str) -> str:
    """Return a hazard's code as a link to its page."""
    return f"[{code}](hazards/{code}.md)"


def cell(case: Case) -> str:
    """Return what makemigrations writes for a case, in the words of the matrix."""
    from django_safemigrations.lint import lint_migrations
    from tests.kit import chain as chains
    from tests.kit.case import LABEL

    chain = chains.make_chain(case)
    with chain.installed():
        loader = chain.loader()
        operations = [
            operation
            for name in chain.change
            for operation in loader.disk_migrations[LABEL, name].operations
        ]
        findings = lint_migrations(loader, [(LABEL, name) for name in chain.change])
    staged = any(hasattr(operation, "phase") for operation in operations)
    codes = ", ".join(link(code) for code in sorted({finding.code for finding in findings}))
    if staged:
        return f"staged, reported ({codes})" if codes else "staged"
    return f"left as Django writes it ({codes})" if codes else "plain"


def rows(only: Shape | None = None) -> Iterator[tuple[str, list[str], Notes]]:
    """Return each change with its cells in the order of the shapes, and the notes so far.

    Args:
        only: the one shape that is wanted.
    """
    from tests.invariants.shape_cases import NEVER, REFUSALS, REPRESENTATIVES, SHAPE_CASES
    from tests.kit.shapes import Shape

    notes = Notes()
    shaped = {(Shape(case.shape), case.change): case for case in SHAPE_CASES}

    def look(shape: Shape, change: str) -> str:
        if shape is Shape.ELSEWHERE:
            return "nothing runs"
        refusal = REFUSALS.get((shape, change))
        if refusal is not None and not refusal.below:
            return f"refused ({link(refusal.hazard)}){notes.mark(refusal.why)}"
        if (shape, change) in NEVER:
            return f"does not exist{notes.mark(NEVER[shape, change])}"
        case = REPRESENTATIVES[change] if shape is Shape.ORDINARY else shaped[shape, change]
        found = cell(case)
        if refusal is not None:
            found += f"; refused below PostgreSQL {refusal.below} ({link(refusal.hazard)})"
            found += notes.mark(refusal.why)
        return found

    for change in REPRESENTATIVES:
        shapes = [shape for shape in Shape if only is None or shape is only]
        yield change, [look(shape, change) for shape in shapes], notes


def title(change: str) -> str:
    """Return the name of a change as the first cell of its row has it."""
    from tests.invariants.shape_cases import SINCE

    since = f" ({SINCE[change]})" if change in SINCE else ""
    return change[:1].upper() + change[1:] + since


def tables() -> str:
    """Return the generated part of the page."""
    from tests.kit.shapes import Shape

    heads = ["Change", *(shape.value.capitalize() for shape in Shape)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    notes = Notes()
    for change, cells, so_far in rows():
        notes = so_far
        lines.append("| " + " | ".join([title(change), *cells]) + " |")
    return "\n".join([*lines, "", *notes.lines()])


def page() -> str:
    """Return the page as it should be: its prose, and the tables anew."""
    text = PAGE.read_text()
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found and ended, f"{PAGE} has lost its marks"
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


@contextmanager
def case_app() -> Iterator[None]:
    """Put the cases' app into INSTALLED_APPS, as the fixtures of the tests do."""
    from django.test import modify_settings

    from tests.kit.case import APP

    with modify_settings(INSTALLED_APPS={"append": [APP, "django.contrib.postgres"]}):
        yield


def main() -> None:
    """Write the page."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    if not settings.configured:
        django.setup()
    with case_app():
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
