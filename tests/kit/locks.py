"""Watches from a second session which locks a migrator holds, on what, and for how long."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.kit.databases import connect

STOPS_WRITES = frozenset({"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock"})
STOPS_EVERYTHING = frozenset({"AccessExclusiveLock"})
BLOCKING = STOPS_WRITES | STOPS_EVERYTHING
"""Modes that make INSERT, UPDATE and DELETE of others wait (weaker ones only stop other DDL)."""


@dataclass(frozen=True)
class Held:
    """A blocking lock as it was seen.

    Attributes:
        relation: the table or index.
        mode: as pg_locks names it.
        seconds: the longest time it was held without a break.
        times: how often it was taken.
        query: what the session ran when the longest hold was last seen.
    """

    relation: str
    mode: str
    seconds: float
    times: int
    query: str

    def __str__(self) -> str:
        return f"{self.mode} on {self.relation}: {self.seconds * 1000:.0f} ms, {self.query}"


@dataclass
class Observed:
    """What an observer saw; complete once its block has ended."""

    held: list[Held] = field(default_factory=list)
    waited: dict[tuple[str, str], float] = field(default_factory=dict)
    looks: int = 0

    def longest(self, relation: str | None = None) -> float:
        """Return the longest time in seconds that a blocking lock was held (on a relation)."""
        return max(
            (h.seconds for h in self.held if relation is None or h.relation == relation),
            default=0.0,
        )

    def modes(self, relation: str) -> set[str]:
        """Return the blocking modes that were held on a relation."""
        return {h.mode for h in self.held if h.relation == relation}


LOOK = """
    SELECT l.relation::regclass::text, l.mode, l.granted,
           (SELECT left(a.query, 200) FROM pg_stat_activity a WHERE a.pid = l.pid)
    FROM pg_locks l WHERE l.pid = %s AND l.locktype = 'relation' AND l.relation >= 16384
"""


@contextmanager
def observe_locks(pid: int, database: str, every: float = 0.002) -> Iterator[Observed]:
    """Look at the locks of one backend until the block ends.

    A lock shorter than the time between two looks may be missed: what is reported was held,
    what is not reported was short.

    Args:
        pid: the backend, as `connection.connection.info.backend_pid` says.
        database: its database.
        every: seconds between two looks.
    """
    observed = Observed()
    stop = threading.Event()
    ready = threading.Event()
    with connect(database) as session:
        thread = threading.Thread(
            target=_look, args=(session, pid, every, stop, ready, observed), daemon=True
        )
        thread.start()
        ready.wait()
        try:
            yield observed
        finally:
            stop.set()
            thread.join()


def _look(
    session: psycopg.Connection[Any],
    pid: int,
    every: float,
    stop: threading.Event,
    ready: threading.Event,
    observed: Observed,
) -> None:
    since: dict[tuple[str, str], float] = {}
    waiting: dict[tuple[str, str], float] = {}
    longest: dict[tuple[str, str], tuple[float, str]] = {}
    times: dict[tuple[str, str], int] = defaultdict(int)
    while True:
        rows = session.execute(LOOK, [pid]).fetchall()
        now = time.monotonic()
        observed.looks += 1
        ready.set()
        seen = {(row[0], row[1]): row[3] for row in rows if row[2] and row[1] in BLOCKING}
        for key, query in seen.items():
            if key not in since:
                since[key] = now
                times[key] += 1
            held = now - since[key]
            if held >= longest.get(key, (-1.0, ""))[0]:
                longest[key] = (held, query or "")
        for key in [key for key in since if key not in seen]:
            del since[key]
        wanted = {(row[0], row[1]) for row in rows if not row[2]}
        for key in wanted:
            waiting.setdefault(key, now)
            observed.waited[key] = max(observed.waited.get(key, 0.0), now - waiting[key])
        for key in [key for key in waiting if key not in wanted]:
            del waiting[key]
        if stop.wait(every):
            break
    observed.held = [
        Held(relation, mode, seconds, times[relation, mode], query)
        for (relation, mode), (seconds, query) in sorted(longest.items())
    ]
