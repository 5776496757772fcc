"""Writes docs/reference/lint-coverage.md: ``python -m tests.lint.coverage.page FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from django_safemigrations.hazards import CATALOGUE
from tests.lint.coverage.examples import EXAMPLES
from tests.lint.coverage.rules import PEERS, Rule

HEAD = """\
<!-- Generated from tests/lint/coverage by `python -m tests.lint.coverage.page \
docs/reference/lint-coverage.md`. -->

# What other linters find

Each rule of the linters below with the code under which `lintmigrations` reports the same, or why it doesn't: \
it concerns another database, is a matter of style, or can't happen. A test lints an example for each rule that \
has a code. Names are theirs; a rule that guards against something which PostgreSQL or Django no longer does \
stands with what remains of it.
"""


def page() -> str:
    """Return the page in Markdown."""
    total = sum(len(rules) for rules in PEERS.values())
    found = sum(bool(rule.example) for rules in PEERS.values() for rule in rules)
    parts = [HEAD, f"Of {total} rules, {found} have a code.\n"]
    for peer, rules in PEERS.items():
        rows = "\n".join(f"| {rule.name} | {_code(rule)} | {rule.why} |" for rule in rules)
        parts.append(f"## {peer}\n\n| Rule | Code | Remark |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _code(rule: Rule) -> str:
    if not rule.example:
        return "-"
    code = EXAMPLES[rule.example].code
    return f"[{code}](hazards/{code}.md) {CATALOGUE[code].name}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m tests.lint.coverage.page FILE")
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
