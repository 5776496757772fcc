"""A user's data statement, of which only the rows of the batch are still to be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.work import Batch, Changed, Relation, escaped
from django_safemigrations.exceptions import BackfillStopped, UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table, quote
from django_safemigrations.postgres.runner import Runner

ALIAS = "dsm_row"
"""What the walked table is called in a batch's statement: partitions are walked one by one."""


def bounds(batch: Batch, alias: str) -> tuple[str, list[Any]]:
    """Return the condition on a batch's rows, for a table called `alias`, and its parameters."""
    where = batch.where
    for column in batch.relation.columns:
        where = where.replace(escaped(column), f"{escaped(alias)}.{escaped(column)}")
    return where, list(batch.params)


@dataclass(frozen=True)
class Bounds:
    """Stands in a statement for the condition on the batch's rows.

    Attributes:
        alias: what the walked table is called there.
    """

    alias: str = ALIAS


@dataclass(frozen=True)
class Walked:
    """Stands in a statement for the table or partition that is walked."""


@dataclass(frozen=True)
class BatchStatement:
    """A data statement of which the rows of one batch are still to be named.

    Attributes:
        parts: its text, and what is put in for each batch.
        needed: what is true of the rows that it touches, with the table called ALIAS.
    """

    parts: tuple[str | Bounds | Walked, ...]
    needed: str = "true"

    @property
    def names_relation(self) -> bool:
        """Whether it works on the walked relation; otherwise it names the whole table itself."""
        return any(isinstance(part, Walked) for part in self.parts)

    def sql(self, batch: Batch) -> tuple[str, list[Any]]:
        """Return the statement for the rows of a batch, and its parameters."""
        written: list[str] = []
        params: list[Any] = []
        for part in self.parts:
            if isinstance(part, str):
                written.append(escaped(part))
            elif isinstance(part, Walked):
                written.append(escaped(batch.relation.sql))
            else:
                where, given = bounds(batch, part.alias)
                if not self.names_relation and batch.relation.table.kind != "p":
                    # It names the whole table: other partitions have a turn of their own.
                    where = (
                        f"{escaped(part.alias)}.tableoid = {batch.relation.table.oid} AND {where}"
                    )
                written.append(f"({where})")
                params += given
        return "".join(written), params

    def printed(self, table: str) -> str:
        """Return it for people: for all rows, with a remark where the bounds go."""
        written = []
        for part in self.parts:
            if isinstance(part, str):
                written.append(part)
            else:
                written.append(table if isinstance(part, Walked) else "true /* of one batch */")
        return "".join(written)

    def as_json(self) -> dict[str, Any]:
        """Return it as another process reads it."""
        parts: list[Any] = []
        for part in self.parts:
            if isinstance(part, Bounds):
                parts.append({"bounds": part.alias})
            else:
                parts.append({"relation": True} if isinstance(part, Walked) else part)
        return {"parts": parts, "needed": self.needed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchStatement:
        """Read it back."""
        parts: list[str | Bounds | Walked] = []
        for part in data["parts"]:
            if isinstance(part, str):
                parts.append(part)
            else:
                parts.append(Bounds(part["bounds"]) if "bounds" in part else Walked())
        return cls(tuple(parts), data["needed"])


@dataclass(frozen=True)
class StatementWork:
    """A data statement at work on a table.

    Attributes:
        table: the table.
        statement: what is run for each batch.
        title: what the progress line calls it.
        columns_written: names of the columns that are filled, () if nobody knows.
        until_none_left: whether the end is proven by no row being left that meets the condition.
        volatile: whether it may give other values when it is run again.
        task: what else is stored with it.
    """

    table: Table
    statement: BatchStatement
    title: str
    columns_written: tuple[str, ...] = ()
    until_none_left: bool = False
    volatile: bool = True
    task: Mapping[str, Any] = field(default_factory=dict)

    def repeatable(self, runner: Runner) -> bool:
        """Whether running it again would give the same."""
        return not self.volatile

    def describe(self) -> dict[str, Any]:
        """Return what another process needs to do the same."""
        return {
            **self.task,
            "kind": "statement",
            "schema": self.table.schema,
            "name": self.table.name,
            "title": self.title,
            "columns": list(self.columns_written),
            "statement": self.statement.as_json(),
            "until_none_left": self.until_none_left,
            "volatile": self.volatile,
        }

    def left(self, runner: Runner) -> int:
        """Count the rows that still need it, if there is a condition that tells."""
        needed = self.statement.needed if self.until_none_left else ""
        return count_left(runner, self.table, needed)

    def told_at_the_end(self, left: int, changed: int, passes: int) -> str:
        """Say how it has ended."""
        return told_at_the_end(self.until_none_left, left, changed, passes)

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Run the statement for a batch."""
        changed = runner.execute_with_params(*self.statement.sql(batch))
        check_now(runner)
        return Changed(changed)


def told_at_the_end(until_none_left: bool, left: int, changed: int, passes: int) -> str:
    """Say how a user's change has ended; empty if it has not.

    Old code may go on writing rows that meet the condition. When each pass has changed more
    than is left, what is left was written meanwhile; otherwise something undoes the change.

    Args:
        until_none_left: whether what is left is counted.
        left: rows that meet the condition.
        changed: rows changed in all passes.
        passes: how many there were, if this was the last one; otherwise 0.
    """
    rows = f"{changed:,} row{'s' if changed != 1 else ''} changed"
    if not until_none_left:
        return f"done, {rows}"
    if left == 0:
        return f"proven complete, {rows}"
    if passes and left * passes < changed:
        return f"done, {rows}; {left:,} that were written meanwhile meet the condition again"
    return ""


def count_left(runner: Runner, table: Table, needed: str) -> int:
    """Count the rows that meet a condition on ALIAS; 0 if there is none."""
    if not needed:
        return 0
    with runner.guard.as_long_as_it_takes():
        sql = f"SELECT count(*) FROM {table.qualified} AS {ALIAS} WHERE {needed}"
        return int(runner.catalog.value(sql))


def check_now(runner: Runner) -> None:
    """Check what Django's foreign keys put off to the COMMIT, where no row could be blamed."""
    runner.catalog.connection.check_constraints()


def refuse_changing_twice(relation: Relation, title: str) -> None:
    """Raise if rows are found by their place, which changes, where nothing tells which are done.

    Raises:
        UnsupportedChange: what to type instead.
    """
    if relation.by_place:
        raise UnsupportedChange(
            f"{title}: {relation.table.qualified} has no primary key and no unique index on "
            "NOT NULL columns, so a row that was changed can't be told from one that was not. Give "
            "`where` a condition that a changed row no longer meets, and until_none_left=True."
        )


def statement_work_of(connection: BaseDatabaseWrapper, stored: Mapping[str, Any]) -> StatementWork:
    """Return the work that a ledger's row describes.

    Raises:
        BackfillStopped: its table is gone.
    """
    name = f"{quote(stored['schema'])}.{quote(stored['name'])}"
    table = Catalog(connection).find_table(name)
    if table is None:
        raise BackfillStopped(
            f"{stored['title']}: there is no table {name} any more. If it was dropped on purpose, "
            "cancel this backfill."
        )
    return StatementWork(
        table,
        BatchStatement.from_json(stored["statement"]),
        stored["title"],
        tuple(stored["columns"]),
        stored["until_none_left"],
        stored["volatile"],
        {"spec": stored["spec"]} if "spec" in stored else {},
    )
