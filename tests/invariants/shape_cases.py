"""Every change on every kind of table: which of the two meet, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from django.db import models
from django.db.models import Q, UniqueConstraint

from django_safemigrations.exceptions import UnsupportedChange
from tests.invariants.cases import CASES
from tests.kit.case import Case, define
from tests.kit.shapes import Inapplicable, Shape, shaped


def keyed(*constraints: UniqueConstraint, together: Any = ()) -> None:
    """Define a model whose unique keys hold its primary key, as a partitioned table's must."""
    define(
        "Order",
        meta={"constraints": list(constraints), "unique_together": together},
        number=models.IntegerField(),
        code=models.CharField(max_length=20),
    )


def unique(*fields: str, **more: Any) -> UniqueConstraint:
    """Return a constraint of one name."""
    return UniqueConstraint(fields=fields, name="order_unique", **more)


# For changes whose ordinary cases no table of a shape can have.
INSTEAD: dict[tuple[Shape, str], Case] = {
    (Shape.PARTITIONED, "add a unique constraint"): Case(
        "unique constraint with the partition key",
        keyed,
        lambda: keyed(unique("id", "number")),
    ),
    (Shape.PARTITIONED, "remove a unique constraint"): Case(
        "unique constraint with the partition key removed",
        lambda: keyed(unique("number", "id")),
        keyed,
        lost_keys=(("number", "id"),),
    ),
    (Shape.PARTITIONED, "change a unique constraint"): Case(
        "unique constraint with the partition key changed",
        lambda: keyed(unique("id", "number")),
        lambda: keyed(unique("id", "number", condition=Q(number__gt=0))),
        lost_keys=(("id", "number"),),
    ),
    (Shape.PARTITIONED, "change unique_together"): Case(
        "unique_together with the partition key",
        keyed,
        lambda: keyed(together=[("id", "number")]),
    ),
}


def representatives() -> dict[str, Case]:
    """Return the first case of each change, which stands for the change on other tables."""
    found: dict[str, Case] = {}
    for case in CASES:
        if case.change and case.shape == Shape.ORDINARY:
            found.setdefault(case.change, case)
    return found


REPRESENTATIVES = representatives()


@dataclass(frozen=True)
class Refusal:
    """A change that can't be made on a kind of table, and what the user is told.

    Attributes:
        hazard: the code under which it is documented.
        words: a pattern of the message: what, and the way out.
        error: the exception.
        below: only on PostgreSQL older than this major version; 0: on all.
        why: one sentence for the support matrix.
    """

    hazard: str
    words: str
    why: str
    error: type[Exception] = UnsupportedChange
    below: int = 0

    def matches(self, message: str) -> bool:
        """Whether a message says what it has to say."""
        return re.search(self.words, message, re.DOTALL) is not None


NO_SECOND_COLUMN = "no second column is kept in sync on a partitioned table"
RENAMED = Refusal("DSM302", r"partitioned.*db_column", NO_SECOND_COLUMN)
RETYPED = Refusal("DSM506", r"partitioned.*(second|new) (field|column)", NO_SECOND_COLUMN)
SAME_NAME = Refusal(
    "DSM507",
    r"partitioned.*another name",
    "PostgreSQL renames no constraint of a partitioned table with its index",
)
WIDER_KEY = Refusal(
    "DSM534", r"partitioned", "PostgreSQL changes the type of no column of a partition key"
)

REFUSALS: dict[tuple[Shape, str], Refusal] = {
    (Shape.PARTITIONED, "Rename a field"): RENAMED,
    (Shape.PARTITIONED, "Rename a field with an index or constraint"): RENAMED,
    (Shape.PARTITIONED, "Rename a relation"): RENAMED,
    (Shape.PARTITIONED, "Several changes of one table"): RENAMED,
    (Shape.PARTITIONED, "type change, widening"): RETYPED,
    (Shape.PARTITIONED, "type change, narrowing"): RETYPED,
    (
        Shape.PARTITIONED,
        "type change, with a column for either generation (db_column)",
    ): RETYPED,
    (Shape.PARTITIONED, "type change, no column for both generations"): RETYPED,
    (Shape.PARTITIONED, "Another column or type of a foreign key"): RETYPED,
    (Shape.PARTITIONED, "change a unique constraint"): SAME_NAME,
    (Shape.PARTITIONED, "primary key: AutoField to BigAutoField"): WIDER_KEY,
    (Shape.PARTITIONED, "primary key: AutoField to BigAutoField, with foreign keys"): WIDER_KEY,
    (Shape.PARTITIONED, "primary key: IntegerField to BigIntegerField"): WIDER_KEY,
}
"""Every refusal, by shape and change; what is not here must work."""

BEYOND_DJANGO = {
    (Shape.PARTITIONED, "primary key: db_constraint added to a one-to-one"),
    # RENAME TO takes no schema, and Django writes one.
    (Shape.QUOTED, "Rename a model"),
    (Shape.QUOTED, "Change `db_table`"),
    (Shape.QUOTED, "Rename a `ManyToManyField`"),
}
"""Pairs that plain Django can't make or undo, so that it is no yardstick: its statements fail."""

MADE_ANEW = {
    (Shape.KEYLESS, "delete model"),
    (Shape.SECURED, "delete model"),
}
"""Pairs whose way back makes a table anew, from the model: what a DBA did to the old one is gone."""

SINCE = {"Another database-level `on_delete`": "from Django 6.1 on"}
"""Changes that only newer versions have; every other row holds on all supported ones."""

PAIRWISE = {
    (Shape.QUOTED, "Add an index"),
    (Shape.LONG, "Add `db_index=True`"),
    (Shape.COMPOSITE, "null → NOT NULL"),
    (Shape.KEYLESS, "null → NOT NULL"),
    (Shape.CHILD, "Rename a field"),
    (Shape.PARTITIONED, "Add an index"),
    (Shape.PARTITIONED, "Rename a field"),
    (Shape.SECURED, "Rename a field"),
    (Shape.SWAPPABLE, "Remove an index"),
}
"""Quick runs take these: each shape once, and what the shapes differ in."""


def product() -> tuple[list[Case], dict[tuple[Shape, str], str]]:
    """Return the shaped cases, and why a change and a shape never meet, for the pairs that don't.

    A change is shown by the first of its cases that a shape fits.
    """
    cases: list[Case] = []
    never: dict[tuple[Shape, str], str] = {}
    for change in REPRESENTATIVES:
        for shape in Shape:
            if shape in (Shape.ORDINARY, Shape.ELSEWHERE):
                continue
            instead = INSTEAD.get((shape, change))
            if instead is not None:
                cases.append(shaped(replace(instead, change=change), shape))
                continue
            for case in CASES:
                if case.change != change or case.shape != Shape.ORDINARY:
                    continue
                try:
                    cases.append(shaped(case, shape))
                except Inapplicable as reason:
                    never.setdefault((shape, change), str(reason))
                    continue
                never.pop((shape, change), None)
                break
    return cases, never


SHAPE_CASES, NEVER = product()


def refusal(case: Case, major: int) -> Refusal | None:
    """Return the refusal that a shaped case is to meet on a PostgreSQL version, if any."""
    found = REFUSALS.get((Shape(case.shape), case.change))
    return found if found is not None and (not found.below or major < found.below) else None
