"""unique=True and unique_together that come and go, and rules that take each other's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from tests.invariants.constraint_cases import ADD_CHECK, VALUES, changed, order, unique
from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case

TOGETHER = "change unique_together"
FIELD = "make a field unique or not"


def field(
    name: str,
    old: Callable[[], models.Field[Any, Any]],
    new: Callable[[], models.Field[Any, Any]],
    table: str | None = None,
    **more: Any,
) -> Case:
    """Return a case that changes `value`."""
    made: Any = new()
    builds = not more.get("hazards") or made.db_index
    plain = (*(["DSM101"] if builds else []), *more.get("hazards", ()))
    values = {**VALUES, **more.pop("values", {})}
    meta = {"db_table": table} if table else {}
    return Case(
        f"constraint: {name}",
        lambda: order(meta, value=old()) and None,
        lambda: order(meta, value=new()) and None,
        **{"change": FIELD, "extra": True, "plain_hazards": plain, "values": values, **more},
    )


def char(**more: Any) -> Callable[[], models.CharField[Any, Any]]:
    return lambda: models.CharField(max_length=20, **more)


def integer(**more: Any) -> Callable[[], models.IntegerField[Any, Any]]:
    return lambda: models.IntegerField(**more)


LOST_VALUE: dict[str, Any] = {"hazards": ("DSM515",), "lost_keys": (("value",),)}
COUNTED: dict[str, Any] = {"values": {"value": lambda n: n}}

FIELDS = [
    field("field unique", char(), char(unique=True), extra=False),
    field("field unique: int", integer(), integer(unique=True), **COUNTED),
    field(
        "field unique: nullable text",
        lambda: models.TextField(null=True),
        lambda: models.TextField(null=True, unique=True),
    ),
    field("field unique: indexed before", char(db_index=True), char(unique=True)),
    field(
        "field unique: int indexed before", integer(db_index=True), integer(unique=True), **COUNTED
    ),
    field(
        "field unique: indexed before and after",
        char(db_index=True),
        char(db_index=True, unique=True),
    ),
    field(
        "field unique: own column",
        char(db_column="The Value"),
        char(db_column="The Value", unique=True),
    ),
    field("field unique: collation", char(db_collation="C"), char(db_collation="C", unique=True)),
    field("field unique: table in a schema", char(), char(unique=True), QUALIFIED),
    field("field unique: long name", char(), char(unique=True), LONG),
    field("field unique: empty table", char(), char(unique=True), rows=0),
    field("field unique: wider, too", char(), lambda: models.CharField(max_length=40, unique=True)),
    field(
        "field not unique",
        char(unique=True),
        char(),
        extra=False,
        **LOST_VALUE,
    ),
    field("field not unique: int", integer(unique=True), integer(), **COUNTED, **LOST_VALUE),
    field("field not unique: indexed after", char(unique=True), char(db_index=True), **LOST_VALUE),
    field(
        "field not unique: int indexed after",
        integer(unique=True),
        integer(db_index=True),
        **COUNTED,
        **LOST_VALUE,
    ),
    field(
        "field not unique: indexed before and after",
        char(unique=True, db_index=True),
        char(db_index=True),
        **LOST_VALUE,
    ),
    field(
        "field not unique: slug",
        lambda: models.SlugField(unique=True),
        lambda: models.SlugField(db_index=False),
        **LOST_VALUE,
    ),
    field("field not unique: mixed case", char(unique=True), char(), MIXED, **LOST_VALUE),
    field(
        "field not unique: table in a schema",
        char(unique=True),
        char(),
        QUALIFIED_MIXED,
        **LOST_VALUE,
    ),
]


def together(name: str, old: Any, new: Any, **more: Any) -> Case:
    plain = (*(["DSM508"] if set(new) - set(old) else []), *more.get("hazards", ()))
    return changed(
        f"unique_together {name}",
        {"unique_together": old},
        {"unique_together": new},
        **{"change": TOGETHER, "extra": True, "plain_hazards": plain, **more},
    )


PAIR = ("number", "code")
LOST_PAIR: dict[str, Any] = {"hazards": ("DSM515",), "lost_keys": (PAIR,)}

TOGETHERS = [
    together("added", (), [PAIR], extra=False),
    together("added: two sets", (), [PAIR, ("low", "code")]),
    together("added: one field", (), [("code",)]),
    together("added: table in a schema", (), [PAIR], table=QUALIFIED),
    together("added: long name", (), [PAIR], table=LONG),
    together("removed", [PAIR], (), **LOST_PAIR),
    together("removed: mixed case", [PAIR], (), table=MIXED, **LOST_PAIR),
    together("one set in place of another", [PAIR], [("low", "code")], extra=False, **LOST_PAIR),
    together("another order", [PAIR], [PAIR[::-1]]),
    together("one set more", [PAIR], [PAIR, ("low", "code")]),
]


def pair_with_new(new: bool) -> Any:
    """A set that gets a field which comes in the same run."""
    more: dict[str, Any] = {"tenant": models.IntegerField(default=1)} if new else {}
    sets = [("number", "code", "tenant")] if new else [PAIR]
    return order({"unique_together": sets}, **more)


def constraint_with_new(new: bool) -> Any:
    """A set whose place a constraint takes, over a field that comes in the same run."""
    more: dict[str, Any] = {"tenant": models.IntegerField(default=1)} if new else {}
    made = [UniqueConstraint(fields=[*PAIR, "tenant"], name="of_tenant")]
    meta = {"constraints": made} if new else {"unique_together": [PAIR]}
    return order(meta, **more)


def check_on_new(new: bool) -> Any:
    """A check on a field that comes in the same run: old code knows nothing of it."""
    more: dict[str, Any] = {"tenant": models.IntegerField(default=1)} if new else {}
    made = [CheckConstraint(condition=Q(tenant__gt=0), name="of_tenant")]
    return order({"constraints": made} if new else {}, **more)


def both(name: str, define_models: Callable[[bool], Any], **more: Any) -> Case:
    values = {**VALUES, "tenant": lambda n: n + 1}
    return Case(
        f"constraint: {name}",
        lambda: define_models(False) and None,
        lambda: define_models(True) and None,
        **{"values": values, "extra": True, **more},
    )


TAKING_PLACE = [
    changed(
        "unique_together becomes a constraint",
        {"unique_together": [PAIR]},
        {"constraints": [unique(*PAIR)]},
        plain_hazards=("DSM507",),
        change=TOGETHER,
    ),
    changed(
        "unique_together becomes a constraint with included columns",
        {"unique_together": [PAIR]},
        {"constraints": [unique(*PAIR, include=["note"])]},
        plain_hazards=("DSM507",),
        change=TOGETHER,
        extra=True,
    ),
    changed(
        "unique_together becomes partial",
        {"unique_together": [PAIR]},
        {"constraints": [unique(*PAIR, condition=Q(rank__isnull=True))]},
        plain_hazards=("DSM507", "DSM515"),
        change=TOGETHER,
        **LOST_PAIR,
    ),
    changed(
        "two sets become constraints",
        {"unique_together": [PAIR, ("low", "code")]},
        {"constraints": [unique(*PAIR), unique("low", "code", name="order_low")]},
        plain_hazards=("DSM507",),
        change=TOGETHER,
        extra=True,
    ),
    changed(
        "a constraint becomes unique_together",
        {"constraints": [unique(*PAIR)]},
        {"unique_together": [PAIR]},
        plain_hazards=("DSM508",),
        change=TOGETHER,
        extra=True,
    ),
    changed(
        "unique field becomes a constraint",
        {"fields": lambda: {"value": models.CharField(max_length=20, unique=True)}},
        {
            "fields": lambda: {"value": models.CharField(max_length=20)},
            "constraints": [unique("value")],
        },
        plain_hazards=("DSM507",),
        change=FIELD,
    ),
    changed(
        "unique field becomes a partial constraint and is indexed",
        {"fields": lambda: {"value": models.CharField(max_length=20, unique=True)}},
        {
            "fields": lambda: {"value": models.CharField(max_length=20, db_index=True)},
            "constraints": [unique("value", condition=Q(number__gt=0))],
        },
        plain_hazards=("DSM101", "DSM507", "DSM515"),
        change=FIELD,
        extra=True,
        **LOST_VALUE,
    ),
    changed(
        "a constraint becomes a unique field",
        {
            "fields": lambda: {"value": models.CharField(max_length=20)},
            "constraints": [unique("value")],
        },
        {"fields": lambda: {"value": models.CharField(max_length=20, unique=True)}},
        plain_hazards=("DSM101",),
        change=FIELD,
        extra=True,
    ),
    changed(
        "unique field becomes unique_together",
        {"fields": lambda: {"value": models.CharField(max_length=20, unique=True)}},
        {
            "fields": lambda: {"value": models.CharField(max_length=20)},
            "unique_together": [("value", "number")],
        },
        plain_hazards=("DSM508", "DSM515"),
        change=FIELD,
        extra=True,
        **LOST_VALUE,
    ),
    both(
        "unique_together over a new field",
        pair_with_new,
        plain_hazards=("DSM501", "DSM508", "DSM515"),
        change=TOGETHER,
        **LOST_PAIR,
    ),
    both(
        "constraint over a new field",
        constraint_with_new,
        plain_hazards=("DSM501", "DSM507", "DSM515"),
        change=TOGETHER,
        **LOST_PAIR,
    ),
    both(
        "check on a new field", check_on_new, plain_hazards=("DSM501", "DSM507"), change=ADD_CHECK
    ),
]

UNIQUE_CASES: list[Case] = [*FIELDS, *TOGETHERS, *TAKING_PLACE]
