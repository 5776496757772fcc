"""Valid values for any field: distinct, repeatable, exactly what the database gives back."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
SMALL = 30_000
"""Values of small integers repeat after so many."""
TARGETS = 100_000_000
"""Where the numbers of rows start that are made to be referred to only once."""


def base36(number: int) -> str:
    """Write a number in as few characters as possible, for short text columns."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
        if not number:
            return digits


def integer(field: models.Field[Any, Any], n: int) -> int:
    small = isinstance(field, models.SmallIntegerField | models.PositiveSmallIntegerField)
    return n % SMALL + 1 if small else n + 1


def text(field: models.Field[Any, Any], n: int) -> str:
    value = base36(n)
    room = (field.max_length or 40) - len(value)
    return ("v%-ab " * 2)[:room].strip() + value if room > 0 else value


def number(field: Any, n: int) -> decimal.Decimal:
    whole = n % 10 ** (field.max_digits - field.decimal_places)
    return decimal.Decimal(whole).quantize(decimal.Decimal(1).scaleb(-field.decimal_places))


MAKERS: list[tuple[type[models.Field[Any, Any]], Callable[[Any, int], Any]]] = [
    (models.BooleanField, lambda field, n: bool(n % 2)),
    (models.IntegerField, integer),
    (models.DecimalField, number),
    (models.FloatField, lambda field, n: n + 0.5),
    (models.EmailField, lambda field, n: f"{base36(n)}@example.com"),
    (models.URLField, lambda field, n: f"https://example.com/{base36(n)}"),
    (models.SlugField, lambda field, n: f"s-{base36(n)}"[-(field.max_length or 50) :]),
    (models.CharField, text),
    (models.TextField, text),
    (models.DateTimeField, lambda field, n: EPOCH + dt.timedelta(seconds=n)),
    (models.DateField, lambda field, n: EPOCH.date() + dt.timedelta(days=n % 300_000)),
    (
        models.TimeField,
        lambda field, n: dt.time(n // 3600 % 24, n // 60 % 60, n % 60),
    ),
    (models.DurationField, lambda field, n: dt.timedelta(seconds=n)),
    (models.UUIDField, lambda field, n: uuid.UUID(int=n)),
    (models.JSONField, lambda field, n: {"n": n, "list": [n, None]}),
    (models.BinaryField, lambda field, n: n.to_bytes(8, "big")),
    (models.GenericIPAddressField, lambda field, n: f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"),
    (ArrayField, lambda field, n: [make(field.base_field, n), make(field.base_field, n + 1)]),
]


def make(field: models.Field[Any, Any], n: int) -> Any:
    """Return the n-th value of a field that is not a relation."""
    for kind, maker in MAKERS:
        if isinstance(field, kind):
            return maker(field, n)
    raise AssertionError(f"no values for {field.__class__.__name__}: give the case `values`")


def writable(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """Return the columns that code gives values to: no serial key, generated or auto_now one."""
    return [
        field
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField)
        and not getattr(field, "generated", False)
        and not getattr(field, "auto_now", False)
        and not getattr(field, "auto_now_add", False)
    ]


class Values:
    """Values for the fields of one case.

    Args:
        overrides: makers by field name, which win.
        nulls: whether every third value of a nullable field is NULL.
        using: the database alias that relations are looked up in.
        distinct: names of relations that get a target of their own each time.
    """

    def __init__(
        self,
        overrides: Mapping[str, Callable[[int], Any]],
        *,
        nulls: bool,
        using: str,
        distinct: Collection[str] = (),
    ) -> None:
        self.overrides = overrides
        self.nulls = nulls
        self.using = using
        self.distinct = distinct
        self.made: list[models.Model] = []
        self._targets: dict[type[models.Model], list[Any]] = {}

    def value(self, field: models.Field[Any, Any], n: int) -> Any:
        """Return the n-th value of a field, for its attname (a related row is made if needed)."""
        if field.name in self.overrides:
            return self.overrides[field.name](n)
        if field.null and self.nulls and n % 3 == 0 and not field.primary_key:
            return None
        if not field.is_relation:
            return make(field, n)
        target = field.remote_field.model  # type: ignore[union-attr]
        to_attname = field.target_field.attname  # type: ignore[attr-defined]
        if field.unique or field.name in self.distinct:
            row = self.row(target, TARGETS + n)
            made = target._base_manager.using(self.using).create(**row)
            self.made.append(made)
            return getattr(made, to_attname)
        if not self._targets.get(target):
            rows = target._base_manager.using(self.using).order_by("pk")[:3]
            self._targets[target] = list(rows)
        known = self._targets[target]
        return getattr(known[n % len(known)], to_attname) if known else None

    def row(self, model: type[models.Model], n: int) -> dict[str, Any]:
        """Return a value for every writable column of a model, by attname."""
        return {field.attname: self.value(field, n) for field in writable(model)}
