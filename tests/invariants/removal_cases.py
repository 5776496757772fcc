"""Fields, relations and models that go: out of the models first, out of the database in contract."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from tests.invariants.index_cases import MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

Field: TypeAlias = "models.Field[Any, Any]"

FIELD, FOREIGN_KEY, MANY_TO_MANY, MODEL = (
    "remove field",
    "remove foreign key",
    "remove many-to-many field",
    "delete model",
)


def char(**options: Any) -> Field:
    return models.CharField(max_length=20, **options)


def removal(
    name: str,
    field: Callable[[], Field] | None,
    *,
    table: str | None = None,
    lost: str = "",
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """Return a case in which Order.value is removed.

    Args:
        name: of the case.
        field: makes the field.
        table: the model's db_table.
        lost: SQL of the value that an operator gives all rows on the way back, where no default
            does.
        old: more options of old code's model.
        new: more options of new code's model.
        more: as in Case.
    """
    options = {"db_table": table} if table else {}
    where = ".".join(f'"{part.strip(chr(34))}"' for part in (table or "caseapp_order").split('"."'))

    def before() -> None:
        more_fields = {} if field is None else {"value": field()}
        define(
            "Order", meta={**options, **(old or {})}, number=models.IntegerField(), **more_fields
        )

    def after() -> None:
        define("Order", meta={**options, **(new or {})}, number=models.IntegerField())

    return Case(
        f"removal: {name}",
        before,
        after,
        **{
            "change": FIELD,
            "plain_hazards": ("DSM503",),
            "repair": (f"UPDATE {where} SET value = {lost}",) if lost else (),
            **more,
        },
    )


def customers(field: Callable[[Any], Field] | None, **target: Any) -> Callable[[], None]:
    def make() -> None:
        customer = define("Customer", code=char(unique=True), **target)
        more = {} if field is None else {"customer": field(customer)}
        define("Order", number=models.IntegerField(), **more)

    return make


def foreign_key(name: str, field: Callable[[Any], Field], **more: Any) -> Case:
    """Return a case in which Order.customer is removed."""
    return Case(
        f"removal: {name}",
        customers(field),
        customers(None),
        **{"change": FOREIGN_KEY, "plain_hazards": ("DSM503",), **more},
    )


def key_to(to: Any, **options: Any) -> Field:
    return models.ForeignKey(to, models.CASCADE, **options)


def tree(parent: bool) -> None:
    more = {"parent": key_to("self", null=True)} if parent else {}
    define("Order", number=models.IntegerField(), **more)


def tags(field: bool, *, to: str = "Tag", **options: Any) -> None:
    if to == "Tag":
        define("Tag", code=char())
    more = {"tags": models.ManyToManyField(f"caseapp.{to}", **options)} if field else {}
    define("Order", number=models.IntegerField(), **more)


def tagged(apps: Any) -> None:
    order, tag = apps.get_model("caseapp", "order"), apps.get_model("caseapp", "tag")
    for row in order.objects.all():
        row.tags.set(tag.objects.all()[:2])


def shop(*, line: bool, tags: bool = False) -> None:
    """Customers, their orders, and perhaps lines of these, which point to products, too."""
    customer = define("Customer", code=char())
    define("Product", code=char())
    order = define("Order", number=models.IntegerField(), customer=key_to(customer))
    if line:
        more = {"tags": models.ManyToManyField("caseapp.Product", related_name="+")}
        define(
            "Line",
            order=key_to(order),
            product=models.ForeignKey("caseapp.Product", models.SET_NULL, null=True),
            amount=models.PositiveIntegerField(default=1),
            code=char(db_index=True),
            meta={
                "unique_together": {("order", "code")},
                "indexes": [models.Index(fields=["-amount"], name="line_amount")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(amount__gt=0), name="line_positive")
                ],
            },
            **(more if tags else {}),
        )


def in_the_middle(order: bool) -> None:
    """A model with foreign keys in and out."""
    customer = define("Customer", code=char())
    if order:
        define("Order", number=models.IntegerField(), customer=key_to(customer))
    more = {"order": key_to("caseapp.Order", null=True)} if order else {}
    define("Line", amount=models.IntegerField(), **more)


def each_other(there: bool) -> None:
    define("Product", code=char())
    if there:
        define("Left", code=char(), right=key_to("caseapp.Right", null=True))
        define("Right", code=char(), left=key_to("caseapp.Left", null=True))


def places(*, cafe: bool, place: bool = True, extra: bool = True, parent: bool = True) -> None:
    if place:
        more = {"code": char(blank=True)} if parent else {}
        made = define("Place", number=models.IntegerField(), **more)
        if cafe:
            own = {"value": models.IntegerField(default=3)} if extra else {}
            define("Cafe", bases=made, seats=models.IntegerField(), **own)


def ordered(respect: bool) -> None:
    customer = define("Customer", code=char())
    meta = {"order_with_respect_to": "customer"} if respect else {}
    define("Order", meta=meta, number=models.IntegerField(), customer=key_to(customer))


def computed(*, source: bool, result: bool) -> None:
    more: dict[str, Any] = {"value": models.IntegerField(default=2)} if source else {}
    if result:
        more["double"] = models.GeneratedField(
            expression=models.F("value") * 2,
            output_field=models.IntegerField(),
            db_persist=True,
        )
    define("Order", number=models.IntegerField(), **more)


def several(there: bool) -> None:
    more: dict[str, Any] = {}
    if there:
        more = {"value": char(blank=True), "other": models.IntegerField(default=4)}
    define("Order", number=models.IntegerField(), **more)


def two_tables(there: bool) -> None:
    for name in ("Order", "Invoice"):
        more: dict[str, Any] = {"value": models.IntegerField(default=4)} if there else {}
        define(name, number=models.IntegerField(), **more)


def line_key(value: bool) -> None:
    more = {"value": models.IntegerField(default=1)} if value else {}
    define(
        "Line",
        pk=models.CompositePrimaryKey("order_number", "position"),
        order_number=models.IntegerField(),
        position=models.TextField(),
        **more,
    )


def tag() -> None:
    define("Tag", code=char(unique=True))


def all_of(*makers: Callable[[], object]) -> Callable[[], None]:
    def make() -> None:
        for maker in makers:
            maker()

    return make


FIELD_CASES = [
    removal("int without a default", models.IntegerField, lost="7"),
    removal("char with a default", lambda: char(default="a 'b' %s")),
    removal("unique char", lambda: char(unique=True), lost="'v' || id"),
    removal(
        "created at",
        lambda: models.DateTimeField(auto_now_add=True),
        not_repeatable=("caseapp_order.value",),
    ),
    removal("nullable int", lambda: models.IntegerField(null=True), extra=True),
    removal("text, blank", lambda: models.TextField(blank=True), extra=True),
    removal("char without a default", char, lost="''", extra=True),
    removal("bool without a default", models.BooleanField, lost="true", extra=True),
    removal("bool with a default", lambda: models.BooleanField(default=True), extra=True),
    removal("date", models.DateField, lost="'2021-02-03'", extra=True),
    removal(
        "date, auto_now",
        lambda: models.DateField(auto_now=True),
        extra=True,
        not_repeatable=("caseapp_order.value",),
    ),
    removal(
        "time, auto_now",
        lambda: models.TimeField(auto_now=True),
        extra=True,
        not_repeatable=("caseapp_order.value",),
    ),
    removal("json, dict", lambda: models.JSONField(default=dict), extra=True),
    removal("json without a default", models.JSONField, lost="'[1]'", extra=True),
    removal(
        "uuid4",
        lambda: models.UUIDField(default=uuid.uuid4),
        extra=True,
        not_repeatable=("caseapp_order.value",),
    ),
    removal(
        "unique uuid4",
        lambda: models.UUIDField(default=uuid.uuid4, unique=True),
        extra=True,
        lost="gen_random_uuid()",
        not_repeatable=("caseapp_order.value",),
    ),
    removal(
        "decimal",
        lambda: models.DecimalField(
            max_digits=8, decimal_places=2, default=decimal.Decimal("1.50")
        ),
        extra=True,
    ),
    removal(
        "float, nullable with a default",
        lambda: models.FloatField(null=True, default=2.5),
        extra=True,
    ),
    removal("duration", lambda: models.DurationField(default=dt.timedelta(hours=1)), extra=True),
    removal("binary", lambda: models.BinaryField(default=b"\x00%"), extra=True),
    removal("array", lambda: ArrayField(models.IntegerField(), default=list), extra=True),
    removal("slug", lambda: models.SlugField(blank=True), extra=True),
    removal("db_index", lambda: models.IntegerField(db_index=True, default=1), extra=True),
    removal("db_default", lambda: models.IntegerField(db_default=5), extra=True),
    removal(
        "db_default now",
        lambda: models.DateTimeField(db_default=Now()),
        extra=True,
        not_repeatable=("caseapp_order.value",),
    ),
    removal(
        "unique db_default",
        lambda: models.IntegerField(db_default=5, unique=True, null=True),
        lost="NULL",
        extra=True,
    ),
    removal("positive int", lambda: models.PositiveIntegerField(default=1), extra=True),
    removal("positive int without a default", models.PositiveIntegerField, lost="2", extra=True),
    removal(
        "unique int, nullable", lambda: models.IntegerField(unique=True, null=True), extra=True
    ),
    removal(
        "db_comment and collation",
        lambda: char(blank=True, db_comment="it's odd", db_collation="C"),
        extra=True,
    ),
    removal("mixed case table", lambda: models.IntegerField(default=1), table=MIXED, extra=True),
    removal(
        "table of another schema",
        lambda: models.IntegerField(default=1),
        table=QUALIFIED,
        extra=True,
    ),
    removal(
        "mixed case table of another schema",
        lambda: char(blank=True, db_index=True),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    removal("db_column", lambda: models.IntegerField(default=1, db_column="Wert x"), extra=True),
    removal(
        "in unique_together",
        lambda: models.IntegerField(default=1),
        extra=True,
        old={"unique_together": {("number", "value")}},
        new={},
        hazards=("DSM515",),
        plain_hazards=None,
    ),
    removal(
        "in a unique constraint",
        lambda: models.IntegerField(default=1),
        extra=True,
        old={"constraints": [models.UniqueConstraint(fields=["number", "value"], name="u")]},
        hazards=("DSM515",),
        plain_hazards=None,
    ),
    removal(
        "in a check constraint",
        lambda: models.IntegerField(default=1),
        extra=True,
        old={
            "constraints": [
                models.CheckConstraint(
                    condition=models.Q(value__gt=0) | models.Q(number=0), name="c"
                )
            ]
        },
        plain_hazards=None,
    ),
    removal(
        "in an index",
        lambda: models.IntegerField(default=1),
        extra=True,
        old={"indexes": [models.Index(fields=["number", "value"], name="i")]},
        plain_hazards=None,
    ),
    Case(
        "removal: two fields",
        lambda: several(True),
        lambda: several(False),
        extra=True,
        change=FIELD,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: fields of two models",
        lambda: two_tables(True),
        lambda: two_tables(False),
        extra=True,
        change=FIELD,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: composite primary key",
        lambda: line_key(True),
        lambda: line_key(False),
        extra=True,
        change=FIELD,
        shape="composite primary key",
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: field of a child",
        lambda: places(cafe=True),
        lambda: places(cafe=True, extra=False),
        extra=True,
        change=FIELD,
        shape="multi-table inheritance",
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: field of a parent",
        lambda: places(cafe=True),
        lambda: places(cafe=True, parent=False),
        extra=True,
        change=FIELD,
        shape="multi-table inheritance",
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: order_with_respect_to",
        lambda: ordered(True),
        lambda: ordered(False),
        change="unset order_with_respect_to",
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: generated column",
        lambda: computed(source=True, result=True),
        lambda: computed(source=True, result=False),
        extra=True,
        change="remove generated column",
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: generated column and its source",
        lambda: computed(source=True, result=True),
        lambda: computed(source=False, result=False),
        change="remove generated column",
        plain_hazards=("DSM503",),
    ),
]

RELATION_CASES = [
    foreign_key("foreign key", lambda to: key_to(to, null=True)),
    foreign_key(
        "foreign key, not null",
        key_to,
        repair=("UPDATE caseapp_order SET customer_id = (SELECT min(id) FROM caseapp_customer)",),
        extra=True,
    ),
    foreign_key(
        "foreign key to a code", lambda to: key_to(to, to_field="code", null=True), extra=True
    ),
    foreign_key(
        "foreign key without a constraint",
        lambda to: key_to(to, null=True, db_constraint=False),
        extra=True,
    ),
    foreign_key(
        "foreign key without an index",
        lambda to: models.ForeignKey(to, models.PROTECT, null=True, db_index=False),
        extra=True,
    ),
    foreign_key(
        "one-to-one", lambda to: models.OneToOneField(to, models.CASCADE, null=True), extra=True
    ),
    foreign_key(
        "foreign key, db_column", lambda to: key_to(to, null=True, db_column="Kunde"), extra=True
    ),
    Case(
        "removal: foreign key to self",
        lambda: tree(True),
        lambda: tree(False),
        extra=True,
        change=FOREIGN_KEY,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: many to many",
        lambda: tags(True),
        lambda: tags(False),
        seed=tagged,
        change=MANY_TO_MANY,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: many to many to self",
        lambda: tags(True, to="Order"),
        lambda: tags(False, to="Order"),
        extra=True,
        change=MANY_TO_MANY,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: many to many, db_table",
        lambda: tags(True, db_table='crm"."Tagging'),
        lambda: tags(False),
        seed=tagged,
        extra=True,
        change=MANY_TO_MANY,
        plain_hazards=("DSM503",),
    ),
    Case(
        "removal: many to many without constraints",
        lambda: tags(True, db_constraint=False),
        lambda: tags(False),
        extra=True,
        change=MANY_TO_MANY,
        plain_hazards=("DSM503",),
    ),
]

MODEL_CASES = [
    Case(
        "removal: model",
        all_of(lambda: several(True), tag),
        lambda: several(True),
        change=MODEL,
        plain_hazards=("DSM504",),
        extra=True,
    ),
    Case(
        "removal: model with foreign keys",
        lambda: shop(line=True),
        lambda: shop(line=False),
        change=MODEL,
        plain_hazards=None,
    ),
    Case(
        "removal: model with many to many",
        lambda: shop(line=True, tags=True),
        lambda: shop(line=False),
        change=MODEL,
        plain_hazards=None,
        extra=True,
    ),
    Case(
        "removal: model that is referred to",
        lambda: in_the_middle(True),
        lambda: in_the_middle(False),
        change=MODEL,
        plain_hazards=("DSM503", "DSM504"),
        extra=True,
    ),
    Case(
        "removal: two models that refer to each other",
        lambda: each_other(True),
        lambda: each_other(False),
        change=MODEL,
        plain_hazards=("DSM503", "DSM504"),
    ),
    Case(
        "removal: child model",
        lambda: places(cafe=True),
        lambda: places(cafe=False),
        change=MODEL,
        shape="multi-table inheritance",
        plain_hazards=("DSM504",),
        extra=True,
    ),
    Case(
        "removal: parent and child model",
        all_of(tag, lambda: places(cafe=True)),
        tag,
        change=MODEL,
        shape="multi-table inheritance",
        plain_hazards=("DSM504",),
        extra=True,
    ),
    Case(
        "removal: model with a composite key",
        all_of(lambda: several(True), lambda: line_key(True)),
        lambda: several(True),
        change=MODEL,
        shape="composite primary key",
        plain_hazards=("DSM504",),
        extra=True,
    ),
    Case(
        "removal: ordered model",
        lambda: ordered(True),
        lambda: define("Customer", code=char()),
        change=MODEL,
        plain_hazards=("DSM504",),
        extra=True,
    ),
]

REMOVAL_CASES = [*FIELD_CASES, *RELATION_CASES, *MODEL_CASES]
