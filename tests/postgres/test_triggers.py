"""The trigger that keeps two columns equal: every way to write a row, every order, every odd type."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.catalog import Catalog, quote
from django_safemigrations.postgres.pairs import Pairs, add_columns, copy_indexes
from django_safemigrations.postgres.runner import Runner, runner
from django_safemigrations.postgres.triggers import fill_trigger
from tests.kit.databases import scratch_database
from tests.postgres.sessions import execute, holding, pid_of, value, wait_until_it_waits

pytestmark = pytest.mark.postgres_versions


@dataclass
class Parcel:
    """A table `parcel` in which `total` gives way to `amount`."""

    means: Runner

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return self.means.connection

    def run(self, sql: Any, params: Any = None) -> None:
        execute(self.connection, sql, params)

    def pairs(self, **renames: str) -> Pairs:
        catalog = Catalog(self.connection)
        table = catalog.table("parcel")
        found = [(catalog.column(table, old), new) for old, new in renames.items()]
        return Pairs(table, tuple((column, new) for column, new in found if column is not None))

    def sync(self, **renames: str) -> Pairs:
        pairs = self.pairs(**(renames or {"total": "amount"}))
        add_columns(self.means, pairs)
        return pairs

    def row(self, id: int = 1, columns: str = "total, amount") -> tuple[Any, ...]:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM parcel WHERE id = %s", [id])
            row = cursor.fetchone()
        assert row is not None
        return tuple(row)


@pytest.fixture(scope="module")
def shared(database_access: None) -> Iterator[BaseDatabaseWrapper]:
    """One database for all tests that leave nothing behind."""
    with scratch_database() as connection:
        yield connection


@pytest.fixture
def means(shared: BaseDatabaseWrapper) -> Iterator[Runner]:
    """A runner in a transaction that is rolled back."""
    with transaction.atomic():
        with shared.schema_editor(atomic=False) as editor, runner(editor) as found:
            yield found
        transaction.set_rollback(True)


def begin(means: Runner) -> Parcel:
    """Create the table with one row from before (id 1), and keep it in sync."""
    found = Parcel(means)
    found.run("CREATE TABLE parcel (id int PRIMARY KEY, total int, note text)")
    found.run("INSERT INTO parcel VALUES (1, 10)")
    found.sync()
    return found


@pytest.fixture
def parcel(means: Runner) -> Parcel:
    """A nullable column without a default, one row from before (id 1), kept in sync."""
    return begin(means)


class TestInsert:
    @pytest.mark.parametrize(
        ("columns", "values", "wanted"),
        [
            ("total", "5", (5, 5)),
            ("amount", "5", (5, 5)),
            ("total, amount", "5, 6", (6, 6)),
            ("total, amount", "5, NULL", (5, 5)),
            ("total, amount", "NULL, 6", (6, 6)),
            ("note", "'x'", (None, None)),
        ],
    )
    def test_what_is_given_is_in_both_columns_and_the_new_one_wins(
        self, parcel: Parcel, columns: str, values: str, wanted: tuple[int | None, ...]
    ) -> None:
        parcel.run(f"INSERT INTO parcel (id, {columns}) VALUES (2, {values})")
        assert parcel.row(2) == wanted

    @pytest.mark.parametrize(
        ("columns", "values", "wanted"),
        [
            ("note", "'x'", (7, 7)),
            ("total", "5", (5, 5)),
            ("amount", "5", (5, 5)),
            ("total, amount", "DEFAULT, 5", (5, 5)),
            ("total, amount", "5, DEFAULT", (5, 5)),
            ("amount", "7", (7, 7)),
        ],
    )
    def test_the_default_of_the_old_column_serves_both(
        self, means: Runner, columns: str, values: str, wanted: tuple[int, int]
    ) -> None:
        parcel = Parcel(means)
        parcel.run("CREATE TABLE parcel (id int, total int NOT NULL DEFAULT 7, note text)")
        parcel.sync()
        parcel.run(f"INSERT INTO parcel (id, {columns}) VALUES (2, {values})")
        assert parcel.row(2) == wanted

    def test_a_volatile_default_is_evaluated_once_a_row(self, means: Runner) -> None:
        parcel = Parcel(means)
        parcel.run("CREATE TABLE parcel (id int, total uuid NOT NULL DEFAULT gen_random_uuid())")
        parcel.sync()
        parcel.run("INSERT INTO parcel (id) SELECT n FROM generate_series(1, 3) n")
        rows = {parcel.row(n) for n in (1, 2, 3)}
        assert len(rows) == 3
        assert all(total == amount for total, amount in rows)

    def test_new_code_may_leave_out_a_not_null_old_column(self, means: Runner) -> None:
        """BEFORE triggers run before NOT NULL is looked at."""
        parcel = Parcel(means)
        parcel.run("CREATE TABLE parcel (id int, total int NOT NULL)")
        parcel.sync()
        parcel.run("INSERT INTO parcel (id, amount) VALUES (2, 5)")
        assert parcel.row(2) == (5, 5)
        with pytest.raises(IntegrityError, match="total"):
            parcel.run("INSERT INTO parcel (id) VALUES (3)")


class TestUpdate:
    @pytest.mark.parametrize(
        ("assigned", "wanted"),
        [
            ("total = 20", (20, 20)),
            ("amount = 20", (20, 20)),
            ("total = 20, amount = 30", (30, 30)),
            ("total = NULL", (None, None)),
            ("amount = NULL", (None, None)),
            ("total = total + 1", (11, 11)),
            ("amount = amount + 1", (11, 11)),
            ("note = 'x'", (10, 10)),
            ("total = 10, amount = 30", (30, 30)),
            ("total = 30, amount = 10", (30, 30)),
        ],
    )
    def test_the_column_that_changed_wins_and_the_new_one_if_both_did(
        self, parcel: Parcel, assigned: str, wanted: tuple[int | None, ...]
    ) -> None:
        parcel.run("UPDATE parcel SET amount = 10")
        parcel.run(f"UPDATE parcel SET {assigned}")
        assert parcel.row() == wanted

    @pytest.mark.parametrize("assigned", ["note = 'x'", "total = 10", "amount = NULL", "id = 1"])
    def test_a_row_that_was_not_filled_yet_is_filled_when_it_is_touched(
        self, parcel: Parcel, assigned: str
    ) -> None:
        assert parcel.row() == (10, None)
        parcel.run(f"UPDATE parcel SET {assigned}")
        assert parcel.row() == (10, 10)

    def test_new_code_writes_a_row_that_was_not_filled_yet(self, parcel: Parcel) -> None:
        parcel.run("UPDATE parcel SET amount = 3")
        assert parcel.row() == (3, 3)

    def test_the_fill_of_the_backfill_does_not_undo_what_new_code_wrote(
        self, parcel: Parcel
    ) -> None:
        parcel.run("UPDATE parcel SET amount = 3")
        parcel.run("UPDATE parcel SET amount = total WHERE amount IS DISTINCT FROM total")
        assert parcel.row() == (3, 3)

    def test_an_update_that_waited_for_another_one_sees_its_columns(
        self, database: BaseDatabaseWrapper
    ) -> None:
        """READ COMMITTED evaluates the second one again over the first one's row."""
        with database.schema_editor(atomic=False) as editor, runner(editor) as own:
            parcel = begin(own)
            parcel.run("UPDATE parcel SET note = NULL")
            pid = pid_of(database)

            def commit() -> None:
                wait_until_it_waits(pid)
                other.commit()

            with (
                holding("UPDATE parcel SET amount = 3 WHERE id = 1") as other,
                ThreadPoolExecutor(1) as pool,
            ):
                committing = pool.submit(commit)
                parcel.run("UPDATE parcel SET total = total + 1 WHERE id = 1")
                committing.result()
            assert parcel.row() == (4, 4)

    def test_two_pairs_of_one_table_do_not_mix(self, means: Runner) -> None:
        parcel = Parcel(means)
        parcel.run("CREATE TABLE parcel (id int, total int, code int)")
        parcel.run("INSERT INTO parcel VALUES (1, 10, 20)")
        parcel.sync(total="amount", code="label")
        every = "total, amount, code, label"
        parcel.run("UPDATE parcel SET total = 11, label = 21")
        assert parcel.row(columns=every) == (11, 11, 21, 21)
        parcel.run("UPDATE parcel SET amount = 12")
        assert parcel.row(columns=every) == (12, 12, 21, 21)
        parcel.run("INSERT INTO parcel (id, amount, code) VALUES (2, 1, 2)")
        assert parcel.row(2, every) == (1, 1, 2, 2)


