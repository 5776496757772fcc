"""Renamed relations, and renamed columns that relations point at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import models
from django.db.models import Index

from tests.kit.case import Case, define


def related(
    name: str,
    kind: Any = models.ForeignKey,
    *,
    to_field: str | None = None,
    extra: bool = False,
    meta: Callable[[str], dict[str, Any]] = lambda n: {},
    **options: Any,
) -> Case:
    """Return a rename of a relation from Order.customer to Order.buyer."""

    def model(n: str) -> None:
        customer = define("Customer", code=models.CharField(max_length=20, unique=True))
        define(
            "Order",
            number=models.IntegerField(),
            meta=meta(n),
            **{n: kind(customer, models.CASCADE, to_field=to_field, **options)},
        )

    return Case(
        f"rename: {name}",
        lambda: model("customer"),
        lambda: model("buyer"),
        renames={"order.customer": "buyer"},
        extra=extra,
    )


def referenced(old_or_new: str, **options: Any) -> None:
    """Define a model whose unique column another one refers to."""
    define("Customer", **{old_or_new: models.CharField(max_length=20, unique=True)})
    define(
        "Order",
        number=models.IntegerField(),
        customer=models.ForeignKey(
            "caseapp.Customer", models.CASCADE, to_field=old_or_new, **options
        ),
    )


def self_related(n: str) -> None:
    define(
        "Order",
        number=models.IntegerField(),
        **{n: models.ForeignKey("self", models.CASCADE, null=True)},
    )


RENAME_RELATION_CASES = [
    # Relations
    related("foreign key"),
    related("foreign key, nullable", null=True, extra=True),
    related("foreign key without a constraint", db_constraint=False, extra=True),
    related("foreign key without an index", db_index=False, extra=True),
    related("foreign key to a varchar", to_field="code", extra=True),
    related(
        "foreign key in an index and unique_together",
        meta=lambda n: {
            "indexes": [Index(fields=[n, "-number"])],
            "unique_together": [(n, "number")],
        },
        extra=True,
    ),
    related("one to one", models.OneToOneField),
    related("one to one, nullable", models.OneToOneField, null=True, extra=True),
    Case(
        "rename: foreign key to itself",
        lambda: self_related("parent"),
        lambda: self_related("above"),
        renames={"order.parent": "above"},
    ),
    Case(
        "rename: unique column that a foreign key points at",
        lambda: referenced("code"),
        lambda: referenced("sku"),
        renames={"customer.code": "sku"},
    ),
    Case(
        "rename: unique column that a foreign key without an index points at",
        lambda: referenced("code", db_index=False),
        lambda: referenced("sku", db_index=False),
        renames={"customer.code": "sku"},
        extra=True,
    ),
]


RENAME_RELATION_CASES = [
    replace(case, change="Rename a relation") for case in RENAME_RELATION_CASES
]
