"""Constraints that come, go, change and take each other's place: unique, check, exclusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import IntegerRangeField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import CheckConstraint, Deferrable, F, Q, UniqueConstraint
from django.db.models.constraints import BaseConstraint
from django.db.models.functions import Lower

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

# Values of their own keep traffic from counting integers up into each other.
VALUES: dict[str, Callable[[int], Any]] = {
    "number": lambda n: n,
    "rank": lambda n: n,
    "low": lambda n: n,
    "high": lambda n: n + 1,
}

Make = Callable[[], BaseConstraint]


def order(meta: dict[str, Any] | None = None, **more: Any) -> Any:
    """Define a model with what constraints are put on."""
    fields: dict[str, Any] = {
        "number": models.IntegerField(),
        "code": models.CharField(max_length=30),
        "note": models.TextField(null=True),
        "rank": models.IntegerField(null=True),
        "low": models.IntegerField(),
        "high": models.IntegerField(),
    }
    return define("Order", meta=meta, **{**fields, **more})


def constraints(name: str, old: Sequence[Make], new: Sequence[Make], **more: Any) -> Case:
    """Return a case that has other Meta.constraints afterwards."""
    return changed(name, {"constraints": old}, {"constraints": new}, **{"extra": True, **more})


def changed(
    name: str, old: dict[str, Any], new: dict[str, Any], table: str | None = None, **more: Any
) -> Case:
    """Return a case that has other options afterwards; constraints are made by functions."""

    def options(given: dict[str, Any]) -> dict[str, Any]:
        made = {**given, **({"db_table": table} if table else {})}
        if "constraints" in made:
            made["constraints"] = [make() for make in made["constraints"]]
        fields = made.pop("fields", dict)()
        return {"meta": made, **fields}

    values = {**VALUES, **more.pop("values", {})}
    return Case(
        f"constraint: {name}",
        lambda: order(**options(old)) and None,
        lambda: order(**options(new)) and None,
        values=values,
        **more,
    )


def unique(*fields: str, name: str = "order_unique", **more: Any) -> Make:
    return lambda: UniqueConstraint(fields=fields, name=name, **more)


def expression(*expressions: Any, name: str = "order_unique", **more: Any) -> Make:
    return lambda: UniqueConstraint(*expressions, name=name, **more)


def check(condition: Q, name: str = "order_check", **more: Any) -> Make:
    return lambda: CheckConstraint(condition=condition, name=name, **more)


ADD_UNIQUE = "add a unique constraint"
DROP_UNIQUE = "remove a unique constraint"
ALTER_UNIQUE = "change a unique constraint"
ADD_CHECK = "add a check"
DROP_CHECK = "remove a check"
ALTER_CHECK = "change a check"


def added(name: str, *make: Make, **more: Any) -> Case:
    deferrable = any(getattr(made(), "deferrable", None) for made in make)
    plain = ("DSM507", "DSM517") if deferrable else ("DSM507",)
    more = {"change": ADD_UNIQUE, "plain_hazards": plain, **more}
    return constraints(f"unique added: {name}", [], make, **more)


ADDED = [
    added("one field", unique("code"), extra=False),
    added("two fields", unique("number", "code")),
    added("nullable field", unique("note")),
    added("condition", unique("code", condition=Q(number__gt=3)), extra=False),
    added("condition with text", unique("number", condition=~Q(code="it's 100%"))),
    added("included columns", unique("code", include=["note", "number"])),
    added("operator class", unique("code", opclasses=["varchar_pattern_ops"])),
    added("expression", expression(Lower("code"))),
    added("expressions and order", expression(Lower("code").desc(nulls_last=True), F("number"))),
    added(
        "expression with an operator class",
        expression(OpClass(Lower("code"), name="text_pattern_ops")),
    ),
    added(
        "expression, condition and nulls not distinct",
        expression(Lower("code"), "rank", condition=Q(number__gt=0), nulls_distinct=False),
        nulls=False,
    ),
    added("nulls not distinct", unique("rank", nulls_distinct=False), nulls=False),
    added("nulls distinct", unique("rank", nulls_distinct=True)),
    added(
        "condition, included columns and nulls not distinct",
        unique("rank", condition=Q(number__gt=3), include=["code"], nulls_distinct=False),
        nulls=False,
    ),
    added(
        "deferrable and deferred",
        unique("code", deferrable=Deferrable.DEFERRED),
        extra=False,
    ),
    added("deferrable and immediate", unique("code", deferrable=Deferrable.IMMEDIATE)),
    added(
        "deferrable and nulls not distinct",
        unique("rank", deferrable=Deferrable.DEFERRED, nulls_distinct=False),
        nulls=False,
    ),
    added("table of mixed case", unique("code", name="Order Unique %s"), table=MIXED),
    added("table in a schema", unique("code"), table=QUALIFIED),
    added("index in a schema", unique("code", include=["number"]), table=QUALIFIED),
    added("schema of mixed case", expression(Lower("code")), table=QUALIFIED_MIXED),
    added(
        "long table name",
        unique("code", name="n" * 70),
        table=LONG,
        hazards=("DSM553",),
        plain_hazards=("DSM507", "DSM553"),
    ),
    added("two in one run", unique("code"), unique("number", name="order_number")),
    added("empty table", unique("code"), rows=0),
]


def gone(name: str, *make: Make, lost: Sequence[tuple[str, ...]] = (), **more: Any) -> Case:
    codes = ("DSM515",) * len(lost)
    more = {
        "change": DROP_UNIQUE,
        "hazards": codes,
        "plain_hazards": codes[:1],
        "lost_keys": tuple(lost),
        **more,
    }
    return constraints(f"unique removed: {name}", make, [], **more)


GONE = [
    gone("one field", unique("code"), lost=[("code",)], extra=False),
    gone("condition", unique("code", condition=Q(number__gt=3)), extra=False),
    gone("deferrable", unique("code", deferrable=Deferrable.DEFERRED)),
    gone("expression", expression(Lower("code"))),
    gone("included columns", unique("code", include=["number"]), lost=[("code",)]),
    gone("nulls not distinct", unique("rank", nulls_distinct=False), nulls=False, lost=[("rank",)]),
    gone("table in a schema", unique("code", include=["note"]), table=QUALIFIED, lost=[("code",)]),
    gone("table of mixed case", unique("code", name="Of Order"), table=MIXED, lost=[("code",)]),
    gone("long name", unique("code", name="n" * 70), lost=[("code",)]),
]


def altered(name: str, old: Make, new: Make, **more: Any) -> Case:
    plain = ("DSM507", *more.get("hazards", ()))
    more = {"change": ALTER_UNIQUE, "plain_hazards": plain, **more}
    return constraints(f"unique changed: {name}", [old], [new], **more)


NO_UPSERT: dict[str, Any] = {"hazards": ("DSM515",), "lost_keys": (("code",),)}

ALTERED = [
    altered("one field more", unique("code"), unique("code", "number"), extra=False, **NO_UPSERT),
    altered(
        "a condition",
        unique("code"),
        unique("code", condition=Q(number__gt=0)),
        **NO_UPSERT,
    ),
    altered("another condition", *(unique("code", condition=Q(number__gt=n)) for n in (0, 1))),
    altered("no condition", unique("code", condition=Q(number__gt=0)), unique("code")),
    altered("included columns", unique("code"), unique("code", include=["number"])),
    altered(
        "deferrable",
        unique("code"),
        unique("code", deferrable=Deferrable.DEFERRED),
        hazards=("DSM515", "DSM517"),
        lost_keys=(("code",),),
        unmade=("bulk_create_ignore_conflicts",),
    ),
    altered(
        "immediate",
        *(unique("code", deferrable=d) for d in (Deferrable.DEFERRED, Deferrable.IMMEDIATE)),
        plain_hazards=("DSM507", "DSM517"),
    ),
    altered("another name", unique("code"), unique("code", name="order_code"), extra=False),
    altered(
        "another name of an index",
        *(unique("code", condition=Q(number__gt=0), name=name) for name in ("one", "Two")),
        table=QUALIFIED,
    ),
    altered(
        "another name and included columns",
        unique("code"),
        unique("code", name="x", include=["note"]),
    ),
    altered(
        "another order of fields",
        *(unique(*names) for names in (("code", "number"), ("number", "code"))),
    ),
    altered(
        "table in a schema",
        unique("code"),
        unique("code", include=["number"]),
        table=QUALIFIED_MIXED,
    ),
    altered(
        "message",
        unique("code"),
        unique("code", violation_error_message="no"),
        plain_hazards=(),
    ),
]

POSITIVE = Q(number__gte=0)


def checked(name: str, *make: Make, **more: Any) -> Case:
    more = {"change": ADD_CHECK, "plain_hazards": ("DSM507",), **more}
    return constraints(f"check added: {name}", [], make, **more)


CHECKS = [
    checked("comparison", check(POSITIVE), extra=False),
    checked("text", check(~Q(code__startswith="it's 100%"))),
    checked("two columns", check(Q(low__lt=F("high") + 10_000_000))),
    checked("expression", check(Q(number__gte=0) | Q(note__isnull=True))),
    checked(
        "raw",
        lambda: CheckConstraint(
            condition=models.expressions.RawSQL("number >= 0", (), models.BooleanField()),
            name="order_check",
        ),
    ),
    checked("table of mixed case", check(POSITIVE, name="Order Check"), table=MIXED),
    checked("table in a schema", check(POSITIVE), table=QUALIFIED),
    checked(
        "long name",
        check(POSITIVE, name="c" * 70),
        table=LONG,
        hazards=("DSM553",),
        plain_hazards=("DSM507", "DSM553"),
    ),
    checked("two in one run", check(POSITIVE), check(Q(high__gt=0), name="order_high")),
    checked("empty table", check(POSITIVE), rows=0),
    constraints(
        "check removed",
        [check(POSITIVE)],
        [],
        change=DROP_CHECK,
        plain_hazards=(),
        extra=False,
    ),
    constraints(
        "check removed: table in a schema",
        [check(POSITIVE, name="Order Check")],
        [],
        table=QUALIFIED_MIXED,
        change=DROP_CHECK,
        plain_hazards=(),
    ),
    constraints(
        "check changed",
        [check(POSITIVE)],
        [check(Q(number__gte=-5))],
        change=ALTER_CHECK,
        plain_hazards=("DSM507",),
    ),
    constraints(
        "check changed: another name",
        [check(POSITIVE)],
        [check(POSITIVE, name="order_positive")],
        change=ALTER_CHECK,
        plain_hazards=("DSM507",),
    ),
    constraints(
        "check changed: message",
        [check(POSITIVE)],
        [check(POSITIVE, violation_error_message="no")],
        change=ALTER_CHECK,
        plain_hazards=(),
    ),
]


def spanned(name: str, old: Sequence[Make], new: Sequence[Make], **more: Any) -> Case:
    """Return a case with exclusion constraints over a range."""
    fields = {"span": IntegerRangeField}

    def models_with(made: Sequence[Make]) -> None:
        order({"constraints": [make() for make in made]}, **{n: f() for n, f in fields.items()})

    return Case(
        f"constraint: exclusion {name}",
        lambda: models_with(old),
        lambda: models_with(new),
        values={**VALUES, "span": lambda n: NumericRange(n * 10, n * 10 + 5)},
        change=EXCLUSION,
        **{"extra": True, **more},
    )


def exclude(operator: str = "&&", name: str = "order_exclude", **more: Any) -> Make:
    return lambda: ExclusionConstraint(name=name, expressions=[("span", operator)], **more)


EXCLUSION = "add, change or remove an exclusion constraint"

# PostgreSQL has no online way to build one, so these are left as Django writes them.
EXCLUSIONS = [
    spanned("added", [], [exclude()], plain_hazards=("DSM516",), extra=False),
    spanned(
        "added: deferrable and partial",
        [],
        [exclude(condition=Q(number__gt=0), deferrable=Deferrable.DEFERRED)],
        unmade=("bulk_create_ignore_conflicts",),
        plain_hazards=("DSM516", "DSM517"),
    ),
    spanned("removed", [exclude()], [], plain_hazards=()),
    spanned("changed", [exclude()], [exclude("=")], plain_hazards=("DSM516",)),
    spanned("named anew", [exclude()], [exclude(name="Order Exclude")], plain_hazards=("DSM516",)),
]


CONSTRAINT_CASES: list[Case] = [
    *ADDED,
    *GONE,
    *ALTERED,
    *CHECKS,
    *EXCLUSIONS,
]
