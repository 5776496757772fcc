"""One pass over a table by its key, in batches sized by time, one transaction each.

The upper bound of a batch is found first, then one range UPDATE changes the rows that
need it. Rows written meanwhile are the trigger's business; that nothing was missed is
proven at the end by counting, not by the pass having ended.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import Error, transaction

from django_safemigrations.backfill.progress import Progress, ProgressStore
from django_safemigrations.backfill.report import report
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import DataDiffers, LockNotGranted, ViolatingRows
from django_safemigrations.postgres.blockers import BlockerWatch
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.errors import (
    DEADLOCK_DETECTED,
    LOCK_NOT_AVAILABLE,
    sqlstate,
)
from django_safemigrations.postgres.runner import Runner

FIRST_BATCH = 1_000
SMALLEST_BATCH = 10
LARGEST_BATCH = 200_000
# A batch that waits for a row holds the rows before it; it gives up and comes again smaller.
ROW_LOCK_TIMEOUT = "1s"
REPORT_EVERY = 2.0
PAUSE = 0.2
MOST_PASSES = 5

Key = list[str]
RowValues = Callable[[int], Sequence[Any]]


@dataclass(frozen=True)
class Fill:
    """What to write, and into which rows.

    Attributes:
        table: the table.
        assignments: the columns that are filled, and the SQL of each value; None if
            `values` makes it in Python (then it is one column).
        needed: a condition that is true for rows which still need it.
        values: returns that many new values, one a row.
        title: what the progress line calls it.
    """

    table: Table
    assignments: Mapping[str, str | None]
    needed: str
    title: str
    values: RowValues | None = None

    @property
    def columns(self) -> str:
        """The columns that are filled, quoted."""
        return ", ".join(map(quote, self.assignments))

    def left(self, runner: Runner) -> int:
        """Count the rows that still need the value (a scan that blocks nobody)."""
        sql = f"SELECT count(*) FROM {self.table.qualified} WHERE {self.needed}"
        with runner.guard.as_long_as_it_takes():
            return int(runner.catalog.value(sql))


def fill(
    runner: Runner,
    task: Fill,
    store: ProgressStore,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Fill every row that needs it; return how many were changed in this call.

    Goes on after the last committed batch when it was stopped, and starts over when the
    stored progress says that it is finished but rows are left.

    Args:
        runner: the means to work with.
        task: what to fill.
        store: where progress is kept.
        clock, sleep: injected by tests.

    Raises:
        DataDiffers: rows are left after several passes.
        LockNotGranted: a row stayed locked until LOCK_BUDGET was spent.
        ViolatingRows: rows break a CHECK that was never validated.
        UnsupportedChange: the table has rows and a transaction is open.

    Locks: ROW EXCLUSIVE on the table; the batch's rows until its commit, about
    BATCH_TIME milliseconds.
    """
    runner.refuse_in_transaction(task.table, f"Filling {task.columns} in batches")
    if runner.in_transaction:
        return 0
    _refuse_rows_no_update_can_touch(runner, task)
    progress = store.load()
    changed = 0
    if progress.finished:
        if not task.left(runner):
            return 0
        progress = Progress()
    walk = _Walk(runner, task, store, clock, sleep)
    for _ in range(MOST_PASSES):
        changed += walk.run(progress)
        left = task.left(runner)
        if not left:
            report(f"{task.title}: proven complete, {changed:,} rows changed")
            return changed
        progress = Progress(rows_done=changed)
    raise DataDiffers(
        f"{task.title}: {left} rows of {task.table.qualified} still need it after {MOST_PASSES} "
        "passes over the whole table. Something writes them back: look for a trigger that sets "
        f"{task.columns} or a job that resets it, stop it, and run the command again."
    )