class TestOtherStatements:
    def test_copy_fires_it(self, parcel: Parcel) -> None:
        with parcel.connection.connection.cursor() as cursor:
            with cursor.copy("COPY parcel (id, total) FROM STDIN") as copy:
                copy.write_row((2, 5))
            with cursor.copy("COPY parcel (id, amount) FROM STDIN") as copy:
                copy.write_row((3, 6))
        assert parcel.row(2) == (5, 5)
        assert parcel.row(3) == (6, 6)

    @pytest.mark.parametrize("inserted", ["total", "amount"])
    @pytest.mark.parametrize("assigned", ["total", "amount"])
    @pytest.mark.parametrize("excluded", ["total", "amount"])
    def test_on_conflict_do_update_finds_both_columns_in_excluded(
        self, parcel: Parcel, inserted: str, assigned: str, excluded: str
    ) -> None:
        parcel.run(
            f"INSERT INTO parcel (id, {inserted}) VALUES (1, 20) ON CONFLICT (id)"
            f" DO UPDATE SET {assigned} = EXCLUDED.{excluded}"
        )
        assert parcel.row() == (20, 20)

    def test_merge_fires_it_for_each_kind_of_action(self, parcel: Parcel) -> None:
        parcel.run(
            "MERGE INTO parcel USING (VALUES (1, 20), (2, 30)) AS v (id, total) ON parcel.id = v.id"
            " WHEN MATCHED THEN UPDATE SET total = v.total"
            " WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (v.id, v.total)"
        )
        assert parcel.row(1) == (20, 20)
        assert parcel.row(2) == (30, 30)

    def test_insert_from_a_query_and_update_from_another_table_fire_it(
        self, parcel: Parcel
    ) -> None:
        parcel.run("INSERT INTO parcel (id, total) SELECT n, n FROM generate_series(2, 3) n")
        parcel.run(
            "UPDATE parcel SET amount = v.n FROM (VALUES (2, 7)) v (id, n) WHERE parcel.id = v.id"
        )
        assert [parcel.row(2), parcel.row(3)] == [(7, 7), (3, 3)]

    def test_returning_and_for_update_see_both_columns(self, parcel: Parcel) -> None:
        sql = "INSERT INTO parcel (id, total) VALUES (2, 5) RETURNING amount"
        assert value(parcel.connection, sql) == 5

    def test_a_replication_role_of_replica_does_not_switch_it_off(self, parcel: Parcel) -> None:
        """As in sessions that apply a logical replication stream, and in pg_restore."""
        parcel.run("SET session_replication_role = replica")
        parcel.run("INSERT INTO parcel (id, total) VALUES (2, 5)")
        parcel.run("UPDATE parcel SET total = 11 WHERE id = 1")
        assert parcel.row(2) == (5, 5)
        assert parcel.row(1) == (11, 11)

    def test_an_empty_search_path_does_not_break_it(self, parcel: Parcel) -> None:
        parcel.run("SET search_path = ''")
        parcel.run("INSERT INTO public.parcel (id, total) VALUES (2, 5)")
        parcel.run("UPDATE public.parcel SET amount = 6 WHERE id = 2")
        parcel.run("RESET search_path")
        assert parcel.row(2) == (6, 6)


