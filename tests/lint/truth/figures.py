"""Writes the figures of docs/explanation/lint-accuracy.md.

python -m tests.lint.truth.figures
"""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "lint-accuracy.md"


def sections() -> dict[str, str]:
    """Return the generated parts of the page by their names."""
    from tests.lint.truth.cases import PROJECTS, SYSTEMATIC, read_cases
    from tests.lint.truth.scoring import compare

    found = {}
    for name, path in (("projects", PROJECTS), ("systematic", SYSTEMATIC)):
        cases = list(read_cases(path))
        scores = compare(cases)
        each = compare(cases, each=True)
        found[name] = (
            f"{len(cases):,} migrations with {scores.operations:,} operations, of which "
            f"{scores.safe:,} do no harm. False alarms in 100 of these: "
            f"{scores.alarms_per_100_safe:.2f}."
        )
        if each.operations != scores.operations:
            found[name] += (
                f" Counted as often as the projects have them, {each.operations:,} operations: "
                f"precision {each.unsafe.precision:.3f}, recall {each.unsafe.recall:.3f}."
            )
        found[name] += f"\n\n{scores.table()}"
    return found


def with_sections(page: str, found: dict[str, str]) -> str:
    """Return the page with its generated parts replaced."""
    for name, text in found.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{text}\n\n{end}{tail}"
    return page


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_sections(PAGE.read_text(encoding="utf-8"), sections()), encoding="utf-8")


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    main()
