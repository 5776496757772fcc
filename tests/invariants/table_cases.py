"""Renamed models and tables, with everything that names them: relations, views' limits, other schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from tests.kit.case import Case, define

RENAMED = {"Order": "Purchase"}


def order(name: str, meta: dict[str, Any] | None = None, /, **fields: Any) -> Any:
    return define(
        name,
        meta=meta,
        number=models.IntegerField(unique=True),
        code=models.CharField(max_length=20, db_index=True),
        **fields,
    )


def renamed(
    name: str, model: Callable[[str], object], change: str = "Rename a model", **more: Any
) -> Case:
    """Return a case in which Order becomes Purchase."""
    return Case(
        f"table: {name}",
        lambda: model("Order") and None,
        lambda: model("Purchase") and None,
        renames={**RENAMED, **more.pop("renames", {})},
        change=change,
        plain_hazards=more.pop("plain_hazards", ("DSM505",)),
        **more,
    )


def related_to(name: str) -> None:
    target = order(name, {"db_table": "buys"} if name == "Purchase" else {})
    define("Line", order=models.ForeignKey(target, models.CASCADE), position=models.IntegerField())


def related(name: str) -> None:
    target = order(name, None, above=models.ForeignKey("self", models.CASCADE, null=True))
    define("Line", order=models.ForeignKey(target, models.CASCADE), position=models.IntegerField())
    define(
        "Receipt",
        order=models.OneToOneField(target, models.CASCADE, to_field="number"),
        hidden=models.ForeignKey(target, models.CASCADE, related_name="+", null=True),
        loose=models.ForeignKey(target, models.CASCADE, db_constraint=False, related_name="x"),
        total=models.IntegerField(),
    )


def connected(name: str, meta: dict[str, Any] | None = None) -> None:
    """Define a model with ManyToManyFields from it, to it and to itself."""
    tag = define("Tag", title=models.CharField(max_length=20))
    target = order(
        name, meta, tags=models.ManyToManyField(tag), friends=models.ManyToManyField("self")
    )
    define(
        "Box",
        orders=models.ManyToManyField(target, db_table="Box Orders", related_name="+"),
        title=models.CharField(max_length=20),
    )


def named(name: str) -> None:
    """Define a model with ManyToManyFields whose tables keep their names."""
    tag = define("Tag", title=models.CharField(max_length=20))
    order(
        name,
        None,
        marks=models.ManyToManyField(tag, related_name="+", db_table="order_marks"),
        heirs=models.ManyToManyField("self", symmetrical=False, db_table="order_heirs"),
    )


def link(apps: Apps) -> None:
    """Give rows to the tables of all ManyToManyFields of the old models."""
    for model in apps.get_models():
        for f in model._meta.local_many_to_many:
            if not f.remote_field.through._meta.auto_created:  # type: ignore[union-attr]
                continue
            targets = list(f.related_model._base_manager.order_by("pk")[:3])
            for row in model._base_manager.order_by("pk")[:4]:
                getattr(row, f.name).set(targets)


def with_tags(name: str, model: str = "Order", target: str = "Tag") -> None:
    """Define a model with nothing but one ManyToManyField under a name."""
    tag = define(target, title=models.CharField(max_length=20))
    order(model, None, **{name: models.ManyToManyField(tag)})


def with_tags_in(table: str | None) -> None:
    """Define a model with a ManyToManyField in a table of that name."""
    tag = define("Tag", title=models.CharField(max_length=20))
    order("Order", None, tags=models.ManyToManyField(tag, db_table=table))


def with_friends(name: str) -> None:
    order("Order", None, **{name: models.ManyToManyField("self")})


def constrained(name: str) -> None:
    order(
        name,
        {
            "indexes": [Index(fields=["code", "-total"], name="by_code_total")],
            "constraints": [
                CheckConstraint(condition=Q(total__gte=0), name="total_positive"),
                UniqueConstraint(fields=["code"], condition=Q(total__gt=5), name="once"),
            ],
            "unique_together": [("number", "total")],
            "db_table_comment": "what was ordered",
        },
        total=models.PositiveIntegerField(db_comment="in cents", db_default=3),
    )


def child(name: str) -> None:
    parent = define("Place", code=models.CharField(max_length=20))
    heir = define(name, bases=parent, seats=models.IntegerField())
    define("Booking", at=models.ForeignKey(heir, models.CASCADE), day=models.IntegerField())


def joined(name: str) -> None:
    """Define a model that is itself the table of a ManyToManyField."""
    tag = define("Tag", title=models.CharField(max_length=20))
    box = define("Box", title=models.CharField(max_length=20))
    define(
        name,
        tag=models.ForeignKey(tag, models.CASCADE),
        box=models.ForeignKey(box, models.CASCADE),
        weight=models.IntegerField(),
    )
    box.add_to_class("tags", models.ManyToManyField(tag, through=f"caseapp.{name}"))


def two(first: str, second: str) -> None:
    tag = define(second, title=models.CharField(max_length=20))
    target = order(first, None, tags=models.ManyToManyField(tag))
    define(
        "Line",
        order=models.ForeignKey(target, models.CASCADE),
        tag=models.ForeignKey(tag, models.CASCADE, null=True),
    )


def line(name: str) -> None:
    define(
        name,
        pk=models.CompositePrimaryKey("order_number", "position"),
        order_number=models.IntegerField(),
        position=models.TextField(),
        total=models.IntegerField(),
    )


def changed(name: str, field: str) -> None:
    """Define a model of which the new code has a field under another name, with an index more."""
    meta: dict[str, Any] = {"unique_together": [("code", field)]}
    if name == "Purchase":
        meta["indexes"] = [Index(fields=[field], name="by_field")]
    order(name, meta, **{field: models.IntegerField()})


def moved(
    name: str,
    model: Callable[[dict[str, Any]], object],
    old: str | None,
    new: str | None,
    **more: Any,
) -> Case:
    """Return a case in which nothing but a table's name changes."""
    return Case(
        f"table: {name}",
        lambda: model({"db_table": old} if old else {}) and None,
        lambda: model({"db_table": new} if new else {}) and None,
        change="Change `db_table`",
        plain_hazards=more.pop("plain_hazards", ("DSM505",)),
        **more,
    )


