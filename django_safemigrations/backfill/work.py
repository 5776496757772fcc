"""What the engine has to know of a backfill: which rows, how a batch of them is changed, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner

Key = list[str]
"""The columns of a key as PostgreSQL prints them."""


@dataclass(frozen=True)
class Relation:
    """A table or a partition, and what it is walked along.

    Attributes:
        sql: it as it is put into SQL, with ONLY where it has children.
        table: what the catalog says of it.
        key: name and type of each column of its key; ("ctid", "tid") where there is no key.
    """

    sql: str
    table: Table
    key: tuple[tuple[str, str], ...]

    @property
    def by_place(self) -> bool:
        """Whether rows are found by their place, which changes with every UPDATE."""
        return self.key == (("ctid", "tid"),)

    @property
    def columns(self) -> list[str]:
        """The columns of the key, quoted."""
        return [name if self.by_place else quote(name) for name, _ in self.key]


@dataclass(frozen=True)
class Batch:
    """The rows that one transaction changes: those of a relation that a condition selects.

    Attributes:
        relation: where they are.
        where: the condition on the key, with ``%s`` for parameters and ``%%`` for a percent sign.
        params: its parameters.
        size: at most how many rows are there, whether they need to be changed or not.
    """

    relation: Relation
    where: str
    params: Sequence[Any]
    size: int


@dataclass(frozen=True)
class Changed:
    """What became of a batch.

    Attributes:
        rows: how many rows were changed.
        failed: keys of rows that could not be changed, and why; they are kept for another try.
    """

    rows: int
    failed: Sequence[tuple[Key, str]] = ()


class Work(Protocol):
    """A backfill, as the engine sees it."""

    @property
    def table(self) -> Table:
        """The table whose rows are changed."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def columns_written(self) -> tuple[str, ...]:
        """Names of the columns that are filled; () if nobody knows."""

    def repeatable(self, runner: Runner) -> bool:
        """Whether doing a batch again gives the same values.

        Then its commit need not be waited for: a crash of the server loses the values together
        with the progress.
        """

    def describe(self) -> dict[str, Any]:
        """Return what another process needs to do the same work; see `tasks.work_of`.

        ``{"kind": "here"}`` if only this process can.
        """

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Change the rows of a batch, inside a transaction that is open.

        Raises:
            Error: the transaction is rolled back. What rows are to blame for is told apart from
                the rest by halving the batch.
        """

    def left(self, runner: Runner) -> int:
        """Count the rows that are still to be changed, by a condition of its own.

        Returns 0 if there is no telling.
        """


def escaped(sql: str) -> str:
    """Double the percent signs of SQL that goes through parameter interpolation."""
    return sql.replace("%", "%%")
