"""A fill: columns of one table, set from SQL or from Python in the rows that need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.statements import told_at_the_end
from django_safemigrations.backfill.work import Batch, Changed, escaped
from django_safemigrations.exceptions import BackfillStopped
from django_safemigrations.postgres.catalog import Catalog, Table, quote
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.sqlwords import read_statements

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

    @property
    def columns_written(self) -> tuple[str, ...]:
        """Names of the columns that are filled."""
        return tuple(self.assignments)

    def repeatable(self, runner: Runner) -> bool:
        """Whether the values come from the rows alone: no function in them is volatile.

        Functions are looked up by their names, so that one volatile namesake counts.
        https://www.postgresql.org/docs/current/xfunc-volatility.html
        """
        if self.values is not None:
            return False
        called = {
            word.name
            for expression in self.assignments.values()
            for statement in read_statements(str(expression))
            for word, following in zip(statement.words, statement.words[1:], strict=False)
            if word.is_identifier and following.is_("(")
        }
        return not called or not runner.catalog.value(
            "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = ANY (%s) AND provolatile = 'v')",
            [list(called)],
        )

    def told_at_the_end(self, left: int, changed: int, passes: int) -> str:
        """Say how it has ended; empty if it has not.

        A value that only Python makes is not given to rows that old code writes meanwhile: no
        trigger can. Those that come after the last pass are left to the contract, which fills
        them and proves that none is left.
        """
        last = passes if self.values is not None else 0
        return told_at_the_end(until_none_left=True, left=left, changed=changed, passes=last)

    def describe(self) -> dict[str, Any]:
        """Return what another process needs to fill the same."""
        if self.values is not None:
            return {"kind": "here", "columns": list(self.assignments)}
        return {
            "kind": "sql",
            "schema": self.table.schema,
            "name": self.table.name,
            "columns": list(self.assignments),
            "assignments": dict(self.assignments),
            "needed": self.needed,
            "title": self.title,
        }

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Set the columns in the rows of a batch that need it: one UPDATE."""
        if self.values is not None:
            return Changed(self._change_in_python(runner, batch))
        assigned = ", ".join(
            f"{escaped(quote(column))} = {escaped(str(expression))}"
            for column, expression in self.assignments.items()
        )
        rows = runner.execute_with_params(
            f"UPDATE {escaped(batch.relation.sql)} SET {assigned}"
            f" WHERE {batch.where} AND ({escaped(self.needed)})",
            list(batch.params),
        )
        return Changed(rows)

    def _change_in_python(self, runner: Runner, batch: Batch) -> int:
        """Give each row a value of its own; a row that got one meanwhile keeps it."""
        assert self.values is not None
        relation, column = escaped(batch.relation.sql), escaped(self.columns)
        with runner.connection.cursor() as cursor:
            # A ctid is a place within one partition; the rows stay where they are while locked.
            cursor.execute(
                f"SELECT tableoid::bigint, ctid::text FROM {relation}"
                f" WHERE {batch.where} AND ({escaped(self.needed)}) FOR NO KEY UPDATE",
                list(batch.params),
            )
            places = cursor.fetchall()
            values = self.values(len(places))
            cursor.executemany(
                f"UPDATE {relation} SET {column} = %s WHERE tableoid = %s::oid AND ctid = %s::tid",
                [(value, *place) for value, place in zip(values, places, strict=True)],
            )
        return len(places)

    def left(self, runner: Runner) -> int:
        """Count the rows that still need the value (a scan that blocks nobody)."""
        sql = f"SELECT count(*) FROM {self.table.qualified} WHERE {self.needed}"
        with runner.guard.as_long_as_it_takes():
            return int(runner.catalog.value(sql))


def fill_of(connection: BaseDatabaseWrapper, stored: Mapping[str, Any]) -> Fill:
    """Return the fill that a ledger's row describes.

    Raises:
        BackfillStopped: its table is gone.
    """
    table = Catalog(connection).find_table(f"{quote(stored['schema'])}.{quote(stored['name'])}")
    if table is None:
        raise BackfillStopped(
            f"{stored['title']}: there is no table {quote(stored['schema'])}."
            f"{quote(stored['name'])} any more. If it was dropped on purpose, cancel this backfill."
        )
    return Fill(table, stored["assignments"], stored["needed"], stored["title"])