OTHERS_TRIGGER = """
    CREATE FUNCTION others() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {body} RETURN new; END $$
"""


class TestOtherTriggers:
    @pytest.mark.parametrize("name", ["a_first", "pgtrigger_mine_a1b2c", "zz_last", "Z"])
    @pytest.mark.parametrize("column", ["total", "amount"])
    def test_what_an_application_s_trigger_sets_reaches_the_other_column(
        self, parcel: Parcel, name: str, column: str
    ) -> None:
        parcel.run("UPDATE parcel SET note = NULL")
        parcel.run(OTHERS_TRIGGER.format(body=f"new.{column} := 99;"))
        parcel.run(
            f"CREATE TRIGGER {quote(name)} BEFORE INSERT OR UPDATE ON parcel FOR EACH ROW"
            " EXECUTE FUNCTION others()"
        )
        parcel.run("INSERT INTO parcel (id, note) VALUES (2, 'x')")
        parcel.run("UPDATE parcel SET note = 'x' WHERE id = 1")
        assert parcel.row(2) == (99, 99)
        assert parcel.row(1) == (99, 99)

    def test_a_trigger_after_the_row_sees_both_columns(self, parcel: Parcel) -> None:
        parcel.run("CREATE TABLE log (total int, amount int)")
        parcel.run(OTHERS_TRIGGER.format(body="INSERT INTO log VALUES (new.total, new.amount);"))
        parcel.run(
            "CREATE TRIGGER logs AFTER INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION others()"
        )
        parcel.run("INSERT INTO parcel (id, amount) VALUES (2, 5)")
        assert value(parcel.connection, "SELECT (total, amount)::text FROM log") == "(5,5)"

    def test_filling_comes_before_keeping_in_sync(self, parcel: Parcel) -> None:
        """A column may become NOT NULL while it is renamed by another migration."""
        table = Catalog(parcel.connection).table("parcel")
        for statement in fill_trigger(table, "total", "7").create():
            parcel.run(statement)
        parcel.run("INSERT INTO parcel (id, note) VALUES (2, 'old code')")
        assert parcel.row(2) == (7, 7)


