"""Adding and removing indexes: of Meta.indexes, and those that db_index makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import (
    BrinIndex,
    BTreeIndex,
    GinIndex,
    HashIndex,
    OpClass,
    SpGistIndex,
)
from django.db import models
from django.db.models import F, Index, Q
from django.db.models.functions import Length, Lower, Upper

from tests.kit.case import Case, define

MIXED = "MixedCase"
QUALIFIED = 'crm"."customer'
QUALIFIED_MIXED = 'Mixed Schema"."Mixed Table'
LONG = "a_very_long_name_for_a_table_that_takes_up_all_of_the_63_charac"


def order(meta: dict[str, Any] | None = None, **more: Any) -> Any:
    """Define a model with a column of most kinds."""
    fields: dict[str, Any] = {
        "number": models.IntegerField(),
        "code": models.CharField(max_length=30),
        "note": models.TextField(null=True),
        "placed": models.DateTimeField(),
        "data": models.JSONField(),
        "tags": ArrayField(models.IntegerField()),
    }
    return define("Order", meta=meta, **{**fields, **more})


def add(
    name: str, make: Callable[[], Index | list[Index]], table: str | None = None, **more: Any
) -> Case:
    """Return a case that adds what `make` makes to Meta.indexes."""
    meta = {"db_table": table} if table else {}

    def new() -> None:
        made = make()
        order({**meta, "indexes": made if isinstance(made, list) else [made]})

    return Case(f"index: {name}", lambda: order(meta), new, **more)


def alter(
    name: str,
    old: Callable[[], models.Field[Any, Any]],
    new: Callable[[], models.Field[Any, Any]],
    table: str | None = None,
    field: str = "extra",
    **more: Any,
) -> Case:
    """Return a case that changes one field."""
    meta = {"db_table": table} if table else {}
    return Case(
        f"index: {name}",
        lambda: order(meta, **{field: old()}),
        lambda: order(meta, **{field: new()}),
        **more,
    )


def owned(indexed: bool, **more: Any) -> None:
    owner = define("Owner", code=models.CharField(max_length=10, unique=True))
    order(owner=models.ForeignKey(owner, models.CASCADE, db_index=indexed, **more))


def order_and_fresh() -> None:
    """Define one model more, with indexes of its own."""
    order()
    define(
        "Fresh",
        code=models.CharField(max_length=9, db_index=True),
        meta={"indexes": [Index(fields=["-code"], name="fresh_code")]},
    )


INDEX_CASES = [
    add("one column", lambda: Index(fields=["number"], name="order_number")),
    add("named by Django", lambda: Index(fields=["number", "code"]), extra=True),
    add("descending", lambda: Index(fields=["-placed"], name="order_placed"), extra=True),
    add(
        "several columns",
        lambda: Index(fields=["code", "-number", "id"], name="order_several"),
        extra=True,
    ),
    add("expression", lambda: Index(Upper("code"), name="order_upper")),
    add(
        "expressions and order",
        lambda: Index(Lower("code").desc(nulls_last=True), F("number").asc(), name="order_expr"),
        extra=True,
    ),
    add(
        "partial",
        lambda: Index(fields=["number"], name="order_partial", condition=Q(number__gt=3)),
        extra=True,
    ),
    add(
        "partial with text",
        lambda: Index(
            fields=["number"], name="order_text", condition=Q(code__startswith="it's 100%")
        ),
        extra=True,
    ),
    add(
        "covering",
        lambda: Index(fields=["number"], name="order_cover", include=["code", "note"]),
        extra=True,
    ),
    add(
        "operator class",
        lambda: Index(fields=["code"], name="order_like", opclasses=["varchar_pattern_ops"]),
        extra=True,
    ),
    add(
        "operator class in an expression",
        lambda: Index(OpClass(Lower("code"), name="text_pattern_ops"), name="order_opclass"),
    ),
    add("gin on json", lambda: GinIndex(fields=["data"], name="order_gin", fastupdate=False)),
    add(
        "gin with an operator class",
        lambda: GinIndex(fields=["data"], name="order_path", opclasses=["jsonb_path_ops"]),
        extra=True,
    ),
    add("gin on an array", lambda: GinIndex(fields=["tags"], name="order_tags"), extra=True),
    add(
        "brin",
        lambda: BrinIndex(
            fields=["placed"], name="order_brin", pages_per_range=4, autosummarize=True
        ),
        extra=True,
    ),
    add("hash", lambda: HashIndex(fields=["code"], name="order_hash", fillfactor=70), extra=True),
    add("spgist", lambda: SpGistIndex(fields=["code"], name="order_spgist"), extra=True),
    add(
        "btree with a fillfactor",
        lambda: BTreeIndex(fields=["number"], name="order_btree", fillfactor=60),
        extra=True,
    ),
    add(
        "tablespace",
        lambda: Index(fields=["number"], name="order_space", db_tablespace="pg_default"),
        extra=True,
    ),
    add("name of mixed case", lambda: Index(fields=["number"], name="Order Number %s"), extra=True),
    add(
        "table of mixed case",
        lambda: Index(fields=["number"], name="mixed_number"),
        MIXED,
        extra=True,
    ),
    add(
        "table of mixed case, named by Django", lambda: Index(fields=["-number"]), MIXED, extra=True
    ),
    add(
        "table in a schema",
        lambda: Index(fields=["number"], name="crm_number"),
        QUALIFIED,
        extra=True,
    ),
    add(
        "table in a schema, named by Django",
        lambda: Index(fields=["number"]),
        QUALIFIED,
        extra=True,
    ),
    add("schema of mixed case", lambda: Index(fields=["code"], name="crm_Code"), QUALIFIED_MIXED),
    add("long table name", lambda: Index(fields=["number", "code"]), LONG, extra=True),
    add(
        "two in one run",
        lambda: [
            Index(fields=["number"], name="order_first"),
            Index(Length("code"), name="order_second"),
        ],
        extra=True,
    ),
    add("empty table", lambda: Index(fields=["number"], name="order_empty"), rows=0, extra=True),
    alter(
        "db_index on an int",
        models.IntegerField,
        lambda: models.IntegerField(db_index=True),
        extra=True,
    ),
    alter(
        "db_index on a varchar",
        lambda: models.CharField(max_length=9),
        lambda: models.CharField(max_length=9, db_index=True),
    ),
    alter(
        "db_index on a text", models.TextField, lambda: models.TextField(db_index=True), extra=True
    ),
    alter(
        "db_index on a nullable slug",
        lambda: models.SlugField(null=True, db_index=False),
        lambda: models.SlugField(null=True),
        extra=True,
    ),
    alter(
        "db_index on a varchar with a collation",
        lambda: models.CharField(max_length=9, db_collation="C"),
        lambda: models.CharField(max_length=9, db_collation="C", db_index=True),
        extra=True,
    ),
    alter(
        "db_index with a tablespace",
        models.IntegerField,
        lambda: models.IntegerField(db_index=True, db_tablespace="pg_default"),
        extra=True,
    ),
    alter(
        "db_index on a column with a name of its own",
        lambda: models.CharField(max_length=9, db_column="The Code"),
        lambda: models.CharField(max_length=9, db_column="The Code", db_index=True),
    ),
    alter(
        "db_index on a table of mixed case",
        lambda: models.CharField(max_length=9),
        lambda: models.CharField(max_length=9, db_index=True),
        MIXED,
        extra=True,
    ),
    alter(
        "db_index on a table in a schema",
        lambda: models.CharField(max_length=9),
        lambda: models.CharField(max_length=9, db_index=True),
        QUALIFIED,
        extra=True,
    ),
    alter(
        "db_index with long names",
        lambda: models.CharField(max_length=9),
        lambda: models.CharField(max_length=9, db_index=True),
        LONG,
        "a_very_long_name_for_a_column_that_takes_up_all_the_characters",
    ),
    alter(
        "db_index on an empty table",
        lambda: models.CharField(max_length=9),
        lambda: models.CharField(max_length=9, db_index=True),
        rows=0,
        extra=True,
    ),
    Case("index: db_index on a foreign key", lambda: owned(False), lambda: owned(True)),
    Case(
        "index: db_index on a foreign key to a varchar",
        lambda: owned(False, to_field="code"),
        lambda: owned(True, to_field="code"),
        extra=True,
    ),
    Case(
        "index: db_index of a child's table",
        lambda: inherited(models.IntegerField()),
        lambda: inherited(models.IntegerField(db_index=True)),
        extra=True,
    ),
    Case(
        "index: removed",
        lambda: order({"indexes": [Index(fields=["number"], name="order_gone")]}),
        lambda: order(),
    ),
    Case(
        "index: removed from a table of mixed case",
        lambda: order({"db_table": MIXED, "indexes": [Index(Upper("code"), name="Order Gone")]}),
        lambda: order({"db_table": MIXED}),
        extra=True,
    ),
    Case(
        "index: removed from a table in a schema",
        lambda: order({"db_table": QUALIFIED, "indexes": [Index(fields=["code"], name="crm_x")]}),
        lambda: order({"db_table": QUALIFIED}),
        extra=True,
    ),
    Case(
        "index: another one of the same name",
        lambda: order({"indexes": [Index(fields=["number"], name="order_same")]}),
        lambda: order({"indexes": [Index(fields=["code"], name="order_same")]}),
    ),
    alter(
        "db_index removed from a varchar",
        lambda: models.CharField(max_length=9, db_index=True),
        lambda: models.CharField(max_length=9),
    ),
    Case(
        "index: on a model of the same run",
        lambda: order(),
        order_and_fresh,
    ),
]


def inherited(number: models.Field[Any, Any]) -> None:
    """Define a model and a child with a table of its own."""
    place = define("Place", code=models.CharField(max_length=10))
    define("Cafe", bases=place, number=number)


def row(case: Case) -> str:
    """Return the row of the support matrix that a case belongs to."""
    what = "`db_index=True`" if "db_index" in case.name else "an index"
    return f"Remove {what}" if "removed" in case.name else f"Add {what}"


INDEX_CASES = [replace(case, change=row(case)) for case in INDEX_CASES]
