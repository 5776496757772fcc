"""NOT NULL in stages: it goes on from wherever it was stopped, and no stage reads under a strong lock."""

from __future__ import annotations

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import ViolatingRows
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Catalog, Table
from django_safemigrations.postgres.runner import Runner
from tests.kit.statements import watch_changes
from tests.postgres.sessions import execute, holding, value

pytestmark = pytest.mark.postgres_versions

MIXED = '"Mixed Schema"."Mixed 5%"'
COLUMN = 'To"tal %s'


@pytest.fixture
def table(means: Runner) -> Table:
    """A table with an awkward name and a nullable column without NULLs."""
    quoted = '"' + COLUMN.replace('"', '""') + '"'
    execute(means.connection, 'CREATE SCHEMA "Mixed Schema"')
    execute(means.connection, f"CREATE TABLE {MIXED} (id int PRIMARY KEY, {quoted} int)")
    execute(means.connection, f"INSERT INTO {MIXED} SELECT n, n FROM generate_series(1, 20) n")
    found = Catalog(means.connection).find_table(MIXED)
    assert found is not None
    return found


def major(connection: BaseDatabaseWrapper) -> int:
    return int(connection.pg_version) // 10000  # type: ignore[attr-defined]


def leftovers(connection: BaseDatabaseWrapper) -> int:
    """Count the CHECKs that only the staging needs."""
    return int(
        value(
            connection,
            "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conname LIKE 'dsm%%'",
        )
    )


def stages(means: Runner, table: Table) -> list[str]:
    return not_null.statements(table.qualified, table.name, COLUMN, major(means.connection))


def test_a_column_becomes_not_null_and_nothing_else_is_left(means: Runner, table: Table) -> None:
    not_null.set_not_null(means, table, COLUMN)
    assert means.catalog.not_null_is_proven(table, COLUMN)
    assert leftovers(means.connection) == 0
    assert means.catalog.checks(table) == []


@pytest.mark.parametrize("done", range(5))
def test_it_goes_on_after_any_statement(means: Runner, table: Table, done: int) -> None:
    every = stages(means, table)
    for statement in every[:done]:
        execute(means.connection, statement)
    not_null.set_not_null(means, table, COLUMN)
    assert means.catalog.not_null_is_proven(table, COLUMN)
    assert leftovers(means.connection) == 0


@pytest.mark.parametrize("done", range(5))
def test_it_can_be_taken_back_after_any_statement(means: Runner, table: Table, done: int) -> None:
    for statement in stages(means, table)[:done]:
        execute(means.connection, statement)
    not_null.drop_not_null(means, table, COLUMN)
    column = means.catalog.column(table, COLUMN)
    assert column is not None
    assert not column.not_null
    assert leftovers(means.connection) == 0


@pytest.mark.parametrize("done", range(5))
def test_going_on_runs_only_what_is_missing(means: Runner, table: Table, done: int) -> None:
    every = stages(means, table)
    for statement in every[:done]:
        execute(means.connection, statement)
    ran: list[str] = []
    with watch_changes(means.connection, after=ran.append):
        not_null.set_not_null(means, table, COLUMN)
    assert ran == every[done:]


def test_it_does_nothing_where_it_is_done(means: Runner, table: Table) -> None:
    not_null.set_not_null(means, table, COLUMN)
    ran: list[str] = []
    with watch_changes(means.connection, after=ran.append):
        not_null.set_not_null(means, table, COLUMN)
    assert ran == []


def test_the_statement_that_reads_the_table_waits_for_no_reader_and_no_writer(
    means: Runner, table: Table
) -> None:
    every = stages(means, table)
    validate = next(n for n, statement in enumerate(every) if "VALIDATE" in statement)
    for statement in every[:validate]:
        execute(means.connection, statement)
    with holding(f"SELECT count(*) FROM {MIXED}", f"DELETE FROM {MIXED} WHERE id = 1"):
        execute(means.connection, "SET lock_timeout = '5s'")
        execute(means.connection, every[validate])


@pytest.mark.parametrize("nulls", [1, 3, 7])
def test_nulls_are_counted_and_named_before_anything_is_done(
    means: Runner, table: Table, nulls: int
) -> None:
    quoted = '"' + COLUMN.replace('"', '""') + '"'
    execute(means.connection, f"UPDATE {MIXED} SET {quoted} = NULL WHERE id <= {nulls}")
    ran: list[str] = []
    with (
        watch_changes(means.connection, after=ran.append),
        pytest.raises(ViolatingRows) as caught,
    ):
        not_null.set_not_null(means, table, COLUMN)
    message = str(caught.value)
    rows = "1 row of" if nulls == 1 else f"{nulls} rows of"
    assert message.startswith(f"{rows} {table.qualified}")
    assert quoted in message
    assert "id = " in message
    assert ran == []


