"""Every backfill that the ledger knows: whose, how far, who works on it, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.leases import BACKFILLS, RANGES, ledger_has_ranges
from django_safemigrations.backfill.report import Standing
from django_safemigrations.backfill.store import State

UNFINISHED = (State.PENDING, State.RUNNING, State.PAUSED, State.FAILED)
"""The states in which somebody still has to do something; a cancelled one is nobody's."""

LIST = f"""
SELECT b.key, b."table", coalesce(nullif(b.title, ''), b.key), b.task, b.state, b.reason,
       b.rows_total, b.rows_done + coalesce(sum(r.rows_done), 0), coalesce(sum(r.rows_seen), 0),
       b.batches + coalesce(sum(r.batches), 0), b.errors + coalesce(sum(r.errors), 0),
       count(r.failed_at), coalesce(max(r.batch_size) FILTER (WHERE r.finished_at IS NULL), 0),
       array_remove(array_agg(DISTINCT CASE WHEN r.leased_until > clock_timestamp()
                                            THEN r.leased_by END), NULL),
       coalesce(nullif(b.last_error, ''),
                (array_agg(r.last_error ORDER BY r.failed_at DESC NULLS LAST, r.id)
                 FILTER (WHERE r.last_error <> '' AND r.finished_at IS NULL))[1], ''),
       b.started_at, b.updated_at, b.finished_at,
       extract(epoch FROM clock_timestamp() - b.started_at)::float8
FROM {BACKFILLS} b LEFT JOIN {RANGES} r ON r.backfill_id = b.id
GROUP BY b.id ORDER BY b.id
"""


@dataclass(frozen=True)
class Listed:
    """One backfill, as the ledger has it at a moment.

    Attributes:
        key: what the ledger calls it, and people type.
        table: schema and name, quoted.
        title: what people call it.
        task: what it does; see `backfill.tasks`.
        state: its state.
        reason: why it is paused, cancelled or failed.
        rows_total: rows that it comes past, about.
        rows_done: rows that it has changed.
        rows_seen: rows that it has come past in this pass, about.
        batches: batches that were committed.
        errors: batches that were tried again.
        failed: rows that could not be changed.
        batch_size: rows in the latest batch.
        workers: names of those that hold a range.
        last_error: what went wrong last.
        started_at, updated_at, finished_at: when.
        seconds: how long ago it began.
    """

    key: str
    table: str
    title: str
    task: Any
    state: State
    reason: str
    rows_total: int
    rows_done: int
    rows_seen: int
    batches: int
    errors: int
    failed: int
    batch_size: int
    workers: tuple[str, ...]
    last_error: str
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    seconds: float

    @property
    def is_unfinished(self) -> bool:
        """Whether somebody still has to do something."""
        return self.state in UNFINISHED

    @property
    def rate(self) -> float | None:
        """Rows a second that it has come past since it began; None if nobody works on it."""
        if not self.workers or self.seconds <= 0 or not self.rows_seen:
            return None
        return self.rows_seen / self.seconds

    def standing(self, rate: float | None = None, lag: float | None = None) -> Standing:
        """Return how it stands, for whoever shows backfills.

        Args:
            rate: rows a second lately, if that is known better than on average.
            lag: seconds that the standby furthest behind is behind.
        """
        return Standing(
            key=self.key,
            title=self.title,
            seen=min(self.rows_seen, self.rows_total) if self.rows_total else self.rows_seen,
            changed=self.rows_done,
            total=self.rows_total or None,
            rate=rate if rate is not None else self.rate,
            size=self.batch_size or None,
            lag=lag,
            waiting=self._waiting(),
            failed=self.failed,
            workers=len(self.workers),
            ended=self._ended(),
        )

    def _waiting(self) -> str:
        if self.state is State.PAUSED:
            return f"paused: {self.reason}".rstrip(": ")
        if self.state in (State.PENDING, State.RUNNING) and not self.workers:
            return "nobody works on it: type manage.py runbackfill"
        return ""

    def _ended(self) -> str:
        if self.state is State.FINISHED:
            return f"proven complete, {self.rows_done:,} rows changed"
        if self.state in (State.CANCELLED, State.FAILED):
            first = self.reason.strip().split("\n")[0]
            return f"{self.state}: {first}".rstrip(": ")
        return ""


def list_backfills(connection: BaseDatabaseWrapper) -> list[Listed]:
    """Return every backfill of a database, in the order in which they were begun."""
    if not ledger_has_ranges(connection):
        return []
    with connection.cursor() as cursor:
        cursor.execute(LIST)
        rows = cursor.fetchall()
    return [_listed(row) for row in rows]


def unfinished(connection: BaseDatabaseWrapper) -> list[Listed]:
    """Return the backfills that somebody still has to do something about."""
    return [found for found in list_backfills(connection) if found.is_unfinished]


class Touches(Protocol):
    """What a migration touches; see `footprints.Footprint`."""

    @property
    def tables(self) -> frozenset[str]:
        """Tables that it touches in any way."""

    @property
    def whole(self) -> frozenset[str]:
        """Tables that it drops or renames."""

    @property
    def names(self) -> frozenset[tuple[str, str]]:
        """Columns and other names, with their tables."""

    @property
    def raw(self) -> frozenset[str]:
        """Identifiers in raw SQL."""


def blocking(found: Iterable[Listed], contract: Touches) -> Listed | None:
    """Return the backfill that has to be finished before a contract may run; None if it may."""
    return next((each for each in found if _blocks(each, contract)), None)


def _blocks(each: Listed, contract: Touches) -> bool:
    bare = each.table.rpartition(".")[2].strip('"')
    tables = {each.table, each.table.replace('"', ""), bare}
    if each.state is State.FINISHED or not tables & contract.tables:
        return False
    columns = {str(name).lower() for name in each.task.get("columns", ())}
    if tables & contract.whole or (not columns and each.state is State.FAILED):
        return True
    named = {name.lower() for table, name in contract.names if table in tables}
    return bool(columns & (named | contract.raw))


def _listed(row: tuple[Any, ...]) -> Listed:
    values = dict(zip((each.name for each in fields(Listed)), row, strict=True))
    task = values["task"]
    # Django has the driver leave jsonb as text, for decoders of its own.
    values["task"] = json.loads(task) if isinstance(task, str) else task
    values["state"] = State(values["state"])
    values["workers"] = tuple(values["workers"])
    for name in ("rows_total", "rows_done", "rows_seen", "batches", "errors"):
        values[name] = int(values[name])  # sums are numeric
    return Listed(**values)
