"""A backfill from its beginning to its proof: ranges are claimed, walked, and counted at the end.

Any number of workers may do so at once, on the same backfill. Rows written meanwhile are the
trigger's business; that nothing was missed is proven at the end by counting, not by the
ranges having ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import Error

from django_safemigrations.backfill.bad_ends import (
    cancelled,
    differs,
    failed,
    listed,
    refuse_rows_no_update_can_touch,
)
from django_safemigrations.backfill.fills import Fill as Fill
from django_safemigrations.backfill.ranges import Member, members_of, split
from django_safemigrations.backfill.refusals import Verdict, verdict_on
from django_safemigrations.backfill.report import Standing, report, report_standing
from django_safemigrations.backfill.store import Lease, ProgressStore, State, Totals
from django_safemigrations.backfill.surroundings import Surroundings, Throttle, surroundings
from django_safemigrations.backfill.tasks import HERE
from django_safemigrations.backfill.walk import Ending, Walk
from django_safemigrations.backfill.work import Relation, Work
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import (
    BackfillFailed,
    BackfillLeft,
)
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.runner import Runner

UNDEFINED_TABLE = "42P01"
POLL = 0.2
MOST_PASSES = 5
COUNT_ANEW_EVERY = 1.0


def fill(
    runner: Runner,
    task: Work,
    store: ProgressStore,
    *,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], None] | None = None,
) -> int:
    """Fill every row that needs it; return how many were changed in this call.

    Goes on after the last committed batch when it was stopped, and starts over when the
    stored progress says that it is finished but rows are left. Other workers may help.

    Args:
        runner: the means to work with.
        task: what to fill.
        store: where progress is kept.
        clock, sleep: injected by tests.

    Raises:
        BackfillCancelled: somebody cancelled it.
        BackfillFailed: rows can't be filled; names some. The others are filled.
        BackfillLeft: it is left to workers, as the surroundings say.
        DataDiffers: rows are left after several passes.
        LockNotGranted: a row stayed locked until LOCK_BUDGET was spent.
        ViolatingRows: rows break a CHECK that was never validated.
        UnsupportedChange: the table has rows and a transaction is open, or its rows can't be
            changed from here.

    Locks: ROW EXCLUSIVE on the table; the batch's rows until its commit, about
    BATCH_TIME milliseconds.
    """
    runner.refuse_in_transaction(task.table, f"Filling {listed(task)} in batches")
    if runner.in_transaction:
        return 0
    refuse_rows_no_update_can_touch(runner, task)
    around = surroundings()
    around = replace(around, clock=clock or around.clock, sleep=sleep or around.sleep)
    backfill = Backfill(runner, task, store, around)
    backfill.begin()
    elsewhere = store.shared and task.describe().get("kind") != HERE
    if around.leave and elsewhere and not backfill.is_finished():
        raise BackfillLeft(
            f"{task.title}: ready for workers. Type: manage.py runbackfill; then run the command "
            "again.",
            store.key,
        )
    return backfill.run()


def assist(runner: Runner, work: Work, store: ProgressStore) -> int:
    """Work on a backfill that somebody has begun, until it is finished or this worker is to end.

    Returns how many rows this worker has changed. Neither starts over what is finished nor
    tries again what has failed.

    Raises:
        BackfillCancelled, BackfillFailed, DataDiffers, LockNotGranted: as for `fill`.
    """
    return Backfill(runner, work, store, surroundings()).run()


class Backfill:
    """One worker on one backfill.

    Args:
        runner: the means to work with.
        work: what to do.
        store: where progress is kept.
        around: throttle, clock, sleep and whether to stop.
    """

    def __init__(
        self, runner: Runner, work: Work, store: ProgressStore, around: Surroundings
    ) -> None:
        self.runner, self.work, self.store, self.around = runner, work, store, around
        self.members: list[Member] = []
        self._totals = Totals()
        self._counted: float | None = None
        self._own = (0, 0)
        self._rates: list[tuple[float, int]] = []

    # -- its beginning ---------------------------------------------------------------------

    def begin(self) -> None:
        """Store it with its ranges, or go on where it is.

        Raises:
            BackfillCancelled: somebody cancelled it.
            UnsupportedChange: the rows can't be changed from here.
        """
        known = self.store.load()
        self.members = members_of(self.runner.catalog, self.work)
        if known is None:
            self._plan(0)
        elif known.state is State.CANCELLED:
            raise cancelled(self.work, self.store.key, known)
        elif known.state is State.FINISHED:
            if self.work.left(self.runner):
                self._plan(0)
        elif known.task != self._description():
            # Other columns, another condition, another key: what is done of it is another's.
            self._plan(0)
        elif known.state is State.FAILED:
            self.store.retry()

    def is_finished(self) -> bool:
        """Whether it is proven complete."""
        known = self.store.load()
        return known is not None and known.state is State.FINISHED

    def _description(self) -> dict[str, Any]:
        keys = [
            [member.relation.sql, [list(column) for column in member.relation.key]]
            for member in self.members
        ]
        return {**self.work.describe(), "keys": keys}

    def _plan(self, passes: int) -> None:
        with self.runner.guard.as_long_as_it_takes():
            ranges = split(self.runner.catalog, self.members)
        self.store.begin(
            self._description(),
            self.work.title,
            ranges,
            rows_total=sum(member.rows for member in self.members),
            passes=passes,
            # What is kept in memory no other process will ever see.
            state=State.PENDING if self.around.leave and self.store.shared else State.RUNNING,
        )

    # -- its course --------------------------------------------------------------------------

    def run(self) -> int:
        """Work until it is finished; return the rows changed.

        Raises:
            BackfillCancelled, BackfillFailed, DataDiffers, LockNotGranted: as for `fill`.
        """
        if not self.members:
            self.members = members_of(self.runner.catalog, self.work)
        throttle = self.around.throttle(
            self.runner.connection,
            self.work.table.oid,
            workers=lambda: max(1, self._sums().workers),
        )
        with contextlib.closing(throttle), contextlib.closing(self._walk(throttle)) as walk:
            while not self.around.stop():
                lease = self.store.claim()
                if lease is not None:
                    self._work(walk, lease)
                elif self._ends(walk, throttle):
                    break
            return walk.changed

    def _walk(self, throttle: Throttle) -> Walk:
        settings = {}
        if not get_settings().backfill.synchronous_commit and self.work.repeatable(self.runner):
            # A crash of the server loses the values together with the progress; the commit that
            # says finished is waited for, and flushes what was before it.
            # https://www.postgresql.org/docs/current/wal-async-commit.html
            settings["synchronous_commit"] = "off"
        return Walk(
            self.runner,
            self.work,
            self.store,
            throttle,
            self.around,
            lambda walk, waiting: self._tell(walk, throttle, waiting),
            settings,
        )

    def _work(self, walk: Walk, lease: Lease) -> Ending:
        relations = {member.relation.sql: member.relation for member in self.members}
        relation = relations.get(lease.range.relation)
        if relation is None:
            # A partition that is gone, or that has children now: the proof says what is left.
            self.store.abandon(lease)
            return Ending.DONE
        try:
            return walk.run(lease, relation)
        except Error as error:
            if sqlstate(error) != UNDEFINED_TABLE or self._is_there(relation):
                raise
            self.store.abandon(lease)
            return Ending.DONE

    def _is_there(self, relation: Relation) -> bool:
        sql = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = %s)"
        return bool(self.runner.catalog.value(sql, [relation.table.oid]))

    def _ends(self, walk: Walk, throttle: Throttle) -> bool:
        """Whether all is done, when there is nothing to claim.

        Raises:
            BackfillCancelled, BackfillFailed, DataDiffers: it does not end well.
        """
        known = self.store.load()
        if known is None or known.state is State.FINISHED:
            return True
        if known.state is State.CANCELLED:
            raise cancelled(self.work, self.store.key, known)
        if known.state is State.FAILED:
            raise BackfillFailed(known.reason, self.store.key)
        if known.state is State.PAUSED:
            self._wait(walk, throttle, f"paused: {known.reason}".rstrip(": "))
            return False
        if known.open:
            self._wait(
                walk,
                throttle,
                "other workers have the rest" if not walk.refusals.since else "a row is locked",
            )
            return False
        if known.failed:
            raise failed(self.work, self.store, self.members, known)
        with self.store.proving() as mine:
            if mine:
                return self._prove(walk)
        self._wait(walk, throttle, "another worker counts what is left")
        return False

    def _wait(self, walk: Walk, throttle: Throttle, why: str) -> None:
        self._tell(walk, throttle, why)
        self.around.sleep(POLL)

    def _prove(self, walk: Walk) -> bool:
        """Count what is left; begin another pass if something is."""
        known = self.store.load()
        if known is None or known.state is not State.RUNNING or known.open or known.failed:
            return False
        left: int | None
        why = ""
        try:
            left = self.work.left(self.runner)
        except Error as error:
            if verdict_on(error, self.runner.connection) is not Verdict.ROW:
                raise
            # A row came to be bad behind the walk: the next pass names it.
            left, why = None, str(error).strip()
        changed = self.store.totals().rows_done
        last = known.passes + 1 >= MOST_PASSES
        ended = self._ended(left, changed, known.passes + 1, last=last)
        if ended:
            if not self.store.finish():
                return False
            report_standing(Standing(self.store.key, self.work.title, changed=changed, ended=ended))
            return True
        if last:
            raise differs(self.runner, self.work, self.store, left, why, MOST_PASSES)
        report(
            f"{self.work.title}: "
            + (f"{left:,} rows still need it" if left is not None else f"can't be counted: {why}")
            + ", going over the table again"
        )
        self.members = members_of(self.runner.catalog, self.work)
        self._plan(known.passes + 1)
        return False

    def _ended(self, left: int | None, changed: int, passes: int, *, last: bool) -> str:
        """Say how it has ended; empty if it has not."""
        if left is None:
            return ""
        told = getattr(self.work, "told_at_the_end", None)
        if told is not None:
            return str(told(left, changed, passes if last else 0))
        return f"proven complete, {changed:,} rows changed" if left == 0 else ""

    # -- what it tells -----------------------------------------------------------------------

    def _sums(self, walk: Walk | None = None) -> Totals:
        now = self.around.clock()
        if self._counted is None or now - self._counted >= COUNT_ANEW_EVERY:
            self._counted, self._totals = now, self.store.totals()
            if walk is not None:
                self._own = walk.changed, walk.seen
        return self._totals

    def _tell(self, walk: Walk, throttle: Throttle, waiting: str) -> None:
        sums = self._sums(walk)
        changed = sums.rows_done + walk.changed - self._own[0]
        seen = sums.rows_seen + walk.seen - self._own[1]
        now = self.around.clock()
        self._rates = [*(r for r in self._rates if now - r[0] <= 30), (now, seen)][-60:]
        (began, first) = self._rates[0]
        report_standing(
            Standing(
                key=self.store.key,
                title=self.work.title,
                seen=min(seen, sums.rows_total) if sums.rows_total else seen,
                changed=changed,
                total=sums.rows_total or None,
                rate=(seen - first) / (now - began) if now > began else None,
                size=walk.size,
                lag=throttle.lag,
                waiting=waiting,
                failed=sums.failed,
                workers=max(1, sums.workers),
            )
        )
