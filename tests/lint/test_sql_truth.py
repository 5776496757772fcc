"""What is said of the SQL of a RunSQL is what PostgreSQL does with it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, migrations
from django.db.migrations.state import ProjectState

from django_safemigrations.hazards.examples import APP_LABEL, BASE
from django_safemigrations.lint.context import Context, History
from django_safemigrations.lint.rules import judge
from tests.lint.sql.cases import Case, cases
from tests.lint.sql.observed import (
    APPLICATION,
    ELSEWHERE,
    FAILS,
    HARMS,
    LOCKS,
    Observer,
    is_committed,
)
from tests.lint.sql.tables import FILL, MORE

pytestmark = pytest.mark.postgres_versions

CASES = list(cases())
DATABASE = "lint_sql_truth"
LEAST = 0.98


def context(
    state: ProjectState, history: History, name: str, operation: Any, *, atomic: bool
) -> Context:
    body = {"operations": [operation], "atomic": atomic}
    migration = type("Migration", (migrations.Migration,), body)(name, APP_LABEL)
    return Context(migration=migration, state=state, history=history, files={})


def shop() -> ProjectState:
    namespace: dict[str, Any] = {"__name__": "base"}
    exec(BASE, namespace)
    state = ProjectState()
    for operation in namespace["Migration"].operations:
        operation.state_forwards(APP_LABEL, state)
    return state


@pytest.fixture(scope="module")
def state() -> ProjectState:
    return shop()


@pytest.fixture(scope="module")
def history(state: ProjectState) -> History:
    """What is known after the migration that made the other tables."""
    known = History()
    more = migrations.RunSQL(MORE, migrations.RunSQL.noop)
    place = context(state, known, "0002_more", more, atomic=True)
    assert [code for _, code in judge(more, "0", place) if code.code != "DSM507"] == []
    return known


def found_in(case: Case, state: ProjectState, history: History) -> list[str]:
    operation = migrations.RunSQL(case.sql, migrations.RunSQL.noop)
    place = context(state, history.copy(), "0003_test", operation, atomic=case.atomic)
    return [observation.code for _, observation in judge(operation, "0", place)]


@pytest.fixture(scope="module")
def observer(django_db_setup: None, django_db_blocker: Any) -> Iterator[Observer]:
    with django_db_blocker.unblock():
        parameters = connection.get_connection_params()
        address = {
            key: value
            for key, value in parameters.items()
            if key in ("host", "port", "user", "password", "options")
        }
        admin = psycopg.connect(**{**address, "dbname": "postgres"}, autocommit=True)
        forget(admin)
        admin.execute("SET allow_in_place_tablespaces = on")
        admin.execute(f"CREATE TABLESPACE {ELSEWHERE} LOCATION ''".encode())
        admin.execute(f"CREATE ROLE {APPLICATION}".encode())
        admin.execute(f"CREATE DATABASE {DATABASE}".encode())
        try:
            build({**address, "dbname": DATABASE})
            made = Observer(address, DATABASE)
            yield made
            made.close()
        finally:
            forget(admin)
            admin.close()


def forget(admin: psycopg.Connection[Any]) -> None:
    for name in (DATABASE, f"{DATABASE}_copy"):
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    admin.execute(f"DROP TABLESPACE IF EXISTS {ELSEWHERE}".encode())
    admin.execute(f"DROP ROLE IF EXISTS {APPLICATION}".encode())


def build(address: dict[str, Any]) -> None:
    """Create the shop's tables as Django would, the others, and their rows."""
    namespace: dict[str, Any] = {"__name__": "base"}
    exec(BASE, namespace)
    sql: list[str] = []
    before = ProjectState()
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for operation in namespace["Migration"].operations:
            after = before.clone()
            operation.state_forwards(APP_LABEL, after)
            operation.database_forwards(APP_LABEL, editor, before, after)
            before = after
    sql = editor.collected_sql
    with psycopg.connect(**address, autocommit=True) as made:
        made.execute("\n".join(sql).encode())
        made.execute("CREATE TABLE django_content_type (id int, app_label text)")
        made.execute(MORE.encode())
        made.execute(FILL.encode())
        made.execute(f"GRANT SELECT ON store_order TO {APPLICATION}".encode())


def marked() -> Iterator[Any]:
    """Cases that need a database of their own are many seconds; quick runs try some of them."""
    committed = 0
    for case in CASES:
        committed += is_committed(case)
        marks = [pytest.mark.exhaustive] if is_committed(case) and committed % 8 != 1 else []
        yield pytest.param(case, marks=marks, id=str(case))


@pytest.mark.parametrize("case", list(marked()))
def test_a_statement_has_the_hazards_that_postgresql_shows(
    observer: Observer, state: ProjectState, history: History, case: Case
) -> None:
    codes = set(found_in(case, state, history))
    seen = observer.observe(case)
    unexplained = seen - {LOCKS} - set().union(*(HARMS[code] for code in codes))
    assert not unexplained, f"{sorted(unexplained)}: not in {sorted(codes)} ({observer.lost})"
    if FAILS in seen:
        # What comes behind a statement that fails can't be seen.
        codes = {code for code in codes if FAILS in HARMS[code]}
    untrue = [code for code in sorted(codes) if not HARMS[code] & seen]
    assert not untrue, f"{untrue} says what PostgreSQL doesn't do: {sorted(seen)}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_statement_has_the_hazards_of_its_label(
    state: ProjectState, history: History, case: Case
) -> None:
    assert found_in(case, state, history) == list(case.codes)


def test_precision_and_recall_on_each_hazard(
    state: ProjectState, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    right: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for case in CASES:
        labelled, found = Counter(case.codes), Counter(found_in(case, state, history))
        right += labelled & found
        alarms += found - labelled
        missed += labelled - found
    with capsys.disabled():
        safe = sum(not case.codes for case in CASES)
        sys.stdout.write(f"\n{len(CASES)} statements of RunSQL, {safe} of them safe\n")
        for code in sorted(right | alarms | missed):
            precision = right[code] / max(right[code] + alarms[code], 1)
            recall = right[code] / max(right[code] + missed[code], 1)
            told = (
                f"{code}: {right[code]:3} found, precision {precision:.3f}, recall {recall:.3f}\n"
            )
            sys.stdout.write(told)
            assert precision >= LEAST
            assert recall >= LEAST
    assert len(CASES) >= 150