# Values that are equal and yet not the same, or of types that have no equality at all.
LOOSE = {
    "numeric": ("numeric", "1.0", "1.00"),
    "interval": ("interval", "1 day", "24 hours"),
    "float8": ("double precision", "-0.0", "0.0"),
    "bpchar": ("char(3)", "a", "b"),
    "json": ("json", '{"a": 1}', '{"a":  1}'),
    "jsonb": ("jsonb", "1.0", "1.00"),
    "xmlish_point": ("point", "(1,2)", "(1,3)"),
    "box_of_equal_area": ("box", "(2,2),(0,0)", "(4,1),(0,0)"),
    "array": ("numeric[]", "{1.0}", "{1.00}"),
    "array_of_json": ("json[]", '{"{}"}', '{"{ }"}'),
    "range": ("numrange", "[1.0,2)", "[1.00,2)"),
    "inet": ("inet", "10.0.0.1/8", "10.0.0.1/16"),
    "timetz": ("timetz", "12:00+01", "11:00+00"),
    "bit": ("bit varying(5)", "101", "1010"),
    "tsvector": ("tsvector", "'a':1", "'a':2"),
    "text": ("text", "a", "A"),
    "long_text": ("text", "x" * 9000, "x" * 8999 + "y"),
    "bytea": ("bytea", r"\x00", r"\x0000"),
    "own_enum": ("mood", "sad", "happy"),
    "own_domain_over_json": ("odd", "1", "1.0"),
    "own_row_type": ("pair", "(1.0,)", "(1.00,)"),
}


