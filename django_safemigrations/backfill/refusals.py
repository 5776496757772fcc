"""What a failed batch means: come again, find the row that is to blame, or give up."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import LockNotGranted
from django_safemigrations.postgres.blockers import BlockerWatch
from django_safemigrations.postgres.errors import (
    DEADLOCK_DETECTED,
    LOCK_NOT_AVAILABLE,
    sqlstate,
)
from django_safemigrations.postgres.runner import Runner

SERIALIZATION_FAILURE = "40001"
QUERY_CANCELED = "57014"
"""By statement_timeout, or by somebody's pg_cancel_backend: the message alone tells which."""

COME_AGAIN = {LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED, SERIALIZATION_FAILURE, QUERY_CANCELED}

# Classes of errors that a row's values, its constraints or a trigger can raise. What is not here
# (no privilege, no such function, disk full, connection lost) no smaller batch makes better.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
OF_ROWS = ("09", "20", "21", "22", "23", "27", "2F", "38", "39", "44", "45", "54", "P0")


class Verdict(Enum):
    """What to do after a failed batch."""

    AGAIN = auto()
    ROW = auto()
    RAISE = auto()


def verdict_on(error: Error, connection: BaseDatabaseWrapper) -> Verdict:
    """Say what to do after a batch failed; its transaction is rolled back."""
    state = sqlstate(error)
    raw = connection.connection
    if state is None or raw is None or raw.closed:
        return Verdict.RAISE
    if state in COME_AGAIN:
        return Verdict.AGAIN
    # A trigger may raise with a class of its own making; those of the standard are digits or known.
    if state[:2] in OF_ROWS or state[0] in "IJKLMNOQRSTUVWYZ":
        return Verdict.ROW
    return Verdict.RAISE


class Refusals:
    """Batches that met a locked row: tried again until the lock budget is spent."""

    def __init__(self, runner: Runner, title: str, clock: Callable[[], float]) -> None:
        self.runner, self.title, self.clock = runner, title, clock
        self.since: float | None = None
        self.watch: BlockerWatch | None = None

    def note(self, error: Error) -> None:
        """Take note of a batch that has to come again.

        Raises:
            LockNotGranted: the budget is spent; names the sessions in the way.
        """
        now = self.clock()
        if self.since is None or self.watch is None:
            self.since = now
            self.watch = BlockerWatch(self.runner.connection)
            self.watch.start()
        if now - self.since >= get_settings().lock_budget:
            raise LockNotGranted(self.title, now - self.since, self.watch.seen()) from error

    def forget(self) -> None:
        """A batch went through: the next refusal begins a new budget."""
        self.close()

    def close(self) -> None:
        """End the second session."""
        if self.watch is not None:
            self.watch.stop()
        self.since = self.watch = None
