"""Indexes of partitioned tables: named as PostgreSQL names them, resumed anywhere, never half left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, connection, models, transaction
from django.db.models import Index, Value
from django.db.models.functions import Coalesce, Upper

from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.builds import build_on_partitions
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.runner import Runner, runner
from tests.kit.case import Case, define
from tests.kit.databases import connect
from tests.kit.kill import wait_until
from tests.kit.schema import diff, fingerprint
from tests.kit.statements import watch_changes
from tests.operations.started import Started, started
from tests.postgres.sessions import holding

TABLE = "caseapp_order"
LONG = "a_partition_whose_name_takes_up_every_one_of_the_63_bytes_there"
PARTITIONED = (
    f"ALTER TABLE {TABLE} RENAME TO was",
    f"CREATE TABLE {TABLE} (LIKE was INCLUDING IDENTITY INCLUDING DEFAULTS, PRIMARY KEY (id))"
    " PARTITION BY RANGE (id)",
    f"CREATE TABLE part_one PARTITION OF {TABLE} FOR VALUES FROM (MINVALUE) TO (3)",
    f'CREATE TABLE crm."Part Two" PARTITION OF {TABLE} FOR VALUES FROM (3) TO (1000)'
    " PARTITION BY HASH (id)",
    'CREATE TABLE part_two_a PARTITION OF crm."Part Two" FOR VALUES WITH (MODULUS 2, REMAINDER 0)',
    f'CREATE TABLE {LONG} PARTITION OF crm."Part Two" FOR VALUES WITH (MODULUS 2, REMAINDER 1)',
    f"INSERT INTO {TABLE} OVERRIDING SYSTEM VALUE SELECT * FROM was",
    "DROP TABLE was",
    f"SELECT setval(pg_get_serial_sequence('{TABLE}', 'id'), 900)",
)
INDEXES = {
    "one_column": lambda: Index(fields=["number"], name="order_number"),
    "expressions": lambda: Index(
        Upper("code").desc(), Coalesce("number", Value(0)), name="order_number"
    ),
    "partial_and_covering": lambda: Index(
        fields=["-number"],
        name="order_number",
        include=["code"],
        condition=models.Q(code__startswith='100% ON "x"'),
    ),
    "odd_name": lambda: Index(fields=["number"], name="It's ON ONLY %s"),
}


def adding(index: Index | None = None) -> Case:
    """Return a case that adds an index of one name."""
    wanted = index or INDEXES["one_column"]()

    def order(meta: dict[str, Any] | None = None) -> None:
        define("Order", meta=meta, number=models.IntegerField(), code=models.TextField())

    return Case("add an index", order, lambda: order({"indexes": [wanted]}))


@contextmanager
def partitioned(*sql: str, index: Index | None = None) -> Iterator[Started]:
    with started(adding(index), *PARTITIONED, *sql) as change:
        yield change


def wanted(change: Started) -> dict[str, str]:
    """Return the schema that the statement of plain Django makes."""
    with transaction.atomic():
        with connection.schema_editor(atomic=False) as editor:
            model = change.chain.case.model("new", "order")
            editor.add_index(model, model._meta.indexes[0])
        found = fingerprint(connection)
        transaction.set_rollback(True)
    return found


@contextmanager
def means() -> Iterator[Runner]:
    with connection.schema_editor(atomic=False) as editor, runner(editor) as found:
        yield found


def add_unique(columns: str = "id, number", more: str = "") -> None:
    with means() as found:
        statement = f"ALTER TABLE {TABLE} ADD CONSTRAINT uq UNIQUE ({columns}) {more}".strip()
        build_on_partitions(found, found.catalog.table(TABLE), "uq", statement)


class Stop(Exception):
    """Ends a run between two statements, as a kill would."""


def stop_before(number: int) -> Any:
    seen = iter(range(number))

    def look(sql: str) -> None:
        if "django_" not in sql and next(seen, None) is None:
            raise Stop

    return look


@pytest.mark.parametrize("kind", INDEXES)
def test_all_indexes_are_valid_and_named_as_plain_django_leaves_them(kind: str) -> None:
    with partitioned(index=INDEXES[kind]()) as change:
        expected = wanted(change)
        change.expand()
        assert diff(fingerprint(connection), expected) == []
        change.back()
        change.assert_untouched()


def test_every_partition_is_built_concurrently_and_nothing_else_reads_a_table() -> None:
    seen: list[str] = []
    with partitioned() as change, watch_changes(connection, before=seen.append):
        change.expand()
    builds = [sql for sql in seen if sql.startswith("CREATE INDEX")]
    whole = [sql for sql in builds if " ON ONLY " in sql]
    assert len(whole) == 2, builds
    assert len(builds) == 5, builds
    assert all("INDEX CONCURRENTLY ON" in sql for sql in builds if sql not in whole)


def test_an_empty_table_is_built_at_once() -> None:
    seen: list[str] = []
    with partitioned(f"DELETE FROM {TABLE}") as change:
        expected = wanted(change)
        with watch_changes(connection, before=seen.append):
            change.expand()
        assert diff(fingerprint(connection), expected) == []
    assert not any("ONLY" in sql for sql in seen), seen


@pytest.mark.parametrize("number", range(9))
def test_a_build_that_was_stopped_between_two_statements_goes_on(number: int) -> None:
    with partitioned() as change:
        expected = wanted(change)
        stopped = False
        try:
            with watch_changes(connection, before=stop_before(number)):
                change.expand()
        except Stop:
            stopped = True
        # Eight statements: two without parts, three builds, four attachments less one.
        assert stopped == (number < 9)
        change.expand()
        assert diff(fingerprint(connection), expected) == []


@pytest.mark.parametrize("number", range(1, 9))
def test_what_was_begun_is_gone_after_the_way_back(number: int) -> None:
    with partitioned() as change:
        with pytest.raises(Stop), watch_changes(connection, before=stop_before(number)):
            change.expand()
        change.expand()
        change.back()
        change.assert_untouched()


def test_an_invalid_leftover_of_a_partition_is_dropped_and_built_anew() -> None:
    with partitioned() as change:
        expected = wanted(change)
        change.run(f"CREATE INDEX order_number ON ONLY {TABLE} (number)")
        with (
            holding("LOCK TABLE part_one IN ROW EXCLUSIVE MODE"),
            connect(application_name="builder", options="-c statement_timeout=300ms") as builder,
            pytest.raises(Exception, match="statement timeout"),
        ):
            builder.execute("CREATE INDEX CONCURRENTLY ON part_one (number)")
        left = change.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
        assert ("part_one_number_idx",) in left
        change.expand()
        assert diff(fingerprint(connection), expected) == []


def test_a_parent_without_all_its_parts_is_completed_and_never_dropped() -> None:
    with partitioned(f"CREATE INDEX order_number ON ONLY {TABLE} (number)") as change:
        oid = "SELECT 'order_number'::regclass::oid::bigint"
        begun = change.value(oid)
        change.expand()
        assert change.value(oid) == begun
        assert change.value(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'order_number'::regclass"
        )


def test_a_parent_of_another_definition_is_reported_and_left() -> None:
    with partitioned(f"CREATE INDEX order_number ON ONLY {TABLE} (code)") as change:
        with pytest.raises(InvalidIndex, match="another definition"):
            change.expand()
        change.assert_untouched()


def test_an_index_that_a_dba_has_built_on_a_partition_becomes_its_part() -> None:
    with partitioned("CREATE INDEX by_hand ON part_one (number)") as change:
        change.expand()
        parts = change.rows("SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")
        assert ("by_hand",) in parts
        assert change.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'part_one'") == 2


def test_a_partition_that_is_created_meanwhile_brings_its_part_along() -> None:
    with partitioned() as change:
        added: list[str] = []

        def add(sql: str) -> None:
            if "ATTACH" in sql and not added:
                added.append(sql)
                with connect(str(connection.settings_dict["NAME"])) as dba:
                    dba.execute(
                        f"CREATE TABLE late PARTITION OF {TABLE} FOR VALUES FROM (1000) TO (2000)"
                    )

        with watch_changes(connection, before=add):
            change.expand()
        assert added
        assert change.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'late'") == 2
        assert change.value(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'order_number'::regclass"
        )


def test_a_foreign_table_among_the_partitions_is_refused_before_anything_is_done() -> None:
    with started(
        adding(),
        f"ALTER TABLE {TABLE} RENAME TO was",
        f"CREATE TABLE {TABLE} (LIKE was) PARTITION BY RANGE (id)",
        f"CREATE TABLE part_one PARTITION OF {TABLE} DEFAULT PARTITION BY RANGE (number)",
    ) as change:
        change.run("CREATE FOREIGN DATA WRAPPER elsewhere")
        change.run("CREATE SERVER other FOREIGN DATA WRAPPER elsewhere")
        change.run("CREATE FOREIGN TABLE far PARTITION OF part_one DEFAULT SERVER other")
        with pytest.raises(UnsupportedChange, match=r"far.*foreign table.*DETACH"):
            change.expand()
        assert change.value("SELECT to_regclass('order_number')") is None


class TestUniqueConstraints:
    @pytest.mark.parametrize(
        ("columns", "more"),
        [
            ("id, number", ""),
            ("number, id", "DEFERRABLE INITIALLY DEFERRED"),
            ("id, number", "DEFERRABLE INITIALLY IMMEDIATE"),
            ("id, code", "INCLUDE (number)"),
        ],
        ids=["plain", "deferred", "immediate", "covering"],
    )
    def test_names_and_definitions_are_those_of_the_plain_statement(
        self, columns: str, more: str
    ) -> None:
        with partitioned() as change:
            with transaction.atomic():
                columns_, _, include = f"({columns}) {more}".partition(" DEFER")
                how = f" DEFER{include}" if include else ""
                change.run(f"ALTER TABLE {TABLE} ADD CONSTRAINT uq UNIQUE {columns_}{how}")
                expected = fingerprint(connection)
                transaction.set_rollback(True)
            with means() as found:
                table = found.catalog.table(TABLE)
                build_on_partitions(
                    found,
                    table,
                    "uq",
                    f"ALTER TABLE {TABLE} ADD CONSTRAINT uq UNIQUE {columns_}{how}",
                )
            assert diff(fingerprint(connection), expected) == []

    def test_taken_names_are_numbered_on_as_the_plain_statement_does(self) -> None:
        with partitioned(f"ALTER TABLE {TABLE} ADD CONSTRAINT first UNIQUE (id, number)") as change:
            with transaction.atomic():
                change.run(f"ALTER TABLE {TABLE} ADD CONSTRAINT uq UNIQUE (id, number)")
                expected = fingerprint(connection)
                transaction.set_rollback(True)
            add_unique()
            assert diff(fingerprint(connection), expected) == []

    @pytest.mark.parametrize("number", range(1, 12))
    def test_one_that_was_stopped_goes_on(self, number: int) -> None:
        with partitioned() as change:
            with transaction.atomic():
                change.run(f"ALTER TABLE {TABLE} ADD CONSTRAINT uq UNIQUE (id, number)")
                expected = fingerprint(connection)
                transaction.set_rollback(True)
            with pytest.raises(Stop), watch_changes(connection, before=stop_before(number)):
                add_unique()
            add_unique()
            assert diff(fingerprint(connection), expected) == []

    def test_nothing_is_left_of_one_that_met_equal_keys(self) -> None:
        with (
            started(
                adding(),
                f"ALTER TABLE {TABLE} RENAME TO was",
                f"CREATE TABLE {TABLE} (LIKE was) PARTITION BY RANGE (id)",
                f"CREATE TABLE part_one PARTITION OF {TABLE} FOR VALUES FROM (MINVALUE) TO (3)",
                f"CREATE TABLE part_two PARTITION OF {TABLE} FOR VALUES FROM (3) TO (MAXVALUE)",
                f"INSERT INTO {TABLE} SELECT * FROM was",
                f"INSERT INTO {TABLE} SELECT * FROM was",
            ) as change,
        ):
            with pytest.raises(ViolatingRows, match="equal keys"):
                add_unique()
            change.assert_untouched()


class TestBeingBuilt:
    """A build under way is seen by roles that may see nothing of other roles' sessions."""

    ROLE = "dsm_test_nobody"

    @contextmanager
    def building(self, statement: str, table: str = "part_one") -> Iterator[None]:
        """Another role in the middle of a concurrent build, kept there by a third one."""
        with (
            holding(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE") as third,
            connect(application_name="builder") as builder,
            ThreadPoolExecutor(1) as pool,
        ):
            under_way = pool.submit(builder.execute, statement)
            found = "SELECT FROM pg_stat_progress_create_index WHERE pid = %s AND phase LIKE %s"

            def builds() -> bool:
                with connect() as session:
                    row = session.execute(found, [builder.info.backend_pid, "waiting%"])
                    return row.fetchone() is not None

            wait_until(builds, lambda: "the other session does not build")
            try:
                yield
            finally:
                third.rollback()
                under_way.result()

    @pytest.fixture
    def nobody(self, database_access: None) -> Iterator[str]:
        with connect("postgres") as admin:
            admin.execute(f"DROP ROLE IF EXISTS {self.ROLE}")
            admin.execute(f"CREATE ROLE {self.ROLE} LOGIN")
            yield self.ROLE
            admin.execute(f"DROP ROLE {self.ROLE}")

    def test_a_role_without_privileges_sees_a_build_of_another_role(self, nobody: str) -> None:
        with started(adding()) as change:
            with self.building(
                f"CREATE INDEX CONCURRENTLY order_number ON {TABLE} (number)", TABLE
            ):
                change.run("SET ROLE " + nobody)
                hidden = change.value(
                    "SELECT count(index_relid) FROM pg_stat_progress_create_index"
                )
                assert hidden == 0
                catalog = Catalog(connection)
                index = catalog.index(catalog.table(TABLE), "order_number")
                change.run("RESET ROLE")
                assert index is not None
                assert (index.valid, index.being_built) == (False, True)
            index = catalog.index(catalog.table(TABLE), "order_number")
            assert index is not None
            assert (index.valid, index.being_built) == (True, False)

    def test_a_build_on_another_table_is_not_taken_for_one_of_this_table(self, nobody: str) -> None:
        with started(adding(), "CREATE TABLE other AS SELECT 1 AS n") as change:
            change.run(f"UPDATE {TABLE} SET code = 'same'")
            with pytest.raises(Error, match="could not create unique index"):
                change.run(f"CREATE UNIQUE INDEX CONCURRENTLY order_number ON {TABLE} (code)")
            with self.building("CREATE INDEX CONCURRENTLY other_n ON other (n)", "other"):
                change.run("SET ROLE " + nobody)
                catalog = Catalog(connection)
                index = catalog.index(catalog.table(TABLE), "order_number")
                change.run("RESET ROLE")
                assert index is not None
                assert (index.valid, index.being_built) == (False, False)

    def test_a_part_that_another_session_is_building_is_left_alone(self) -> None:
        with partitioned(f"CREATE INDEX order_number ON ONLY {TABLE} (number)") as change:
            with self.building("CREATE INDEX CONCURRENTLY ON part_one (number)"):
                with pytest.raises(InvalidIndex, match="being built by another session"):
                    change.expand()
                assert change.value("SELECT to_regclass('part_one_number_idx')") is not None
            change.expand()
            assert change.value(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'order_number'::regclass"
            )
