"""Waits while standbys are behind, or replication slots hold back too much WAL.

The server's own `replay_lag` is measured when a standby says that it has replayed
something, so it tells little of one that has stopped. Therefore each look notes how far
the WAL had come, and a standby is as far behind as the oldest look it has not replayed.
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from django.db import Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.template.defaultfilters import filesizeformat

from django_safemigrations.backfill.report import report
from django_safemigrations.backfill.waits import Wait
from django_safemigrations.conf import BackfillSettings
from django_safemigrations.exceptions import ThrottleFailed

LOOKS_KEPT = 3_600

# A base backup is no standby; a receiver of WAL files replays nothing, but it flushes.
STANDBYS = """
SELECT pid, application_name, state IS NULL,
       extract(epoch FROM replay_lag)::float8,
       pg_wal_lsn_diff(coalesce(replay_lsn, flush_lsn), '0/0'),
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'
"""

# "lost": the slot holds nothing back any more.
SLOTS = """
SELECT slot_name, active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
FROM pg_replication_slots
WHERE restart_lsn IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'
"""


class Standbys:
    """Waits until every standby has replayed what was written MAX_LAG seconds ago.

    Args:
        connection: the database.
        settings: MAX_LAG, MAX_LAG_BYTES, IGNORE_REPLICAS.
        clock: injected by tests.

    Attributes:
        lag: seconds that the standby furthest behind was behind at the last look; None without one.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        settings: BackfillSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection, self.settings, self.clock = connection, settings, clock
        self._looks: deque[tuple[float, int]] = deque(maxlen=LOOKS_KEPT)
        self._told = False
        self.lag: float | None = None

    def look(self) -> Wait | None:
        """Find the standby that is furthest behind its limit."""
        with self.connection.cursor() as cursor:
            cursor.execute(STANDBYS)
            rows = cursor.fetchall()
        now = self.clock()
        hidden, behind, lags = [], list[Wait](), list[float]()
        for pid, name, is_hidden, server_lag, replayed, written in rows:
            if is_hidden:
                hidden.append(pid)
            elif name not in self.settings.ignore_replicas and replayed is not None:
                lag = max(server_lag or 0.0, self._since(int(replayed), now))
                lags.append(lag)
                behind += self._judge(name, lag, int(written - replayed))
        self.lag = max(lags, default=None)
        if rows and not hidden:
            self._looks.append((now, int(rows[0][5])))
        if hidden and not self._told:
            self._told = True
            report(
                f"The lag of {len(hidden)} standbys can't be seen, so nothing waits for them: "
                "GRANT pg_monitor to the user that migrates, or write a LAG_QUERY"
            )
        return behind[0] if behind else None

    def _since(self, replayed: int, now: float) -> float:
        """Return how long ago something was written that a standby has not replayed."""
        return next((now - moment for moment, lsn in self._looks if lsn > replayed), 0.0)

    def _judge(self, name: str, lag: float, size: int) -> list[Wait]:
        settings = self.settings
        what = f"standby {name or '(unnamed)'} is {lag:.1f} s and {filesizeformat(size)} behind"
        if settings.max_lag is not None and lag > settings.max_lag:
            return [Wait("lag", f"{what}, and may be {settings.max_lag:g} s", 1.0)]
        if settings.max_lag_bytes is not None and size > settings.max_lag_bytes:
            most = filesizeformat(settings.max_lag_bytes)
            return [Wait("lag", f"{what}, and may be {most}", 1.0)]
        return []

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""


class Slots:
    """Waits while a replication slot holds back more WAL than it may: the disk would fill up.

    Args:
        connection: the database.
        settings: MAX_SLOT_BYTES, IGNORE_REPLICAS.
    """

    def __init__(self, connection: BaseDatabaseWrapper, settings: BackfillSettings) -> None:
        self.connection, self.settings = connection, settings

    def look(self) -> Wait | None:
        """Find a slot that holds back too much."""
        most = self.settings.max_slot_bytes
        with self.connection.cursor() as cursor:
            cursor.execute(SLOTS)
            rows = cursor.fetchall()
        for name, active, held in rows:
            if most is None or name in self.settings.ignore_replicas or held <= most:
                continue
            who = "its reader is behind"
            if not active:
                who = (
                    "nobody reads it; if it is abandoned, type "
                    f"SELECT pg_drop_replication_slot('{name}')"
                )
            reason = (
                f"replication slot {name} holds back {filesizeformat(int(held))} of WAL, and may "
                f"{filesizeformat(most)}: {who}"
            )
            return Wait("slots", reason, 5.0)
        return None

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""


class LagQuery:
    """Waits while a query of the user's returns more seconds than a standby may be behind.

    Args:
        connection: the database.
        query: returns one row with one number; NULL, and no row, is no lag.
        most: seconds.

    Attributes:
        lag: what it returned at the last look.
    """

    def __init__(self, connection: BaseDatabaseWrapper, query: str, most: float | None) -> None:
        self.connection, self.query = connection, query
        self.lag: float | None = None
        self.most = 0.0 if most is None else most

    def look(self) -> Wait | None:
        """Run the query.

        Raises:
            ThrottleFailed: PostgreSQL refuses it, or it returns no number.
        """
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(self.query)
                row = cursor.fetchone()
        except (InterfaceError, OperationalError):
            raise  # a connection that is lost is found again by whoever works
        except Error as error:
            raise self._failed(str(error).strip()) from error
        said = row[0] if row else None
        self.lag = None
        if said is None:
            return None
        try:
            self.lag = seconds = float(said)
        except (TypeError, ValueError):
            raise self._failed(f"it returned {said!r}, which is no number of seconds") from None
        if seconds <= self.most:
            return None
        reason = f"LAG_QUERY says {seconds:.1f} s, and it may be {self.most:g} s"
        return Wait("lag", reason, 1.0)

    def _failed(self, why: str) -> ThrottleFailed:
        return ThrottleFailed(
            f"SAFE_MIGRATIONS['BACKFILL']['LAG_QUERY'] can't be used: {why}\nIt was: {self.query}"
        )

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""
