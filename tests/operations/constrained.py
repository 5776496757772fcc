"""Cases in which a small model gets or loses constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from tests.kit.case import Case, define

TABLE = "caseapp_order"
VALUES: dict[str, Callable[[int], Any]] = {"number": lambda n: n}


def order(meta: dict[str, Any] | None = None, **more: Any) -> Any:
    """Define the model that constraints are put on."""
    fields: dict[str, Any] = {
        "number": models.IntegerField(),
        "code": models.CharField(max_length=30, null=True),
    }
    return define("Order", meta=meta, **{**fields, **more})


def options(old: dict[str, Any], new: dict[str, Any]) -> Case:
    """Return a case that changes class Meta; constraints are made by functions."""

    def made(given: dict[str, Any]) -> dict[str, Any]:
        return {k: [make() for make in v] if k == "constraints" else v for k, v in given.items()}

    return Case(
        "constraints under test",
        lambda: order(made(old)) and None,
        lambda: order(made(new)) and None,
        values=VALUES,
        nulls=False,
    )


def unique(*fields: Any, **more: Any) -> Any:
    if all(isinstance(field, str) for field in fields):
        return lambda: UniqueConstraint(fields=fields, name="order_unique", **more)
    return lambda: UniqueConstraint(*fields, name="order_unique", **more)


def adding(*made: Any) -> Case:
    return options({}, {"constraints": made})


def check(condition: Q) -> Any:
    return lambda: CheckConstraint(condition=condition, name="order_check")


def field_unique(old: bool = False) -> Case:
    """A field that becomes unique, or was."""
    kinds = [models.CharField(max_length=30, null=True, unique=u) for u in (old, not old)]
    return Case(
        "a unique field under test",
        lambda: order(code=kinds[0].clone()) and None,
        lambda: order(code=kinds[1].clone()) and None,
        values=VALUES,
        nulls=False,
    )
