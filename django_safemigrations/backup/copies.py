"""The batches in which values are copied into a kept table, and in which they are put back.

Values are compared by their images, so that nothing is missed for which a type has no
equality, or a lenient one.
https://www.postgresql.org/docs/current/functions-comparisons.html#COMPOSITE-TYPE-COMPARISON
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.surroundings import surrounded_by
from django_safemigrations.backfill.work import Batch, Changed, Work, escaped
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner


def fill_here(runner: Runner, work: Work, key: str) -> None:
    """Do all of a work in this process, as `fill` does; also where backfills are left to workers.

    Args:
        runner: the means to work with.
        work: what to do.
        key: what it is called.

    Raises:
        BackfillFailed, DataDiffers, LockNotGranted: as for `fill`.
    """
    with surrounded_by(leave=False):
        fill(runner, work, MemoryProgress(key))


def images_differ(ones: list[str], others: list[str]) -> str:
    """Return the condition that two lists of values differ in any bit of them."""
    return f"ROW({', '.join(ones)})::record *<> ROW({', '.join(others)})::record"


class DoneHere:
    """What copies into another table have in common: they change none of the rows they walk over."""

    @property
    def columns_written(self) -> tuple[str, ...]:
        """None of the table that is walked: its partitions can be read one by one."""
        return ("",)

    def repeatable(self, runner: Runner) -> bool:
        """Whether doing it again gives the same."""
        return True

    def describe(self) -> dict[str, Any]:
        """Only this process does it."""
        return {"kind": "here"}


@dataclass(frozen=True)
class Keep(DoneHere):
    """Copies columns of a table into a kept one, which has a primary key.

    Attributes:
        table: the table.
        into: the kept table, quoted.
        columns: (column of the table, column of the kept table).
        key: those of the table that make the kept table's primary key.
        title: what the progress line calls it.
        since: a transaction id; rows that younger ones wrote are not counted by `left`.
    """

    table: Table
    into: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    title: str
    since: str

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Copy a batch."""
        sql = self.statement(escaped(batch.relation.sql), batch.where)
        return Changed(runner.execute_with_params(sql, list(batch.params)))

    def catch_up(self, runner: Runner) -> int:
        """Copy what was written since; return the number of rows.

        Locks: ACCESS SHARE on the table; nobody waits.
        """
        where = self.written_since("xmin")
        with runner.guard.as_long_as_it_takes():
            return runner.execute_with_params(
                self.statement(escaped(self.table.qualified), where), []
            )

    def written_since(self, xmin: str) -> str:
        """Return the condition that a row was written since it was begun."""
        # A row that is older than 2^31 transactions keeps its number, and seems to be of the future.
        return f"age({xmin}) BETWEEN 0 AND age('{self.since}'::xid)"

    def statement(self, relation: str, where: str) -> str:
        """Return the statement that copies some rows, percent signs doubled."""
        sources = ", ".join(quote(source) for source, _ in self.columns)
        targets = ", ".join(quote(target) for _, target in self.columns)
        keys = ", ".join(quote(target) for source, target in self.columns if source in self.key)
        values = [target for source, target in self.columns if source not in self.key]
        conflict = "DO NOTHING"
        if values:
            assigned = ", ".join(f"{quote(v)} = excluded.{quote(v)}" for v in values)
            differ = images_differ(
                [f"kept.{quote(v)}" for v in values], [f"excluded.{quote(v)}" for v in values]
            )
            conflict = f"DO UPDATE SET {assigned} WHERE {differ}"
        fixed = [escaped(text) for text in (self.into, targets, sources, keys, conflict)]
        into, targets, sources, keys, conflict = fixed
        return (
            f"INSERT INTO {into} AS kept ({targets}) SELECT {sources} FROM {relation} "
            f"WHERE {where} ON CONFLICT ({keys}) {conflict}"
        )

    def left(self, runner: Runner) -> int:
        """Count the rows that are not kept as they are (a scan that blocks nobody)."""
        matched = " AND ".join(
            f"source.{quote(source)} = kept.{quote(target)}"
            for source, target in self.columns
            if source in self.key
        )
        differ = images_differ(
            [f"source.{quote(source)}" for source, _ in self.columns],
            [f"kept.{quote(target)}" for _, target in self.columns],
        )
        first = next(target for source, target in self.columns if source in self.key)
        sql = (
            f"SELECT count(*) FROM {self.table.qualified} source LEFT JOIN {self.into} kept "
            f"ON {matched} WHERE (kept.{quote(first)} IS NULL OR {differ}) "
            f"AND NOT ({self.written_since('source.xmin')})"
        )
        with runner.guard.as_long_as_it_takes():
            return int(runner.catalog.value(sql))


@dataclass(frozen=True)
class PutBack(DoneHere):
    """Copies the rows of a kept table into the one that was created again.

    Attributes:
        table: the kept table, which is walked.
        into: the table, quoted.
        columns: those that are put back.
        key: what makes a row the same as one that is there already.
        title: what the progress line calls it.
    """

    table: Table
    into: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    title: str

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Copy a batch; a row that is there already stays as it is."""
        columns = escaped(", ".join(map(quote, self.columns)))
        sql = (
            f"INSERT INTO {escaped(self.into)} ({columns}) OVERRIDING SYSTEM VALUE "
            f"SELECT {columns} FROM {escaped(batch.relation.sql)} WHERE {batch.where} "
            f"ON CONFLICT DO NOTHING"
        )
        return Changed(runner.execute_with_params(sql, list(batch.params)))

    def left(self, runner: Runner) -> int:
        """Count the rows that are not there (a scan that blocks nobody)."""
        matched = " AND ".join(f"there.{quote(c)} = kept.{quote(c)}" for c in self.key)
        sql = (
            f"SELECT count(*) FROM {self.table.qualified} kept "
            f"WHERE NOT EXISTS (SELECT FROM {self.into} there WHERE {matched})"
        )
        with runner.guard.as_long_as_it_takes():
            return int(runner.catalog.value(sql))
