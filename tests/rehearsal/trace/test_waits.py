"""Waits are seen, also of statements that can only be watched, and of those that the guard repeats."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import IntegrityError, OperationalError, ProgrammingError

from django_safemigrations.exceptions import LockNotGranted
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.rehearsal.trace import TraceLost, Tracer
from tests.kit.databases import admin, connect
from tests.kit.kill import wait_until
from tests.postgres.sessions import (
    guarded,
    holding,
    lock_timeout,
    pid_of,
    value,
    wait_until_it_waits,
)
from tests.rehearsal.trace.running import KEY, codes, execute, modes, plain, step, traced

pytestmark = pytest.mark.postgres_versions

READ = "SELECT count(*) FROM parcel"
ALTER = "ALTER TABLE parcel ADD COLUMN height integer"


@contextmanager
def until_it_waited(
    connection: BaseDatabaseWrapper, session: psycopg.Connection[Any], seconds: float
) -> Iterator[None]:
    """End another session's transaction once a connection has waited for it so long."""
    pid = pid_of(connection)

    def end() -> None:
        wait_until_it_waits(pid, seconds=seconds)
        session.rollback()

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_concurrent_build_is_watched_and_its_wait_for_others_is_seen(
    parcels: BaseDatabaseWrapper,
) -> None:
    with (
        holding("UPDATE parcel SET weight = 3 WHERE id = 1", dbname=database(parcels)) as other,
        until_it_waited(parcels, other, 0.2),
    ):
        found = traced(parcels, "CREATE INDEX CONCURRENTLY parcel_weight ON parcel (weight)")
    [create] = found.statements
    assert create.concurrent
    assert 0.15 <= create.waited <= create.seconds
    assert [plain(name) for name in create.index_builds] == ["parcel_weight"]
    assert modes(create)["parcel"] == {"ShareUpdateExclusiveLock"}
    assert all(lock.blocks != "reads and writes" for lock in create.locks)
    assert not found.hazards


def test_one_that_waits_for_nobody_has_not_waited(parcels: BaseDatabaseWrapper) -> None:
    found = traced(
        parcels,
        "CREATE INDEX CONCURRENTLY parcel_weight ON parcel (weight)",
        "REINDEX INDEX CONCURRENTLY parcel_weight",
        "DROP INDEX CONCURRENTLY parcel_weight",
        "VACUUM parcel",
    )
    assert [statement.concurrent for statement in found.statements] == [True] * 4
    assert [plain(name) for name in found.statements[1].index_builds] == ["parcel_weight"]
    assert not found.statements[2].index_builds
    assert max(statement.waited for statement in found.statements) < 0.1
    assert not found.hazards


def test_a_failed_concurrent_build_passes_its_error_on(parcels: BaseDatabaseWrapper) -> None:
    with Tracer(parcels) as tracer, pytest.raises(Exception, match="parcel_depot"):
        with step(tracer):
            execute(parcels, "CREATE UNIQUE INDEX CONCURRENTLY parcel_depot ON parcel (depot_id)")
    [found] = tracer.steps()
    assert [s.sql[:26] for s in found.statements] == ["CREATE UNIQUE INDEX CONCUR"]
    # The INVALID index that it left is known: dropping it is no surprise.
    execute(parcels, "DROP INDEX parcel_depot")


@pytest.mark.parametrize("atomic", [False, True])
def test_a_wait_for_a_table_is_seen_with_its_lock(
    parcels: BaseDatabaseWrapper, atomic: bool
) -> None:
    with (
        holding(READ, dbname=database(parcels)) as other,
        until_it_waited(parcels, other, 0.2),
    ):
        found = traced(parcels, ALTER, atomic=atomic)
    [alter] = found.statements
    [lock] = alter.locks
    assert 0.15 <= lock.waited == alter.waited
    # It was held only from the moment at which it was granted.
    assert lock.held < lock.waited


def test_attempts_of_the_lock_guard_are_one_statement_with_their_wait(
    parcels: BaseDatabaseWrapper,
) -> None:
    pauses: list[float] = []
    with holding(READ, dbname=database(parcels)) as other:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                other.rollback()

        guard = LockGuard(parcels, 50, 60, sleep=pause)
        with Tracer(parcels) as tracer, guarded(parcels, guard), step(tracer):
            execute(parcels, ALTER)
    [found] = tracer.steps()
    [alter] = found.statements
    assert alter.attempts == len(pauses) + 1 == 3
    assert alter.waited >= 0.1
    assert [lock.mode for lock in alter.locks] == ["AccessExclusiveLock"]
    assert alter.locks[0].waited == alter.waited <= alter.seconds
    assert alter.locks[0].held < alter.waited


def test_the_guard_repeats_a_whole_transaction_and_its_steps_are_told_once(
    parcels: BaseDatabaseWrapper,
) -> None:
    with holding(READ, dbname=database(parcels)) as other:
        guard = LockGuard(parcels, 50, 60, sleep=lambda _: other.rollback())

        def attempt() -> None:
            with transaction.atomic(), step(tracer):
                execute(parcels, "UPDATE depot SET name = 'x' WHERE id = 1")
                execute(parcels, ALTER)

        with Tracer(parcels) as tracer, guarded(parcels, guard):
            guard.run(attempt, "a migration")
    [found] = tracer.steps()
    assert [(s.sql[:6], s.attempts, s.repeats) for s in found.statements] == [
        ("UPDATE", 1, 1),
        ("ALTER ", 2, 1),
    ]
    assert found.statements[1].waited >= 0.05
    assert found.started <= found.statements[1].started
    assert found.statements[1].seconds <= found.seconds


