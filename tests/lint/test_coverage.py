"""Every rule of the other linters: an example gets our code, or the page says why it doesn't apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_safemigrations.hazards import CATALOGUE
from tests.lint.conftest import Project
from tests.lint.coverage.examples import EXAMPLES
from tests.lint.coverage.page import page
from tests.lint.coverage.rules import PEERS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "lint-coverage.md"
RULES = [(peer, rule) for peer, rules in PEERS.items() for rule in rules]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_gets_its_code(project: Project, name: str) -> None:
    example = EXAMPLES[name]
    if example.before:
        project.add("0002_before", f"operations = [{example.before}]", setup=example.setup)
    found = project.codes(example.operations, setup=example.setup, atomic=example.atomic)
    assert example.code in found


def test_every_rule_has_an_example_or_a_reason() -> None:
    without = [
        f"{peer} {rule.name}"
        for peer, rule in RULES
        if (rule.example not in EXAMPLES if rule.example else not rule.why)
    ]
    assert without == []


def test_no_rule_stands_twice() -> None:
    names = [(peer, rule.name) for peer, rule in RULES]
    assert len(names) == len(set(names))


def test_every_example_stands_for_a_code_of_the_catalogue() -> None:
    assert {example.code for example in EXAMPLES.values()} <= set(CATALOGUE)


def test_the_committed_page_is_the_one_that_the_rules_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "Run: python -m tests.lint.coverage.page docs/reference/lint-coverage.md"
    )
