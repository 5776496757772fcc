"""How the backfills of a command are run: throttled by what, waited for or left to others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.throttle import throttling
from django_safemigrations.backfill.waits import Wait


class Throttle(Protocol):
    """Says before each batch whether it may run; the engine does the waiting."""

    @property
    def lag(self) -> float | None:
        """Seconds that the standby furthest behind was behind; None if there is none."""

    def look(self) -> Wait | None:
        """Return why the next batch may not run, None if it may; outside of transactions."""

    def note(self, rows: int) -> None:
        """Take note of a batch that was committed and changed so many rows."""

    def close(self) -> None:
        """Let go of what it holds."""


class NoThrottle:
    """Lets every batch run."""

    lag: float | None = None

    def look(self) -> Wait | None:
        """Wait for nothing."""
        return None

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""


class MakesThrottle(Protocol):
    """Makes the throttle of one worker."""

    def __call__(
        self, connection: BaseDatabaseWrapper, table_oid: int, *, workers: Callable[[], int]
    ) -> Throttle:
        """Return a throttle; `workers` says how many work on the same backfill."""


def unthrottled(
    connection: BaseDatabaseWrapper, table_oid: int, *, workers: Callable[[], int]
) -> Throttle:
    """Return a throttle that lets every batch run."""
    return NoThrottle()


@dataclass(frozen=True)
class Surroundings:
    """How backfills are run.

    Attributes:
        throttle: makes the throttle of each.
        leave: whether to get them ready and leave them to workers, with `BackfillLeft`.
        stop: asked between two batches; when it says so the worker gives its range back and
            returns. For workers that are told to end.
        clock, sleep: injected by tests.
    """

    throttle: MakesThrottle = throttling
    leave: bool = False
    stop: Callable[[], bool] = bool
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


_USUAL = Surroundings()
_surroundings: ContextVar[Surroundings] = ContextVar("surroundings", default=_USUAL)


def surroundings() -> Surroundings:
    """Return what holds here."""
    return _surroundings.get()


@contextlib.contextmanager
def surrounded_by(**changes: Any) -> Iterator[Surroundings]:
    """Change some of the surroundings inside the block."""
    changed = replace(_surroundings.get(), **changes)
    token = _surroundings.set(changed)
    try:
        yield changed
    finally:
        _surroundings.reset(token)
