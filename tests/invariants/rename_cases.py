"""Renamed fields, with everything that can hang on a column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Index, Q
from django.db.models.functions import Now

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

LONG_FIELD = "a_very_long_name_for_a_column_that_takes_up_all_of_sixty_chars"
LONG_FIELD_2 = "a_very_long_name_for_a_column_that_takes_up_all_of_the_63_chars"


def rename(
    name: str,
    field: Callable[[], models.Field[Any, Any]],
    meta: Callable[[str], dict[str, Any]] = lambda n: {},
    *,
    old: str = "total",
    new: str = "amount",
    **more: Any,
) -> Case:
    """Return a case in which Order.total becomes Order.amount.

    Args:
        name: of the case.
        field: makes the field.
        meta: returns the options of class Meta for a name of the field.
        old: the old name.
        new: the new name.
        more: as in Case.
    """

    def model(n: str) -> None:
        define(
            "Order",
            meta=meta(n),
            number=models.IntegerField(),
            code=models.CharField(max_length=20),
            **{n: field()},
        )

    return Case(
        f"rename: {name}",
        lambda: model(old),
        lambda: model(new),
        renames={f"order.{old}": new},
        **more,
    )


def integer(**options: Any) -> Callable[[], models.Field[Any, Any]]:
    return lambda: models.IntegerField(**options)


def char(**options: Any) -> Callable[[], models.Field[Any, Any]]:
    return lambda: models.CharField(max_length=20, **options)


def two_fields(first: str, second: str, meta: dict[str, Any] | None = None) -> None:
    define(
        "Order",
        meta=meta,
        number=models.IntegerField(),
        **{first: models.IntegerField(), second: models.CharField(max_length=20)},
    )


def two_models(n: str) -> None:
    define("Order", number=models.IntegerField(), **{n: models.IntegerField()})
    define("Invoice", number=models.IntegerField(), **{n: models.CharField(max_length=20)})


def line(n: str) -> None:
    define(
        "Line",
        pk=models.CompositePrimaryKey("order_number", "position"),
        order_number=models.IntegerField(),
        position=models.TextField(),
        **{n: models.IntegerField()},
    )


def keyed(n: str, field: models.Field[Any, Any]) -> None:
    define("Order", key=field, **{n: models.IntegerField()})


def cafe(n: str) -> None:
    place = define("Place", code=models.CharField(max_length=20))
    define("Cafe", bases=place, **{n: models.IntegerField(unique=True)})


def place(n: str) -> None:
    parent = define("Place", **{n: models.CharField(max_length=20)})
    define("Cafe", bases=parent, seats=models.IntegerField())


def with_db_column(n: str, column: str | None) -> None:
    define("Order", number=models.IntegerField(), **{n: models.IntegerField(db_column=column)})


TWO = {"order.total": "amount", "order.code": "label"}

RENAME_CASES = [
    # Kinds of columns
    rename("int", integer()),
    rename("nullable int", integer(null=True), extra=True),
    rename("int with a Python default", integer(default=3), extra=True),
    rename("char", char(), extra=True),
    rename("nullable text", lambda: models.TextField(null=True), extra=True),
    rename("json", models.JSONField, extra=True),
    rename("nullable json", lambda: models.JSONField(null=True), extra=True),
    rename("array", lambda: ArrayField(models.CharField(max_length=20)), extra=True),
    rename("nullable array", lambda: ArrayField(models.IntegerField(), null=True), extra=True),
    rename("decimal", lambda: models.DecimalField(max_digits=12, decimal_places=3), extra=True),
    rename("float", models.FloatField, extra=True),
    rename("boolean", models.BooleanField, extra=True),
    rename("datetime", models.DateTimeField, extra=True),
    rename("datetime with auto_now", lambda: models.DateTimeField(auto_now=True), extra=True),
    rename("date", models.DateField, extra=True),
    rename("interval", models.DurationField, extra=True),
    rename("uuid", models.UUIDField, extra=True),
    rename("binary", models.BinaryField, extra=True),
    rename("address", lambda: models.GenericIPAddressField(null=True), extra=True),
    rename("positive int with its check", models.PositiveIntegerField, extra=True),
    rename(
        "nullable positive small int",
        lambda: models.PositiveSmallIntegerField(null=True),
        extra=True,
    ),
    # What a column itself carries
    rename("db_default", integer(db_default=5)),
    rename(
        "db_default that is an expression",
        lambda: models.DateTimeField(db_default=Now()),
        extra=True,
    ),
    rename(
        "db_default and nullable",
        integer(db_default=5, null=True),
        nulls=False,
        hazards=("DSM304",),
    ),
    rename("db_default of text", char(db_default="it's 100%"), extra=True),
    rename("comment", integer(db_comment='it\'s "the" total'), extra=True),
    rename("collation", char(db_collation="C"), extra=True),
    rename("collation, comment, unique", char(db_collation="C", db_comment="x", unique=True)),
    # Indexes and unique constraints of the field
    rename("int, indexed", integer(db_index=True), extra=True),
    rename("char, indexed, with its like index", char(db_index=True)),
    rename(
        "text, indexed, with its like index", lambda: models.TextField(db_index=True), extra=True
    ),
    rename("slug", lambda: models.SlugField(null=True), extra=True),
    rename("int, unique", integer(unique=True), extra=True),
    rename("char, unique", char(unique=True)),
    rename("char, unique and nullable", char(unique=True, null=True), extra=True),
    rename(
        "int, indexed, with a tablespace",
        integer(db_index=True, db_tablespace="pg_default"),
        extra=True,
    ),
    # Several columns
    rename("unique_together", integer(), lambda n: {"unique_together": [(n, "number")]}),
    rename(
        "unique_together, second and twice",
        char(),
        lambda n: {"unique_together": [("number", n), (n, "code", "number")]},
        extra=True,
    ),
    rename(
        "ordering", integer(), lambda n: {"ordering": [f"-{n}"], "get_latest_by": n}, extra=True
    ),
    # Names
    rename("camel case", char(unique=True), old="totalAmount", new="grossAmount", extra=True),
    rename("reserved words", integer(db_index=True), old="order", new="group"),
    rename(
        "long names",
        char(unique=True),
        lambda n: {"indexes": [Index(fields=[n, "number"])]},
        old=LONG_FIELD,
        new=LONG_FIELD_2,
        extra=True,
    ),
    rename(
        "long names of table and column",
        char(db_index=True),
        lambda n: {"db_table": LONG},
        old=LONG_FIELD,
        new=LONG_FIELD_2,
    ),
    rename("table of mixed case", char(unique=True), lambda n: {"db_table": MIXED}, extra=True),
    rename(
        "table of mixed case with an index and unique_together",
        integer(),
        lambda n: {
            "db_table": MIXED,
            "indexes": [Index(fields=[n])],
            "unique_together": [(n, "number")],
        },
    ),
    rename("table in a schema", integer(), lambda n: {"db_table": QUALIFIED}, extra=True),
    rename(
        "table in a schema, with an index",
        integer(db_index=True),
        lambda n: {"db_table": QUALIFIED, "indexes": [Index(fields=[n, "code"])]},
        extra=True,
    ),
    rename(
        "table in a schema, unique",
        char(unique=True),
        lambda n: {"db_table": QUALIFIED},
        extra=True,
    ),
    rename("schema of mixed case", char(db_index=True), lambda n: {"db_table": QUALIFIED_MIXED}),
    # Other tables than the plainest
    rename("empty table", char(unique=True), rows=0),
    Case(
        "rename: composite primary key",
        lambda: line("total"),
        lambda: line("amount"),
        renames={"line.total": "amount"},
    ),
    Case(
        "rename: uuid primary key",
        lambda: keyed("total", models.UUIDField(primary_key=True)),
        lambda: keyed("amount", models.UUIDField(primary_key=True)),
        renames={"order.total": "amount"},
        extra=True,
    ),
    Case(
        "rename: text primary key",
        lambda: keyed("total", models.TextField(primary_key=True)),
        lambda: keyed("amount", models.TextField(primary_key=True)),
        renames={"order.total": "amount"},
        extra=True,
    ),
    Case(
        "rename: child's field",
        lambda: cafe("seats"),
        lambda: cafe("chairs"),
        renames={"cafe.seats": "chairs"},
    ),
    Case(
        "rename: parent's field",
        lambda: place("code"),
        lambda: place("label"),
        renames={"place.code": "label"},
        extra=True,
    ),
    # Several renames
    Case(
        "rename: two fields of one table",
        lambda: two_fields("total", "code"),
        lambda: two_fields("amount", "label"),
        renames=TWO,
        extra=True,
    ),
    Case(
        "rename: two fields of one index",
        lambda: two_fields("total", "code", {"indexes": [Index(fields=["total", "-code"])]}),
        lambda: two_fields("amount", "label", {"indexes": [Index(fields=["amount", "-label"])]}),
        renames=TWO,
    ),
    Case(
        "rename: two fields of one unique_together and one check",
        lambda: two_fields(
            "total",
            "code",
            {
                "unique_together": [("total", "code")],
                "constraints": [CheckConstraint(condition=Q(total__gt=-1) | Q(code=""), name="ck")],
            },
        ),
        lambda: two_fields(
            "amount",
            "label",
            {
                "unique_together": [("amount", "label")],
                "constraints": [
                    CheckConstraint(condition=Q(amount__gt=-1) | Q(label=""), name="ck")
                ],
            },
        ),
        renames=TWO,
        extra=True,
    ),
    Case(
        "rename: fields of two tables",
        lambda: two_models("total"),
        lambda: two_models("amount"),
        renames={"order.total": "amount", "invoice.total": "amount"},
        extra=True,
    ),
    # No change of the column
    Case(
        "rename: column with a name of its own",
        lambda: with_db_column("total", "The Column"),
        lambda: with_db_column("amount", "The Column"),
        renames={"order.total": "amount"},
        extra=True,
    ),
    Case(
        "rename: the column keeps its name",
        lambda: with_db_column("total", None),
        lambda: with_db_column("amount", "total"),
        renames={"order.total": "amount"},
    ),
    Case(
        "rename: RENAME_FIELD is db_column and the line is there",
        lambda: with_db_column("total", None),
        lambda: with_db_column("amount", "total"),
        renames={"order.total": "amount"},
        settings={"RENAME_FIELD": "db_column"},
        extra=True,
    ),
]


def row(case: Case) -> str:
    """Return the row of the support matrix that a case belongs to."""
    if case.settings or "keeps its name" in case.name or "a name of its own" in case.name:
        return "Rename a field, with `db_column`"
    words = ("unique", "indexed", "index", "slug", "check")
    if any(word in case.name for word in words):
        return "Rename a field with an index or constraint"
    return "Rename a field"


RENAME_CASES = [replace(case, change=row(case)) for case in RENAME_CASES]
