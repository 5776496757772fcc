"""Index builds that were interrupted, are under way elsewhere, or can't succeed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import Error, connection, models, transaction
from django.db.models import Index

from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.builds import build_index
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.names import copy_name
from django_safemigrations.postgres.runner import Runner, runner
from tests.kit.case import Case, define
from tests.kit.databases import admin, connect
from tests.kit.kill import wait_until
from tests.kit.statements import watch_changes
from tests.operations.started import Started, rename, started
from tests.postgres.sessions import holding

TABLE = "caseapp_order"
BUILD = f"CREATE INDEX CONCURRENTLY order_number ON {TABLE} (number)"


def adding(index: Index | None = None) -> Case:
    """Return a case that adds an index named order_number."""
    wanted = index or Index(fields=["number"], name="order_number")

    def order(meta: dict[str, Any] | None = None) -> None:
        define("Order", meta=meta, number=models.IntegerField(), code=models.TextField())

    return Case("add an index", order, lambda: order({"indexes": [wanted]}))


def oid(change: Started, name: str = "order_number") -> int | None:
    found = change.value(f"SELECT to_regclass('{quote(name)}')::oid::bigint")
    return int(found) if found is not None else None


def valid(change: Started, name: str = "order_number") -> bool:
    return bool(
        change.value(
            f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{quote(name)}'::regclass"
        )
    )


@contextmanager
def building(statement: str) -> Iterator[psycopg.Connection[Any]]:
    """Another session in the middle of a concurrent build, kept there by a third one's transaction."""
    with (
        holding(f"INSERT INTO {TABLE} (number, code) VALUES (-1, 'third')") as third,
        connect(application_name="builder") as builder,
        ThreadPoolExecutor(1) as pool,
    ):
        under_way = pool.submit(builder.execute, statement)
        waiting = "SELECT FROM pg_stat_progress_create_index WHERE pid = %s AND phase LIKE %s"
        wait_until(
            lambda: connect_once(waiting, [builder.info.backend_pid, "waiting%"]),
            lambda: "the other session does not build",
        )
        try:
            yield third
        finally:
            third.rollback()
            under_way.exception()


def connect_once(sql: str, params: list[Any]) -> bool:
    with connect() as session:
        return session.execute(sql, params).fetchone() is not None


class TestLeftovers:
    def test_the_leftover_of_a_failed_unique_build_is_dropped_and_the_index_built(self) -> None:
        with started(adding(), f"UPDATE {TABLE} SET code = 'same'") as change:
            with pytest.raises(Error, match="could not create unique index"):
                change.run(f"CREATE UNIQUE INDEX CONCURRENTLY order_number ON {TABLE} (code)")
            assert oid(change) is not None
            assert not valid(change)
            change.expand()
            assert valid(change)
            definition = change.objects("index public.order_number")["index public.order_number"]
            assert "(number)" in definition
            assert "UNIQUE" not in definition

    def test_the_leftover_of_a_killed_build_is_dropped_and_the_index_built(self) -> None:
        with started(adding()) as change:
            with building(BUILD):
                admin().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'builder' AND datname = %s",
                    [connection.settings_dict["NAME"]],
                )
                gone = "SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %s AND datname = current_database())"
                wait_until(lambda: connect_once(gone, ["builder"]), lambda: "it still builds")
            left_over = oid(change)
            assert left_over is not None
            assert not valid(change)
            change.expand()
            assert valid(change)
            assert oid(change) != left_over

    def test_the_leftover_of_a_copy_is_dropped_and_the_copy_built(self) -> None:
        case = rename(models.IntegerField(), values={"total": lambda n: n})
        with started(case, f"CREATE UNIQUE INDEX by_hand ON {TABLE} (total)") as change:
            copied = copy_name("by_hand", ["total"], ["amount"])
            with pytest.raises(ZeroDivisionError):
                self._expand_until(change, "CREATE UNIQUE INDEX")
            change.run(f"UPDATE {TABLE} SET code = 'same'")
            with pytest.raises(Error, match="could not create unique index"):
                change.run(f'CREATE UNIQUE INDEX CONCURRENTLY "{copied}" ON {TABLE} (code)')
            assert not valid(change, copied)
            change.expand()
            assert valid(change, copied)
            change.contract()
            definition = change.objects("index public.by_hand")["index public.by_hand"]
            assert "(amount)" in definition

    def _expand_until(self, change: Started, words: str) -> None:
        def stop(sql: str) -> None:
            if sql.startswith(words):
                raise ZeroDivisionError

        with watch_changes(connection, before=stop):
            change.expand()

    def test_a_valid_index_of_the_name_is_kept(self) -> None:
        with started(adding(), f"CREATE INDEX order_number ON {TABLE} (number)") as change:
            before = oid(change)
            change.expand()
            assert oid(change) == before

    def test_a_valid_index_of_another_definition_is_not_taken_for_ours(self) -> None:
        """Keeping it would leave a schema that is not the model's, and say nothing."""
        with started(adding(), f"CREATE INDEX order_number ON {TABLE} (code)") as change:
            try:
                change.expand()
            except (InvalidIndex, UnsupportedChange) as refused:
                assert "order_number" in str(refused)
                return
            definition = change.objects("index public.order_number")["index public.order_number"]
            assert "(number)" in definition

    def test_an_index_of_the_name_on_another_table_is_reported_and_not_touched(self) -> None:
        with started(
            adding(),
            "CREATE TABLE other (number int)",
            "CREATE INDEX order_number ON other (number)",
        ) as change:
            with pytest.raises(Exception, match="order_number"):
                change.expand()
            change.assert_untouched()


