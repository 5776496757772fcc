"""Keeping works for tables and columns of every shape, for roles with few rights, and when killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import ProgrammingError, connections, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from pytest_django import DjangoDbBlocker

from django_safemigrations import operations as ours
from django_safemigrations.backup.keeping import Keeper
from django_safemigrations.backup.kept import SCHEMA, list_kept
from django_safemigrations.exceptions import UnsupportedChange
from tests.kit.databases import admin, connect, scratch_database
from tests.kit.kill import run_killed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = ("id", models.BigAutoField(primary_key=True))
HOSTILE = 'It"em %s'
COLUMN = 'va"lue %s'


@pytest.fixture
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    with django_db_blocker.unblock(), scratch_database() as connection:
        yield connection


def run(database: BaseDatabaseWrapper, *statements: str) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def keeper(database: BaseDatabaseWrapper, say: Callable[[str], None] = lambda line: None) -> Keeper:
    return Keeper(database, timedelta(days=7), lambda: NOW, say)


def state_with(*operations: Operation) -> ProjectState:
    state = ProjectState()
    for operation in operations:
        operation.state_forwards("shop", state)
    return state


def dropping(*operations: Operation) -> Migration:
    migration = Migration("0002_drop", "shop")
    migration.__dict__["operations"] = list(operations)
    return migration


def item(table: str, *fields: tuple[str, models.Field[Any, Any]]) -> ProjectState:
    options = {"db_table": table}
    return state_with(migrations.CreateModel("Item", [ID, *fields], options=options))


def column_gone(table: str, column: str = "v") -> tuple[Migration, ProjectState]:
    field = models.TextField(null=True, db_column=column)
    return dropping(migrations.RemoveField("Item", "v")), item(table, ("v", field))


def around(
    database: BaseDatabaseWrapper, migration: Migration, state: ProjectState, drop: str, add: str
) -> list[str]:
    """Keep, drop, add again and put back; return what was said."""
    said: list[str] = []
    found = keeper(database, said.append)
    found.before(migration, state)
    run(database, drop)
    found.before_undo(migration)
    run(database, add)
    found.after_undo({("shop", "0002_drop")})
    return said


@pytest.mark.postgres_versions
def test_names_that_have_to_be_quoted(database: BaseDatabaseWrapper) -> None:
    table, column = '"It""em %s"', '"va""lue %s"'
    run(
        database,
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, {column} text)",
        f"INSERT INTO {table} SELECT n, 'a%' || n FROM generate_series(1, 50) n",
    )
    before = run(database, f"SELECT * FROM {table} ORDER BY 1")
    migration, state = column_gone(table, COLUMN)
    said = around(
        database,
        migration,
        state,
        f"ALTER TABLE {table} DROP COLUMN {column}",
        f"ALTER TABLE {table} ADD COLUMN {column} text",
    )
    assert run(database, f"SELECT * FROM {table} ORDER BY 1") == before
    assert said[-1].endswith("in 50 rows")


TYPES = [
    ("json", """'{"b": 1, "a":  1}'"""),
    ("point", "point(1, 2)"),
    ("numeric", "1.10"),
    ('text COLLATE "C"', "'x'"),
    ("int[]", "ARRAY[1, NULL, 3]"),
    ("tsvector", "to_tsvector('simple', 'a b')"),
    ("bytea", "'\\x00ff'::bytea"),
    ("text", "repeat('long ', 100000)"),
    ("mood", "'sad'::mood"),
    ("text", "NULL"),
]


@pytest.mark.postgres_versions
def test_values_of_every_type(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TYPE mood AS ENUM ('sad', 'happy')")
    for number, (type_, value) in enumerate(TYPES):
        table = f"t{number}"
        run(
            database,
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, v {type_})",
            f"INSERT INTO {table} SELECT n, {value} FROM generate_series(1, 20) n",
            f"INSERT INTO {table} VALUES (21, NULL)",
        )
        before = run(database, f"SELECT id, v::text FROM {table} ORDER BY 1")
        migration, state = column_gone(table)
        around(
            database,
            migration,
            state,
            f"ALTER TABLE {table} DROP COLUMN v",
            f"ALTER TABLE {table} ADD COLUMN v {type_}",
        )
        assert run(database, f"SELECT id, v::text FROM {table} ORDER BY 1") == before, type_


def test_keys_of_several_columns_and_partitions(database: BaseDatabaseWrapper) -> None:
    run(
        database,
        "CREATE TABLE t (a int, b text, v text, PRIMARY KEY (a, b)) PARTITION BY LIST (a)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)",
        "CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)",
        "INSERT INTO t SELECT a, b::text, a || '/' || b FROM generate_series(1, 2) a, generate_series(1, 30) b",
    )
    before = run(database, "SELECT * FROM t ORDER BY 1, 2")
    migration, state = column_gone("t")
    around(
        database, migration, state, "ALTER TABLE t DROP COLUMN v", "ALTER TABLE t ADD COLUMN v text"
    )
    assert run(database, "SELECT * FROM t ORDER BY 1, 2") == before


def test_a_key_that_is_dropped_is_found_again_by_another(database: BaseDatabaseWrapper) -> None:
    run(
        database,
        "CREATE TABLE t (v text PRIMARY KEY, other int NOT NULL UNIQUE)",
        "INSERT INTO t SELECT 'v' || n, n FROM generate_series(1, 9) n",
    )
    migration, state = column_gone("t")
    around(
        database, migration, state, "ALTER TABLE t DROP COLUMN v", "ALTER TABLE t ADD COLUMN v text"
    )
    assert run(database, "SELECT count(*) FROM t WHERE v = 'v' || other") == [(9,)]


def test_a_table_without_another_key_is_refused(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TABLE t (v text PRIMARY KEY)", "INSERT INTO t VALUES ('x')")
    migration, state = column_gone("t")
    with pytest.raises(UnsupportedChange, match="has no primary key or other NOT NULL unique"):
        keeper(database).before(migration, state)


def test_an_empty_table_leaves_nothing_behind(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    migration, state = column_gone("t")
    keeper(database).before(migration, state)
    assert list_kept(database) == []


def test_what_the_same_file_renames_is_said_not_to_be_kept(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')")
    said: list[str] = []
    migration = dropping(
        migrations.RenameField("Item", "v", "w"), migrations.RemoveField("Item", "w")
    )
    keeper(database, said.append).before(migration, item("t", ("v", models.TextField())))
    assert len(said) == 1
    assert "Not kept: shop.0002_drop drops t.w" in said[0]


def test_rows_that_can_not_take_their_value_are_named_and_the_rest_is_put_back(
    database: BaseDatabaseWrapper,
) -> None:
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 30) n",
    )
    migration, state = column_gone("t")
    said = around(
        database,
        migration,
        state,
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ADD COLUMN v text CHECK (v <> 'v7')",
    )
    assert run(database, "SELECT id FROM t WHERE v IS NULL") == [(7,)]
    assert any(line.startswith("Not put back:") for line in said)
    (kept,) = list_kept(database)
    assert (kept.restoring, bool(kept.restored_at)) == (False, True)


def test_a_lossy_column_goes_back_only_where_its_row_was_not_changed_since(
    database: BaseDatabaseWrapper,
) -> None:
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day date)",
        "INSERT INTO t SELECT n, '2026-01-01 10:00+00'::timestamptz + n * interval '1 min', '2026-01-01'"
        " FROM generate_series(1, 9) n",
    )
    before = run(database, "SELECT id, at FROM t WHERE id <> 5 ORDER BY 1")
    operation = ours.DropReplacedColumn(
        "Item", "day", "timestamp with time zone", columns={"at": "day"}
    )
    state = item("t", ("day", models.DateField(null=True)))
    said = around(
        database,
        dropping(operation),
        state,
        "ALTER TABLE t DROP COLUMN at",
        "ALTER TABLE t ADD COLUMN at timestamptz; UPDATE t SET day = '2027-05-05' WHERE id = 5;"
        "UPDATE t SET at = day",
    )
    assert run(database, "SELECT id, at FROM t WHERE id <> 5 ORDER BY 1") == before
    assert run(database, "SELECT at::date::text FROM t WHERE id = 5") == [("2027-05-05",)]
    assert '1 rows were changed in "day" since' in said[-1]


def test_a_column_whose_values_live_on_in_full_is_not_kept(database: BaseDatabaseWrapper) -> None:
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n int, big bigint)",
        "INSERT INTO t VALUES (1, 1, 1)",
    )
    operation = ours.DropReplacedColumn("Item", "big", "integer", columns={"n": "big"})
    keeper(database).before(dropping(operation), item("t", ("big", models.BigIntegerField())))
    assert list_kept(database) == []


def test_a_role_that_owns_its_tables_needs_nothing_more(database: BaseDatabaseWrapper) -> None:
    role = f"dsm_owner_{os.getpid()}"
    admin().execute(f'CREATE ROLE "{role}" LOGIN'.encode())
    try:
        run(
            database,
            f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"',
            "CREATE TABLE t (id int PRIMARY KEY, v text)",
            "INSERT INTO t VALUES (1, 'x')",
            f'ALTER TABLE t OWNER TO "{role}"',
        )
        other = database.copy()
        other.settings_dict["USER"] = role
        migration, state = column_gone("t")
        try:
            keeper(other).before(migration, state)
            (kept,) = list_kept(other)
            assert kept.schema == "public"
            run(other, f"DROP TABLE {kept.qualified}")
            run(other, "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
            with pytest.raises(UnsupportedChange, match="row security hides rows"):
                keeper(other).before(migration, state)
            run(other, "ALTER TABLE t DISABLE ROW LEVEL SECURITY")
            run(database, f'REVOKE CREATE ON SCHEMA public FROM "{role}"')
            with pytest.raises(UnsupportedChange) as raised:
                keeper(other).before(migration, state)
            name = database.settings_dict["NAME"]
            assert f'GRANT CREATE ON DATABASE "{name}" TO "{role}"' in str(raised.value)
            run(database, f'GRANT CREATE ON DATABASE "{name}" TO "{role}"')
            keeper(other).before(migration, state)
            assert [kept.schema for kept in list_kept(other)] == [SCHEMA]
        finally:
            other.close()
    finally:
        run(database, f'DROP OWNED BY "{role}"')
        admin().execute(f'DROP ROLE "{role}"'.encode())


def test_nobody_waits_while_values_are_kept(database: BaseDatabaseWrapper) -> None:
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3000) n",
    )
    migration, state = column_gone("t")
    with connect(str(database.settings_dict["NAME"])) as session:
        session.execute("BEGIN")
        # What a writer holds until it commits: the keeper must not wait for it, either.
        session.execute("UPDATE t SET v = 'y' WHERE id = 7")
        session.execute("INSERT INTO t VALUES (5000, 'new')")
        keeper(database).before(migration, state)
        session.execute("COMMIT")
    (kept,) = list_kept(database)
    assert (kept.complete, kept.rows) == (True, 3000)


def test_what_is_written_meanwhile_is_kept_by_the_last_look(database: BaseDatabaseWrapper) -> None:
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3000) n",
    )
    migration, state = column_gone("t")
    written: list[int] = []

    def write(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if str(sql).startswith("INSERT INTO") and "AS kept" in str(sql) and not written:
            written.append(1)
            with connect(str(database.settings_dict["NAME"])) as session:
                session.execute("UPDATE t SET v = 'y' WHERE id = 7")
                session.execute("INSERT INTO t VALUES (0, 'new'), (5000, 'new')")
        return result

    with database.execute_wrapper(write):
        keeper(database).before(migration, state)
    (kept,) = list_kept(database)
    rows = f"SELECT dsm_key1, dsm_value FROM {kept.qualified} WHERE dsm_value <> 'x' ORDER BY 1"
    assert run(database, rows) == [(0, "new"), (7, "y"), (5000, "new")]


def test_half_a_copy_is_not_left_behind_when_copying_fails(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')")
    migration, state = column_gone("t")

    def rename(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if "pg_snapshot_xmin" in str(sql):
            with connect(str(database.settings_dict["NAME"])) as session:
                session.execute("ALTER TABLE t RENAME v TO w")
        return execute(sql, params, many, context)

    with database.execute_wrapper(rename), pytest.raises(ProgrammingError):
        keeper(database).before(migration, state)
    assert list_kept(database) == []


def _once(change: str) -> None:
    """Keep, drop and bring back a column and a table as an executor would, resuming each part."""
    database = connections["default"]
    migration = dropping(
        migrations.RemoveField("Item", "v"), migrations.DeleteModel("Other"), change_of_other()
    )
    found = keeper(database)
    state = both()
    if change == "keep":
        found.before(migration, state)
        run(database, "ALTER TABLE t DROP COLUMN IF EXISTS v", "DROP TABLE IF EXISTS o")
    else:
        found.begin_run(lambda key: True)
        found.before_undo(migration)
        run(
            database,
            "ALTER TABLE t ADD COLUMN IF NOT EXISTS v text",
            "CREATE TABLE IF NOT EXISTS o (id bigserial PRIMARY KEY, w text)",
        )
        found.after_undo({("shop", "0002_drop")})


def change_of_other() -> Operation:
    return ours.DropTable("Third", [ID], {"db_table": "third"})


def both() -> ProjectState:
    return state_with(
        migrations.CreateModel("Item", [ID, ("v", models.TextField())], {"db_table": "t"}),
        migrations.CreateModel("Other", [ID, ("w", models.TextField())], {"db_table": "o"}),
    )


def killed_everywhere(database: BaseDatabaseWrapper, when: Any, step: int) -> None:
    run(
        database,
        "CREATE TABLE t (id bigserial PRIMARY KEY, v text)",
        "INSERT INTO t (v) SELECT 'v' || n FROM generate_series(1, 40) n",
        "CREATE TABLE o (id bigserial PRIMARY KEY, w text)",
        "INSERT INTO o (w) SELECT 'w' || n FROM generate_series(1, 40) n",
        "CREATE TABLE third (id bigserial PRIMARY KEY, t_id bigint REFERENCES t)",
        "INSERT INTO third (t_id) SELECT n FROM generate_series(1, 9) n",
    )
    query = "SELECT (SELECT array_agg(t ORDER BY id) FROM t)::text, (SELECT array_agg(o ORDER BY id) FROM o)::text, (SELECT count(*) FROM third)"
    before = run(database, query)
    for change in ("keep", "back"):
        n = 1
        while not run_killed(lambda change=change: _once(change), n, when).finished:  # type: ignore[misc]
            n += step
        if change == "keep":
            assert {kept.complete for kept in list_kept(database)} == {True}
            assert len(list_kept(database)) == 3
    assert run(database, query) == before
    assert run(database, "INSERT INTO o (w) VALUES ('new') RETURNING id") == [(41,)]


def test_killed_now_and_then_it_ends_in_the_same_place(database: BaseDatabaseWrapper) -> None:
    killed_everywhere(database, "after", 6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_it_ends_in_the_same_place(
    database: BaseDatabaseWrapper, when: str
) -> None:
    killed_everywhere(database, when, 1)
