"""One worker's walk along the key of a range: batch by batch, each a transaction of its own.

The upper bound of a batch is found first, then one range UPDATE changes the rows that need
it, and what was done is stored in the same commit. Batches are sized by time. One that meets
a locked row comes again smaller; one that fails for a row is halved until that row is found,
which is put aside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum, auto

from django.db import Error, transaction

from django_safemigrations.backfill.ranges import texts
from django_safemigrations.backfill.refusals import Refusals, Verdict, verdict_on
from django_safemigrations.backfill.store import (
    WORKING,
    Lease,
    LeaseLost,
    ProgressStore,
    Step,
)
from django_safemigrations.backfill.surroundings import Surroundings, Throttle
from django_safemigrations.backfill.work import Batch, Key, Relation, Work, escaped
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import BackfillFailed
from django_safemigrations.postgres.runner import Runner

FIRST_BATCH = 1_000
SMALLEST_BATCH = 10
LARGEST_BATCH = 200_000
# A batch that waits for a row holds the rows before it; it gives up and comes again smaller.
ROW_LOCK_TIMEOUT = "1s"
# After so many refusals in a row, other ranges come first.
PUT_OFF_AFTER = 4
PUT_OFF_FOR = 5.0
PAUSE = 0.2
LONGEST_SLEEP = 1.0
MOST_FAILED = 100
RENEW_EVERY = 5.0


class Ending(Enum):
    """How a walk ended."""

    DONE = auto()
    """The range is done."""
    LOST = auto()
    """Another worker has it now."""
    PUT_OFF = auto()
    """A row of it stays locked, and other ranges can be worked on meanwhile."""
    HALTED = auto()
    """The backfill is not to be worked on now, or this worker is to end."""


class Walk:
    """What one worker knows from range to range: how large batches are, and what is in the way.

    Args:
        runner: the means to work with.
        work: what to do.
        store: where progress is kept.
        throttle: asked before each batch.
        around: clock and sleep.
        tell: called after each batch, and with a reason while there is one to wait.
        settings: settings of the session for each batch's transaction.
    """

    def __init__(
        self,
        runner: Runner,
        work: Work,
        store: ProgressStore,
        throttle: Throttle,
        around: Surroundings,
        tell: Callable[[Walk, str], None],
        settings: dict[str, str],
    ) -> None:
        self.runner, self.work, self.store = runner, work, store
        self.throttle, self.around, self.tell = throttle, around, tell
        self.settings = settings
        self.refusals = Refusals(runner, work.title, around.clock)
        self.size = FIRST_BATCH
        self.changed = 0
        self.seen = 0
        self._target = get_settings().batch_time / 1000
        # Rows of the batch that failed, while the one that is to blame is looked for.
        self._narrowing = 0
        self._before_narrowing = FIRST_BATCH
        self._bounds: tuple[Key | None, bool] | None = None
        self._renewed = around.clock()

    def close(self) -> None:
        """End the second session, if there is one."""
        self.refusals.close()

    def run(self, lease: Lease, relation: Relation) -> Ending:
        """Walk to the end of a range.

        Raises:
            LockNotGranted: a row stayed locked until LOCK_BUDGET was spent.
            BackfillFailed: too many rows can't be filled.
            Error: what is no row's fault.
        """
        if lease.size:
            self.size = max(SMALLEST_BATCH, min(lease.size, LARGEST_BATCH))
        self._narrowing = 0
        refused = 0
        try:
            while True:
                if not self._may_go_on(lease):
                    return self._give_back(lease)
                started = self.around.clock()
                step: Step | None = None
                self._bounds = None
                try:
                    with transaction.atomic(using=self.runner.connection.alias):
                        self._set_locally()
                        if self.store.hold(lease) in WORKING:
                            step = self._step(lease, relation)
                except Error as error:
                    verdict = verdict_on(error, self.runner.connection)
                    if verdict is Verdict.RAISE:
                        raise
                    self.store.renew(lease, _first_line(error))
                    if verdict is Verdict.ROW:
                        self._narrow(lease, relation, error)
                        continue
                    self.refusals.note(error)
                    refused += 1
                    self.size = max(SMALLEST_BATCH, self.size // 2)
                    if refused >= PUT_OFF_AFTER and self._others_are_free():
                        self.store.release(lease, PUT_OFF_FOR)
                        return Ending.PUT_OFF
                    self.around.sleep(PAUSE)
                    continue
                if step is None:
                    return self._give_back(lease)
                refused = 0
                self.refusals.forget()
                self._note(lease, step, self.around.clock() - started)
                if step.ended:
                    return Ending.DONE
        except LeaseLost:
            return Ending.LOST
        except BaseException:
            # Whoever tries again may do so from this very session, which a lease outlives.
            with contextlib.suppress(Error):
                self.store.release(lease)
            raise

    # -- one batch -----------------------------------------------------------------------

    def _set_locally(self) -> None:
        settings = {
            "lock_timeout": ROW_LOCK_TIMEOUT,
            # A worker that hangs in mid-batch holds rows; the server ends it as its lease ends.
            "idle_in_transaction_session_timeout": f"{self.store.lease:.0f}s",
            **self.settings,
        }
        self.runner.catalog.rows(
            f"SELECT {', '.join(['set_config(%s, %s, true)'] * len(settings))}",
            [part for setting in settings.items() for part in setting],
        )

    def _step(self, lease: Lease, relation: Relation) -> Step:
        size = self.size
        bound, ended = self._bound(lease, relation, size)
        self._bounds = bound, ended
        where, params = condition(lease, relation, bound)
        changed = self.work.change(self.runner, Batch(relation, where, params, size))
        for key, error in changed.failed:
            self.store.put_aside(lease, key, error)
        seen = changed.rows if ended else size
        step = Step(bound, changed.rows, seen, ended, size)
        if not (changed.failed and lease.range.lower and lease.range.lower == lease.range.upper):
            # Of a range of one row that failed again, that is all there is to store.
            self.store.advance(lease, step)
        return step

    def _bound(self, lease: Lease, relation: Relation, size: int) -> tuple[Key | None, bool]:
        """Return the key that ends the next batch, and whether it is the last batch."""
        upper = lease.range.upper
        if upper is not None and lease.range.lower == upper:
            return upper, True
        where, params = condition(lease, relation, upper)
        sql = escaped(relation.sql)
        if relation.by_place:
            # They come in the order of their places, which no planner knows: no ORDER BY.
            rows = self.runner.catalog.rows(
                "SELECT max(place)::text, count(*) FROM (SELECT ctid AS place"
                f" FROM {sql} WHERE {where} LIMIT %s) t",
                [*params, size],
            )
            place, count = rows[0]
            return ([place], False) if count >= size else (upper, True)
        # Only the one row that is returned is made text.
        columns = ", ".join(map(escaped, relation.columns))
        rows = self.runner.catalog.rows(
            f"SELECT {escaped(texts(relation))} FROM (SELECT {columns} FROM {sql} WHERE {where}"
            f" ORDER BY {columns} OFFSET %s LIMIT 1) bound",
            [*params, size - 1],
        )
        return (list(rows[0]), False) if rows else (upper, True)

    def _note(self, lease: Lease, step: Step, seconds: float) -> None:
        lease.last, lease.size = step.last, step.size
        self.changed += step.rows
        self.seen += step.seen
        self._renewed = self.around.clock()
        self.throttle.note(step.rows)
        if self._narrowing > step.size:
            # The row that is to blame is in the other half.
            self._narrowing -= step.size
            self.size = max(1, step.size // 2)
        elif self._narrowing:
            self._narrowing, self.size = 0, self._before_narrowing
        else:
            factor = min(2.0, max(0.5, self._target / seconds)) if seconds else 2.0
            self.size = int(min(LARGEST_BATCH, max(SMALLEST_BATCH, self.size * factor)))
        self.tell(self, "")

    # -- rows that fail ------------------------------------------------------------------

    def _narrow(self, lease: Lease, relation: Relation, error: Error) -> None:
        """Halve the batch that failed; one of a single row is put aside."""
        bound, ended = self._bounds or (None, False)
        one = lease.range.lower is not None and lease.range.lower == lease.range.upper
        if self.size > 1 and not one:
            if not self._narrowing:
                self._before_narrowing = self.size
            self._narrowing = self.size
            self.size //= 2
            return
        if bound is None or (ended and not one):
            # No row is left in the range, so none is to blame.
            raise error
        with transaction.atomic(using=self.runner.connection.alias):
            self.store.hold(lease)
            self.store.put_aside(lease, bound, _first_line(error))
            if not one:
                self.store.advance(lease, Step(bound, 0, 1, ended=False, size=self.size))
        lease.last = bound
        self._narrowing, self.size = 0, max(SMALLEST_BATCH, self._before_narrowing)
        if self.store.totals().failed > MOST_FAILED:
            raise BackfillFailed(
                f"{self.work.title}: more than {MOST_FAILED} rows can't be filled, the last one "
                f"with: {_first_line(error)}",
                self.store.key,
            ) from error
        if one:
            raise LeaseLost

    # -- between two batches ---------------------------------------------------------------

    def _may_go_on(self, lease: Lease) -> bool:
        """Wait for the throttle; false if there is to be no further batch."""
        while not self.around.stop():
            wait = self.throttle.look()
            if wait is None:
                return True
            self.tell(self, str(wait))
            self.around.sleep(min(wait.seconds, LONGEST_SLEEP))
            if self.around.clock() - self._renewed >= RENEW_EVERY:
                self._renewed = self.around.clock()
                if self.store.renew(lease) not in WORKING:
                    return False
        return False

    def _give_back(self, lease: Lease) -> Ending:
        self.store.release(lease)
        return Ending.HALTED

    def _others_are_free(self) -> bool:
        known = self.store.load()
        return known is not None and known.open > 1


def condition(lease: Lease, relation: Relation, upper: Key | None) -> tuple[str, list[str]]:
    """Return the condition on the key for what is left of a range up to a key."""
    listed = f"({', '.join(map(escaped, relation.columns))})"
    given = f"({', '.join(f'%s::{type_}' for _, type_ in relation.key)})"
    if lease.range.upper is not None and lease.range.lower == lease.range.upper:
        return f"{listed} = {given}", list(lease.range.upper)
    after = lease.last or lease.range.lower
    conditions, params = [], list[str]()
    if after is not None:
        conditions.append(f"{listed} > {given}")
        params += after
    if upper is not None:
        conditions.append(f"{listed} <= {given}")
        params += upper
    return " AND ".join(conditions) or "true", params


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
