"""What the code of one state does to its tables: each kind of statement once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from tests.lint.truth.rows import Rows, own_fields

Statement: TypeAlias = tuple[str, str]
"""The table, and the kind of statement."""

Failures: TypeAlias = dict[Statement, str]
"""SQLSTATE by statement."""


class Code:
    """The models of one generation of the application.

    Args:
        connection: to run on, inside a transaction.
        known: its models.
        rows: makes their values.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, known: list[type[models.Model]], rows: Rows
    ) -> None:
        self.connection = connection
        self.models = [m for m in known if m._meta.managed and not m._meta.proxy]
        self.rows = rows

    def failures(self) -> Failures:
        """Try every statement, undo it, and return those that failed."""
        failed: Failures = {}
        for statement, call in self._statements():
            try:
                with transaction.atomic():
                    call()
                    if statement[1] != "delete":
                        with self.connection.cursor() as cursor:
                            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    raise _Undo
            except _Undo:
                pass
            except DatabaseError as error:
                failed[statement] = str(getattr(error.__cause__, "sqlstate", "") or "")
        return failed

    def _statements(self) -> Iterator[tuple[Statement, Callable[[], Any]]]:
        for model in self.models:
            table = model._meta.db_table
            calls = _Calls(model, self.rows)
            for kind in ("select", "insert", "nulls", "defaults", "update", "delete", "ignore"):
                yield (table, kind), getattr(calls, kind)
            for key in calls.upserted():
                yield (table, f"upsert {','.join(key)}"), partial(calls.upsert, key)


class _UndoError(Exception):
    """Rolls a statement back."""


_Undo = _UndoError


class _Calls:
    def __init__(self, model: type[models.Model], rows: Rows) -> None:
        self.model = model
        self.manager = model._base_manager
        self.using = "default"
        self.fields = own_fields(model)
        self.given = rows.row(model, rows.count(model) + 1)

    def _insert(self, values: dict[str, Any], **options: Any) -> None:
        row = self.model()
        for name, value in values.items():
            setattr(row, name, value)
        self.manager._insert(  # type: ignore[attr-defined]
            [row], fields=self.fields, using=self.using, **options
        )

    def select(self) -> None:
        list(self.manager.all()[:1])

    def insert(self) -> None:
        self._insert(self.given)

    def nulls(self) -> None:
        """NULL wherever old code may write it."""
        empty = {f.attname: None for f in self.fields if f.null and not f.primary_key}
        self._insert({**self.given, **empty})

    def defaults(self) -> None:
        """What the database fills in, as Django asks it to."""
        kept = {
            f.attname: self.given[f.attname]
            for f in self.fields
            if not f.has_db_default() or f.primary_key or f.unique
        }
        self._insert(kept)

    def update(self) -> None:
        values = {f.name: self.given[f.attname] for f in self.fields if not f.primary_key}
        pk = self.model._meta.pk
        assert pk is not None
        if values and len(self.model._meta.parents) == 0:
            self.manager.filter(pk=self.given.get(pk.attname)).update(**values)

    def delete(self) -> None:
        pk = self.model._meta.pk
        assert pk is not None
        self.manager.filter(pk=self.given.get(pk.attname)).delete()

    def ignore(self) -> None:
        self._insert(self.given, on_conflict=OnConflict.IGNORE)

    def upsert(self, key: tuple[str, ...]) -> None:
        others = [f for f in self.fields if not f.primary_key and f.name not in key]
        self._insert(
            self.given,
            on_conflict=OnConflict.UPDATE,
            update_fields=others or self.fields,
            unique_fields=[self.model._meta.get_field(name) for name in key],
        )

    def upserted(self) -> Iterator[tuple[str, ...]]:
        """Yield what an upsert can name."""
        options = self.model._meta
        own = {f.name for f in self.fields}
        found: list[tuple[str, ...]] = [
            (f.name,) for f in self.fields if f.unique and not f.primary_key
        ]
        found += [tuple(names) for names in options.unique_together]
        found += [
            tuple(c.fields)
            for c in options.constraints
            if isinstance(c, models.UniqueConstraint)
            and c.fields
            and c.condition is None
            and c.deferrable is None
        ]
        yield from (key for key in dict.fromkeys(found) if set(key) <= own)
