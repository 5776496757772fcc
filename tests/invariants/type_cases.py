"""Columns that change their type, with everything that can hang on them."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.db.models.functions import Lower

from tests.invariants.index_cases import MIXED, QUALIFIED
from tests.kit.case import Case, define

Maker = Callable[[], Any]


def retype(
    name: str,
    old: Maker,
    new: Maker,
    meta: dict[str, Any] | None = None,
    *,
    change: str = "type change, widening",
    plain_hazards: tuple[str, ...] | None = ("DSM506",),
    extra: bool = True,
    **more: Any,
) -> Case:
    """Return a case in which Order.total changes its type.

    Args:
        name: of the case.
        old: makes the field before.
        new: makes the field after.
        meta: options of class Meta.
        change: the row of the support matrix.
        plain_hazards: as in Case.
        extra: as in Case.
        more: as in Case.
    """

    def model(make: Maker) -> None:
        define(
            "Order",
            meta=meta,
            number=models.IntegerField(),
            code=models.CharField(max_length=20),
            total=make(),
        )

    return Case(
        f"type: {name}",
        lambda: model(old),
        lambda: model(new),
        change=change,
        plain_hazards=plain_hazards,
        extra=extra,
        **more,
    )


def integer(**options: Any) -> Maker:
    return lambda: models.IntegerField(**options)


def big(**options: Any) -> Maker:
    return lambda: models.BigIntegerField(**options)


def char(length: int = 20, **options: Any) -> Maker:
    return lambda: models.CharField(max_length=length, **options)


def text(**options: Any) -> Maker:
    return lambda: models.TextField(**options)


def number(digits: int, places: int, **options: Any) -> Maker:
    return lambda: models.DecimalField(max_digits=digits, decimal_places=places, **options)


def short(n: int) -> str:
    return f"v{n}"


def digits(n: int) -> str:
    return str(n)


def cents(n: int) -> decimal.Decimal:
    return decimal.Decimal(n % 10_000) / 100


def an_id(n: int) -> uuid.UUID:
    return uuid.UUID(int=n)


def day(value: Any) -> Any:
    return value.date() if isinstance(value, dt.datetime) else value


NARROWS = "type change, narrowing"
BESIDE = "type change, with a column for either generation (db_column)"
STOPPED = "type change, no column for both generations"
FREE = "type change without a rewrite"


def narrow(
    name: str, old: Maker, new: Maker, meta: dict[str, Any] | None = None, **more: Any
) -> Case:
    """Return a case whose columns are swapped when old code is gone."""
    return retype(name, old, new, meta, **{"change": NARROWS, **more})


def beside(name: str, old: Maker, new: Callable[..., Any], **more: Any) -> Case:
    """Return a case in which new code has a column of its own, with the line that the hook names."""
    return retype(
        f"{name}, beside",
        old,
        lambda: new(db_column="total_2"),
        **{"change": BESIDE, "plain_hazards": ("DSM301", "DSM506"), **more},
    )


def stopped(name: str, old: Maker, new: Maker, **more: Any) -> Case:
    """Return a case without that line: old code has to be stopped before the contract."""
    return retype(
        f"{name}, in one column",
        old,
        new,
        **{"change": STOPPED, "hazards": ("DSM525",), "overlap": False, **more},
    )


def two(first: Maker, second: Maker) -> None:
    define(
        "Order",
        meta={"unique_together": [("total", "code")]},
        number=models.IntegerField(),
        total=first(),
        code=second(),
    )


POSITIVE = CheckConstraint(condition=Q(total__gt=0), name="total_positive")
FILLED = CheckConstraint(condition=~Q(total=""), name="total_filled")

WIDENING = [
    retype("int to bigint", integer(), big(), extra=False),
    retype("nullable int to bigint", integer(null=True), big(null=True)),
    retype(
        "int with a default, a comment and an index",
        integer(db_default=5, db_comment="it's total", db_index=True),
        big(db_default=5, db_comment="it's total", db_index=True),
        extra=False,
    ),
    retype("unique int", integer(unique=True), big(unique=True), extra=False),
    retype(
        "int in unique_together",
        integer(),
        big(),
        {"unique_together": [("total", "code"), ("number", "total")]},
    ),
    retype(
        "int in constraints and indexes",
        integer(),
        big(),
        {
            "constraints": [
                POSITIVE,
                UniqueConstraint(fields=["total"], condition=Q(number__gt=0), name="partly"),
                UniqueConstraint("number", Lower("code"), "total", name="lowered"),
            ],
            "indexes": [
                Index(fields=["-total", "number"], include=["code"], name="covering"),
                Index(fields=["number"], condition=Q(total__gt=5), name="partial"),
            ],
        },
        extra=False,
    ),
    retype("smallint to int", lambda: models.SmallIntegerField(), integer()),
    retype(
        "positive smallint to positive bigint",
        lambda: models.PositiveSmallIntegerField(),
        lambda: models.PositiveBigIntegerField(),
    ),
    retype("positive int to bigint", lambda: models.PositiveIntegerField(), big()),
    retype(
        "smallint to positive int",
        lambda: models.SmallIntegerField(),
        lambda: models.PositiveIntegerField(),
        extra=False,
        plain_hazards=("DSM506", "DSM507"),
    ),
    retype("numeric with more places", number(8, 2), number(12, 4)),
    retype(
        "varchar to text with an index for LIKE",
        char(db_index=True),
        text(db_index=True),
        extra=False,
        plain_hazards=("DSM101",),
    ),
    retype(
        "unique varchar to text", char(unique=True), text(unique=True), plain_hazards=("DSM101",)
    ),
    retype("varchar in a check", char(20), char(30), {"constraints": [FILLED]}),
    retype(
        "varchar in an index over an expression",
        char(20),
        text(),
        {"indexes": [Index(Lower("total"), name="lowered")]},
    ),
    retype(
        "varchar in a partial index",
        char(20),
        char(25),
        {"indexes": [Index(fields=["code"], condition=~Q(total="x"), name="partial")]},
    ),
    retype(
        "array of longer varchars",
        lambda: ArrayField(models.CharField(max_length=20)),
        lambda: ArrayField(models.CharField(max_length=30)),
    ),
    retype("collation", char(db_index=True), char(db_collation="C", db_index=True), extra=False),
    retype("collation without an index", char(), char(db_collation="C"), plain_hazards=()),
    retype("collation dropped", text(unique=True, db_collation="C"), text(unique=True)),
    retype(
        "table of mixed case",
        integer(unique=True),
        big(unique=True),
        {"db_table": MIXED},
    ),
    retype(
        "table in a schema",
        integer(db_index=True),
        big(db_index=True),
        {"db_table": QUALIFIED, "unique_together": [("total", "code")]},
    ),
    retype("empty table", integer(unique=True), big(unique=True), rows=0),
    retype(
        "int to bigint and NOT NULL",
        integer(null=True),
        big(),
        default=0,
        filled={"total": 0},
        plain_hazards=("DSM203", "DSM506"),
    ),
    retype(
        "int to bigint, and an index",
        integer(),
        big(db_index=True),
        plain_hazards=("DSM101", "DSM506"),
    ),
    Case(
        "type: two fields of one table",
        lambda: two(integer(), char(20, db_collation="C")),
        lambda: two(big(), text(db_collation="C")),
        change="type change, widening",
        plain_hazards=("DSM506",),
        extra=True,
    ),
]
NARROWING = [
    narrow("bigint to int", big(), integer(), extra=False),
    narrow(
        "unique bigint to smallint", big(unique=True), lambda: models.SmallIntegerField(unique=True)
    ),
    narrow("varchar shrinks", char(40), char(20), values={"total": short}, extra=False),
    narrow(
        "unique varchar shrinks",
        char(40, unique=True, null=True),
        char(20, unique=True, null=True),
        values={"total": short},
    ),
    narrow(
        "indexed text to varchar",
        text(db_index=True, db_default="x"),
        char(20, db_index=True, db_default="x"),
        values={"total": short},
        extra=False,
        plain_hazards=("DSM101", "DSM506"),
    ),
    narrow("numeric with fewer places", number(12, 4), number(8, 2), values={"total": cents}),
    narrow("numeric with fewer digits", number(12, 2), number(8, 2), values={"total": cents}),
    narrow(
        "varchar shrinks in a check and a unique_together",
        char(40),
        char(20),
        {"constraints": [FILLED], "unique_together": [("total", "code")]},
        values={"total": short},
    ),
    narrow(
        "bigint to positive int",
        big(),
        lambda: models.PositiveIntegerField(),
        plain_hazards=("DSM506", "DSM507"),
    ),
    Case(
        "type: two narrower fields of one table",
        lambda: two(big(), char(40)),
        lambda: two(integer(), char(20)),
        values={"code": short},
        change=NARROWS,
        plain_hazards=("DSM506",),
        extra=True,
    ),
]
FREE_OF_WORK = [
    retype("longer varchar", char(20), char(30), change=FREE, plain_hazards=(), extra=False),
    retype("varchar to text", char(20), text(), change=FREE, plain_hazards=()),
    retype(
        "longer indexed varchar",
        char(20, unique=True),
        char(30, unique=True),
        change=FREE,
        plain_hazards=(),
    ),
    retype("numeric with more digits", number(8, 2), number(10, 2), change=FREE, plain_hazards=()),
    retype(
        "array of another size",
        lambda: ArrayField(models.IntegerField(), size=3),
        lambda: ArrayField(models.IntegerField(), size=5),
        change=FREE,
        plain_hazards=(),
    ),
    retype(
        "choices",
        char(),
        lambda: models.CharField(max_length=20, choices=[("a", "A")]),
        change=FREE,
        plain_hazards=(),
    ),
    retype(
        "int to positive int",
        integer(),
        lambda: models.PositiveIntegerField(),
        change="a type's CHECK added or dropped",
        plain_hazards=("DSM507",),
    ),
    retype(
        "positive int to int",
        lambda: models.PositiveIntegerField(),
        integer(),
        change="a type's CHECK added or dropped",
        plain_hazards=(),
    ),
]


BESIDE_CASES = [
    beside(
        "text to int",
        text(),
        models.IntegerField,
        values={"total": digits},
        new_values={"total": lambda n: n},
        alike={"total": str},
        extra=False,
    ),
    beside(
        "int to text",
        integer(db_index=True),
        lambda **o: models.TextField(db_index=True, **o),
        new_values={"total": digits},
        alike={"total": str},
    ),
    beside(
        "text to jsonb",
        text(),
        models.JSONField,
        values={"total": lambda n: f'{{"n": {n}}}'},
        new_values={"total": lambda n: {"n": n}},
        alike={"total": lambda v: v if isinstance(v, dict) else json.loads(v)},
    ),
    beside(
        "jsonb to text",
        lambda: models.JSONField(null=True),
        lambda **o: models.TextField(null=True, **o),
        values={"total": lambda n: {"n": n}},
        new_values={"total": lambda n: f'{{"n": {n}}}'},
        alike={"total": lambda v: v if isinstance(v, dict) else json.loads(v)},
    ),
    beside(
        "unique text to uuid",
        text(unique=True),
        lambda **o: models.UUIDField(unique=True, **o),
        values={"total": lambda n: str(an_id(n))},
        new_values={"total": an_id},
        alike={"total": str},
        extra=False,
    ),
    beside(
        "uuid to text",
        lambda: models.UUIDField(),
        models.TextField,
        values={"total": an_id},
        new_values={"total": lambda n: str(an_id(n))},
        alike={"total": str},
    ),
    beside(
        "bool to int",
        lambda: models.BooleanField(),
        models.IntegerField,
        new_values={"total": lambda n: n % 2},
        alike={"total": bool},
    ),
    beside(
        "int to numeric",
        integer(),
        lambda **o: models.DecimalField(max_digits=12, decimal_places=0, **o),
    ),
    beside(
        "float to numeric",
        lambda: models.FloatField(),
        lambda **o: models.DecimalField(max_digits=12, decimal_places=2, **o),
        alike={"total": float},
    ),
    beside(
        "date to datetime",
        lambda: models.DateField(),
        models.DateTimeField,
        alike={"total": day},
    ),
    beside(
        "datetime to date",
        lambda: models.DateTimeField(),
        models.DateField,
        alike={"total": day},
        extra=False,
    ),
    beside(
        "array of another type",
        lambda: ArrayField(models.IntegerField()),
        lambda **o: ArrayField(models.BigIntegerField(), **o),
    ),
    beside("bigint to int", big(db_default=3), lambda **o: models.IntegerField(db_default=3, **o)),
    beside(
        "the same type",
        char(unique=True),
        lambda **o: models.CharField(max_length=20, unique=True, **o),
        plain_hazards=("DSM301",),
    ),
]


def customers(field: Maker, key: str = "") -> None:
    define("Customer", code=models.CharField(max_length=20, unique=True))
    define("Order", number=models.IntegerField(), **{key or "customer": field()})


def coded(length: int) -> None:
    customer = define("Customer", code=models.CharField(max_length=length, unique=True))
    define(
        "Order",
        number=models.IntegerField(),
        customer=models.ForeignKey(customer, models.CASCADE, to_field="code"),
    )


def one_of_three(n: int) -> int:
    return n % 3 + 1


POINTING = [
    Case(
        "type: longer varchar that a foreign key points to",
        lambda: coded(20),
        lambda: coded(30),
        change=FREE,
        plain_hazards=("DSM506",),
        extra=True,
    ),
    Case(
        "type: foreign key to char of the same name",
        lambda: customers(lambda: models.ForeignKey("Customer", models.CASCADE)),
        lambda: customers(char(20)),
        renames={"order.customer_id": "customer"},
        values={"customer": one_of_three},
        new_values={"customer": lambda n: str(one_of_three(n))},
        alike={"customer": str},
        change=BESIDE,
        plain_hazards=("DSM102", "DSM301", "DSM506"),
        extra=True,
    ),
    Case(
        "type: char to foreign key of the same name",
        lambda: customers(char(20)),
        lambda: customers(lambda: models.ForeignKey("Customer", models.CASCADE)),
        renames={"order.customer": "customer_id"},
        values={"customer": lambda n: str(one_of_three(n))},
        new_values={"customer": one_of_three},
        alike={"customer": str},
        change=BESIDE,
        plain_hazards=("DSM101", "DSM301", "DSM506", "DSM509"),
        extra=True,
    ),
]
STOPPED_CASES = [
    stopped(
        "text to int",
        text(),
        integer(),
        values={"total": digits},
        new_values={"total": lambda n: n},
        extra=False,
    ),
    stopped("int to text", integer(), text(), new_values={"total": digits}),
    stopped("datetime to date", lambda: models.DateTimeField(), lambda: models.DateField()),
    stopped("date to datetime", lambda: models.DateField(), lambda: models.DateTimeField()),
    stopped(
        "bool to int",
        lambda: models.BooleanField(),
        integer(),
        new_values={"total": lambda n: n % 2},
    ),
    stopped(
        "unique text to uuid",
        text(unique=True),
        lambda: models.UUIDField(unique=True),
        values={"total": lambda n: str(an_id(n))},
        new_values={"total": an_id},
    ),
    stopped("float to numeric", lambda: models.FloatField(), number(12, 2)),
]

TYPE_CASES = [*WIDENING, *NARROWING, *FREE_OF_WORK, *BESIDE_CASES, *POINTING, *STOPPED_CASES]
