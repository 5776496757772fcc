"""Watches that a plan leaves the rows alone: all of them, and every value it does not change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from django_safemigrations.postgres.catalog import quote
from django_safemigrations.rehearsal.comparison.checksums import (
    WHOLE,
    Range,
    Sums,
    choose_ranges,
    row_of,
    sum_up,
)
from django_safemigrations.rehearsal.comparison.origins import Key
from django_safemigrations.rehearsal.comparison.own_writes import OwnWrites, Writer
from django_safemigrations.rehearsal.comparison.pairs import (
    TEXT,
    VALUE,
    Pair,
    TablePair,
    resolve,
    table_pairs,
)
from django_safemigrations.rehearsal.comparison.sequences import Counted, read_sequences
from django_safemigrations.rehearsal.comparison.sessions import fixed_settings
from django_safemigrations.rehearsal.results import Direction

BUDGET = 600.0
"""Seconds for the first pass over all tables; the other three take about as long each."""
FULL_BYTES = 256 * 1024 * 1024
"""Tables with more rows than fit in here are summed up by samples."""
BY_COLUMN_BYTES = 32 * 1024 * 1024
"""Tables that the plan does not touch are summed up by column only up to here."""
LIMIT = 50


@dataclass
class _Watched:
    """A table with what it held at the start, and what of it went since."""

    pair: TablePair
    columns: tuple[Pair, ...]
    by_column: bool
    ranges: tuple[Range, ...]
    key: tuple[str, ...]
    start: Sums = field(default_factory=lambda: Sums(0, {}))
    is_lost: bool = False
    lost: set[str] = field(default_factory=set)


class DataWatch(OwnWrites):
    """Compares the rows with those of the start, whenever a pass of a rehearsal has ended.

    It listens to the steps of the plan (see `rehearsal.steps.watching`), so that it knows
    which tables the project's own data migrations wrote to: their changes are meant, as far
    as they give them back on the way back.

    Args:
        connection: the copy; the session that runs the plan, for its counters.
        old: the models at the start.
        new: the models at the end.
        migrations: those of the plan, in order.
        stepped_over: (app label, name) of contracts of the plan whose state is in `old` already.
        budget: seconds for the first pass; tables that it is not enough for are not compared.
        full_bytes: up to which size of its rows a table is read as a whole.
        clock: gives seconds.

    Attributes:
        not_compared: what could not be, and why.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        old: ProjectState,
        new: ProjectState,
        migrations: Sequence[Migration],
        *,
        stepped_over: frozenset[Key] = frozenset(),
        budget: float = BUDGET,
        full_bytes: int = FULL_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(connection, migrations)
        self.old, self.new = old, new
        self.migrations = migrations
        self.stepped_over = stepped_over
        self.budget, self.full_bytes = budget, full_bytes
        self.clock = clock
        self._tables: list[_Watched] = []
        self._sequences: tuple[Counted, ...] = ()
        self._notes: dict[str, None] = {}

    @property
    def not_compared(self) -> tuple[str, ...]:
        """What could not be compared, and why; one line each."""
        notes = list(self._notes)
        more = len(notes) - LIMIT
        return tuple(notes if more <= 0 else [*notes[:LIMIT], f"and {more} more"])

    # -- the start ---------------------------------------------------------------------

    def start(self) -> None:
        """Note what the tables hold before the plan."""
        pairs = list(
            table_pairs(self.connection, self.old, self.new, self.migrations, self.stepped_over)
        )
        # What the plan touches comes first, for the budget; then as much as fits.
        pairs.sort(key=lambda pair: (not pair.touched, pair.size, pair.old))
        deadline = self.clock() + self.budget
        late: list[str] = []
        with fixed_settings(self.connection) as cursor:
            self._sequences = read_sequences(cursor)
            for pair in pairs:
                left = deadline - self.clock()
                if left <= 0:
                    late.append(pair.old)
                    continue
                try:
                    with self._limited(cursor, left):
                        self._tables.append(self._first_look(cursor, pair))
                except DatabaseError as error:
                    if getattr(error.__cause__, "sqlstate", "") == "57014":
                        late.append(pair.old)
                    else:
                        self._note(f"{pair.old}: it can't be read: {_one_line(error)}")
        if late:
            named = ", ".join(late[:5]) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
            self._note(f"rows of {named}: reading them takes more than {self.budget:.0f} s")

    @contextmanager
    def _limited(self, cursor: Any, seconds: float) -> Iterator[None]:
        with transaction.atomic(using=self.connection.alias):
            milliseconds = str(max(1, int(seconds * 1000)))
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [milliseconds])
            yield

    def _first_look(self, cursor: Any, pair: TablePair) -> _Watched:
        converted = {one.old for one in pair.columns if one.there != TEXT}
        key = pair.key if not converted & set(pair.key) and _stays(pair) else ()
        ranges: tuple[Range, ...] = ()
        if pair.size > self.full_bytes and key:
            ranges = choose_ranges(cursor, pair.old, key, pair.size // 8192)
        by_column = pair.touched or pair.size <= BY_COLUMN_BYTES
        watched = _Watched(pair, pair.columns, by_column, ranges, key)
        expressions = dict(_at_start(watched))
        try:
            # What a cast refuses must not take the settings of this transaction along.
            with transaction.atomic(using=self.connection.alias):
                watched.start = sum_up(cursor, pair.old, expressions, key, ranges)
        except DatabaseError as error:
            if not converted or getattr(error.__cause__, "sqlstate", "") == "57014":
                raise
            watched.columns = tuple(
                Pair(one.old, one.new, None, None, f"its values can't be cast: {_one_line(error)}")
                if one.old in converted
                else one
                for one in pair.columns
            )
            watched.start = sum_up(cursor, pair.old, dict(_at_start(watched)), key, ranges)
        return watched

    # -- later -------------------------------------------------------------------------

    def compare(self, direction: Direction) -> tuple[str, ...]:
        """Return how the rows differ from what they should be after a pass; one line each.

        Args:
            direction: the pass that has just ended.
        """
        back = direction is Direction.BACKWARDS
        lines: list[str] = []
        names = {
            watched.pair.old: watched.pair.old
            if back
            else resolve(self.connection, watched.pair.new or "")
            for watched in self._tables
        }
        with fixed_settings(self.connection) as cursor:
            for watched in self._tables:
                pair = watched.pair
                if pair.new is None:
                    if watched.start.rows:
                        self._note(f"{pair.old}: the plan takes the table away with its rows")
                    continue
                name = names[pair.old]
                if name is None:
                    gone = f"{pair.old}: there is no such table any more"
                    if pair.has_model:
                        lines.append(gone)
                    elif watched.start.rows:
                        self._note(f"after {direction}: {gone}; no model of the start knew it")
                    watched.is_lost = True
                if name is None or watched.is_lost:
                    # What comes back later has no rows to be compared.
                    continue
                try:
                    with transaction.atomic(using=self.connection.alias):
                        lines += self._compare(cursor, watched, name, direction, back=back)
                except DatabaseError as error:
                    lines.append(f"{name} can't be read: {_one_line(error)}")
            lines += self._behind(cursor, names, back=back)
        more = len(lines) - LIMIT
        return tuple(lines if more <= 0 else [*lines[:LIMIT], f"and {more} more"])

    def _compare(
        self, cursor: Any, watched: _Watched, table: str, direction: Direction, *, back: bool
    ) -> Iterator[str]:
        pair = watched.pair
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        there = {row[0] for row in cursor.fetchall()}
        columns: list[tuple[Pair, str]] = []
        for one in watched.columns:
            now = one.old if back else one.new
            if one.new is None or (one.back if back else one.there) is None:
                if watched.start.rows:
                    self._note(f"{pair.old}.{one.old}: {one.why}")
            elif now not in there:
                watched.lost.add(one.old)
                self._note(f"{pair.old}.{one.old}: the column is gone after {direction}")
            elif now is not None and one.old not in watched.lost:
                columns.append((one, now))
        key = tuple(now for name in watched.key for one, now in columns if one.old == name)
        if len(key) < len(watched.key):
            self._note(f"{pair.old}: its key is gone after {direction}")
            return
        whole = not watched.by_column
        if whole and len(columns) < len(watched.columns):
            self._note(f"{pair.old}: it lost a column outside of the models")
            return
        expressions = (
            {WHOLE: row_of([now for _, now in columns])}
            if whole
            else {one.old: f"(t.{quote(now)})::text" for one, now in columns}
        )
        sums = sum_up(cursor, table, expressions, key, watched.ranges)
        writers = self.of(pair.old, table)
        start = pair.old
        if sums.rows != watched.start.rows:
            line = f"{start}: {watched.start.rows} rows at the start, {sums.rows} now"
            yield from self._judged(line, [w for w in writers if w.changes_count], direction)
            return
        if whole:
            if sums.values[WHOLE] != watched.start.values[WHOLE]:
                yield from self._judged(f"{start}: rows have changed", writers, direction)
            return
        for one, now in columns:
            wanted = watched.start.values[_label(one, one.back if back else one.there)]
            if sums.values[one.old] != wanted:
                may = [writer for writer in writers if writer.may_write(one.old, now)]
                line = f"{start}.{one.old}: values have changed"
                yield from self._judged(line, may, direction)

    def _judged(self, line: str, writers: Sequence[Writer], direction: Direction) -> Iterator[str]:
        """Yield a line, unless somebody was meant to make the difference."""
        if not writers:
            yield line
            return
        who = ", ".join(writer.title for writer in writers)
        back = direction is Direction.BACKWARDS
        if back and all(writer.gives_back for writer in writers):
            yield f"{line}, which the way back of {who} did not undo"
        else:
            self._note(f"after {direction}: {line}, which {who} may have been meant to do")

    def _behind(self, cursor: Any, names: dict[str, str | None], *, back: bool) -> Iterator[str]:
        """Yield a line for each sequence that would give numbers again."""
        if not self._sequences:
            return
        now = read_sequences(cursor)
        by_column = {(one.table, one.column): one for one in now if one.table and one.column}
        by_name = {one.name: one for one in now}
        columns = {
            (watched.pair.old, one.old): one.old if back else one.new
            for watched in self._tables
            for one in watched.columns
            if one.new is not None and not watched.is_lost and one.old not in watched.lost
        }
        for earlier in self._sequences:
            later = by_name.get(earlier.name)
            if earlier.table is not None:
                table = names.get(earlier.table)
                column = columns.get((earlier.table, earlier.column or ""))
                if column is None:
                    continue
                later = by_column.get((table or "", column), later)
            if later is not None and later.is_behind(earlier):
                yield (
                    f"sequence {later.name} is at {later.last or 'its start'}, "
                    f"it was at {earlier.last}: new rows would get numbers that were given before"
                )

    def _note(self, text: str) -> None:
        self._notes.setdefault(text)


def _stays(pair: TablePair) -> bool:
    """Whether every column of the key is there at the end."""
    staying = {one.old for one in pair.columns if one.new is not None}
    return set(pair.key) <= staying


def _at_start(watched: _Watched) -> Iterator[tuple[str, str]]:
    """Yield what is summed up at the start: each value as it will be at the end, and back."""
    if not watched.by_column:
        yield WHOLE, row_of([one.old for one in watched.columns])
        return
    for one in watched.columns:
        for sql in dict.fromkeys((one.there, one.back)):
            if sql is not None:
                yield _label(one, sql), sql.replace(VALUE, f"t.{quote(one.old)}")


def _label(one: Pair, sql: str | None) -> str:
    return f"{one.old} {sql}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
