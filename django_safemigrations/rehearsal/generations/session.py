"""A session of its own on the copy, in which everything is rolled back."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

ALIAS = "safemigrations_generations"
"""Aliases of probing sessions begin so; none is in settings.DATABASES."""
ROUND_TRIPS = 5
BOOKKEEPING = ("SAVEPOINT", "RELEASE", "ROLLBACK", "SET CONSTRAINTS", "SELECT set_config")

_numbers = itertools.count(1)


class Session:
    """One transaction on the copy that never commits.

    Attributes:
        alias: what the ORM calls its connection.
        statement: the last statement that was sent for a call; its parameters are not in it.
        seconds: how long its statements took.
        statements: how many there were.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.alias = connection.alias
        self.statement = ""
        self.seconds = 0.0
        self.statements = 0

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Note a statement: this is an execute wrapper."""
        text = str(sql)
        if not text.startswith(BOOKKEEPING):
            self.statement = text
        self.statements += 1
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds += time.perf_counter() - begun

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo what is done in the block, whether it failed or not."""
        # Not atomic(): one that has failed inside of it would let nothing more through.
        point = f'"safemigrations_{next(_numbers)}"'
        with self.connection.cursor() as cursor:
            cursor.execute(f"SAVEPOINT {point}")
        try:
            yield
        finally:
            driver = self.connection.connection
            if driver is not None and not driver.closed:
                self.connection.needs_rollback = False
                with self.connection.cursor() as cursor:
                    cursor.execute(f"ROLLBACK TO SAVEPOINT {point}")
                    cursor.execute(f"RELEASE SAVEPOINT {point}")

    def round_trip(self) -> float:
        """Return the longest of a few round trips to the server, in seconds."""
        longest = 0.0
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            longest = max(longest, time.perf_counter() - begun)
        return longest

    def settle(self) -> None:
        """Let PostgreSQL check now what it would check at COMMIT."""
        # https://www.postgresql.org/docs/current/sql-set-constraints.html; undone with the rest
        with self.connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@contextmanager
def own_session(using: str, *, statement_timeout: float, lock_timeout: float) -> Iterator[Session]:
    """Open a session beside the one of an alias, in autocommit, and close it at the end.

    Nothing of it is in the way when the copy is dropped.

    Args:
        using: alias of the copy.
        statement_timeout: seconds after which PostgreSQL ends a statement.
        lock_timeout: seconds after which it gives up waiting for a lock; 0 for never.
    """
    alias = f"{ALIAS}_{next(_numbers)}"
    connection = connections[using].copy(alias)
    options = copy.copy(connection.settings_dict["OPTIONS"])
    # A pool would give the session to somebody else afterwards, with its settings.
    options.pop("pool", None)
    connection.settings_dict["OPTIONS"] = options
    connections[alias] = connection
    session = Session(connection)
    try:
        with connection.cursor() as cursor:
            for name, seconds in (
                ("statement_timeout", statement_timeout),
                ("lock_timeout", lock_timeout),
                ("idle_in_transaction_session_timeout", 0),
            ):
                cursor.execute(
                    "SELECT set_config(%s, %s, false)", [name, f"{int(seconds * 1000)}ms"]
                )
        with connection.execute_wrapper(session):
            yield session
    finally:
        # Not connection.close(): inside a broken atomic block that only marks it for later.
        if connection.connection is not None:
            connection.connection.close()
            connection.connection = None
        del connections[alias]


@contextmanager
def rolled_back(session: Session) -> Iterator[None]:
    """Open a transaction that is rolled back at the end of the block."""
    with transaction.atomic(using=session.alias):
        yield
        transaction.set_rollback(True, using=session.alias)


def driver_error(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error behind one of Django's, if there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, psycopg.Error):
            return seen
        seen = seen.__cause__
    return None