def test_the_guards_budget_still_ends_and_its_timeouts_still_apply(
    parcels: BaseDatabaseWrapper,
) -> None:
    guard = LockGuard(parcels, 50, 0, sleep=lambda _: None)
    with holding(READ, dbname=database(parcels)):
        with pytest.raises(LockNotGranted), Tracer(parcels) as tracer:
            with guarded(parcels, guard) as attempts, step(tracer):
                execute(parcels, ALTER)
    assert set(attempts.timeouts) == {"50ms"}
    assert lock_timeout(parcels) == "0"
    [found] = tracer.steps()
    assert [(s.sql, s.attempts) for s in found.statements] == [(ALTER, 1)]
    assert [plain(lock.relation) for lock in found.statements[0].locks] == ["parcel"]


def test_errors_pass_through_as_they_are(parcels: BaseDatabaseWrapper) -> None:
    def fails() -> None:
        with pytest.raises(ProgrammingError):
            execute(parcels, "ALTER TABLE nowhere ADD COLUMN height integer")

    found = traced(parcels, fails, ALTER)
    assert len(found.statements) == 2
    assert value(parcels, "SELECT count(height) FROM parcel") == 0


def test_what_is_refused_at_the_end_of_a_statement_is_still_its_error(
    parcels: BaseDatabaseWrapper,
) -> None:
    execute(
        parcels,
        "ALTER TABLE parcel ADD CONSTRAINT there FOREIGN KEY (depot_id) REFERENCES depot"
        " DEFERRABLE INITIALLY DEFERRED",
    )

    def fails() -> None:
        with pytest.raises(IntegrityError):
            execute(parcels, "UPDATE parcel SET depot_id = 99 WHERE id = 1")

    traced(parcels, fails)
    assert value(parcels, "SELECT count(*) FROM parcel WHERE depot_id = 99") == 0


def test_a_statement_timeout_of_the_session_still_ends_statements(
    parcels: BaseDatabaseWrapper,
) -> None:
    def slow() -> None:
        execute(parcels, "SET statement_timeout = '50ms'")
        with pytest.raises(OperationalError):
            execute(parcels, "SELECT pg_sleep(60)")
        execute(parcels, "RESET statement_timeout")

    found = traced(parcels, slow)
    assert [s.sql for s in found.statements] == ["SELECT pg_sleep(60)"]


@pytest.mark.parametrize("statement", [ALTER, "CREATE INDEX CONCURRENTLY c ON parcel (weight)"])
def test_without_its_second_session_a_trace_is_an_error_and_never_clean(
    parcels: BaseDatabaseWrapper, statement: str
) -> None:
    with holding("UPDATE parcel SET weight = 3 WHERE id = 1", dbname=database(parcels)) as other:

        def end_watcher_then_other() -> None:
            wait_until_it_waits(pid_of(parcels))
            admin().execute("SELECT pg_terminate_backend(%s)", [tracer.watcher.pid])
            wait_until(
                lambda: tracer.watcher.lost is not None, lambda: "the watcher is still there"
            )
            other.rollback()

        def run() -> None:
            with tracer, step(tracer):
                thread.start()
                try:
                    execute(parcels, statement)
                finally:
                    thread.join()

        tracer = Tracer(parcels)
        thread = threading.Thread(target=end_watcher_then_other)
        with pytest.raises(TraceLost, match="run rehearsemigrations again"):
            run()
    with pytest.raises(TraceLost):
        tracer.steps()


def test_a_second_session_that_was_gone_unnoticed_is_an_error_too(
    parcels: BaseDatabaseWrapper,
) -> None:
    def run() -> None:
        with tracer, step(tracer):
            execute(parcels, ALTER)
            admin().execute("SELECT pg_terminate_backend(%s)", [tracer.watcher.pid])

    tracer = Tracer(parcels)
    with pytest.raises(TraceLost):
        run()
    with pytest.raises(TraceLost):
        tracer.steps()


def test_when_the_migrators_own_session_is_ended_its_error_comes_out(
    parcels: BaseDatabaseWrapper,
) -> None:
    pid = pid_of(parcels)
    thread = threading.Thread(target=lambda: _terminate_when_active(pid))
    thread.start()
    with pytest.raises(OperationalError), Tracer(parcels) as tracer, step(tracer):
        execute(parcels, "SELECT pg_sleep(60)")
    thread.join()
    [found] = tracer.steps()
    assert [s.sql for s in found.statements] == ["SELECT pg_sleep(60)"]


def test_nothing_is_left_behind(parcels: BaseDatabaseWrapper) -> None:
    before = list(parcels.execute_wrappers)
    threads = threading.active_count()
    seen: list[int] = []

    def fail() -> None:
        with tracer, step(tracer):
            execute(parcels, ALTER)
            seen.append(sessions(parcels))
            raise ZeroDivisionError

    tracer = Tracer(parcels)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [2]
    wait_until(lambda: sessions(parcels) == 1, lambda: "the second session is still there")
    assert list(parcels.execute_wrappers) == before
    assert type(parcels.execute_wrappers) is list
    assert not {"_commit", "_rollback"} & set(vars(parcels))
    assert threading.active_count() == threads
    assert codes(tracer.steps()[0]) == set()
    assert tracer.steps()[0].key == KEY


def database(connection: BaseDatabaseWrapper) -> str:
    return str(connection.settings_dict["NAME"])


def sessions(connection: BaseDatabaseWrapper) -> int:
    row = admin().execute("SELECT FROM pg_stat_activity WHERE datname = %s", [database(connection)])
    return len(row.fetchall())


def _terminate_when_active(pid: int) -> None:
    def asleep() -> bool:
        row = admin_here.execute(
            "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", [pid]
        ).fetchone()
        return bool(row and row[0])

    with connect("postgres") as admin_here:
        wait_until(asleep, lambda: "it does not sleep")
        admin_here.execute("SELECT pg_terminate_backend(%s)", [pid])
