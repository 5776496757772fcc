"""What backfills tell while they run: lines, and how they stand; to the log, unless a command shows it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger("django_safemigrations.backfill")

LINE_EVERY = 2.0
"""Seconds between two lines about the same backfill."""


@dataclass(frozen=True)
class Standing:
    """How one backfill stands at a moment.

    Attributes:
        key: what the ledger calls it; two standings with one key are of the same backfill.
        title: what people call it.
        seen: rows that it has come past, changed or not.
        changed: rows that it has changed.
        total: rows that it will come past, about; None if nobody knows.
        rate: rows a second that it comes past, lately; None if nobody knows yet.
        size: rows of a batch.
        lag: seconds that the standby farthest behind is behind; None if there is none.
        waiting: what it waits for, in words; empty while it works.
        failed: rows that could not be changed and are kept for another try.
        workers: sessions that work on it.
        ended: how it ended, in words; empty while it goes on.
    """

    key: str
    title: str
    seen: int = 0
    changed: int = 0
    total: int | None = None
    rate: float | None = None
    size: int | None = None
    lag: float | None = None
    waiting: str = ""
    failed: int = 0
    workers: int = 1
    ended: str = ""

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1; it is 1 only when all is done."""
        if not self.total:
            return None
        # The total is an estimate: rows beyond it do not make it done.
        return min(self.seen / self.total, 0.999)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the present rate; None if nobody knows."""
        if not self.total or not self.rate or self.waiting:
            return None
        return max(0, self.total - self.seen) / self.rate


def facts(standing: Standing) -> list[str]:
    """Return what there is to say of a standing, one short fact after the other."""
    whole = f" of about {standing.total:,}" if standing.total else ""
    found = [f"{standing.seen:,}{whole} rows"]
    if standing.share is not None:
        found.append(f"{standing.share:.0%}" if standing.share < 0.99 else "99%")
    if standing.rate:
        found.append(f"{standing.rate:,.0f} rows/s")
    if standing.seconds_left is not None:
        found.append(f"{duration(standing.seconds_left)} left")
    if standing.size:
        found.append(f"{standing.size:,} a batch")
    if standing.workers > 1:
        found.append(f"{standing.workers} workers")
    if standing.lag is not None:
        found.append(f"lag {standing.lag:,.1f} s")
    if standing.failed:
        found.append(f"{standing.failed:,} row{'s' if standing.failed != 1 else ''} failed")
    return found


def told(standing: Standing) -> str:
    """Return a standing in one line."""
    if standing.ended:
        return f"{standing.title}: {standing.ended}"
    line = f"{standing.title}: {', '.join(facts(standing))}"
    return f"{line}; waiting: {standing.waiting}" if standing.waiting else line


def duration(seconds: float) -> str:
    """Return seconds as people say them: "45 s", "12 min", "3 h 05 min", "4 d 2 h"."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


class Observer(Protocol):
    """Shows what backfills tell."""

    def line(self, text: str) -> None:
        """Show one line."""

    def standing(self, standing: Standing) -> None:
        """Show how a backfill stands now; called after every batch, so it has to be quick."""


class Lines:
    """Shows standings as lines: one each LINE_EVERY seconds, what it begins to wait for, and the end.

    Args:
        show: shows one line.
        clock: injected by tests.
    """

    def __init__(
        self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.show = show
        self.clock = clock
        self._told: dict[str, tuple[float, str]] = {}

    def line(self, text: str) -> None:
        """Show it."""
        self.show(text)

    def standing(self, standing: Standing) -> None:
        """Show it if it is time, or if it waits for something else than before."""
        now = self.clock()
        if standing.ended:
            self._told.pop(standing.key, None)
            self.show(told(standing))
            return
        # The first one waits too: small tables are done before anybody could read a line.
        at, before = self._told.setdefault(standing.key, (now, ""))
        kind = standing.waiting.partition(":")[0]
        if now - at >= LINE_EVERY or kind != before:
            self._told[standing.key] = (now, kind)
            self.show(told(standing))


_log = Lines(logger.info)
_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


def report(line: str) -> None:
    """Tell one line of progress."""
    (_observer.get() or _log).line(line)


def report_standing(standing: Standing) -> None:
    """Tell how a backfill stands."""
    (_observer.get() or _log).standing(standing)


@contextlib.contextmanager
def reporting_to(show: Callable[[str], None] | Observer) -> Iterator[None]:
    """Show what is told inside the block: with an observer, or line by line with a function."""
    observer = Lines(show) if callable(show) else show
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)
