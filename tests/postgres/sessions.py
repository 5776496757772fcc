"""Other people's sessions: what they hold, whether they wait, and statements under the guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.locks import LockGuard
from tests.kit.databases import admin, connect
from tests.kit.kill import wait_until


def pid_of(connection: BaseDatabaseWrapper) -> int:
    """Return the server process of a Django connection."""
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


@contextmanager
def holding(
    *statements: str, application: str = "nightly report", **more: Any
) -> Iterator[psycopg.Connection[Any]]:
    """A session that has run statements in a transaction and keeps it open; rolled back at the end."""
    with connect(application_name=application, **more) as session:
        session.execute("BEGIN")
        for statement in statements:
            session.execute(statement)
        yield session


def waits(pid: int, *, seconds: float = 0.0) -> bool:
    """Whether a session waits for a lock, in a statement at least so old."""
    row = admin().execute(
        "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        " AND clock_timestamp() - query_start >= make_interval(secs => %s)",
        [pid, seconds],
    )
    return row.fetchone() is not None


def wait_until_it_waits(pid: int, *, seconds: float = 0.0) -> None:
    """Wait until a session has waited for a lock for some time."""
    wait_until(lambda: waits(pid, seconds=seconds), lambda: f"session {pid} waits for no lock")


def execute(connection: BaseDatabaseWrapper, sql: Any, params: Any = None) -> None:
    """Run one statement through Django's cursor, where the guard sees it."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def value(connection: BaseDatabaseWrapper, sql: str, params: Any = None) -> Any:
    """Return the first column of a query's first row, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    return row[0] if row else None


def lock_timeout(connection: BaseDatabaseWrapper) -> str:
    """Return the session's lock_timeout, asked past all wrappers."""
    row = connection.connection.execute("SELECT current_setting('lock_timeout')").fetchone()
    return str(row[0])


class Attempts:
    """Sees every attempt of a statement from inside the guard: its lock_timeout, and how long it took."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.statements: list[str] = []
        self.timeouts: list[str] = []

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.statements.append(str(sql))
        self.timeouts.append(lock_timeout(self.connection))
        return execute(sql, params, many, context)


@contextmanager
def guarded(connection: BaseDatabaseWrapper, guard: LockGuard) -> Iterator[Attempts]:
    """Install a guard with an observer inside of it."""
    guard.begin()
    attempts = Attempts(connection)
    try:
        with connection.execute_wrapper(guard), connection.execute_wrapper(attempts):
            yield attempts
    finally:
        guard.new_attempts()
