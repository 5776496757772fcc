"""Fills the tables of a case with rows that its operations can meet."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Collection, Mapping
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.kit.values import make

MOST = 120
STEP = 10
"""How many rows fewer a table has than those that it points to, so that a new row finds a target."""


def own_fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """Return the columns of a model's own table that an INSERT of Django's names."""
    return [
        field
        for field in model._meta.local_concrete_fields
        if field.column and not getattr(field, "generated", False)
    ]


class Rows:
    """Values for the rows of a case's models; the n-th row has the n-th primary key.

    Args:
        nulls: columns in which every third row is NULL, as (table, field name).
    """

    def __init__(self, nulls: Collection[tuple[str, str]]) -> None:
        self.nulls = nulls
        self.filled: dict[str, int] = {}
        self.counts: dict[type[models.Model], int] = {}

    def count(self, model: type[models.Model], above: int = 0) -> int:
        """Return how many rows a table has, or gets."""
        if model._meta.db_table in self.filled:
            return self.filled[model._meta.db_table]
        if model not in self.counts:
            targets = [
                field.remote_field.model  # type: ignore[union-attr]
                for field in own_fields(model)
                if field.is_relation
            ]
            others = [t for t in targets if t is not model]
            if above > 5 or not others:
                return MOST
            self.counts[model] = max(min(self.count(t, above + 1) for t in others) - STEP, 5)
        return self.counts[model]

    def value(self, model: type[models.Model], field: Any, n: int, depth: int = 0) -> Any:
        """Return the value of a field in the n-th row."""
        if field.null and n % 3 == 0 and (model._meta.db_table, field.name) in self.nulls:
            return None
        if field.is_relation:
            target = field.remote_field.model
            if target is model:
                return None if field.null else self.value(model, model._meta.pk, n, depth + 1)
            number = n if field.unique else n % self.count(target) + 1
            if depth > 8:
                return number
            return self.value(target, field.target_field, number, depth + 1)
        return plain_value(field, n)

    def row(self, model: type[models.Model], n: int) -> dict[str, Any]:
        """Return the n-th row of a model's own table, by attname."""
        return {field.attname: self.value(model, field, n) for field in own_fields(model)}

    def fill(self, connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
        """Insert a table's rows."""
        fields = own_fields(model)
        if not fields or not model._meta.managed or model._meta.proxy:
            return
        rows = [
            [f.get_db_prep_save(self.value(model, f, n), connection=connection) for f in fields]
            for n in range(1, self.count(model) + 1)
        ]
        quote = connection.ops.quote_name
        holders = ", ".join(
            f"({', '.join(_placeholder(f, connection) for f in fields)})" for _ in rows
        )
        names = ", ".join(quote(str(f.column)) for f in fields)
        self.filled[model._meta.db_table] = self.count(model)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES {holders}",
                [value for row in rows for value in row],
            )


def _placeholder(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    kind = field.db_type(connection)
    return f"%s::{kind}" if kind and not field.is_relation and "serial" not in kind else "%s"


def plain_value(field: Any, n: int) -> Any:
    """Return the n-th value of a field that is not a relation."""
    kind = field.get_internal_type()
    special: Mapping[str, Any] = {
        "SearchVectorField": "word",
        "DateRangeField": (dt.date(2020, 1, 1), None),
        "DateTimeRangeField": (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None),
        "IntegerRangeField": (n, n + 1),
        "BigIntegerRangeField": (n, n + 1),
        "DecimalRangeField": (n, n + 1),
        "HStoreField": {"n": str(n)},
    }
    if kind in special:
        return special[kind]
    if isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField):
        return n
    if isinstance(field, models.BooleanField):
        return n % 2 == 0
    if isinstance(field, models.FileField):
        return f"{n}.txt"
    if isinstance(field, models.DecimalField):
        digits = (field.max_digits or 9) - (field.decimal_places or 0)
        return decimal.Decimal(n % 10 ** max(digits, 0))
    return make(field, n)
