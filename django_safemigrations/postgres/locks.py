"""The lock guard: no statement of a migration makes others wait longer than a moment.

A statement that waits for a lock makes every later query on that table wait behind
it. The guard gives each DDL statement a short ``lock_timeout``, steps back when it
expires, sleeps a jittered and growing time, and tries again until a budget is spent.
Data statements are left alone, for ``lock_timeout`` would cut their row locks too, and
so are concurrent builds, which wait without blocking anybody.
https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any, TypeVar

import sqlparse
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from psycopg.errors import LockNotAvailable
from psycopg.sql import Composable

from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import LockNotGranted
from django_safemigrations.postgres.blockers import BlockerWatch
from django_safemigrations.postgres.errors import DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, sqlstate
from django_safemigrations.postgres.sqlwords import SqlStatement, read_statements

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
# An autovacuum worker yields only to a waiter older than deadlock_timeout (1 s by default).
# https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM
AUTOVACUUM_YIELDS_WITHIN = "5s"

# What a statement of these kinds waits for are row locks, or nothing.
DATA_KEYWORDS = frozenset(
    [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "WITH",
        "MERGE",
        "COPY",
        "VALUES",
        "TABLE",
        "EXPLAIN",
        "FETCH",
        "DECLARE",
        "CLOSE",
        "MOVE",
        "SET",
        "SHOW",
        "RESET",
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT",
        "RELEASE",
        "PREPARE",
        "EXECUTE",
        "DEALLOCATE",
        "DISCARD",
        "LISTEN",
        "NOTIFY",
        "UNLISTEN",
        "ANALYZE",
        "VACUUM",
        "DO",
        "CALL",
        "CHECKPOINT",
    ]
)
# These may be wrapped into a transaction when a lock must be taken before them.
TRANSACTIONAL_KEYWORDS = frozenset({"ALTER", "CREATE", "DROP", "COMMENT", "TRUNCATE", "LOCK"})


class Waits(Enum):
    """How a statement's lock waits are bounded."""

    ROWS = auto()
    """It waits for row locks, if at all: left alone."""
    HARMLESSLY = auto()
    """It waits without anybody waiting behind it: as long as it takes."""
    BRIEFLY = auto()
    """Others would queue behind it: the guard's timeout, and again."""


def waits(sql: Any) -> tuple[Waits, list[SqlStatement]]:
    """Return how the waits of some SQL are bounded, and its statements.

    A script is as its strictest statement; what only says CONCURRENTLY in a constant or a
    name is not concurrent.
    """
    text = _text(sql)
    if ";" not in text and _first_word(text) in DATA_KEYWORDS:
        # Most statements by far; a whole reading would cost more than they do.
        return Waits.ROWS, []
    statements = read_statements(text)
    found = {_waits(statement) for statement in statements}
    for strictest in (Waits.BRIEFLY, Waits.HARMLESSLY):
        if strictest in found:
            return strictest, statements
    return Waits.ROWS, statements


def _waits(statement: SqlStatement) -> Waits:
    first = statement.words[0]
    if first.is_(*DATA_KEYWORDS):
        return Waits.ROWS
    concurrently = any(word.is_("CONCURRENTLY") for word in statement.words)
    # REFRESH … CONCURRENTLY still keeps writers out.
    return Waits.HARMLESSLY if concurrently and not first.is_("REFRESH") else Waits.BRIEFLY


def _text(sql: Any) -> str:
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if isinstance(sql, Composable):
        return sql.as_string(None)
    return str(sql)


def _first_word(text: str) -> str:
    tokenize: Any = sqlparse.lexer.tokenize
    for kind, value in tokenize(text):
        if kind not in sqlparse.tokens.Whitespace and kind not in sqlparse.tokens.Comment:
            return str(value).upper().split()[0]
    return ""


