"""Relations that are added, and what else adds a column or a table: order, generated fields, several."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import F

from testproject.database import server
from tests.invariants.addition_cases import CONSTANT, char
from tests.invariants.index_cases import MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

RELATION = "Add a foreign key or one-to-one"
MANY = "Add a ManyToManyField"
ORDERED = "Set `order_with_respect_to`"
GENERATED = "Add a generated field"


def related(
    name: str,
    field: Callable[[Any], models.Field[Any, Any]],
    *,
    plain: tuple[str, ...] = ("DSM502",),
    target: Callable[[], Any] | None = None,
    table: str | None = None,
    change: str = RELATION,
    **more: Any,
) -> Case:
    """Return a case in which Order gets a relation to Customer.

    Args:
        name: of the case.
        field: makes the field; called with the model that it points to.
        plain: codes that plain Django's migration is reported under.
        target: defines the model that it points to.
        table: the db_table of Order.
        change: the row of the support matrix.
        more: as in Case.
    """
    define_target = target or customer
    options = {"db_table": table} if table else {}

    def old() -> None:
        define_target()
        define("Order", meta=options, number=models.IntegerField())

    def new() -> None:
        found = define_target()
        define("Order", meta=options, number=models.IntegerField(), customer=field(found))

    return Case(f"add: {name}", old, new, change=change, plain_hazards=plain, **more)


def customer(table: str | None = None) -> Any:
    return define(
        "Customer",
        meta={"db_table": table} if table else {},
        code=models.CharField(max_length=20, unique=True),
    )


def account() -> Any:
    """Define a model whose primary key is a one-to-one."""
    holder = customer()
    return define("Account", owner=models.OneToOneField(holder, models.CASCADE, primary_key=True))


def cafe() -> Any:
    """Define a child of another model; its key is the link to its parent."""
    place = define("Place", code=char())
    return define("Cafe", bases=place, stars=models.IntegerField(default=1))


def to(target: Any, **options: Any) -> models.Field[Any, Any]:
    return models.ForeignKey(target, options.pop("on_delete", models.CASCADE), **options)


def one_to(target: Any, **options: Any) -> models.Field[Any, Any]:
    return models.OneToOneField(target, models.CASCADE, **options)


def order_with_parent(added: bool, kind: Any = models.ForeignKey) -> None:
    fields = {"parent": kind("self", models.CASCADE, null=True)} if added else {}
    define("Order", number=models.IntegerField(), **fields)


def order_and_new_model(added: bool) -> None:
    fields: dict[str, Any] = {}
    if added:
        # Sorted after Order by name, and made before it all the same.
        fields["zone"] = models.ForeignKey("Zone", models.CASCADE, null=True)
        define("Zone", code=char())
    define("Order", number=models.IntegerField(), **fields)


NEW_RELATION_CASES = [
    related("foreign key, nullable", lambda c: to(c, null=True)),
    related(
        "foreign key, answered with a key",
        to,
        default=1,
        plain=("DSM501", "DSM502"),
    ),
    related(
        "foreign key without a constraint",
        lambda c: to(c, null=True, db_constraint=False),
        extra=True,
    ),
    related(
        "foreign key without an index",
        lambda c: to(c, null=True, db_index=False),
        plain=("DSM408", "DSM502"),
        hazards=("DSM408",),
        extra=True,
    ),
    related(
        "foreign key without index and constraint",
        lambda c: to(c, null=True, db_index=False, db_constraint=False),
        plain=(),
        extra=True,
    ),
    related(
        "foreign key to a text column, with a column of its own",
        lambda c: to(c, null=True, to_field="code", db_column="Customer Code"),
        extra=True,
    ),
    related(
        "foreign key to a primary key that is a relation",
        lambda c: to(c, null=True),
        target=account,
        extra=True,
    ),
    related(
        "foreign key to a child model",
        lambda c: to(c, null=True),
        target=cafe,
        extra=True,
    ),
    related("one to one, nullable", lambda c: one_to(c, null=True)),
    related(
        "one to one to a text column",
        lambda c: one_to(c, null=True, to_field="code"),
        extra=True,
    ),
    related(
        "foreign key of a table of mixed case",
        lambda c: to(c, null=True),
        table=MIXED,
        extra=True,
    ),
    related(
        "foreign key between schemas",
        lambda c: to(c, null=True),
        target=lambda: customer(QUALIFIED),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    Case(
        "add: foreign key to itself",
        lambda: order_with_parent(False),
        lambda: order_with_parent(True),
        change=RELATION,
        plain_hazards=("DSM502",),
        extra=True,
    ),
    Case(
        "add: one to one to itself",
        lambda: order_with_parent(False),
        lambda: order_with_parent(True, models.OneToOneField),
        change=RELATION,
        plain_hazards=("DSM502",),
        extra=True,
    ),
    Case(
        "add: foreign key to a model of the same run",
        lambda: order_and_new_model(False),
        lambda: order_and_new_model(True),
        change=RELATION,
        plain_hazards=("DSM502",),
        extra=True,
    ),
]

if hasattr(models, "DB_CASCADE"):
    # Django 6.1 lets PostgreSQL do it.
    NEW_RELATION_CASES += [
        related(
            f"foreign key, on_delete {name} of the database",
            lambda c, action=action: to(c, null=True, on_delete=action),  # type: ignore[misc]
            extra=True,
        )
        for name, action in (("cascade", models.DB_CASCADE), ("set null", models.DB_SET_NULL))
    ]


def tagged(added: bool, **options: Any) -> None:
    tag = define("Tag", code=char())
    fields = {"tags": models.ManyToManyField(tag, **options)} if added else {}
    define("Order", number=models.IntegerField(), **fields)


def friends(added: bool) -> None:
    fields = {"others": models.ManyToManyField("self")} if added else {}
    define("Order", number=models.IntegerField(), **fields)


def tagged_through(added: bool) -> None:
    tag = define("Tag", code=char())
    fields = {"tags": models.ManyToManyField(tag, through="Tagging")} if added else {}
    order = define("Order", number=models.IntegerField(), **fields)
    define(
        "Tagging",
        order=models.ForeignKey(order, models.CASCADE),
        tag=models.ForeignKey(tag, models.CASCADE),
    )


def ordered(added: bool) -> None:
    owner = define("Owner", code=char())
    meta = {"order_with_respect_to": "owner"} if added else {}
    define(
        "Order",
        meta=meta,
        number=models.IntegerField(),
        owner=models.ForeignKey(owner, models.CASCADE),
    )


def owned_and_ordered(added: bool) -> None:
    owner = define("Owner", code=char())
    meta = {"order_with_respect_to": "owner"} if added else {}
    fields = {"owner": models.ForeignKey(owner, models.CASCADE, null=True)} if added else {}
    define("Order", meta=meta, number=models.IntegerField(), **fields)


def generated(added: bool, *, stored: bool, **options: Any) -> None:
    fields = {}
    if added:
        fields["twice"] = models.GeneratedField(
            expression=F("number") * 2,
            output_field=models.IntegerField(),
            db_persist=stored,
            **options,
        )
    define("Order", number=models.IntegerField(), **fields)


def several(added: bool) -> None:
    fields: dict[str, Any] = {}
    if added:
        fields = {
            "rank": models.PositiveIntegerField(default=1),
            "token": models.UUIDField(default=uuid.uuid4),
            "label": models.CharField(max_length=9, null=True, db_index=True),
            "plain": models.IntegerField(null=True),
        }
        define("Box", code=char())
    define("Order", number=models.IntegerField(), **fields)


def switch(
    name: str, models_of: Callable[[bool], None], change: str, plain: tuple[str, ...], **more: Any
) -> Case:
    """Return a case whose models are made by one function, without and with the addition."""
    return Case(
        f"add: {name}",
        lambda: models_of(False),
        lambda: models_of(True),
        change=change,
        plain_hazards=plain,
        **more,
    )


def renamed(added: bool) -> None:
    fields: dict[str, Any] = {}
    if added:
        fields = {"rank": models.PositiveIntegerField(default=1), "note": char(blank=True)}
    define("Order", **{"total" if added else "number": models.IntegerField()}, **fields)


NEW_COLUMN_CASES = [
    switch("many to many", tagged, MANY, ()),
    switch("many to many to itself", friends, MANY, (), extra=True),
    switch("many to many through a model that is there", tagged_through, MANY, (), extra=True),
    switch("order with respect to", ordered, ORDERED, ("DSM501",)),
    switch(
        "order with respect to a new field",
        owned_and_ordered,
        ORDERED,
        ("DSM501", "DSM502"),
        extra=True,
    ),
    switch(
        "stored generated field",
        lambda added: generated(added, stored=True),
        GENERATED,
        ("DSM510",),
    ),
    switch(
        "fields beside one that is renamed",
        renamed,
        CONSTANT,
        ("DSM301", "DSM501", "DSM502"),
        renames={"order.number": "total"},
        extra=True,
    ),
    switch(
        "several fields and a model",
        several,
        CONSTANT,
        ("DSM501", "DSM502"),
        not_repeatable=("caseapp_order.token",),
        extra=True,
    ),
]


if server().version >= 18:
    # Older servers have none, and Django's checks refuse such a field there.
    NEW_COLUMN_CASES += [
        switch(
            "virtual generated field",
            lambda added: generated(added, stored=False),
            GENERATED,
            (),
            extra=True,
        ),
    ]

ADDITION_RELATION_CASES = [*NEW_RELATION_CASES, *NEW_COLUMN_CASES]
