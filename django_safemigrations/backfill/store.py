"""How far a backfill is: its ranges, who works on them, and what is done, kept where the data is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from django_safemigrations.backfill.ranges import Range
from django_safemigrations.backfill.work import Key


class State(StrEnum):
    """The states of a backfill; see `models.BackfillProgress.State`, which says the same."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    FINISHED = "finished"


WORKING = (State.PENDING, State.RUNNING)

LEASE = 30.0
"""Seconds for which a range is leased; renewed with each batch, by the server's clock."""


class LeaseLost(Exception):
    """Another worker has the range now: whoever held it must not write."""


@dataclass(frozen=True)
class Known:
    """What is stored of a backfill.

    Attributes:
        state: its state.
        reason: why it is paused, cancelled or failed.
        passes: passes over the table that are over.
        task: how its work was described.
        open: ranges that are not done and did not fail, leased or not.
        failed: ranges whose row could not be filled.
    """

    state: State
    reason: str
    passes: int
    task: Mapping[str, Any]
    open: int
    failed: int


@dataclass(frozen=True)
class Totals:
    """What all workers together have done.

    Attributes:
        rows_done: rows changed, in all passes.
        rows_seen: rows come past in this pass, changed or not, about.
        rows_total: rows of the table, as estimated when it was split.
        batches: batches committed.
        errors: batches that were tried again.
        ranges: ranges of this pass.
        ranges_done: those that are done.
        workers: ranges that are leased now.
        failed: rows that could not be filled.
        batch_size: rows in the latest batch.
    """

    rows_done: int = 0
    rows_seen: int = 0
    rows_total: int = 0
    batches: int = 0
    errors: int = 0
    ranges: int = 0
    ranges_done: int = 0
    workers: int = 0
    failed: int = 0
    batch_size: int = 0


@dataclass
class Lease:
    """A range that a worker holds.

    Attributes:
        id: names it in the store.
        range: what it is.
        last: the key up to which it is done.
        size: rows in its last batch, 0 if there was none.
    """

    id: int
    range: Range
    last: Key | None
    size: int = 0


@dataclass(frozen=True)
class Step:
    """What one batch has done.

    Attributes:
        last: the key that it came to.
        rows: rows changed.
        seen: rows come past, about.
        ended: whether the range is done.
        size: rows that the batch was to have.
    """

    last: Key | None
    rows: int
    seen: int
    ended: bool
    size: int


class ProgressStore(Protocol):
    """Keeps one backfill: what it is, its ranges, and who holds them.

    Methods that say so are called inside a batch's transaction, so that what was done and what
    is known of it are one commit.
    """

    key: str
    """What it is called."""
    shared: bool
    """Whether other processes see it."""
    lease: float
    """Seconds for which a range is leased."""

    def load(self) -> Known | None:
        """Return what is stored, None if nothing is."""

    def begin(
        self,
        task: Mapping[str, Any],
        title: str,
        ranges: Sequence[Range],
        *,
        rows_total: int,
        passes: int,
        state: State = State.RUNNING,
    ) -> None:
        """Begin a pass: put these ranges in the place of those that are there.

        Does nothing if another worker has begun it.

        Args:
            task: the work, as `Work.describe` returns it.
            title: what people call it.
            ranges: the ranges of the pass.
            rows_total: about how many rows they have.
            passes: passes that are over; a backfill that has come to an end begins with 0 again.
            state: PENDING if workers are to begin.
        """

    def retry(self) -> None:
        """Let a failed backfill be worked on again, first of all the rows that failed."""

    def claim(self) -> Lease | None:
        """Take a free range, None if there is none now or the backfill is not to be worked on."""

    def hold(self, lease: Lease) -> State:
        """Keep a lease for the open transaction, and return the state.

        Raises:
            LeaseLost: somebody else has the range.
        """

    def advance(self, lease: Lease, step: Step) -> None:
        """Store what the batch of the open transaction does, and renew the lease."""

    def put_aside(self, lease: Lease, key: Key, error: str) -> None:
        """Keep the row of a key for another try; inside a transaction that holds the lease."""

    def renew(self, lease: Lease, error: str = "") -> State:
        """Renew a lease between two batches; with an error, count it.

        Raises:
            LeaseLost: somebody else has the range.
        """

    def release(self, lease: Lease, seconds: float = 0.0) -> None:
        """Give a range back; nobody takes it again before so many seconds."""

    def abandon(self, lease: Lease) -> None:
        """Call a range done that can't be worked on: the proof says whether something is left."""

    def totals(self) -> Totals:
        """Return what all workers have done."""

    def failures(self, count: int) -> list[tuple[str, Key, str]]:
        """Return relation, key and error of some rows that could not be filled."""

    def proving(self) -> contextlib.AbstractContextManager[bool]:
        """Be the one that proves, as long as the block lasts; false if somebody else is."""

    def finish(self) -> bool:
        """Say that it is proven complete; false if it was cancelled or changed meanwhile."""

    def fail(self, reason: str) -> None:
        """Say that it failed, and why."""