class TestBeingBuilt:
    def test_an_index_that_another_session_is_building_is_not_dropped(self) -> None:
        with started(adding()) as change:
            with building(BUILD) as third:
                begun = oid(change)
                with pytest.raises(InvalidIndex) as caught:
                    change.expand()
                assert "order_number" in str(caught.value)
                assert "another session" in str(caught.value)
                assert oid(change) == begun
                third.rollback()
            assert valid(change)
            change.expand()
            assert oid(change) == begun


class TestUniqueBuilds:
    @contextmanager
    def runner(self) -> Iterator[Runner]:
        with connection.schema_editor(atomic=False) as editor, runner(editor) as found:
            yield found

    def test_equal_keys_are_reported_and_the_unfinished_index_is_dropped_at_once(self) -> None:
        """Even an INVALID unique index refuses writes."""
        with started(adding(), f"UPDATE {TABLE} SET code = 'same'") as change:
            with self.runner() as means:
                table = means.catalog.table(TABLE)

                def build(*, concurrently: bool) -> None:
                    how = "CONCURRENTLY " if concurrently else ""
                    means.execute(f"CREATE UNIQUE INDEX {how}order_code ON {TABLE} (code)")

                with pytest.raises(ViolatingRows) as caught:
                    build_index(means, table, "order_code", build)
            message = str(caught.value)
            for part in ("order_code", "same", "duplicates"):
                assert part in message, message
            change.assert_untouched()

    def test_a_build_inside_a_transaction_on_a_table_with_rows_is_refused(self) -> None:
        with started(adding()) as change:
            steps = change.operations()
            with change.chain.installed():
                migration = change.chain.migration(change.chain.change[-1])
            [operation] = migration.operations
            with pytest.raises(UnsupportedChange, match="atomic = False"), transaction.atomic():
                steps.forwards(operation)
            change.assert_untouched()

    def test_a_build_inside_a_transaction_on_an_empty_table_runs(self) -> None:
        with started(adding(), f"DELETE FROM {TABLE}") as change:
            steps = change.operations()
            [operation] = change.chain.migration(change.chain.change[-1]).operations
            with transaction.atomic():
                steps.forwards(operation)
            assert valid(change)


def test_a_build_waits_for_others_without_making_anybody_wait() -> None:
    with started(adding()) as change:
        with (
            holding(f"INSERT INTO {TABLE} (number, code) VALUES (-2, 'long')") as long,
            ThreadPoolExecutor(1) as pool,
        ):
            pid = connection.connection.info.backend_pid

            def others() -> int:
                waiting = (
                    "SELECT FROM pg_stat_progress_create_index WHERE pid = %s AND phase LIKE %s"
                )
                wait_until(
                    lambda: connect_once(waiting, [pid, "waiting%"]), lambda: "nobody builds"
                )
                with connect() as session:
                    session.execute("SET statement_timeout = '10s'")
                    session.execute(f"INSERT INTO {TABLE} (number, code) VALUES (-3, 'short')")
                    session.execute(f"UPDATE {TABLE} SET code = 'y' WHERE number = -3")
                    session.execute(f"SELECT count(*) FROM {TABLE}")
                long.commit()
                return 1

            working = pool.submit(others)
            change.expand()
            assert working.result() == 1
        assert valid(change)


def test_dropping_an_index_waits_for_readers_without_making_anybody_wait() -> None:
    def order(meta: dict[str, Any] | None = None) -> None:
        define("Order", meta=meta, number=models.IntegerField(), code=models.TextField())

    case = Case(
        "drop an index",
        lambda: order({"indexes": [Index(fields=["number"], name="order_number")]}),
        order,
    )
    with started(case) as change:
        pid = connection.connection.info.backend_pid
        with holding(f"SELECT count(*) FROM {TABLE}") as report, ThreadPoolExecutor(1) as pool:

            def others() -> None:
                waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock' AND query LIKE %s"
                wait_until(
                    lambda: connect_once(waiting, [pid, "DROP INDEX CONCURRENTLY%"]),
                    lambda: "nobody drops",
                )
                with connect() as session:
                    session.execute("SET statement_timeout = '10s'")
                    session.execute(f"INSERT INTO {TABLE} (number, code) VALUES (-3, 'short')")
                    session.execute(f"SELECT count(*) FROM {TABLE}")
                report.rollback()

            working = pool.submit(others)
            change.contract()
            working.result()
        assert oid(change) is None
