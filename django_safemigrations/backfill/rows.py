"""Runs a user's Python function on each row of a batch, and never writes over newer data.

Rows are read without a lock and the function is called; then a row is written only if it
is still the version that was read (its ``xmin``). One that was changed meanwhile is read
again and computed again, in the end under its lock.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import Error
from django.db.models import BooleanField, QuerySet, TextField

from django_safemigrations.backfill.queries import Sql, Where, read_from, rows_of
from django_safemigrations.backfill.row_writes import Delete, ReadRow, RowTarget, type_of
from django_safemigrations.backfill.statements import (
    ALIAS,
    bounds,
    check_now,
    count_left,
    told_at_the_end,
)
from django_safemigrations.backfill.work import Batch, Changed, Key, escaped
from django_safemigrations.exceptions import BackfillFailed
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner

OPTIMISTIC_ROUNDS = 3
"""How often a row is computed without its lock, before it is locked first."""

ROWS_A_STATEMENT = 1_000

MOST_FAILED = 100
"""After so many failures the function is wrong, not the rows."""


@dataclass(frozen=True)
class RowFunction:
    """A function of one row, and what it has to do with it.

    Attributes:
        function: called with a row; returns its new values.
        writes: the fields that it may change.
        reads: the fields that it is given; None for all.
        related: relations that are read with the rows, as for select_related.
        where: a condition on the rows, or a function of the historical apps that returns one.
        until_none_left: whether a row that was written no longer meets the condition.
    """

    function: Callable[[Any], Any]
    writes: tuple[str, ...]
    reads: tuple[str, ...] | None = None
    related: tuple[str, ...] = ()
    where: Any = None
    until_none_left: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return str(getattr(self.function, "__qualname__", self.function))


@dataclass(frozen=True)
class RowWork:
    """A row function at work on a table.

    Attributes:
        table: the table.
        model: the model, as it is at this point of the migrations.
        row_function: what is called.
        where: the rows; None for all.
        condition: the same as SQL, if the end is to be proven by counting; "" if not.
        title: what the progress line calls it.
        task: what another process needs to do the same work.
        failures: what the function raised so far.
    """

    table: Table
    model: Any
    row_function: RowFunction
    where: Where
    condition: str
    title: str
    task: Mapping[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list, compare=False)

    @property
    def until_none_left(self) -> bool:
        """Whether a row that was written no longer meets the condition."""
        return self.row_function.until_none_left

    @property
    def columns_written(self) -> tuple[str, ...]:
        """Names of the columns that are filled."""
        options = self.model._meta
        return tuple(options.get_field(name).column for name in self.row_function.writes)

    def repeatable(self, runner: Runner) -> bool:
        """Nobody knows what a function returns the next time."""
        return False

    def describe(self) -> dict[str, Any]:
        """Return what another process needs."""
        return dict(self.task)

    def left(self, runner: Runner) -> int:
        """Count the rows that still need it, if there is a condition that tells."""
        return count_left(runner, self.table, self.condition)

    def told_at_the_end(self, left: int, changed: int, passes: int) -> str:
        """Say how it has ended."""
        return told_at_the_end(self.until_none_left, left, changed, passes)

    def change(self, runner: Runner, batch: Batch) -> Changed:
        """Compute and write the rows of a batch."""
        condition, params = bounds(batch, ALIAS)
        changed = _Pass(self, runner, batch).run(Sql(condition, params, BooleanField()))
        check_now(runner)
        self.failures.extend(error for _, error in changed.failed)
        if len(self.failures) > MOST_FAILED:
            raise BackfillFailed(
                f"{self.title}: {self.row_function.name}() raised for more than {MOST_FAILED} rows, "
                f"the last time with {self.failures[-1]}. Mend it and run the command again."
            )
        return changed


class _Pass:
    """The work on one batch."""

    def __init__(self, work: RowWork, runner: Runner, batch: Batch) -> None:
        self.work, self.runner, self.batch = work, runner, batch
        self.connection = runner.connection
        self.model, self.options = work.model, work.model._meta
        self.key = batch.relation.key
        self.failed: list[tuple[Key, str]] = []
        self.changed = 0
        # Tables of the row: its own, and those of multi-table parents.
        self.parents = list(self.options.get_parent_list())

    def run(self, condition: Any) -> Changed:
        """Go on until every row is written, left alone, gone, or failed."""
        # A row that has parts in several tables is no version of one: it is locked at once.
        rows = self._read(condition, lock=bool(self.parents))
        for attempt in range(1, OPTIMISTIC_ROUNDS + 2):
            self._compute(rows)
            stale = self._write([row for row in rows if row.values is not None])
            if not stale:
                break
            rows = self._read(self._any_of(stale), lock=attempt >= OPTIMISTIC_ROUNDS)
        return Changed(self.changed, self.failed)

    # -- reading -------------------------------------------------------------------------

    def _read(self, condition: Any, *, lock: bool) -> list[ReadRow]:
        queryset = self._queryset().filter(condition)
        if lock:
            of = ["self", *("__".join(self._path(parent)) for parent in self.parents)]
            queryset = queryset.select_for_update(of=of, no_key=True)
        rows = []
        for instance in queryset:
            key = tuple(getattr(instance, f"dsm_key{n}") for n in range(len(self.key)))
            rows.append(ReadRow(key, instance.dsm_version, instance))
        return rows

    def _path(self, parent: Any) -> list[str]:
        """Return the links from the model to one that it inherits from."""
        links, current = [], self.model
        for ancestor in self.options.get_base_chain(parent):
            links.append(current._meta.get_ancestor_link(ancestor).name)
            current = ancestor
        return links

    def _queryset(self) -> QuerySet[Any]:
        function = self.work.row_function
        found = rows_of(self.connection, self.model, self.work.where)
        read: Any = read_from(found, self.batch.relation.sql)
        if function.related:
            read = read.select_related(*function.related)
        if function.reads is not None:
            read = read.only(*function.reads)
        extra: dict[str, Any] = {
            f"dsm_key{number}": Sql(f"{ALIAS}.{escaped(name)}::text", (), TextField())
            for number, name in enumerate(self.batch.relation.columns)
        }
        extra["dsm_version"] = Sql(f"{ALIAS}.xmin::text", (), TextField())
        found_rows: QuerySet[Any] = read.annotate(**extra)
        return found_rows

    def _any_of(self, keys: Iterable[tuple[str, ...]]) -> Any:
        columns = ", ".join(f"{ALIAS}.{escaped(name)}" for name in self.batch.relation.columns)
        row = f"({', '.join(f'%s::{escaped(type_)}' for _, type_ in self.key)})"
        given = list(keys)
        return Sql(
            f"({columns}) IN ({', '.join([row] * len(given))})",
            [text for key in given for text in key],
            BooleanField(),
        )

    # -- computing -----------------------------------------------------------------------

    def _compute(self, rows: Iterable[ReadRow]) -> None:
        for row in rows:
            try:
                row.values = self._values(row.instance)
            except Error:
                # A query of the function failed, and with it the transaction.
                raise
            except Exception as error:  # noqa: BLE001 - it is the user's code
                self.failed.append((list(row.key), _told(error)))

    def _values(self, instance: Any) -> dict[str, Any] | Delete | None:
        function = self.work.row_function
        fields = {name: self.options.get_field(name) for name in function.writes}
        # What was not read is not looked at: that would be a query for each row.
        before = {name: instance.__dict__.get(f.attname) for name, f in fields.items()}
        given = function.function(instance)
        if given is None:
            moved = [
                n for n, f in fields.items() if instance.__dict__.get(f.attname) is not before[n]
            ]
            if moved:
                raise TypeError(
                    f"{function.name} set {', '.join(moved)} and returned nothing, so nothing "
                    "would be written; return the row, or a dict of new values"
                )
            return None
        if isinstance(given, Delete):
            if self.parents:
                raise TypeError(
                    f"{function.name} returned RunInBatches.DELETE for a row that has a part in "
                    f"the table of {self.parents[0]._meta.label}; delete it by BatchSQL"
                )
            return given
        if given is instance:
            given = {name: getattr(instance, field.attname) for name, field in fields.items()}
        if not isinstance(given, dict):
            raise TypeError(
                f"{function.name} returned {type(given).__name__}; return the row, a dict of new "
                "values by field, RunInBatches.DELETE, or None to leave the row"
            )
        unknown = [str(name) for name in given if name not in fields]
        if unknown:
            raise TypeError(
                f"{function.name} returned {', '.join(unknown)}, not among the fields that it "
                f"writes ({', '.join(fields)}); add it to writes=[…]"
            )
        return {name: self._prepared(fields[name], value) for name, value in given.items()} or None

    def _prepared(self, field: Any, value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            raise TypeError(
                f"the value of {field.name} is an expression; a row function returns values, and "
                "UpdateRows takes expressions"
            )
        if field.is_relation and hasattr(value, "_meta"):
            value = getattr(value, field.target_field.attname)
        return field.get_db_prep_save(value, self.connection)

    # -- writing -------------------------------------------------------------------------

    def _write(self, rows: Sequence[ReadRow]) -> list[tuple[str, ...]]:
        """Write rows and return the keys of those that are no longer what was read."""
        groups: dict[tuple[str, ...] | None, list[ReadRow]] = {}
        for row in rows:
            names = None if isinstance(row.values, Delete) else tuple(row.values or ())
            groups.setdefault(names, []).append(row)
        stale: list[tuple[str, ...]] = []
        for names, group in groups.items():
            for start in range(0, len(group), ROWS_A_STATEMENT):
                part = group[start : start + ROWS_A_STATEMENT]
                written = self._write_group(names, part)
                self.changed += len(written)
                stale += [row.key for row in part if row.key not in written]
        return stale

    def _write_group(
        self, names: tuple[str, ...] | None, rows: Sequence[ReadRow]
    ) -> set[tuple[str, ...]]:
        """Write the same fields of some rows, or delete them; return the keys of what was written."""
        own = self._own_table()
        if names is None:
            return own.delete(rows)
        owners: dict[Any, list[Any]] = {}
        for name in names:
            field = self.options.get_field(name)
            owners.setdefault(field.model._meta.concrete_model, []).append(field)
        mine = owners.pop(self.options.concrete_model, [])
        written = own.update(mine, rows) if mine else {row.key for row in rows}
        for parent, fields in owners.items():
            # Locked when it was read, as was everything of a row that has several parts.
            self._table_of(parent).update(fields, [row for row in rows if row.key in written])
        return written

    def _own_table(self) -> RowTarget:
        relation = self.batch.relation
        return RowTarget(
            self.runner, relation.sql, relation.table, self.key, relation.columns, None
        )

    def _table_of(self, parent: Any) -> RowTarget:
        table = self.runner.catalog.table(parent._meta.db_table)
        column = parent._meta.pk.column
        key = ((column, type_of(self.runner, table, column)),)
        return RowTarget(self.runner, table.qualified, table, key, [quote(column)], parent._meta.pk)


def _told(error: Exception) -> str:
    """Return an error with the place in the user's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{place}"
