"""Changes of rows that Python computes: functions of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill import queries
from django_safemigrations.backfill.rows import RowFunction, RowWork
from django_safemigrations.backfill.statements import BatchStatement
from django_safemigrations.operations.row_changes import (
    Where,
    fields_read,
    lowered,
    refuse_endless,
    resolved,
)
from django_safemigrations.postgres.catalog import Table

F = TypeVar("F", bound=Callable[..., Any])


class RowChange:
    """A row function as a change."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.spec: RowFunction = function.row_function  # type: ignore[attr-defined]

    @property
    def named(self) -> str:
        return getattr(self.function, "__name__", "a function")

    def work(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any, find: Callable[[Any], Table]
    ) -> RowWork:
        """Return it as the engine runs it."""
        where = resolved(self.spec.where, apps)
        rows = queries.rows_of(connection, model, where)
        table = find(model)
        title = f"{table.qualified}: {lowered(self.describe(model._meta.object_name))}"
        needed = queries.condition(connection, rows) if self.spec.until_none_left else ""
        return RowWork(table, model, self.spec, where, needed, title)

    def statement(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> BatchStatement | str:
        """Say that it is Python."""
        return f"Python: {self.named}() computes {', '.join(self.spec.writes)} of each row"

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        return f"Run {self.named}() on each row of {model_name} in batches"

    @property
    def fragment(self) -> str:
        """A part of the file's name."""
        return self.named.strip("_").lower()

    @property
    def names(self) -> Iterable[str]:
        """The fields that it names."""
        reads = self.spec.reads or ()
        return {*self.spec.writes, *reads, *fields_read(self.spec.where)}


def row_function(
    *,
    writes: Sequence[str],
    reads: Sequence[str] | None = None,
    related: Sequence[str] = (),
    where: Where = None,
    until_none_left: bool = False,
) -> Callable[[F], F]:
    """Make a function of one row into what `RunInBatches` runs on every row of a model.

    The function gets the row as an instance of the historical model. It returns a dict of
    new values by field, the row itself after setting its attributes, `RunInBatches.DELETE`,
    or None to leave the row alone. It may be called more than once for the same row, so it
    should change nothing by itself.

    A row is only written if nobody has changed it since it was read; otherwise it is read
    and computed again. One for which the function raises is kept for another try, and named
    at the end; all others are written.

    Args:
        writes: the fields that it may change.
        reads: the fields that it needs, if not all are to be read.
        related: foreign keys that are read along, as for `select_related`.
        where: which rows, as in `UpdateRows`.
        until_none_left: as in `UpdateRows`.
    """
    if isinstance(writes, str) or not all(isinstance(name, str) for name in writes):
        raise TypeError('row_function(writes=[…]) takes names of fields: writes=["slug"].')
    refuse_endless(where, until_none_left)

    def decorate(function: F) -> F:
        spec = RowFunction(
            function,
            tuple(writes),
            tuple(reads) if reads is not None else None,
            tuple(related),
            where,
            until_none_left,
        )
        function.row_function = spec  # type: ignore[attr-defined]
        return function

    return decorate