def test_a_null_that_was_written_after_the_look_ends_it_as_before(
    means: Runner, table: Table
) -> None:
    """Between counting and NOT VALID a row may still come; VALIDATE meets it."""
    quoted = '"' + COLUMN.replace('"', '""') + '"'
    state = {"written": False}

    def write(sql: str) -> None:
        if not state["written"] and "NOT VALID" in sql:
            state["written"] = True
            means.connection.connection.execute(f"INSERT INTO {MIXED} VALUES (99)")

    with (
        watch_changes(means.connection, before=write),
        pytest.raises(ViolatingRows, match="id = 99"),
    ):
        not_null.set_not_null(means, table, COLUMN)
    column = means.catalog.column(table, COLUMN)
    assert column is not None
    assert not column.not_null
    assert leftovers(means.connection) == 0
    execute(means.connection, f"INSERT INTO {MIXED} VALUES (100)")
    execute(means.connection, f"DELETE FROM {MIXED} WHERE {quoted} IS NULL")
    not_null.set_not_null(means, table, COLUMN)
    assert means.catalog.not_null_is_proven(table, COLUMN)


def test_the_native_constraint_has_the_name_that_set_not_null_would_give(
    means: Runner,
) -> None:
    if major(means.connection) < not_null.NATIVE_SINCE:
        assert len(not_null.statements("t", "t", "a", major(means.connection))) == 4
        return
    execute(means.connection, "CREATE TABLE parcel (id int, code int)")
    execute(means.connection, "CREATE TABLE plain (id int, code int)")
    execute(means.connection, "ALTER TABLE plain ALTER code SET NOT NULL")
    not_null.set_not_null(means, means.catalog.table("parcel"), "code")
    names = (
        "SELECT array_agg(conname::text ORDER BY conname) FROM pg_constraint WHERE contype = 'n'"
        " AND connamespace = 'public'::regnamespace"
    )
    assert value(means.connection, names) == ["parcel_code_not_null", "plain_code_not_null"]


@pytest.mark.parametrize("names", [("x" * 63, "y" * 63), ("ä" * 31, "é" * 31), ("t", "c" * 63)])
def test_names_as_long_as_they_can_be_work(means: Runner, names: tuple[str, str]) -> None:
    name, column = names
    execute(means.connection, f'CREATE TABLE "{name}" (id int PRIMARY KEY, "{column}" int)')
    table = means.catalog.table(name)
    not_null.set_not_null(means, table, column)
    assert means.catalog.not_null_is_proven(table, column)
    not_null.drop_not_null(means, table, column)
    assert not means.catalog.not_null_is_proven(table, column)


def test_a_not_null_that_a_dba_began_is_finished(means: Runner, table: Table) -> None:
    """On PostgreSQL 18 a column has one NOT NULL constraint, whoever named it."""
    quoted = '"' + COLUMN.replace('"', '""') + '"'
    if major(means.connection) >= not_null.NATIVE_SINCE:
        execute(
            means.connection, f"ALTER TABLE {MIXED} ADD CONSTRAINT mine NOT NULL {quoted} NOT VALID"
        )
    else:
        execute(
            means.connection,
            f"ALTER TABLE {MIXED} ADD CONSTRAINT mine CHECK ({quoted} IS NOT NULL)",
        )
    not_null.set_not_null(means, table, COLUMN)
    assert means.catalog.not_null_is_proven(table, COLUMN)


def test_a_table_with_rows_is_not_read_while_it_is_locked(means: Runner, table: Table) -> None:
    """PostgreSQL says in a debug message when a constraint spared it the scan."""
    said: list[str] = []
    raw = means.connection.connection
    raw.add_notice_handler(lambda notice: said.append(notice.message_primary))
    execute(means.connection, "SET client_min_messages = debug1")
    ran: list[tuple[str, list[str]]] = []

    def note(sql: str) -> None:
        ran.append((sql, list(said)))
        said.clear()

    with watch_changes(means.connection, after=note):
        not_null.set_not_null(means, table, COLUMN)
    for sql, notices in ran:
        scans = [n for n in notices if n.startswith(("verifying table", "validating"))]
        if "VALIDATE" in sql:
            assert scans, (sql, notices)
        else:
            assert scans == [], (sql, notices)
