"""Foreign keys that change their target, constraint or kind, and what a column has besides its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import django
from django.db import models
from django.db.models import F, Index, Q
from django.db.models.functions import Lower, Now, Random

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

Maker: TypeAlias = "Callable[..., models.Field[Any, Any]]"

TO_ONE = "Foreign key to one-to-one"
TO_MANY = "One-to-one to foreign key"
TARGET = "Another target of a foreign key"
CONSTRAINED = "`db_constraint=True` on a foreign key"
FREED = "`db_constraint=False` on a foreign key"
ACTION = "Another database-level `on_delete`"
NULLABLE = "NOT NULL to null of a foreign key"
DEFAULTED = "Add or change a `db_default`"
UNDEFAULTED = "Drop a `db_default`"
COMMENT = "Change a `db_comment`"
RESHAPED = "Another column or type of a foreign key"
OPTIONS = "Change what only Python uses of a foreign key"
TABLESPACE = "Change a `db_tablespace`"
BOTH = ("DSM509",)


def char(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(max_length=20, **options)


def key(to: Any = "caseapp.Customer", on_delete: Any = models.CASCADE, **options: Any) -> Any:
    return models.ForeignKey(to, on_delete, **options)


def one(to: Any = "caseapp.Customer", on_delete: Any = models.CASCADE, **options: Any) -> Any:
    return models.OneToOneField(to, on_delete, **options)


def relation(
    name: str,
    old: Callable[[], Any],
    new: Callable[[], Any],
    *,
    change: str,
    plain: tuple[str, ...] | None = BOTH,
    table: str | None = None,
    target: str | None = None,
    others: Callable[[], Any] | None = None,
    **more: Any,
) -> Case:
    """Return a case in which the relation Order.customer changes.

    Args:
        name: of the case.
        old: makes the relation of old code.
        new: makes that of new code.
        change: the row of the support matrix.
        plain: the hazards of what plain Django writes.
        table: db_table of Order.
        target: db_table of Customer.
        others: defines more models that relations may point to.
        more: as in Case.
    """

    def model(customer: Any) -> None:
        define("Customer", meta={"db_table": target} if target else None, code=char(unique=True))
        if others is not None:
            others()
        define(
            "Order",
            meta={"db_table": table} if table else None,
            number=models.IntegerField(),
            customer=customer,
        )

    return Case(
        f"relation: {name}",
        lambda: model(old()),
        lambda: model(new()),
        change=change,
        plain_hazards=plain,
        **more,
    )


def column(
    name: str,
    old: Callable[[], Any],
    new: Callable[[], Any],
    *,
    change: str,
    plain: tuple[str, ...] = (),
    table: str | None = None,
    meta: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """Return a case in which the column Order.value changes; arguments as for `relation`."""
    options = {**({"db_table": table} if table else {}), **(meta or {})}

    def model(value: Any) -> None:
        define("Order", meta=options, number=models.IntegerField(), value=value)

    return Case(
        f"column: {name}",
        lambda: model(old()),
        lambda: model(new()),
        change=change,
        plain_hazards=plain,
        **more,
    )


def client() -> None:
    define("Client", number=models.IntegerField(), code=char(unique=True))


def small_client() -> None:
    define("Client", id=models.AutoField(primary_key=True), code=char())


def own_target(**more: Any) -> dict[str, Any]:
    return {"distinct": ("customer",), **more}


TO_ONE_CASES = [
    relation("to one to one", key, one, change=TO_ONE, plain=("DSM101", "DSM509"), **own_target()),
    relation(
        "to one to one, nullable",
        lambda: key(null=True),
        lambda: one(null=True),
        change=TO_ONE,
        plain=("DSM101", "DSM509"),
        extra=True,
        **own_target(),
    ),
    relation(
        "to one to one, on a varchar",
        lambda: key(to_field="code"),
        lambda: one(to_field="code"),
        change=TO_ONE,
        plain=("DSM101", "DSM509"),
        **own_target(),
    ),
    relation(
        "to one to one, not indexed before",
        lambda: key(db_index=False),
        one,
        change=TO_ONE,
        plain=("DSM101", "DSM509"),
        extra=True,
        **own_target(),
    ),
    relation(
        "to one to one, without a constraint",
        lambda: key(db_constraint=False),
        lambda: one(db_constraint=False),
        change=TO_ONE,
        plain=("DSM101",),
        extra=True,
        **own_target(),
    ),
    relation(
        "to one to one, mixed case",
        key,
        one,
        change=TO_ONE,
        plain=("DSM101", "DSM509"),
        table=MIXED,
        extra=True,
        **own_target(),
    ),
    relation(
        "to one to one, tables in schemas",
        key,
        one,
        change=TO_ONE,
        plain=("DSM101", "DSM509"),
        table=QUALIFIED,
        target=QUALIFIED_MIXED,
        extra=True,
        **own_target(),
    ),
    relation(
        "unique foreign key to one to one",
        lambda: key(unique=True),
        one,
        change=TO_ONE,
        extra=True,
    ),
]

TO_MANY_CASES = [
    relation(
        "one to one to foreign key",
        one,
        key,
        change=TO_MANY,
        hazards=("DSM515",),
        plain=("DSM101", "DSM509", "DSM515"),
    ),
    relation(
        "one to one to foreign key, on a varchar",
        lambda: one(to_field="code"),
        lambda: key(to_field="code"),
        change=TO_MANY,
        hazards=("DSM515",),
        plain=("DSM101", "DSM509", "DSM515"),
        extra=True,
    ),
    relation(
        "one to one to foreign key, not indexed after",
        one,
        lambda: key(db_index=False),
        change=TO_MANY,
        plain=("DSM408", "DSM509", "DSM515"),
        hazards=("DSM515", "DSM408"),
        extra=True,
    ),
    relation(
        "one to one to foreign key, table in a schema",
        one,
        key,
        change=TO_MANY,
        hazards=("DSM515",),
        plain=("DSM101", "DSM509", "DSM515"),
        table=QUALIFIED_MIXED,
        target=MIXED,
        extra=True,
    ),
]

TARGET_CASES = [
    relation(
        "another model",
        key,
        lambda: key("caseapp.Client"),
        change=TARGET,
        plain=("DSM509", "DSM542"),
        others=client,
    ),
    relation(
        "another model, tables in schemas",
        key,
        lambda: key("caseapp.Client"),
        change=TARGET,
        plain=("DSM509", "DSM542"),
        others=client,
        table=QUALIFIED,
        target=QUALIFIED_MIXED,
        extra=True,
    ),
    relation(
        "another model, without a constraint before",
        lambda: key(db_constraint=False),
        lambda: key("caseapp.Client"),
        change=TARGET,
        plain=("DSM509", "DSM542"),
        others=client,
        extra=True,
    ),
    relation(
        "to itself instead",
        key,
        lambda: key("self"),
        change=TARGET,
        plain=("DSM509", "DSM542"),
        extra=True,
    ),
    relation(
        "another column of the same type",
        lambda: key(to_field="code"),
        lambda: key("caseapp.Client", to_field="code"),
        change=TARGET,
        plain=("DSM509", "DSM542"),
        others=client,
        extra=True,
    ),
]

CONSTRAINT_CASES = [
    relation("constraint added", lambda: key(db_constraint=False), key, change=CONSTRAINED),
    relation(
        "constraint added, to itself, mixed case",
        lambda: key("self", null=True, db_constraint=False),
        lambda: key("self", null=True),
        change=CONSTRAINED,
        table=MIXED,
        extra=True,
    ),
    relation(
        "constraint added, tables in schemas",
        lambda: key(db_constraint=False),
        key,
        change=CONSTRAINED,
        table=QUALIFIED,
        target=QUALIFIED_MIXED,
        extra=True,
    ),
    relation(
        "constraint added, long names",
        lambda: key(db_constraint=False, db_column="The_" + "Customer" * 6),
        lambda: key(db_column="The_" + "Customer" * 6),
        change=CONSTRAINED,
        table=LONG,
        extra=True,
    ),
    relation("constraint dropped", key, lambda: key(db_constraint=False), change=FREED, plain=()),
    relation(
        "constraint dropped, mixed case",
        key,
        lambda: key(db_constraint=False),
        change=FREED,
        plain=(),
        table=MIXED,
        target=QUALIFIED_MIXED,
        extra=True,
    ),
]

NULL_CASES = [
    relation("nullable", key, lambda: key(null=True), change=NULLABLE),
    relation("nullable, one to one", one, lambda: one(null=True), change=NULLABLE, extra=True),
    relation(
        "nullable, mixed case",
        key,
        lambda: key(null=True),
        change=NULLABLE,
        table=MIXED,
        target=QUALIFIED,
        extra=True,
    ),
    relation(
        "nullable and a one to one",
        key,
        lambda: one(null=True),
        change=NULLABLE,
        plain=("DSM101", "DSM509"),
        extra=True,
        **own_target(),
    ),
]

DEFAULT_CASES = [
    column(
        "db_default added",
        models.IntegerField,
        lambda: models.IntegerField(db_default=5),
        change=DEFAULTED,
    ),
    column(
        "db_default of a function added",
        models.DateTimeField,
        lambda: models.DateTimeField(db_default=Now()),
        change=DEFAULTED,
        extra=True,
    ),
    column(
        "volatile db_default added",
        models.FloatField,
        lambda: models.FloatField(db_default=Random()),
        change=DEFAULTED,
        extra=True,
    ),
    column(
        "db_default changed",
        lambda: models.IntegerField(db_default=5),
        lambda: models.IntegerField(db_default=6),
        change=DEFAULTED,
        extra=True,
    ),
    column(
        "db_default with quotes and percent",
        char,
        lambda: char(db_default="it's 100% \"\\"),
        change=DEFAULTED,
        extra=True,
    ),
    column(
        "db_default dropped",
        lambda: models.IntegerField(db_default=5),
        models.IntegerField,
        change=UNDEFAULTED,
        plain=("DSM543",),
    ),
    column(
        "db_default dropped, mixed case",
        lambda: char(db_default="it's 100% \"\\", db_column="The Value"),
        lambda: char(db_column="The Value"),
        change=UNDEFAULTED,
        plain=("DSM543",),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    column(
        "db_default of a nullable column dropped",
        lambda: models.IntegerField(db_default=5, null=True),
        lambda: models.IntegerField(null=True),
        change=UNDEFAULTED,
        plain=("DSM543",),
        extra=True,
    ),
    column(
        "db_default dropped for a default of Python's",
        lambda: models.IntegerField(db_default=5),
        lambda: models.IntegerField(default=5),
        change=UNDEFAULTED,
        plain=("DSM543",),
        extra=True,
    ),
    relation("db_default of a foreign key added", key, lambda: key(db_default=1), change=DEFAULTED),
    relation(
        "db_default of a foreign key dropped",
        lambda: key(db_default=1),
        key,
        change=UNDEFAULTED,
        plain=("DSM509", "DSM543"),
        extra=True,
    ),
]

COMMENT_CASES = [
    column(
        "comment of a checked column",
        models.PositiveIntegerField,
        lambda: models.PositiveIntegerField(db_comment='it\'s "checked"'),
        change=COMMENT,
        plain=("DSM544",),
    ),
    column(
        "comment of a column in an expression index",
        char,
        lambda: char(db_comment="new"),
        change=COMMENT,
        plain=("DSM544",),
        meta={"indexes": [Index(Lower("value"), name="order_lower")]},
        extra=True,
    ),
    column(
        "comment of a column in a constraint",
        models.IntegerField,
        lambda: models.IntegerField(db_comment="new"),
        change=COMMENT,
        plain=("DSM544",),
        meta={
            "constraints": [models.CheckConstraint(condition=Q(value__gt=-1), name="order_value")]
        },
        extra=True,
    ),
    column(
        "comment of a generated column",
        lambda: models.GeneratedField(
            expression=F("number") + 1, output_field=models.IntegerField(), db_persist=True
        ),
        lambda: models.GeneratedField(
            expression=F("number") + 1,
            output_field=models.IntegerField(),
            db_persist=True,
            db_comment="one more",
        ),
        change=COMMENT,
        extra=True,
    ),
    column(
        "comment changed",
        lambda: char(db_comment="old"),
        lambda: char(db_comment="new"),
        change=COMMENT,
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    column(
        "comment dropped",
        lambda: char(db_comment="old"),
        char,
        change=COMMENT,
        table=MIXED,
        extra=True,
    ),
    relation(
        "comment",
        key,
        lambda: key(db_comment="who pays"),
        change=COMMENT,
        plain=(),
        extra=True,
    ),
]

TABLESPACE_CASES = [
    relation(
        "default of Python's alone",
        key,
        lambda: key(default=1),
        change=OPTIONS,
    ),
    relation(
        "tablespace",
        key,
        lambda: key(db_tablespace="pg_default"),
        change=TABLESPACE,
    ),
    column(
        "tablespace",
        lambda: char(db_index=True),
        lambda: char(db_index=True, db_tablespace="pg_default"),
        change=TABLESPACE,
        extra=True,
    ),
]


RESHAPED_CASES = [
    relation(
        "another column",
        key,
        lambda: key(db_column="Buyer"),
        change=RESHAPED,
        plain=None,
        extra=True,
    ),
    relation(
        "another model with keys of another type",
        key,
        lambda: key("caseapp.Client"),
        change=RESHAPED,
        plain=None,
        others=small_client,
        extra=True,
    ),
]


def action_cases() -> list[Case]:
    """Return the cases about what PostgreSQL does on deletion: Django 6.1 brought them."""
    if django.VERSION < (6, 1):
        return []
    cascade: Any = models.DB_CASCADE
    set_null: Any = models.DB_SET_NULL
    set_default: Any = models.DB_SET_DEFAULT
    return [
        relation(
            "cascade by the database",
            key,
            lambda: key(on_delete=cascade),
            change=ACTION,
        ),
        relation(
            "cascade by Python again",
            lambda: key(on_delete=cascade),
            key,
            change=ACTION,
            extra=True,
        ),
        relation(
            "set null by the database, and nullable, in a schema",
            key,
            lambda: key(on_delete=set_null, null=True),
            change=ACTION,
            table=QUALIFIED,
            target=QUALIFIED_MIXED,
            extra=True,
        ),
        relation(
            "set null instead of cascade",
            lambda: key(on_delete=cascade, null=True),
            lambda: key(on_delete=set_null, null=True),
            change=ACTION,
            extra=True,
        ),
        relation(
            "cascade instead of set null",
            lambda: key(on_delete=set_null, null=True),
            lambda: key(on_delete=cascade, null=True),
            change=ACTION,
            extra=True,
        ),
        relation(
            "set default by the database",
            lambda: key(db_default=1),
            lambda: key(on_delete=set_default, db_default=1),
            change=ACTION,
            extra=True,
        ),
    ]


RELATION_CASES = [
    *TO_ONE_CASES,
    *TO_MANY_CASES,
    *TARGET_CASES,
    *CONSTRAINT_CASES,
    *NULL_CASES,
    *DEFAULT_CASES,
    *COMMENT_CASES,
    *TABLESPACE_CASES,
    *RESHAPED_CASES,
    *action_cases(),
]
