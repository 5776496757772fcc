"""What commands say of backfills: a table for people, a list for machines, and how they go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.listing import Listed, list_backfills
from django_safemigrations.backfill.replication import LagQuery, Standbys
from django_safemigrations.backfill.report import Standing, duration
from django_safemigrations.backfill.store import State
from django_safemigrations.conf import get_settings
from django_safemigrations.management.display import Display
from django_safemigrations.management.plan_report import table_lines

LOOK_EVERY = 1.0
RATES_OVER = 30.0


class Looks:
    """Looks at the backfills of a database again and again, and so sees how fast they are.

    Args:
        connection: the database.
        clock: injected by tests.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.connection, self.clock = connection, clock
        self.lag: float | None = None
        self._seen: dict[str, list[tuple[float, int]]] = {}
        settings = get_settings().backfill
        self._lag: LagQuery | Standbys = (
            Standbys(connection, settings, clock)
            if settings.lag_query is None
            else LagQuery(connection, settings.lag_query, settings.max_lag)
        )

    def look(self, keys: Collection[str] = ()) -> list[Listed]:
        """Return the backfills as they are now: those of some keys, or all."""
        found = [each for each in list_backfills(self.connection) if not keys or each.key in keys]
        if any(each.workers for each in found):
            self._lag.look()
            self.lag = self._lag.lag
        now = self.clock()
        for each in found:
            looks = [look for look in self._seen.get(each.key, []) if now - look[0] <= RATES_OVER]
            if looks and each.rows_seen < looks[-1][1]:
                looks = []  # another pass
            self._seen[each.key] = [*looks, (now, each.rows_seen)]
        return found

    def standing(self, each: Listed) -> Standing:
        """Return how a backfill stands."""
        looks = self._seen.get(each.key, [])
        rate = None
        if len(looks) > 1 and looks[-1][0] > looks[0][0]:
            rate = (looks[-1][1] - looks[0][1]) / (looks[-1][0] - looks[0][0])
        return each.standing(rate, self.lag if each.workers else None)


def backfill_document(each: Listed, standing: Standing) -> dict[str, Any]:
    """Return a backfill for a JSON document."""
    return {
        "key": each.key,
        "table": each.table,
        "title": each.title,
        "state": str(each.state),
        "reason": each.reason,
        "rows_done": each.rows_done,
        "rows_seen": each.rows_seen,
        "rows_total": each.rows_total,
        "rows_failed": each.failed,
        "rate": round(standing.rate, 1) if standing.rate else None,
        "seconds_left": round(standing.seconds_left) if standing.seconds_left is not None else None,
        "batch_size": each.batch_size,
        "batches": each.batches,
        "batches_repeated": each.errors,
        "workers": list(each.workers),
        "lag": standing.lag,
        "waiting": standing.waiting,
        "started_at": each.started_at.isoformat(),
        "updated_at": each.updated_at.isoformat(),
        "finished_at": each.finished_at.isoformat() if each.finished_at else None,
        "last_error": each.last_error,
    }


def backfill_lines(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of backfills, and below it what is to be said of some of them."""
    rows = []
    for row in documents:
        total = row["rows_total"]
        seen = f"{min(row['rows_seen'], total):,} of ~{total:,}" if total else ""
        if row["state"] == State.FINISHED:
            seen = f"{row['rows_done']:,} changed"
        left = row["seconds_left"]
        rows.append(
            [
                row["key"],
                row["table"],
                row["state"],
                seen,
                f"{row['rate']:,.0f}/s" if row["rate"] else "",
                duration(left) if left is not None else "",
                str(len(row["workers"])) if row["workers"] else "",
                f"{row['lag']:.1f} s" if row["lag"] is not None else "",
            ]
        )
    yield from table_lines(
        ["backfill", "table", "state", "rows", "rate", "left", "workers", "lag"], rows
    )
    for row in documents:
        if row["state"] != State.FINISHED:
            notes = [row["reason"], row["last_error"] if row["last_error"] != row["reason"] else ""]
            for note in filter(None, notes):
                yield f"  {row['key']}: {note.strip()}"


def documents_of(looks: Looks, found: Sequence[Listed]) -> list[dict[str, Any]]:
    """Return backfills for a JSON document."""
    return [backfill_document(each, looks.standing(each)) for each in found]


def watch(
    looks: Looks,
    display: Display,
    *,
    keys: Collection[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> list[Listed]:
    """Show the unfinished backfills again and again until none of them goes on.

    Returns:
        what was found at the last look.
    """
    shown: set[str] = set()
    while True:
        found = looks.look(keys)
        going_on = [each for each in found if each.state in GOING_ON]
        shown.update(each.key for each in going_on)
        display.show_all(looks.standing(each) for each in going_on)
        for each in found:
            if each.key in shown and each.state not in GOING_ON:
                shown.discard(each.key)
                display.standing(looks.standing(each))
        if not going_on:
            return found
        sleep(LOOK_EVERY)


GOING_ON = (State.PENDING, State.RUNNING, State.PAUSED)
