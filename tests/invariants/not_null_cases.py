"""Nullable columns that become NOT NULL: with a default, a database default, or neither."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.fields import NOT_PROVIDED
from django.db.models.functions import Now
from django.utils import timezone

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define
from tests.kit.outcomes import ANY

_codes = itertools.count(1)

Maker: TypeAlias = "Callable[..., models.Field[Any, Any]]"


def next_code() -> str:
    """Return a value that PostgreSQL has no function for."""
    return f"code {next(_codes)}"


def not_null(
    name: str,
    field: Maker,
    default: Any = NOT_PROVIDED,
    *,
    table: str | None = None,
    filled: Any = NOT_PROVIDED,
    new: Maker | None = None,
    repeatable: bool = True,
    meta: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """Return a case in which Order.value becomes NOT NULL.

    Args:
        name: of the case.
        field: makes the field; called with null=True for old code.
        default: the developer's one-off default.
        table: the model's db_table.
        filled: what NULLs become, if not `default`.
        new: makes new code's field, if more than null changes.
        repeatable: whether the filled values are the same in two runs.
        meta: more options of the model.
        more: as in Case.
    """
    options = {**({"db_table": table} if table else {}), **(meta or {})}
    fill = default if filled is NOT_PROVIDED else filled

    def model(value: models.Field[Any, Any]) -> None:
        define("Order", meta=options, number=models.IntegerField(), value=value)

    column = new or field
    return Case(
        f"not null: {name}",
        lambda: model(field(null=True)),
        lambda: model(column()),
        default=default,
        filled={} if fill is NOT_PROVIDED else {"value": fill},
        not_repeatable=() if repeatable else (f"{table or 'caseapp_order'}.value",),
        **more,
    )


def char(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(max_length=20, **options)


def customers(null: bool, unique: bool = False) -> None:
    customer = define("Customer", code=char(unique=True))
    kind = models.OneToOneField if unique else models.ForeignKey
    define(
        "Order",
        number=models.IntegerField(),
        customer=kind(customer, models.CASCADE, null=null),
    )


def two_columns(null: bool) -> None:
    define(
        "Order",
        first=models.IntegerField(null=null),
        second=models.IntegerField(null=null),
        number=models.IntegerField(),
    )


def line(null: bool) -> None:
    define(
        "Line",
        pk=models.CompositePrimaryKey("order_number", "position"),
        order_number=models.IntegerField(),
        position=models.TextField(),
        value=models.IntegerField(null=null),
    )


def key(null: bool, field: models.Field[Any, Any]) -> None:
    define("Order", code=field, value=models.IntegerField(null=null))


def cafe(null: bool) -> None:
    place = define("Place", code=char())
    define("Cafe", bases=place, value=models.IntegerField(null=null))


def two_models(null: bool) -> None:
    define("Order", value=models.IntegerField(null=null))
    define("Invoice", value=models.IntegerField(null=null))


NOT_NULL_CASES = [
    not_null("int, answered 0", models.IntegerField, 0),
    not_null("big int", models.BigIntegerField, 2**40, extra=True),
    not_null("positive int with its check", models.PositiveIntegerField, 3, extra=True),
    not_null("char", char, "", extra=True),
    not_null("char with quotes and percent", char, 'it\'s 100% \\ "x"'),
    not_null("text", models.TextField, "none\nat all", extra=True),
    not_null("boolean", models.BooleanField, False, extra=True),
    not_null(
        "decimal",
        lambda **o: models.DecimalField(max_digits=12, decimal_places=2, **o),
        decimal.Decimal("1.50"),
        extra=True,
    ),
    not_null("float", models.FloatField, 0.25, extra=True),
    not_null("date", models.DateField, dt.date(2020, 2, 29), extra=True),
    not_null("interval", models.DurationField, dt.timedelta(hours=1), extra=True),
    not_null(
        "datetime, answered with a constant",
        models.DateTimeField,
        dt.datetime(2020, 2, 29, 12, tzinfo=dt.UTC),
        extra=True,
    ),
    not_null(
        "datetime, answered timezone.now",
        models.DateTimeField,
        timezone.now,
        filled=ANY,
        repeatable=False,
        extra=True,
    ),
    not_null("uuid, answered uuid4", models.UUIDField, uuid.uuid4, filled=ANY, repeatable=False),
    not_null("json, answered with a dict", models.JSONField, {"a": [1, None]}, extra=True),
    not_null("json, answered dict", models.JSONField, dict, filled={}, extra=True),
    not_null("json, answered with a string", models.JSONField, "text", extra=True),
    not_null("array", lambda **o: ArrayField(models.IntegerField(), **o), [1, 2], extra=True),
    not_null("binary", models.BinaryField, b"\x00\xff", extra=True),
    not_null("address", models.GenericIPAddressField, "10.0.0.1", extra=True),
    not_null(
        "int with a default of its own",
        models.IntegerField,
        new=lambda: models.IntegerField(default=7),
        filled=7,
        extra=True,
    ),
    not_null(
        "datetime with a default of its own",
        models.DateTimeField,
        new=lambda: models.DateTimeField(default=timezone.now),
        filled=ANY,
        repeatable=False,
        extra=True,
    ),
    not_null(
        "uuid with a default of its own",
        models.UUIDField,
        new=lambda: models.UUIDField(default=uuid.uuid4),
        filled=ANY,
        repeatable=False,
    ),
    not_null(
        "unmappable callable",
        char,
        new=lambda: char(default=next_code),
        filled=ANY,
        repeatable=False,
    ),
    not_null(
        "unmappable callable as the answer",
        char,
        next_code,
        filled=ANY,
        repeatable=False,
        extra=True,
    ),
    not_null(
        "db_default",
        models.IntegerField,
        new=lambda: models.IntegerField(db_default=9),
        filled=9,
    ),
    not_null(
        "db_default that was there",
        lambda **o: models.IntegerField(db_default=9, **o),
        filled=9,
        extra=True,
    ),
    not_null(
        "db_default now",
        models.DateTimeField,
        new=lambda: models.DateTimeField(db_default=Now()),
        filled=ANY,
        repeatable=False,
        extra=True,
    ),
    not_null("without a default", models.IntegerField, nulls=False),
    not_null("char without a default", char, nulls=False, extra=True),
    not_null(
        "indexed char without a default",
        lambda **o: char(db_index=True, **o),
        nulls=False,
        extra=True,
    ),
    not_null(
        "unique char without a default", lambda **o: char(unique=True, **o), nulls=False, extra=True
    ),
    not_null("indexed char", lambda **o: char(db_index=True, **o), "x", extra=True),
    not_null("with a comment", lambda **o: char(db_comment='it\'s "this"', **o), "x", extra=True),
    not_null("with a collation", lambda **o: char(db_collation="C", **o), "x", extra=True),
    not_null("column of mixed case", lambda **o: char(db_column="The Value", **o), "x", extra=True),
    not_null(
        "long column name",
        lambda **o: char(
            db_column="a_very_long_name_for_a_column_that_takes_up_all_the_characters", **o
        ),
        "x",
        extra=True,
    ),
    not_null(
        "together with a longer max_length", char, "x", new=lambda: models.CharField(max_length=40)
    ),
    not_null("together with a comment", char, "x", new=lambda: char(db_comment="new"), extra=True),
    not_null("together with db_index", char, "x", new=lambda: char(db_index=True)),
    not_null("table of mixed case", models.IntegerField, 0, table=MIXED, extra=True),
    not_null("table in a schema", models.IntegerField, 0, table=QUALIFIED, extra=True),
    not_null("schema of mixed case", char, "", table=QUALIFIED_MIXED, extra=True),
    not_null("long table name", models.IntegerField, 0, table=LONG, extra=True),
    not_null(
        "table of mixed case, without a default",
        models.IntegerField,
        table=MIXED,
        nulls=False,
        extra=True,
    ),
    not_null(
        "table in a schema, without a default",
        models.IntegerField,
        table=QUALIFIED,
        nulls=False,
        extra=True,
    ),
    not_null(
        "name of its NOT NULL taken",
        models.IntegerField,
        0,
        after_creation=(
            "ALTER TABLE caseapp_order ADD CONSTRAINT caseapp_order_value_not_null"
            " CHECK (number IS NOT NULL)",
        ),
    ),
    not_null("empty table", models.IntegerField, 0, rows=0, extra=True),
    not_null(
        "empty table, without a default", models.IntegerField, rows=0, nulls=False, extra=True
    ),
    not_null("no NULL left, with a default", models.IntegerField, 0, nulls=False, extra=True),
    not_null(
        "in a unique_together",
        models.IntegerField,
        nulls=False,
        meta={"unique_together": [("number", "value")]},
        extra=True,
    ),
    not_null(
        "in a check",
        models.IntegerField,
        5,
        meta={
            "constraints": [
                models.CheckConstraint(condition=models.Q(value__gt=0), name="order_positive")
            ]
        },
        extra=True,
    ),
    Case(
        "not null: two columns of one table",
        lambda: two_columns(True),
        lambda: two_columns(False),
        default=4,
        filled={"first": 4, "second": 4},
    ),
    Case(
        "not null: two tables",
        lambda: two_models(True),
        lambda: two_models(False),
        default=4,
        filled={"value": 4},
        extra=True,
    ),
    Case(
        "not null: foreign key, answered 1",
        lambda: customers(True),
        lambda: customers(False),
        default=1,
        filled={"customer": 1},
    ),
    Case(
        "not null: foreign key without a default",
        lambda: customers(True),
        lambda: customers(False),
        nulls=False,
        extra=True,
    ),
    Case(
        "not null: one to one without a default",
        lambda: customers(True, unique=True),
        lambda: customers(False, unique=True),
        nulls=False,
        extra=True,
    ),
    Case(
        "not null: composite primary key",
        lambda: line(True),
        lambda: line(False),
        default=4,
        filled={"value": 4},
    ),
    Case(
        "not null: text primary key",
        lambda: key(True, models.TextField(primary_key=True)),
        lambda: key(False, models.TextField(primary_key=True)),
        default=4,
        filled={"value": 4},
        extra=True,
    ),
    Case(
        "not null: uuid primary key",
        lambda: key(True, models.UUIDField(primary_key=True)),
        lambda: key(False, models.UUIDField(primary_key=True)),
        default=4,
        filled={"value": 4},
        extra=True,
    ),
    Case(
        "not null: child's table",
        lambda: cafe(True),
        lambda: cafe(False),
        default=4,
        filled={"value": 4},
    ),
]

REFUSED_CASES = [
    not_null("NULLs left and no default", models.IntegerField),
    not_null("NULLs left and no default, in a schema", models.IntegerField, table=QUALIFIED),
    Case(
        "not null: NULLs left in a table with a composite primary key",
        lambda: line(True),
        lambda: line(False),
    ),
]


def row(case: Case) -> str:
    """Return the row of the support matrix that a case belongs to."""
    return "null → NOT NULL" if case.filled else "null → NOT NULL, without a default"


NOT_NULL_CASES = [replace(case, change=row(case)) for case in NOT_NULL_CASES]
