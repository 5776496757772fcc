"""A real autovacuum worker in the way: it yields only to somebody who waits a second for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

from django_safemigrations.exceptions import LockNotGranted
from django_safemigrations.postgres import locks
from django_safemigrations.postgres.locks import LockGuard
from testproject.cluster import TEST_SETTINGS
from testproject.database import Server, own_server, wanted_version
from tests.kit.kill import wait_until
from tests.postgres.sessions import execute, guarded, pid_of, value

pytestmark = pytest.mark.postgres_versions

# One page costs 100 ms, and there are hundreds: the worker is at it for as long as a test lasts.
SLOW = (
    "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,"
    " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, fillfactor = 10"
)
WORKER = """
    SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
    AND query LIKE '%%parcel%%' AND pid IN (SELECT pid FROM pg_locks
        WHERE relation = 'parcel'::regclass AND mode = 'ShareUpdateExclusiveLock' AND granted)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own, whose autovacuum launcher looks every second."""
    version = wanted_version()
    found = own_server(
        version, f"autovacuum_{version}", {**TEST_SETTINGS, "autovacuum_naptime": "1s"}
    )
    yield found
    found.stop()


@pytest.fixture
def vacuumed(
    server: Server, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[BaseDatabaseWrapper, int]]:
    """A connection to a database with a table that a worker is vacuuming, and the worker's pid."""
    server.drop_database("vacuumed")
    server.create_database("vacuumed")
    connection: Any = ConnectionHandler({"default": server.django("vacuumed")})["default"]
    with django_db_blocker.unblock():
        try:
            execute(connection, f"CREATE TABLE parcel (id int, code text) WITH ({SLOW})")
            execute(
                connection,
                "INSERT INTO parcel SELECT n, repeat('x', 500) FROM generate_series(1, 400) n",
            )
            execute(connection, "DELETE FROM parcel WHERE id % 2 = 0")
            # Statistics reach the launcher a second later otherwise.
            execute(connection, "SELECT pg_stat_force_next_flush()")
            wait_until(lambda: bool(value(connection, WORKER)), lambda: "no autovacuum worker came")
            yield connection, value(connection, WORKER)
        finally:
            connection.close()
            server.drop_database("vacuumed")


def session(server: Server) -> psycopg.Connection[Any]:
    return psycopg.connect(server.dsn("vacuumed"), autocommit=True)


def test_autovacuum_yields_and_the_statement_runs(
    vacuumed: tuple[BaseDatabaseWrapper, int],
) -> None:
    connection, worker = vacuumed
    pauses: list[float] = []
    with guarded(connection, LockGuard(connection, 50, 30, sleep=pauses.append)):
        execute(connection, "ALTER TABLE parcel ADD COLUMN weight integer")
    assert len(pauses) >= 1
    # It gave way; it had not come to its end.
    done = "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'parcel'"
    assert value(connection, done) == 0
    assert value(connection, WORKER) != worker
    assert value(connection, "SELECT current_setting('lock_timeout')") == "0"


def test_autovacuum_yields_to_an_atomic_migration_too(
    vacuumed: tuple[BaseDatabaseWrapper, int],
) -> None:
    connection, _ = vacuumed
    guard = LockGuard(connection, 50, 30)
    began: list[int] = []

    def attempt() -> None:
        began.append(1)
        with connection.schema_editor(atomic=True) as editor:
            editor.execute("ALTER TABLE parcel ADD COLUMN weight integer")
            editor.execute("ALTER TABLE parcel ADD COLUMN height integer")

    with guarded(connection, guard):
        guard.run(attempt, "a migration")
    assert len(began) >= 2
    assert value(connection, "SELECT count(weight) + count(height) FROM parcel") == 0


def test_readers_and_writers_go_on_while_autovacuum_is_asked_to_yield(
    vacuumed: tuple[BaseDatabaseWrapper, int], server: Server
) -> None:
    connection, _ = vacuumed
    pid = pid_of(connection)
    taken: list[float] = []
    asked = (
        "SELECT FROM pg_locks WHERE pid = %s AND NOT granted AND mode = 'ShareUpdateExclusiveLock'"
    )
    with session(server) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET statement_timeout = '20s'")

        def work() -> None:
            wait_until(
                lambda: other.execute(asked, [pid]).fetchone() is not None,
                lambda: "nobody asked autovacuum to yield",
            )
            while other.execute(asked, [pid]).fetchone() is not None:
                began = time.monotonic()
                other.execute("UPDATE parcel SET code = 'y' WHERE id = 1")
                other.execute("SELECT count(*) FROM parcel")
                taken.append(time.monotonic() - began)

        working = pool.submit(work)
        with guarded(connection, LockGuard(connection, 50, 30)):
            execute(connection, "ALTER TABLE parcel ADD COLUMN weight integer")
        working.result()
    assert len(taken) > 3
    assert max(taken) < 0.5, taken


def test_a_worker_that_is_in_the_way_to_the_end_is_named(
    vacuumed: tuple[BaseDatabaseWrapper, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, worker = vacuumed
    # With a deadlock_timeout like this nobody ever asks the worker to yield.
    execute(connection, "SET deadlock_timeout = '1h'")
    monkeypatch.setattr(locks, "AUTOVACUUM_YIELDS_WITHIN", "200ms")
    ticks: list[float] = []
    guard = LockGuard(connection, 50, 10, sleep=ticks.append, clock=lambda: float(len(ticks)))
    with guarded(connection, guard), pytest.raises(LockNotGranted) as caught:
        execute(connection, "ALTER TABLE parcel ADD COLUMN weight integer")
    [blocker] = caught.value.blockers
    assert blocker.pid == worker
    assert blocker.backend == "autovacuum worker"
    assert f"pid {worker} (autovacuum worker)" in str(caught.value)
    assert "public.parcel" in str(caught.value)