class TestLooseEquality:
    @pytest.mark.parametrize("kind", LOOSE)
    def test_a_change_of_the_image_reaches_the_other_column(self, means: Runner, kind: str) -> None:
        type_, before, after = LOOSE[kind]
        parcel = Parcel(means)
        parcel.run("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        parcel.run("CREATE DOMAIN odd AS json")
        parcel.run("CREATE TYPE pair AS (a numeric, b json)")
        parcel.run(f"CREATE TABLE parcel (id int, total {type_}, note text)")
        parcel.run("INSERT INTO parcel VALUES (1, %s)", [before])
        pairs = parcel.sync()
        text = "total::text, amount::text"
        same = f"SELECT count(*) FROM parcel WHERE {pairs.where_different}".replace("%", "%%")
        parcel.run("UPDATE parcel SET note = 'x'")
        filled, again = parcel.row(columns=text)
        assert filled == again
        for column in ("total", "amount"):
            for given in (after, before, None, before):
                parcel.run(f"UPDATE parcel SET {column} = %s", [given])
                one, two = parcel.row(columns=text)
                assert one == two, (column, given)
                assert value(parcel.connection, same) == 0
            last, _ = parcel.row(columns=text)
            assert last == filled
        # The fill of the backfill leaves a row alone that needs nothing.
        assert value(parcel.connection, same) == 0


class TestNames:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("To%tal", 'am"ount'),
            ("year", "current_date"),
            ("NEW", "OLD"),
            ("r", "tg_op"),
            ("ä" * 31, "é" * 31),
            ("$dsm$", "%s"),
        ],
    )
    def test_columns_of_any_name_are_kept_in_sync(self, means: Runner, old: str, new: str) -> None:
        parcel = Parcel(means)
        # Without parameters nothing is interpolated, so % stays as it is.
        parcel.run(
            f"CREATE TABLE parcel (id int, {quote(old)} int, CONSTRAINT u UNIQUE ({quote(old)}))"
        )
        pairs = parcel.sync(**{old: new})
        copy_indexes(means, pairs)
        parcel.run(f"INSERT INTO parcel (id, {quote(old)}) VALUES (1, 10)")
        parcel.run(f"INSERT INTO parcel (id, {quote(new)}) VALUES (2, 5)")
        parcel.run(f"UPDATE parcel SET {quote(old)} = 11 WHERE id = 1")
        every = f"SELECT ARRAY[{quote(old)}, {quote(new)}] FROM parcel ORDER BY id"
        with parcel.connection.cursor() as cursor:
            cursor.execute(every)
            assert cursor.fetchall() == [([11, 11],), ([5, 5],)]

    def test_tables_of_the_same_name_in_two_schemas_have_a_trigger_each(
        self, means: Runner
    ) -> None:
        parcel = Parcel(means)
        parcel.run('CREATE SCHEMA "Mixed 5%"')
        catalog = Catalog(means.connection)
        for schema in ("public", "Mixed 5%"):
            parcel.run(f"CREATE TABLE {quote(schema)}.parcel (id int, total int)")
            table = catalog.find_table(f'"{schema}"."parcel"')
            assert table is not None
            column = catalog.column(table, "total")
            assert column is not None
            add_columns(means, Pairs(table, ((column, "amount"),)))
        for schema in ("public", "Mixed 5%"):
            parcel.run(f"INSERT INTO {quote(schema)}.parcel (id, total) VALUES (1, 5)")
            found = f"SELECT amount FROM {quote(schema)}.parcel"
            assert value(means.connection, found) == 5


class TestRunningAgain:
    def test_adding_the_columns_again_changes_nothing(self, parcel: Parcel) -> None:
        columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'parcel'::regclass"
        before = value(parcel.connection, columns)
        parcel.sync()
        assert value(parcel.connection, columns) == before
        parcel.run("INSERT INTO parcel (id, total) VALUES (2, 5)")
        assert parcel.row(2) == (5, 5)

    def test_adding_the_columns_again_enables_a_trigger_that_was_disabled(
        self, parcel: Parcel
    ) -> None:
        parcel.run("ALTER TABLE parcel DISABLE TRIGGER USER")
        parcel.sync()
        parcel.run("INSERT INTO parcel (id, total) VALUES (2, 5)")
        assert parcel.row(2) == (5, 5)