class LockGuard:
    """Bounds every lock wait on one connection; installed with `guarded_execution`.

    Args:
        connection: the connection that runs the migration.
        timeout: milliseconds one attempt waits for a lock.
        budget: seconds after which attempts end with an error.
        clock, sleep, jitter: injected by tests.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        timeout: int,
        budget: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),
    ) -> None:
        self.connection = connection
        self.timeout = timeout
        self.budget = budget
        self.clock = clock
        self.sleep = sleep
        self.jitter = jitter
        self._began: float | None = None
        self._pause = FIRST_PAUSE
        self._watch: BlockerWatch | None = None
        self._lock_first: tuple[str, ...] = ()
        self._running = False
        self._original: dict[str, str] = {}

    # -- attempts ---------------------------------------------------------------

    def run(self, attempt: Callable[[], T], what: str) -> T:
        """Call `attempt` until no lock timeout or deadlock ends it.

        `attempt` must leave nothing behind when it raises: one transaction, or one
        statement. Nested calls, and calls inside a transaction of somebody else, are
        made once: whoever owns the transaction has to begin it again.

        Raises:
            LockNotGranted: the budget is spent; names the sessions in the way.
        """
        if self._running or self.connection.in_atomic_block:
            return attempt()
        self._running = True
        self.new_attempts()
        try:
            while True:
                try:
                    return attempt()
                except Error as error:
                    if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
                        raise
                    self.pause_before_retry(error, what)
        finally:
            self._running = False
            self.new_attempts()

    def new_attempts(self) -> None:
        """Begin a new budget, for the next statement or migration."""
        self._began = None
        self._pause = FIRST_PAUSE
        self._lock_first = ()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def pause_before_retry(self, error: BaseException, what: str = "a migration") -> None:
        """Sleep before the next attempt.

        Raises:
            LockNotGranted: the budget is spent.
        """
        now = self.clock()
        if self._began is None:
            self._began = now
        if self._watch is None:
            # Who blocks us can only be seen while we wait, so it is looked for from a
            # second session during the next attempts.
            self._watch = BlockerWatch(self.connection)
            self._watch.start()
        blockers = self._watch.seen()
        if now - self._began >= self.budget:
            self._watch.stop()
            self._watch = None
            raise LockNotGranted(what, now - self._began, blockers) from error
        self._lock_first = tuple(
            sorted(
                {b.relation for b in blockers if b.backend == "autovacuum worker" and b.relation}
            )
        )
        self.sleep(self._pause * self.jitter())
        self._pause = min(self._pause * 1.6, LONGEST_PAUSE)

    # -- the execute wrapper -------------------------------------------------------

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Run one statement under the guard (a Django execute wrapper)."""
        how, statements = waits(sql)
        if how is Waits.ROWS:
            return execute(sql, params, many, context)
        if how is Waits.HARMLESSLY:
            with self._setting("lock_timeout", "0"), self.as_long_as_it_takes():
                return execute(sql, params, many, context)
        if any(word.is_("VALIDATE") for statement in statements for word in statement.words):
            with self.as_long_as_it_takes():
                return self._guarded(execute, sql, params, many, context, statements)
        return self._guarded(execute, sql, params, many, context, statements)

    def _guarded(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
        statements: list[SqlStatement],
    ) -> Any:
        if self.connection.in_atomic_block:
            self._lock_before(self._lock_first)
            self._lock_first = ()
            with self._setting("lock_timeout", f"{self.timeout}ms"):
                return execute(sql, params, many, context)
        transactional = all(s.words[0].is_(*TRANSACTIONAL_KEYWORDS) for s in statements)

        def attempt() -> Any:
            relations, self._lock_first = self._lock_first, ()
            if relations and transactional:
                with self._raw.transaction():
                    self._lock_before(relations)
                    self._set("lock_timeout", f"{self.timeout}ms", local=True)
                    return execute(sql, params, many, context)
            with self._setting("lock_timeout", f"{self.timeout}ms"):
                return execute(sql, params, many, context)

        return self.run_statement(attempt, " ".join(_text(sql).split())[:120])

    def run_statement(self, attempt: Callable[[], Any], what: str) -> Any:
        """Run one statement in autocommit, also while `run` owns an outer loop."""
        if self._running:
            return attempt()
        return self.run(attempt, what)

    # -- session settings ------------------------------------------------------------

    @property
    def _raw(self) -> Any:
        return self.connection.connection

    def as_long_as_it_takes(self) -> contextlib.AbstractContextManager[None]:
        """Lift statement_timeout inside the block, for work that reads a whole table.

        A role's statement_timeout is meant for requests. What runs here holds no lock
        that others wait for.
        """
        return self._setting("statement_timeout", "0")

    def _set(self, name: str, value: str, *, local: bool) -> None:
        # On the driver's connection: Django's cursor would come back here.
        self._raw.execute("SELECT set_config(%s, %s, %s)", [name, value, local])

    @contextlib.contextmanager
    def _setting(self, name: str, value: str) -> Iterator[None]:
        local = self.connection.in_atomic_block
        self._set(name, value, local=local)
        try:
            yield
        finally:
            # In a failed transaction the rollback restores what SET LOCAL changed, and a
            # connection that is gone has no settings left to restore.
            with contextlib.suppress(Exception):
                self._set(name, self._original[name], local=local)

    def _lock_before(self, relations: tuple[str, ...]) -> None:
        """Wait longer for a lock that blocks no reads or writes, so that autovacuum yields."""
        for relation in relations:
            self._set("lock_timeout", AUTOVACUUM_YIELDS_WITHIN, local=True)
            try:
                self._raw.execute(f"LOCK TABLE {relation} IN SHARE UPDATE EXCLUSIVE MODE")
            except LockNotAvailable as error:
                raise OperationalError(str(error)) from error

    def begin(self) -> None:
        """Note the session's own timeouts, to which it is always restored."""
        self.connection.ensure_connection()
        for name in ("lock_timeout", "statement_timeout"):
            row = self._raw.execute("SELECT current_setting(%s)", [name]).fetchone()
            self._original[name] = next(iter(row.values())) if isinstance(row, dict) else row[0]


_guards: dict[int, LockGuard] = {}


@contextlib.contextmanager
def guarded_execution(connection: BaseDatabaseWrapper) -> Iterator[LockGuard]:
    """Run a block with every lock wait of `connection` bounded.

    Re-entrant: an inner block gets the guard of the outer one. The timeout and the
    budget are those of SAFE_MIGRATIONS.

    Raises:
        LockNotGranted: from any DDL statement in the block whose lock is not granted.
    """
    active = _guards.get(id(connection))
    if active is not None:
        yield active
        return
    settings = get_settings()
    guard = LockGuard(connection, int(settings.lock_timeout), settings.lock_budget)
    guard.begin()
    _guards[id(connection)] = guard
    try:
        with connection.execute_wrapper(guard):
            yield guard
    finally:
        del _guards[id(connection)]
        guard.new_attempts()
