"""The cases themselves are sound: each generation's code works on the schema made for it."""

from __future__ import annotations

import pytest

from tests.kit import chain as chains
from tests.kit.prepared import Prepared
from tests.kit.probe import probe

# About the table, not about the package: what is wrong with a case shows in its journey, too.
pytestmark = pytest.mark.exhaustive


def test_old_code_works_on_the_old_schema_and_new_code_on_plain_djangos(
    prepared: Prepared,
) -> None:
    with prepared.database():
        assert probe(prepared.case, "old") == []
        if prepared.plain.change:
            chains.migrate(prepared.plain, prepared.plain.change[-1])
        assert probe(prepared.case, "new") == []


def test_the_case_changes_something(prepared: Prepared) -> None:
    assert prepared.plain.change
    assert prepared.case.old is not prepared.case.new