class TestPrivileges:
    """The trigger runs with the rights of whoever writes."""

    @pytest.fixture
    def writer(self, means: Runner) -> Any:
        parcel = Parcel(means)
        role = f"writer_{pid_of(means.connection)}"
        parcel.run("CREATE TABLE parcel (id int PRIMARY KEY, total text UNIQUE, note text)")
        parcel.run("CREATE UNIQUE INDEX lowered ON parcel (lower(total)) WHERE note IS NULL")
        parcel.run(f"CREATE ROLE {role}")
        return parcel, role

    def test_a_role_that_may_only_insert_still_can(self, writer: tuple[Parcel, str]) -> None:
        parcel, role = writer
        parcel.run(f"GRANT INSERT ON parcel TO {role}")
        copy_indexes(parcel.means, parcel.sync())
        parcel.run(f"SET ROLE {role}")
        parcel.run("INSERT INTO parcel (id, total) VALUES (2, 'x')")
        parcel.run("RESET ROLE")
        assert parcel.row(2) == ("x", "x")

    def test_a_role_with_rights_on_some_columns_only_can_write_those(
        self, writer: tuple[Parcel, str]
    ) -> None:
        parcel, role = writer
        parcel.run(f"GRANT INSERT (id, total), UPDATE (total), SELECT (id) ON parcel TO {role}")
        copy_indexes(parcel.means, parcel.sync())
        parcel.run(f"SET ROLE {role}")
        parcel.run("INSERT INTO parcel (id, total) VALUES (2, 'x')")
        parcel.run("UPDATE parcel SET amount = 'y' WHERE id = 2")
        parcel.run("RESET ROLE")
        assert parcel.row(2) == ("y", "y")


class TestUniqueKeys:
    """The part of the trigger that lets one transaction at a time insert a new key."""

    @pytest.mark.parametrize(
        "index",
        [
            "CREATE UNIQUE INDEX u ON parcel (total)",
            "CREATE UNIQUE INDEX u ON parcel (total, note)",
            "CREATE UNIQUE INDEX u ON parcel (lower(total))",
            "CREATE UNIQUE INDEX u ON parcel (total) WHERE note IS NULL",
            "CREATE UNIQUE INDEX u ON parcel (total) NULLS NOT DISTINCT",
            "CREATE UNIQUE INDEX u ON parcel (total) INCLUDE (note)",
            "CREATE UNIQUE INDEX u ON parcel (total DESC, coalesce(note, 'x'))",
            'CREATE UNIQUE INDEX u ON parcel (total COLLATE "C")',
            "ALTER TABLE parcel ADD CONSTRAINT u UNIQUE (total) DEFERRABLE",
            "CREATE UNIQUE INDEX u ON parcel (normal(total))",
            "CREATE UNIQUE INDEX u ON parcel (total) WHERE normal(note) = 'x'",
        ],
    )
    @pytest.mark.parametrize("path", ["public", "", "elsewhere"])
    def test_rows_can_be_written_whatever_the_index_and_the_search_path(
        self, means: Runner, index: str, path: str
    ) -> None:
        """A trigger must never make a statement fail that worked before the migration."""
        parcel = Parcel(means)
        parcel.run("CREATE SCHEMA elsewhere")
        parcel.run(
            "CREATE FUNCTION normal(text) RETURNS text IMMUTABLE LANGUAGE SQL RETURN lower($1)"
        )
        parcel.run("CREATE TABLE parcel (id int PRIMARY KEY, total text, note text)")
        parcel.run(index)
        copy_indexes(means, parcel.sync())
        parcel.run(f"SET search_path = {path or chr(39) * 2}")
        parcel.run("INSERT INTO public.parcel (id, total) VALUES (2, 'A')")
        parcel.run("INSERT INTO public.parcel (id, amount) VALUES (3, 'b')")
        parcel.run("INSERT INTO public.parcel (id, note) VALUES (4, 'x')")
        parcel.run("UPDATE public.parcel SET total = 'c', note = 'x' WHERE id = 3")
        parcel.run("RESET search_path")
        assert [parcel.row(n) for n in (2, 3, 4)] == [("A", "A"), ("c", "c"), (None, None)]
