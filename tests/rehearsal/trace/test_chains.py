"""Chains that makemigrations writes trace clean; what plain Django writes has the hazards that lint names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from django_safemigrations.lint import lint_migrations
from django_safemigrations.rehearsal.results import StepTrace
from django_safemigrations.rehearsal.steps import watching
from django_safemigrations.rehearsal.trace import Tracer, undeclared
from tests.invariants.cases import CASES, REPRESENTATIVE, among, parameters
from tests.kit.case import LABEL, Case
from tests.kit.chain import Chain
from tests.kit.databases import scratch_database
from tests.kit.fixtures import case_app
from tests.kit.prepared import Prepared, drop_base_templates, prepare
from tests.rehearsal.trace.running import PATIENT, codes

__all__ = ["case_app"]

pytestmark = pytest.mark.postgres_versions

QUICK = frozenset({"not null: int, answered 0", "rename: char, unique"})


@pytest.fixture(scope="module", autouse=True)
def templates(case_app: None) -> Iterator[None]:
    """Drop the shared templates when the tests are done."""
    yield
    drop_base_templates()


def run(chain: Chain, name: str | None) -> tuple[StepTrace, ...]:
    """Migrate `default` under a tracer."""
    with chain.installed():
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan([(LABEL, name)])
        with Tracer(connection, limits=PATIENT) as tracer:
            with watching(connection, [migration for migration, _ in plan], tracer):
                executor.migrate([(LABEL, name)], plan)
        return tracer.steps()


def told(steps: tuple[StepTrace, ...]) -> list[str]:
    return [f"{step.key}: {hazard}" for step in steps for hazard in step.hazards]


@pytest.fixture(params=parameters([c for c in CASES if c.name in REPRESENTATIVE], among(QUICK)))
def prepared(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    """A case with its chain and its template database."""
    with prepare(request.param, plain_ends=False) as found:
        yield found


def test_a_chain_of_ours_traces_clean_there_and_back(prepared: Prepared) -> None:
    with prepared.database():
        there = run(prepared.chain, prepared.chain.change[-1])
        assert told(there) == [], prepared.chain.source()
        assert any(step.statements for step in there)
        back = run(prepared.chain, prepared.chain.initial[-1])
        assert told(back) == [], prepared.chain.source()


EXPECTED = {
    "add: volatile db_default": {"DSM510"},
    "constraint: check added: comparison": {"DSM507"},
    "constraint: unique added: one field": {"DSM507"},
    "index: one column": {"DSM101"},
    # Django sets a default first, so that the rows are updated under ACCESS EXCLUSIVE.
    "not null: int, answered 0": {"DSM203", "DSM707"},
    "type: unique int": {"DSM506"},
    "wider key: one foreign key": {"DSM406", "DSM506", "DSM509"},
    "index: removed": set(),
    "removal: char with a default": set(),
}
QUICK_PLAIN = frozenset({"index: one column", "not null: int, answered 0"})


@pytest.mark.parametrize(
    "case",
    parameters([c for c in CASES if c.name in REPRESENTATIVE | set(EXPECTED)], among(QUICK_PLAIN)),
)
def test_what_plain_django_writes_has_hazards_and_lint_names_each_of_them(case: Case) -> None:
    with prepare(case, plain_ends=False) as prepared, scratch_database(prepared.template):
        try:
            steps = run(prepared.plain, prepared.plain.change[-1])
        except DatabaseError:
            assert case.name not in EXPECTED
            return
        if case.name in EXPECTED:
            assert set().union(*map(codes, steps)) == EXPECTED[case.name], told(steps)
        # With a timeout of nothing no table is small.
        assert undeclared(steps, said(prepared.plain), lock_timeout=0) == ()


def said(chain: Chain) -> dict[tuple[str, str, str], set[str]]:
    """Return what the linter finds in a chain, by operation."""
    found: dict[tuple[str, str, str], set[str]] = {}
    with chain.installed():
        for finding in lint_migrations(chain.loader(), [(LABEL, name) for name in chain.change]):
            key = (finding.app_label, finding.migration, finding.operation or "")
            found.setdefault(key, set()).add(finding.code)
    return found
