"""On the chains that makemigrations writes, neither generation meets an error at any boundary."""

from __future__ import annotations

import pytest

from tests.invariants.cases import CASES, REPRESENTATIVE, parameters
from tests.kit.case import Case
from tests.kit.prepared import prepare
from tests.rehearsal.generations.passes import forwards, told

QUICK = {"add: function that PostgreSQL does not have", "rename: char, unique"}
assert QUICK <= REPRESENTATIVE


@pytest.mark.parametrize("case", parameters(CASES, lambda case: case.name in QUICK))
def test_nothing_fails_at_any_boundary_of_a_generated_chain(case: Case) -> None:
    with prepare(case) as prepared, prepared.database():
        checks = forwards(prepared.chain)
    assert told(checks) == [], prepared.explain(told(checks))
    assert len(checks) > 1
    assert all(check.calls for check in checks if "old" in check.generations)
