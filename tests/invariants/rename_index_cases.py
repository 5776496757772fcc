"""Renamed fields that indexes and constraints of class Meta are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex, OpClass
from django.db import models
from django.db.models import CheckConstraint, Deferrable, F, Index, Q, UniqueConstraint
from django.db.models.functions import Lower, Upper

from tests.invariants.rename_cases import char, integer, rename
from tests.kit.case import Case


def indexed(name: str, make: Callable[[str], Any], field: Any = None, **more: Any) -> Case:
    """Return a rename of a field that an index of Meta.indexes is over."""

    def meta(n: str) -> dict[str, Any]:
        made = make(n)
        return {"indexes": made if isinstance(made, list) else [made]}

    return rename(f"Meta.indexes, {name}", field or integer(), meta, **more)


def constrained(name: str, make: Callable[[str], Any], field: Any = None, **more: Any) -> Case:
    """Return a rename of a field that a constraint of Meta.constraints is over."""
    return rename(name, field or integer(), lambda n: {"constraints": [make(n)]}, **more)


RENAME_INDEX_CASES = [
    # Meta.indexes
    indexed("named", lambda n: Index(fields=[n], name="order_named"), extra=True),
    indexed("named by Django", lambda n: Index(fields=[n, "number"])),
    indexed(
        "descending", lambda n: Index(fields=["number", f"-{n}"], name="order_down"), extra=True
    ),
    indexed("expression", lambda n: Index(Upper(n), "number", name="order_up"), char(), extra=True),
    indexed(
        "expression with order",
        lambda n: Index(Lower(n).desc(nulls_last=True), name="order_lower"),
        char(),
        extra=True,
    ),
    indexed(
        "two columns of which one in an expression",
        lambda n: Index(F(n) + F("number"), name="order_sum"),
        extra=True,
    ),
    indexed(
        "operator class",
        lambda n: Index(fields=[n], name="order_op", opclasses=["varchar_pattern_ops"]),
        char(),
        extra=True,
    ),
    indexed(
        "operator class in an expression",
        lambda n: Index(OpClass(Lower(n), name="text_pattern_ops"), name="order_opclass"),
        char(),
    ),
    indexed(
        "in its condition",
        lambda n: Index(fields=["number"], name="order_if", condition=Q(**{f"{n}__gt": 1})),
    ),
    indexed(
        "with a condition on itself",
        lambda n: Index(fields=[n], name="order_own", condition=Q(**{f"{n}__isnull": False})),
        integer(null=True),
        extra=True,
    ),
    indexed("included", lambda n: Index(fields=["number"], name="order_inc", include=[n, "code"])),
    indexed(
        "gin",
        lambda n: GinIndex(fields=[n], name="order_gin", opclasses=["jsonb_path_ops"]),
        models.JSONField,
        extra=True,
    ),
    indexed(
        "brin", lambda n: BrinIndex(fields=[n], name="order_brin", pages_per_range=2), extra=True
    ),
    indexed("hash", lambda n: HashIndex(fields=[n], name="order_hash", fillfactor=80), extra=True),
    indexed(
        "several",
        lambda n: [
            Index(fields=[n], name="order_1"),
            Index(fields=["number", n], name="order_2"),
            Index(fields=[f"-{n}"]),
        ],
    ),
    indexed(
        "tablespace",
        lambda n: Index(fields=[n], name="order_ts", db_tablespace="pg_default"),
        extra=True,
    ),
    # Meta.constraints
    constrained(
        "unique constraint", lambda n: UniqueConstraint(fields=[n], name="order_uq"), extra=True
    ),
    constrained(
        "unique constraint of two columns",
        lambda n: UniqueConstraint(fields=["number", n], name="order_uq"),
        extra=True,
    ),
    constrained(
        "unique constraint with a condition",
        lambda n: UniqueConstraint(fields=[n], name="order_uq", condition=Q(**{f"{n}__gt": 0})),
    ),
    constrained(
        "unique constraint with it in the condition",
        lambda n: UniqueConstraint(
            fields=["code"], name="order_uq", condition=Q(**{f"{n}__gt": 0})
        ),
        extra=True,
    ),
    constrained(
        "unique constraint with include",
        lambda n: UniqueConstraint(fields=[n], include=["code"], name="order_uq"),
        extra=True,
    ),
    constrained(
        "unique constraint that includes it",
        lambda n: UniqueConstraint(fields=["code"], include=[n], name="order_uq"),
        extra=True,
    ),
    constrained(
        "unique constraint of expressions",
        lambda n: UniqueConstraint(Lower(n).desc(), "number", name="order_uq"),
        char(),
    ),
    constrained(
        "unique constraint with an operator class",
        lambda n: UniqueConstraint(fields=[n], name="order_uq", opclasses=["varchar_pattern_ops"]),
        char(),
        extra=True,
    ),
    constrained(
        "unique constraint, deferred",
        lambda n: UniqueConstraint(fields=[n], name="order_uq", deferrable=Deferrable.DEFERRED),
    ),
    constrained(
        "unique constraint, deferrable",
        lambda n: UniqueConstraint(
            fields=[n, "number"], name="order_uq", deferrable=Deferrable.IMMEDIATE
        ),
        extra=True,
    ),
    constrained(
        "unique constraint, nulls not distinct",
        lambda n: UniqueConstraint(fields=[n], name="order_uq", nulls_distinct=False),
        integer(null=True),
        nulls=False,
        extra=True,
    ),
    constrained(
        "check constraint",
        lambda n: CheckConstraint(condition=Q(**{f"{n}__gte": 0}), name="order_ck"),
    ),
    constrained(
        "check constraint of two columns",
        lambda n: CheckConstraint(
            condition=Q(**{f"{n}__gte": 0}) | Q(number__lt=F(n)), name="order_ck"
        ),
        extra=True,
    ),
    constrained(
        "check constraint on text",
        lambda n: CheckConstraint(condition=~Q(**{n: "it's 100%"}), name="order_ck"),
        char(),
        extra=True,
    ),
    rename(
        "index, unique and check at once",
        char(unique=True),
        lambda n: {
            "indexes": [Index(fields=[n, "number"])],
            "unique_together": [(n, "code")],
            "constraints": [
                CheckConstraint(condition=~Q(**{n: ""}), name="order_ck"),
                UniqueConstraint(fields=["number", n], name="order_uq"),
            ],
        },
    ),
]


RENAME_INDEX_CASES = [
    replace(case, change="Rename a field with an index or constraint")
    for case in RENAME_INDEX_CASES
]
