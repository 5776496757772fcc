"""Primary keys that get a wider type, with everything that refers to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import LABEL, Case, define

AUTO = "primary key: AutoField to BigAutoField"
WITH_KEYS = "primary key: AutoField to BigAutoField, with foreign keys"
MANUAL = "primary key: IntegerField to BigIntegerField"
LONG_FIELD = "a_very_long_name_for_a_column_that_takes_up_all_of_sixty"


def widen(name: str, model: Callable[[Any], Any], **more: Any) -> Case:
    """Return a case in which the keys that `model` makes become BigAutoFields.

    Args:
        name: of the case.
        model: defines the models; it gets the class of the key's field.
        more: as in Case; `old` and `new` are the classes of the key's field.
    """
    old, new = more.pop("old", models.AutoField), more.pop("new", models.BigAutoField)
    more.setdefault("plain_hazards", ("DSM534",))
    more.setdefault("change", AUTO)
    return Case(f"wider key: {name}", lambda: model(old), lambda: model(new), **more)


def key(kind: Any, **options: Any) -> Any:
    return kind(primary_key=True, **options)


def alone(kind: Any, table: str | None = None, **options: Any) -> Any:
    meta = {"db_table": table} if table else None
    return define("Order", meta=meta, id=key(kind, **options), number=models.IntegerField())


def referred(kind: Any, table: str | None = None, other: str | None = None, **options: Any) -> Any:
    """Define Order and Line, which refers to it."""
    order = alone(kind, table)
    relation = options.pop("relation", models.ForeignKey)
    meta = {"db_table": other} if other else None
    define(
        "Line",
        meta=meta,
        id=models.BigAutoField(primary_key=True),
        order=relation(order, on_delete=models.CASCADE, **options),
        place=models.IntegerField(),
    )
    return order


def related(name: str, **more: Any) -> Case:
    """Return a case with Line.order, whose options are those of `more` that Case has not."""
    names = ("extra", "nulls", "after_creation", "seed", "rows", "shape", "plain_hazards")
    case = {n: more.pop(n) for n in names if n in more}
    return widen(name, lambda kind: referred(kind, **dict(more)), change=WITH_KEYS, **case)


def tree(kind: Any) -> None:
    define(
        "Order",
        id=key(kind),
        number=models.IntegerField(),
        parent=models.ForeignKey("self", models.CASCADE, null=True),
    )


def many(kind: Any) -> None:
    tag = define("Tag", id=key(kind), number=models.IntegerField())
    define(
        "Order",
        id=key(kind),
        number=models.IntegerField(),
        tags=models.ManyToManyField(tag),
        others=models.ManyToManyField("self"),
    )


def fill_many(apps: Apps) -> None:
    tags = list(apps.get_model(LABEL, "tag").objects.all())
    orders = list(apps.get_model(LABEL, "order").objects.all())
    for number, order in enumerate(orders):
        order.tags.set(tags[: number % 4])
        order.others.set(orders[:number])


def through(kind: Any) -> None:
    tag = define("Tag", id=models.BigAutoField(primary_key=True), number=models.IntegerField())
    order = alone(kind)
    define(
        "Tagging",
        meta={"constraints": [UniqueConstraint(fields=["order", "number"], name="one")]},
        id=models.BigAutoField(primary_key=True),
        order=models.ForeignKey(order, models.CASCADE),
        tag=models.ForeignKey(tag, models.CASCADE),
        number=models.IntegerField(),
    )


def children(kind: Any) -> None:
    place = define("Place", id=key(kind), number=models.IntegerField())
    cafe = define("Cafe", bases=place, seats=models.IntegerField())
    define(
        "Waiter",
        id=models.BigAutoField(primary_key=True),
        cafe=models.ForeignKey(cafe, models.CASCADE),
        number=models.IntegerField(),
    )


def same_key(kind: Any, **options: Any) -> None:
    order = alone(kind)
    detail = define(
        "Detail",
        order=models.OneToOneField(order, models.CASCADE, primary_key=True, **options),
        text=models.TextField(),
    )
    define(
        "Note",
        id=models.BigAutoField(primary_key=True),
        detail=models.ForeignKey(detail, models.CASCADE, null=True),
        place=models.IntegerField(),
    )


def with_everything(kind: Any) -> None:
    order = define(
        "Order",
        meta={
            "unique_together": [("id", "number")],
            "indexes": [
                Index(fields=["number", "-id"], name="number_id"),
                Index(F("id") + F("number"), name="sum_id"),
                Index(fields=["number"], condition=Q(id__gt=5), name="large_id"),
                Index(fields=["code"], name="code_only"),
            ],
            "constraints": [
                CheckConstraint(condition=Q(id__gt=0), name="positive_id"),
                CheckConstraint(condition=Q(number__gte=0), name="positive_number"),
                UniqueConstraint(
                    fields=["id", "mood"], name="later", deferrable=models.Deferrable.DEFERRED
                ),
            ],
        },
        id=key(kind, db_comment='it\'s "the" key'),
        number=models.IntegerField(),
        code=models.CharField(max_length=20, unique=True),
        mood=models.BooleanField(default=True),
    )
    define(
        "Line",
        meta={
            "unique_together": [("order", "place")],
            "indexes": [Index(fields=["-place", "order"], include=["text"], name="place_order")],
            "constraints": [
                CheckConstraint(condition=Q(order__gt=-9) | Q(place=0), name="real_order"),
                UniqueConstraint(fields=["order"], condition=Q(place__lt=0), name="one_first"),
            ],
        },
        id=models.BigAutoField(primary_key=True),
        order=models.ForeignKey(order, models.CASCADE, related_name="+", db_comment="whose"),
        second=models.ForeignKey(order, models.SET_NULL, null=True, db_index=False),
        place=models.IntegerField(),
        text=models.TextField(),
    )


def both(kind: Any) -> None:
    """Define two models that change in one run, one of which refers to the other."""
    customer = define("Customer", id=key(kind), number=models.IntegerField())
    define(
        "Order",
        meta={"indexes": [Index(fields=["customer", "id"], name="customer_id")]},
        id=key(kind),
        customer=models.ForeignKey(customer, models.CASCADE),
        number=models.IntegerField(),
    )


def cycle(kind: Any) -> None:
    define(
        "Customer",
        id=key(kind),
        number=models.IntegerField(),
        last=models.ForeignKey("caseapp.Order", models.SET_NULL, null=True, related_name="+"),
    )
    define(
        "Order",
        id=key(kind),
        customer=models.ForeignKey("caseapp.Customer", models.CASCADE, null=True),
        number=models.IntegerField(),
    )


def to_another_column(kind: Any) -> None:
    order = define("Order", id=key(kind), number=models.IntegerField(unique=True))
    define(
        "Line",
        id=models.BigAutoField(primary_key=True),
        by_number=models.ForeignKey(order, models.CASCADE, to_field="number"),
        by_key=models.ForeignKey(order, models.CASCADE, to_field="id", related_name="+"),
    )


def composite(kind: Any) -> None:
    order = alone(kind)
    define(
        "Line",
        pk=models.CompositePrimaryKey("order_id", "place"),
        order=models.ForeignKey(order, models.CASCADE),
        place=models.IntegerField(),
        text=models.TextField(),
    )


def named(kind: Any) -> None:
    order = define(
        "Order",
        meta={"db_table": LONG},
        key=key(kind, db_column=LONG_FIELD),
        number=models.IntegerField(),
    )
    define(
        "Line",
        meta={"db_table": LONG[:-1]},
        id=models.BigAutoField(primary_key=True),
        order=models.ForeignKey(order, models.CASCADE, db_column=LONG_FIELD),
    )


def serial(table: str, column: str = "id") -> tuple[str, ...]:
    """Return what makes of an identity the serial that Django made before 4.1."""
    sequence = f"{table}_{column}_seq"
    return (
        f"ALTER TABLE {table} ALTER COLUMN {column} DROP IDENTITY",
        f"CREATE SEQUENCE {sequence} AS integer OWNED BY {table}.{column}",
        f"SELECT setval('{sequence}', (SELECT max({column}) FROM {table}))",
        f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval('{sequence}')",
    )


def explicit(apps: Apps) -> None:
    """Add rows with keys that the sequence knows nothing of."""
    order = apps.get_model(LABEL, "order")
    for number in (2_147_483_646, 1_000_000, -3, 0):
        order.objects.create(id=number, number=1)


KEY_CASES = [
    widen("alone", alone),
    widen("alone, explicit ids", alone, seed=explicit, extra=True),
    widen("alone, empty table", alone, rows=0, extra=True),
    widen("serial", alone, after_creation=serial("caseapp_order")),
    widen(
        "a sequence with options, grants and a comment",
        alone,
        after_creation=(
            "ALTER SEQUENCE caseapp_order_id_seq INCREMENT BY 3 CACHE 5 CYCLE",
            "COMMENT ON SEQUENCE caseapp_order_id_seq IS 'it''s'",
            "GRANT SELECT ON SEQUENCE caseapp_order_id_seq TO PUBLIC",
            "GRANT SELECT (id) ON caseapp_order TO PUBLIC",
        ),
        extra=True,
    ),
    widen(
        "IntegerField to BigIntegerField",
        alone,
        old=models.IntegerField,
        new=models.BigIntegerField,
        change=MANUAL,
    ),
    widen(
        "PositiveIntegerField to PositiveBigIntegerField",
        referred,
        old=models.PositiveIntegerField,
        new=models.PositiveBigIntegerField,
        change=MANUAL,
        extra=True,
    ),
    related("one foreign key"),
    related("foreign key, nullable", null=True, extra=True),
    related("foreign key without an index", db_index=False, extra=True),
    related("foreign key without a constraint", db_constraint=False),
    related("foreign key, serial", after_creation=serial("caseapp_order"), extra=True),
    related("one to one", relation=models.OneToOneField),
    related("one to one, nullable", relation=models.OneToOneField, null=True, extra=True),
    widen("foreign key to itself", tree, change=WITH_KEYS),
    widen("many to many", many, seed=fill_many, change=WITH_KEYS),
    widen("many to many with a model of its own", through, change=WITH_KEYS, extra=True),
    widen("multi-table inheritance", children, change=WITH_KEYS),
    widen("one to one that is a key itself", same_key, change=WITH_KEYS, extra=True),
    widen("indexes and constraints of every kind", with_everything, change=WITH_KEYS, extra=True),
    widen("two related models", both, change=WITH_KEYS),
    widen("two models that refer to each other", cycle, change=WITH_KEYS, extra=True),
    widen("to_field", to_another_column, change=WITH_KEYS, extra=True),
    widen("part of a composite key", composite, change=WITH_KEYS, extra=True),
    Case(
        "wider key: constraint added to a one to one that is a key",
        lambda: same_key(models.AutoField, db_constraint=False),
        lambda: same_key(models.AutoField, db_constraint=True),
        change="primary key: db_constraint added to a one-to-one",
        plain_hazards=("DSM509",),
        extra=True,
    ),
    widen("long names", named, change=WITH_KEYS, extra=True),
    related("table of mixed case", table=MIXED, other="Other", extra=True),
    related("table in a schema", table=QUALIFIED, extra=True),
    related("schema of mixed case", table=QUALIFIED_MIXED, extra=True),
    related(
        "foreign key of a table that no model knows",
        after_creation=(
            "CREATE TABLE legacy (id int PRIMARY KEY, o int REFERENCES caseapp_order ON DELETE SET NULL)",
            "INSERT INTO legacy SELECT id, id FROM caseapp_order",
        ),
        extra=True,
    ),
]
