"""One ordinary edit of a model of which other packages leave most to the developer."""

from __future__ import annotations

import pytest

from django_safemigrations.lint import Finding, lint_migrations
from tests.invariants.together_cases import TOGETHER_CASES
from tests.kit.case import LABEL
from tests.kit.chain import Chain, make_chain, make_plain_chain

# Its traffic and its journey are those of every case; here is what is left for humans.
[EDIT] = [case for case in TOGETHER_CASES if case.name == "together: the five-finding edit"]


def findings(chain: Chain) -> list[Finding]:
    with chain.installed():
        return lint_migrations(chain.loader(), [(LABEL, name) for name in chain.change])


@pytest.fixture(autouse=True)
def app(case_app: None) -> None:
    """The app whose migrations these are."""


def test_django_writes_each_of_the_five_unsafely() -> None:
    assert EDIT.plain_hazards is not None
    assert {finding.code for finding in findings(make_plain_chain(EDIT))} == {*EDIT.plain_hazards}


def test_nothing_is_left_of_it_for_humans() -> None:
    chain = make_chain(EDIT)
    found = findings(chain)
    assert found == [], "\n".join([*map(str, found), chain.source()])
