"""Watches a session from a second one: what it waits for, and what it holds where it can't look itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.rehearsal.trace.looks import FIRST_OID

# waitstart: since PostgreSQL 14. https://www.postgresql.org/docs/current/view-pg-locks.html
POLL = f"""
    SELECT locktype, coalesce(relation, 0)::int8, mode, granted,
           extract(epoch FROM pg_catalog.clock_timestamp() - waitstart)::float8
    FROM pg_catalog.pg_locks
    WHERE pid = %s AND (NOT granted OR (locktype = 'relation' AND relation >= {FIRST_OID}))
"""
SOON = 0.01
"""A statement that has ended by then waited for nothing worth telling; seconds."""
EVERY = 0.01
CLOSELY = 0.001
"""Seconds between two polls: of a wait, and of a statement whose locks only polls can see."""
PATIENCE = "SET statement_timeout = '10s'; SET lock_timeout = '10s'"


class TraceLost(SafeMigrationsError):
    """The session that watches is gone: what it would have seen is not known."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(
            "The session that watches the migration on the copy is gone"
            + (f" ({str(error).strip()})" if error is not None else "")
            + ": waits and locks since then were not seen, so this trace proves nothing. "
            "Nothing outside of the copy was changed. See to it that the copy's server keeps "
            "running, with one connection more than the migration needs, and run "
            "rehearsemigrations again."
        )


@dataclass
class Polled:
    """What was seen while one statement ran.

    Attributes:
        waits: seconds that it waited for each lock, by relation and mode; relation 0 stands for
            rows and for other transactions.
        held: seconds that it was seen to hold each lock, by relation and mode.
        looks: how many polls there were.
    """

    waits: dict[tuple[int, str], float] = field(default_factory=dict)
    held: dict[tuple[int, str], float] = field(default_factory=dict)
    looks: int = 0

    @property
    def waited(self) -> float:
        """Seconds that it waited in all."""
        return sum(self.waits.values(), 0.0)


class _Job:
    def __init__(self, pid: int, *, closely: bool) -> None:
        self.pid = pid
        self.closely = closely
        self.polled = Polled()
        self.ended = threading.Event()
        self.looking = threading.Event()
        self.over = threading.Event()
        self.taken = False
        self.since: dict[tuple[int, str], float] = {}
        self.waiting: dict[tuple[int, str], float] = {}

    def take(self, rows: list[Any], now: float) -> None:
        """Add what one poll has found."""
        self.polled.looks += 1
        held = {(relation, mode) for _, relation, mode, granted, _ in rows if granted}
        for key in held:
            self.since.setdefault(key, now)
            self.polled.held[key] = max(self.polled.held.get(key, 0.0), now - self.since[key])
        for key in [key for key in self.since if key not in held]:
            del self.since[key]
        ages = {
            (relation if locktype == "relation" else 0, mode): age or 0.0
            for locktype, relation, mode, granted, age in rows
            if not granted
        }
        for key, age in ages.items():
            before = self.waiting.get(key, 0.0)
            # An age that went back is another wait for the same lock.
            more = age - before if age >= before else age
            self.polled.waits[key] = self.polled.waits.get(key, 0.0) + more
        self.waiting = ages


class Watcher:
    """A thread with a session of its own, which looks only while a statement takes its time.

    Args:
        connection: whose database it connects to.
        clock: seconds; injected by tests.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parameters = connection.get_connection_params()
        for key in ("cursor_factory", "context"):
            parameters.pop(key, None)
        self._parameters: dict[str, Any] = parameters
        self._clock = clock
        self._job: _Job | None = None
        self._wake = threading.Condition()
        self._stopped = False
        self.lost: BaseException | None = None
        self.session: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="trace-watcher")

    def start(self) -> None:
        """Connect, and begin to wait for statements.

        Raises:
            psycopg.Error: there is no second session to be had.
        """
        parameters = {**self._parameters, "autocommit": True}
        self.session = psycopg.connect(**parameters)
        self.session.execute(PATIENCE)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its session."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._job is not None:
            self._job.ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self.session is not None:
            with contextlib.suppress(psycopg.Error):
                self.session.close()

    @property
    def pid(self) -> int:
        """Server process of the second session."""
        assert self.session is not None
        return int(self.session.info.backend_pid)

    def ask(self) -> None:
        """See whether the second session is there still; what it missed unasked counts, too."""
        try:
            assert self.session is not None
            self.session.execute("SELECT 1")
        except (psycopg.Error, OSError) as error:
            self.lost = self.lost or error

    def begin(self, pid: int, *, closely: bool = False) -> None:
        """Watch a session from now on.

        Args:
            pid: its server process.
            closely: from before its statement runs, and without a pause.

        Raises:
            TraceLost: the second session is gone.
        """
        self.check()
        job = _Job(pid, closely=closely)
        with self._wake:
            self._job = job
            self._wake.notify()
        if closely:
            job.looking.wait()
            self.check()

    def end(self) -> Polled:
        """Stop watching, and return what was seen."""
        job = self._job
        if job is None:
            return Polled()
        job.ended.set()
        with self._wake:
            if job.taken:
                self._wake.wait_for(job.over.is_set)
            self._job = None
        return job.polled

    def check(self) -> None:
        """Raise if something can't have been seen.

        Raises:
            TraceLost: the second session is gone.
        """
        if self.lost is not None:
            raise TraceLost(self.lost) from self.lost

    def _run(self) -> None:
        last: _Job | None = None
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda seen=last: self._stopped or self._job not in (None, seen)  # type: ignore[misc]
                )
                if self._stopped:
                    return
                last = self._job
            assert last is not None
            if last.closely or not last.ended.wait(SOON):
                with self._wake:
                    last.taken = last.closely or not last.ended.is_set()
                if last.taken:
                    self._watch(last)

    def _watch(self, job: _Job) -> None:
        assert self.session is not None
        try:
            while True:
                rows = self.session.execute(POLL, [job.pid]).fetchall()
                job.take(rows, self._clock())
                job.looking.set()
                if job.ended.wait(CLOSELY if job.closely else EVERY):
                    return
        except (psycopg.Error, OSError) as error:
            self.lost = error
        finally:
            with self._wake:
                job.looking.set()
                job.over.set()
                self._wake.notify_all()
