"""Wider keys: what is refused, what an open session notices, and that no reference goes unchecked."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection, models
from django.db.migrations import AlterField
from django.db.migrations.state import ModelState

from django_safemigrations.exceptions import DataDiffers, UnsupportedChange, ViolatingRows
from django_safemigrations.operations import (
    AddKeyColumns,
    BackfillKeyColumns,
    Contract,
    CopyKeyConstraints,
    CopyKeyIndexes,
    DropKeyColumns,
    Expand,
    SwapKeyColumns,
)
from tests.invariants.key_cases import children, referred, related, widen
from tests.kit.case import Case
from tests.kit.databases import connect
from tests.kit.locks import observe_locks
from tests.kit.statements import watch_changes
from tests.operations.started import OneOff, Started, started

ORDER = {"model_name": "order", "name": "id"}
LARGE = 3_000_000_000
STAGES = (AddKeyColumns, BackfillKeyColumns, CopyKeyIndexes, CopyKeyConstraints, SwapKeyColumns)
LONGEST = 0.3
"""Seconds: far less than any scan of the tables here would take under a blocking lock."""


def keyed(**more: Any) -> Case:
    return related("under test", **more)


@contextmanager
def under_way(case: Case, *sql: str) -> Iterator[tuple[Started, OneOff]]:
    """The time right before the swap: every copy is there."""
    with started(case, *sql) as change:
        run = change.operations()
        run.forwards(expand(*STAGES[:-1]))
        yield change, run


def expand(*stages: Any, kind: Any = models.BigAutoField) -> Expand:
    return Expand(
        state_operations=[AlterField("order", "id", kind(primary_key=True))],
        database_operations=[stage(**ORDER) for stage in stages],
    )


def contract() -> Contract:
    old = models.AutoField(primary_key=True)
    return Contract(database_operations=[DropKeyColumns(**ORDER, old_field=old)])


def type_of(change: Started, table: str, column: str = "id") -> str:
    return str(
        change.value(
            f"SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = '{table}'::regclass "
            f"AND attname = '{column}'"
        )
    )


class TestLargeKeys:
    def test_new_code_may_use_them_before_the_contract_and_after(self) -> None:
        with started(keyed()) as change:
            change.expand()
            change.run(f"INSERT INTO caseapp_order (id, number) VALUES ({LARGE}, 1)")
            change.run(f"INSERT INTO caseapp_line (order_id, place) VALUES ({LARGE}, 1)")
            change.run(f"UPDATE caseapp_order SET number = 2 WHERE id = {LARGE}")
            change.contract()
            assert change.value(f"SELECT number FROM caseapp_order WHERE id = {LARGE}") == 2
            assert change.value("SELECT max(order_id) FROM caseapp_line") == LARGE

    @pytest.mark.parametrize("contracted", [True, False])
    def test_the_way_back_says_how_many_there_are_and_changes_nothing(
        self, contracted: bool
    ) -> None:
        with started(keyed()) as change:
            change.expand()
            if contracted:
                change.contract()
            change.run(f"INSERT INTO caseapp_order (id, number) VALUES ({LARGE}, 1)")
            before = change.content()
            with pytest.raises(ViolatingRows, match=rf"1 row .*integer can't hold \(id = {LARGE}"):
                change.back()
            assert change.content().differences(before) == []

    def test_the_way_back_works_when_they_are_gone(self) -> None:
        with started(keyed()) as change:
            change.expand()
            change.contract()
            change.run(f"INSERT INTO caseapp_order (id, number) VALUES ({LARGE}, 1)")
            with pytest.raises(ViolatingRows):
                change.back()
            change.run(f"DELETE FROM caseapp_order WHERE id = {LARGE}")
            change.back()
            change.assert_untouched()

    def test_a_sequence_that_is_past_the_type_is_named(self) -> None:
        with started(keyed()) as change:
            change.expand()
            change.run(f"SELECT setval('caseapp_order_id_seq', {LARGE})")
            with pytest.raises(
                UnsupportedChange, match=f"caseapp_order_id_seq has reached {LARGE}"
            ):
                change.back()
            assert type_of(change, "caseapp_order") == "bigint"
            change.run("SELECT setval('caseapp_order_id_seq', 100)")
            change.back()
            change.assert_untouched()
            change.run("INSERT INTO caseapp_order (number) VALUES (1)")
            assert change.value("SELECT max(id) FROM caseapp_order") == 101

    def test_one_that_arrives_on_the_way_back_fails_no_request(self) -> None:
        with started(keyed()) as change:
            change.expand()
            inserted: list[str] = []

            def insert(sql: str) -> None:
                if "ENABLE ALWAYS TRIGGER" in sql and not inserted:
                    inserted.append(sql)
                    with connect() as session:
                        session.execute(
                            f"INSERT INTO caseapp_order (id, number) VALUES ({LARGE}, 1)"
                        )

            with watch_changes(connection, durable=insert), pytest.raises(DataDiffers):
                change.back()
            assert inserted
            assert type_of(change, "caseapp_order") == "bigint"
            change.contract()
            assert change.value("SELECT max(id) FROM caseapp_order") == LARGE


class TestReferences:
    def test_are_checked_at_every_step(self) -> None:
        problems: list[str] = []
        looks = 0

        def look(sql: str) -> None:
            nonlocal looks
            if "django_safemigrations" in sql or "django_migrations" in sql:
                return
            looks += 1
            with connect() as session:
                for statement in (
                    "INSERT INTO caseapp_line (order_id, place) VALUES (999999, 1)",
                    "DELETE FROM caseapp_order WHERE id = (SELECT min(order_id) FROM caseapp_line)",
                ):
                    try:
                        session.execute(statement)
                    except psycopg.errors.ForeignKeyViolation:
                        continue
                    problems.append(f"{statement} was done after {sql}")

        with started(keyed()) as change, watch_changes(connection, durable=look):
            change.expand()
            change.contract()
            change.back()
        assert looks > 30
        assert problems == []

    def test_stay_deferred(self) -> None:
        def child_first(change: Started, key: int) -> None:
            with connect() as session, session.transaction():
                session.execute(f"INSERT INTO caseapp_line (order_id, place) VALUES ({key}, 1)")
                session.execute(f"INSERT INTO caseapp_order (id, number) VALUES ({key}, 1)")

        with under_way(keyed()) as (change, _):
            child_first(change, 5001)
            change.expand()
            child_first(change, 5002)
            change.contract()
            child_first(change, 5003)

    def test_of_another_app_change_their_type_too(self) -> None:
        with started(
            widen("alone under test", lambda kind: referred(kind)),
            "CREATE TABLE note (id bigint PRIMARY KEY, o integer REFERENCES caseapp_order)",
            "INSERT INTO note SELECT id, id FROM caseapp_order",
        ) as change:
            run = change.operations()
            run.states[-1].add_model(
                ModelState(
                    "notes",
                    "Note",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        (
                            "order",
                            models.ForeignKey("caseapp.Order", models.CASCADE, db_column="o"),
                        ),
                    ],
                    {"db_table": "note"},
                )
            )
            run.forwards(expand(*STAGES))
            run.forwards(contract())
            assert type_of(change, "note", "o") == "bigint"
            run.backwards()
            run.backwards()
            assert type_of(change, "note", "o") == "integer"
            assert change.objects("dsm_key") == {}

    def test_on_a_table_of_another_schema_change_where_plain_django_adds_a_second_one(self) -> None:
        case = keyed(table='crm"."Order', other='Mixed Schema"."Line')
        with started(case) as change:
            change.expand()
            change.contract()
            keys = change.rows(
                "SELECT convalidated FROM pg_constraint WHERE contype = 'f' "
                """AND conrelid = '"Mixed Schema"."Line"'::regclass"""
            )
            assert keys == [(True,)]
            assert type_of(change, '"Mixed Schema"."Line"', "order_id") == "bigint"
            change.back()
            change.assert_untouched()


@pytest.mark.parametrize(
    ("old", "new", "type_"),
    [
        (models.SmallAutoField, models.AutoField, "integer"),
        (models.SmallAutoField, models.BigAutoField, "bigint"),
        (models.SmallIntegerField, models.BigIntegerField, "bigint"),
    ],
)
def test_small_keys_get_wider_too(old: Any, new: Any, type_: str) -> None:
    with started(widen("small", referred, old=old, new=new)) as change:
        change.expand()
        change.contract()
        assert type_of(change, "caseapp_order") == type_of(change, "caseapp_line", "order_id")
        assert type_of(change, "caseapp_order") == type_
        change.back()
        change.assert_untouched()


class TestRefused:
    @pytest.mark.parametrize(
        ("sql", "named"),
        [
            ("CREATE VIEW numbers AS SELECT id FROM caseapp_order", "view numbers"),
            (
                "CREATE POLICY own ON caseapp_line USING (order_id > 0)",
                "policy own on table caseapp_line",
            ),
            (
                "CREATE TABLE part (id int PRIMARY KEY, o int REFERENCES caseapp_order) "
                "PARTITION BY RANGE (id)",
                "part.*partitioned",
            ),
            ("CREATE TABLE heir () INHERITS (caseapp_line)", "caseapp_line is .*inherits"),
            (
                "ALTER TABLE caseapp_order ADD CONSTRAINT apart EXCLUDE USING btree (id WITH =)",
                'exclusion constraint "apart"',
            ),
        ],
    )
    def test_what_a_second_column_could_not_have(self, sql: str, named: str) -> None:
        with started(keyed(), sql) as change:
            with pytest.raises(UnsupportedChange, match=named):
                change.expand()
            change.assert_untouched()

    def test_a_key_whose_last_change_has_not_ended(self) -> None:
        case = widen("small under test", referred, old=models.SmallAutoField, new=models.AutoField)
        with started(case) as change:
            run = change.operations()
            run.forwards(expand(*STAGES, kind=models.AutoField))
            with pytest.raises(UnsupportedChange, match="--phase contract"):
                run.forwards(expand(*STAGES))

    def test_a_trigger_function_of_another_role(self) -> None:
        with started(
            keyed(),
            "CREATE ROLE dsm_stranger",
            "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "ALTER FUNCTION strange OWNER TO dsm_stranger",
            "CREATE ROLE dsm_migrator",
            "GRANT ALL ON SCHEMA public TO dsm_migrator",
            "CREATE TRIGGER strange BEFORE INSERT ON caseapp_line FOR EACH ROW "
            "EXECUTE FUNCTION strange()",
        ) as change:
            try:
                change.run(
                    "DO $$ DECLARE t text; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relkind "
                    "IN ('r') AND relnamespace = 'public'::regnamespace LOOP EXECUTE format("
                    "'ALTER TABLE %I OWNER TO dsm_migrator', t); END LOOP; END $$"
                )
                change.run("SET ROLE dsm_migrator")
                with pytest.raises(UnsupportedChange, match=r"public\.strange\(\).*another role"):
                    change.expand()
            finally:
                change.run("RESET ROLE")
                change.run("DROP OWNED BY dsm_migrator, dsm_stranger CASCADE")
                change.run("DROP ROLE dsm_stranger, dsm_migrator")


def test_a_trigger_of_the_application_goes_on_working_in_open_sessions() -> None:
    """PL/pgSQL keeps the type of a column that it has compiled: "does not match that when …"."""
    function = (
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id > 0 THEN NEW.number := NEW.id + 1; END IF; RETURN NEW; END'"
    )
    trigger = (
        "CREATE TRIGGER noted BEFORE INSERT ON caseapp_order FOR EACH ROW EXECUTE FUNCTION noted()"
    )
    insert = "INSERT INTO caseapp_order (number) VALUES (0) RETURNING number - id"
    with started(keyed(), function, trigger) as change, connect() as session:
        for work in (None, change.expand, change.contract, change.back):
            if work is not None:
                work()
            assert session.execute(insert).fetchone() == (1,)


def test_copies_that_were_dropped_or_added_meanwhile_are_made_good() -> None:
    with started(keyed(), "CREATE INDEX by_hand ON caseapp_line (order_id, place)") as change:
        run = change.operations()
        run.forwards(expand(*STAGES[:-1]))
        change.run("DROP INDEX by_hand")
        change.run("CREATE INDEX another ON caseapp_line (place, order_id)")
        change.expand()
        assert list(change.objects("by_hand")) == []
        assert list(change.objects("index public.dsm_")) == []
        (definition,) = change.objects("another").values()
        assert "(place, order_id)" in definition


def test_sequence_goes_on_where_it_was_with_all_it_had() -> None:
    with started(
        keyed(),
        "ALTER SEQUENCE caseapp_order_id_seq INCREMENT BY 5 START WITH 7 CACHE 3",
        "ALTER TABLE caseapp_order ALTER COLUMN id SET GENERATED ALWAYS",
    ) as change:
        insert = "INSERT INTO caseapp_order (number) VALUES (1) RETURNING id"
        # The sessions take three numbers each.
        with connect() as session:
            first = session.execute(insert).fetchall()[0][0]
        change.expand()
        with connect() as session:
            assert session.execute(insert).fetchall() == [(first + 5 * 3,)]
        assert change.value("SELECT pg_get_serial_sequence('caseapp_order', 'id')") == (
            "public.caseapp_order_id_seq"
        )


class TestLocks:
    def test_none_is_held_for_a_scan(self) -> None:
        """On a table whose plain change would take seconds, from a second session."""
        case = widen("children under test", children)
        with started(case) as change:
            change.run(
                "INSERT INTO caseapp_place (number) SELECT n FROM generate_series(1, 60000) n"
            )
            change.run(
                "INSERT INTO caseapp_cafe (place_ptr_id, seats) SELECT id, 1 FROM caseapp_place p "
                "WHERE NOT EXISTS (SELECT FROM caseapp_cafe WHERE place_ptr_id = p.id)"
            )
            change.run(
                "INSERT INTO caseapp_waiter (cafe_id, number) "
                "SELECT place_ptr_id, 1 FROM caseapp_cafe"
            )
            name = str(connection.settings_dict["NAME"])
            connection.ensure_connection()
            pid = connection.connection.info.backend_pid
            with observe_locks(pid, name) as observed:
                change.expand()
                change.contract()
                change.back()
            assert type_of(change, "caseapp_waiter", "cafe_id") == "integer"
        slow = [str(held) for held in observed.held if held.seconds > LONGEST]
        assert slow == []
        assert observed.looks > 100

    def test_upserts_of_one_new_key_raise_next_to_nothing_while_two_indexes_are_in_step(
        self,
    ) -> None:
        """As for renamed unique columns, see `tests.operations.test_races.nearly_nothing`."""
        statement = (
            "INSERT INTO caseapp_order (id, number) VALUES (%s, %s) "
            "ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number"
        )
        with under_way(keyed(rows=0)) as (change, _):
            counted = race(
                lambda dice: (statement, [int(time.monotonic() * 500) % 2**31, dice.randrange(9)])
            )
            assert counted["done"] > 1000
            assert set(counted) <= {"done", "23505"}, counted
            assert counted["23505"] * 1000 <= counted["done"], counted
            change.expand()
            change.contract()


def race(statement: Callable[[random.Random], tuple[Any, list[Any]]]) -> Counter[str]:
    until = time.monotonic() + 2

    def work(number: int) -> Counter[str]:
        dice = random.Random(number)
        counted: Counter[str] = Counter()
        with connect() as session:
            while time.monotonic() < until:
                try:
                    session.execute(*statement(dice))
                    counted["done"] += 1
                except psycopg.Error as error:
                    counted[error.sqlstate or "?"] += 1
        return counted

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(work, range(8)), Counter())