def _refuse_rows_no_update_can_touch(runner: Runner, task: Fill) -> None:
    """Raise if rows break a CHECK that was added NOT VALID: PostgreSQL refuses any UPDATE of them.

    Raises:
        ViolatingRows: the constraint, how many rows, and the keys of a few.
    """
    for name, condition in runner.catalog.unvalidated_checks(task.table):
        broken = f"({task.needed}) AND NOT ({condition})"
        with runner.guard.as_long_as_it_takes():
            count = runner.catalog.value(
                f"SELECT count(*) FROM {task.table.qualified} WHERE {broken}"
            )
        if count:
            named = runner.catalog.some_keys(task.table, broken)
            raise ViolatingRows(
                f"{count} row{'s' if count != 1 else ''} of {task.table.qualified} that "
                f"{'have' if count != 1 else 'has'} to be filled break{'' if count != 1 else 's'} "
                f"the constraint {quote(name)}{named}. It was never validated, and PostgreSQL "
                "refuses every UPDATE of such a row. Mend the rows or drop the constraint, then "
                "run the command again; what is filled stays filled."
            )


class _Refusals:
    """Batches that met a locked row: tried again until the lock budget is spent."""

    def __init__(self, runner: Runner, title: str, clock: Callable[[], float]) -> None:
        self.runner, self.title, self.clock = runner, title, clock
        self.since: float | None = None
        self.watch: BlockerWatch | None = None

    def note(self, error: Error) -> None:
        """Take note of a failed batch; raise it if it failed for another reason than locks.

        Raises:
            LockNotGranted: the budget is spent; names the sessions in the way.
        """
        if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
            raise error
        now = self.clock()
        if self.since is None or self.watch is None:
            self.since = now
            self.watch = BlockerWatch(self.runner.connection)
            self.watch.start()
        if now - self.since >= get_settings().lock_budget:
            raise LockNotGranted(self.title, now - self.since, self.watch.seen()) from error

    def forget(self) -> None:
        """A batch went through: the next refusal begins a new budget."""
        self.close()

    def close(self) -> None:
        """End the second session."""
        if self.watch is not None:
            self.watch.stop()
        self.since = self.watch = None