TABLE_CASES = [
    renamed("model", order),
    renamed("model with foreign keys from and to it", related),
    renamed("model with many-to-many fields", connected, seed=link, many_to_many=True),
    renamed(
        "model with many-to-many fields of a db_table",
        named,
        seed=link,
        many_to_many=True,
        extra=True,
    ),
    Case(
        "table: model that a many-to-many field points to",
        lambda: with_tags("tags"),
        lambda: with_tags("tags", target="Label"),
        renames={"Tag": "Label"},
        seed=link,
        many_to_many=True,
        change="Rename a model",
        plain_hazards=("DSM505",),
    ),
    renamed("model with indexes, constraints and comments", constrained, extra=True),
    renamed("model with a parent's table", child, extra=True),
    renamed("model with a composite key", line, extra=True),
    renamed("model between two others", joined, extra=True),
    renamed(
        "model with grants and row-level security",
        order,
        after_creation=(
            "GRANT SELECT, UPDATE ON caseapp_order TO PUBLIC",
            "ALTER TABLE caseapp_order ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON caseapp_order TO pg_monitor USING (number > 1)",
        ),
        extra=True,
    ),
    renamed(
        "model with grants of columns",
        order,
        after_creation=("GRANT SELECT (code), INSERT (code) ON caseapp_order TO pg_monitor",),
        extra=True,
    ),
    renamed(
        "model whose table keeps its name",
        lambda name: connected(name, {"db_table": "Order Table"}),
        seed=link,
        many_to_many=True,
    ),
    renamed(
        "model in another schema whose table keeps its name",
        lambda name: order(name, {"db_table": 'crm"."Order'}),
        plain_hazards=(),
        extra=True,
    ),
    renamed(
        "model and db_table",
        related_to,
        extra=True,
    ),
    moved("db_table", lambda meta: order("Order", meta), None, "purchases"),
    moved(
        "db_table with many-to-many fields",
        lambda meta: connected("Order", meta),
        "orders",
        "Purchase Table",
        seed=link,
        many_to_many=True,
    ),
    moved("db_table taken away", lambda meta: order("Order", meta), "Orders", None, extra=True),
    moved(
        "db_table of a very long name",
        lambda meta: connected("Order", meta),
        None,
        "a_very_long_name_for_a_table_that_takes_up_all_of_the_63_bytes_",
        seed=link,
        many_to_many=True,
        extra=True,
    ),
    Case(
        "table: many-to-many field",
        lambda: with_tags("tags"),
        lambda: with_tags("labels"),
        renames={"order.tags": "labels"},
        seed=link,
        many_to_many=True,
        change="Rename a `ManyToManyField`",
        plain_hazards=("DSM302",),
    ),
    Case(
        "table: many-to-many field to itself",
        lambda: with_friends("friends"),
        lambda: with_friends("pals"),
        renames={"order.friends": "pals"},
        seed=link,
        many_to_many=True,
        change="Rename a `ManyToManyField`",
        plain_hazards=("DSM302",),
        extra=True,
    ),
    Case(
        "table: db_table of a many-to-many field",
        lambda: with_tags_in(None),
        lambda: with_tags_in("Order Tags"),
        seed=link,
        many_to_many=True,
        change="Change a `ManyToManyField`'s `db_table`",
        plain_hazards=("DSM505",),
        extra=True,
    ),
    Case(
        "table: db_table of a many-to-many field taken away",
        lambda: with_tags_in("order_tags"),
        lambda: with_tags_in(None),
        seed=link,
        many_to_many=True,
        change="Change a `ManyToManyField`'s `db_table`",
        plain_hazards=("DSM505",),
        extra=True,
    ),
    Case(
        "table: two models of one relation",
        lambda: two("Order", "Tag"),
        lambda: two("Purchase", "Label"),
        renames={"Order": "Purchase", "Tag": "Label"},
        seed=link,
        many_to_many=True,
        change="Rename a model",
        plain_hazards=("DSM505",),
    ),
    Case(
        "table: model and its many-to-many field",
        lambda: with_tags("tags"),
        lambda: with_tags("topics", "Purchase"),
        renames={"Order": "Purchase", "purchase.tags": "topics"},
        seed=link,
        many_to_many=True,
        change="Rename a model",
        extra=True,
    ),
    Case(
        "table: model, a field and an index of it",
        lambda: changed("Order", "total"),
        lambda: changed("Purchase", "totals"),
        renames={"Order": "Purchase", "purchase.total": "totals"},
        change="Rename a model",
    ),
]