class _Walk:
    """The walk over the key; its state outlives one pass only in the batch size."""

    def __init__(
        self,
        runner: Runner,
        task: Fill,
        store: ProgressStore,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.runner, self.task, self.store = runner, task, store
        self.clock, self.sleep = clock, sleep
        self.key = runner.catalog.primary_key(task.table)
        self.size = FIRST_BATCH
        self.target = get_settings().batch_time / 1000
        self.total = max(
            0,
            int(
                runner.catalog.value(
                    "SELECT reltuples FROM pg_class WHERE oid = %s", [task.table.oid]
                )
            ),
        )

    def run(self, progress: Progress) -> int:
        """Walk to the end of the table; return the rows changed."""
        last, changed, seen = progress.last_key, 0, 0
        if last is not None and len(last) != len(self.key):
            # The key is another one than when this was stored.
            last = None
        # Without a key a pass ends at the latest when as many rows were changed as needed it.
        most = None if self.key else self.task.left(self.runner)
        began = told = self.clock()
        with contextlib.closing(_Refusals(self.runner, self.task.title, self.clock)) as refusals:
            while True:
                started = self.clock()
                try:
                    with transaction.atomic(using=self.runner.connection.alias):
                        self._give_up_on_rows()
                        bound, ended = self._bound(last)
                        rows = self._change(last, bound)
                        ended = ended or (most is not None and changed + rows > most)
                        done = progress.rows_done + changed + rows
                        reached = last if ended else bound
                        self.store.save(Progress(reached, done, finished=ended))
                except Error as error:
                    refusals.note(error)
                    self.size = max(SMALLEST_BATCH, self.size // 2)
                    self.sleep(PAUSE)
                    continue
                refusals.forget()
                changed += rows
                seen += self.size
                if ended:
                    return changed
                last = bound
                now = self.clock()
                if now - told >= REPORT_EVERY:
                    told = now
                    self._report(min(seen, self.total) if self.total else seen, now - began)
                self._resize(now - started)

    def _report(self, seen: int, seconds: float) -> None:
        rate = seen / seconds if seconds else 0.0
        whole = f" of about {self.total:,}" if self.total else ""
        left = f", {max(0, self.total - seen) / rate:,.0f} s left" if self.total and rate else ""
        report(
            f"{self.task.title}: {seen:,}{whole} rows, {rate:,.0f} rows/s, "
            f"{self.size:,} a batch{left}"
        )

    def _resize(self, seconds: float) -> None:
        factor = min(2.0, max(0.5, self.target / seconds)) if seconds else 2.0
        self.size = int(min(LARGEST_BATCH, max(SMALLEST_BATCH, self.size * factor)))

    def _give_up_on_rows(self) -> None:
        self.runner.catalog.rows("SELECT set_config('lock_timeout', %s, true)", [ROW_LOCK_TIMEOUT])

    def _listed(self) -> str:
        return f"({', '.join(_escaped(quote(name)) for name, _ in self.key)})"

    def _given(self) -> str:
        return f"({', '.join(f'%s::{type_}' for _, type_ in self.key)})"

    def _bound(self, last: Key | None) -> tuple[Key | None, bool]:
        """Return the key that ends the next batch, and whether it is the last batch."""
        if not self.key:
            # No key to walk along: take rows as they come until none is left.
            sql = (
                f"SELECT EXISTS (SELECT FROM {self.task.table.qualified} WHERE {self.task.needed})"
            )
            return None, not self.runner.catalog.value(sql)
        names = [_escaped(quote(name)) for name, _ in self.key]
        # Names of their own: ORDER BY would take an output column of the key's name, and sort text.
        text = ", ".join(f"{name}::text AS key{number}" for number, name in enumerate(names))
        after = f"WHERE {self._listed()} > {self._given()} " if last else ""
        rows = self.runner.catalog.rows(
            f"SELECT {text} FROM {_escaped(self.task.table.qualified)} {after}"
            f"ORDER BY {', '.join(names)} OFFSET %s LIMIT 1",
            [*(last or []), self.size - 1],
        )
        return (list(rows[0]), False) if rows else (None, True)

    def _change(self, last: Key | None, bound: Key | None) -> int:
        table, needed = _escaped(self.task.table.qualified), _escaped(self.task.needed)
        conditions, params = [f"({needed})"], list[Any]()
        if not self.key:
            conditions.append(
                f"ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {needed} LIMIT {self.size}))"
            )
        if last:
            conditions.append(f"{self._listed()} > {self._given()}")
            params += last
        if bound:
            conditions.append(f"{self._listed()} <= {self._given()}")
            params += bound
        where = " AND ".join(conditions)
        if self.task.values is not None:
            return self._change_in_python(where, params)
        assigned = ", ".join(
            f"{_escaped(quote(column))} = {_escaped(str(expression))}"
            for column, expression in self.task.assignments.items()
        )
        return self.runner.execute_with_params(
            f"UPDATE {table} SET {assigned} WHERE {where}", params
        )

    def _change_in_python(self, where: str, params: list[Any]) -> int:
        """Give each row a value of its own; a row that got one meanwhile keeps it."""
        assert self.task.values is not None
        table = _escaped(self.task.table.qualified)
        column = _escaped(self.task.columns)
        with self.runner.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT tableoid::bigint, ctid::text FROM {table} WHERE {where} FOR NO KEY UPDATE",
                params,
            )
            # A ctid is a place within one partition.
            places = cursor.fetchall()
            values = self.task.values(len(places))
            cursor.executemany(
                f"UPDATE {table} SET {column} = %s WHERE tableoid = %s::oid AND ctid = %s::tid",
                [(value, *place) for value, place in zip(values, places, strict=True)],
            )
        return len(places)


def _escaped(sql: str) -> str:
    """Double the percent signs of SQL that goes through parameter interpolation."""
    return sql.replace("%", "%%")
