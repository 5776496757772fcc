"""Several changes in one run of makemigrations, as developers make them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import models
from django.db.models import CheckConstraint, Index, Q

from tests.kit.case import Case, define


def shop(new: bool) -> None:
    """The demo's change: an index, a NOT NULL and a rename on one table."""
    name = "amount" if new else "total"
    define(
        "Order",
        meta={"indexes": [Index(fields=["placed"], name="order_placed")] if new else []},
        placed=models.DateTimeField(),
        code=models.CharField(max_length=20, null=not new),
        **{name: models.IntegerField(db_index=True)},
    )


def five_findings(new: bool) -> None:
    """The edit of which the best peer leaves five findings to the developer."""
    name = "reference" if new else "code"
    added: dict[str, Any] = {"state": models.CharField(max_length=9, default="new")} if new else {}
    define(
        "Order",
        meta={"unique_together": {("number", "place")} if new else set()},
        number=models.IntegerField(),
        place=models.IntegerField(),
        total=models.BigIntegerField() if new else models.IntegerField(),
        note=models.CharField(max_length=20, null=not new),
        **{name: models.CharField(max_length=20, db_index=True)},
        **added,
    )


def index_on_new_name(new: bool) -> None:
    """An index that is added on the field in the run that renames it."""
    name = "amount" if new else "total"
    define(
        "Order",
        meta={"indexes": [Index(fields=[name], name="order_amount")] if new else []},
        number=models.IntegerField(),
        **{name: models.IntegerField()},
    )


def index_removed(new: bool) -> None:
    name = "amount" if new else "total"
    define(
        "Order",
        meta={"indexes": [] if new else [Index(fields=[name], name="order_gone")]},
        number=models.IntegerField(),
        **{name: models.IntegerField()},
    )


def unique_removed(new: bool) -> None:
    """The rule goes in the run that renames one of its fields; another one stays."""
    name = "amount" if new else "total"
    rules = {("number", name)} if new else {("number", name), (name, "place")}
    define(
        "Order",
        meta={"unique_together": rules},
        number=models.IntegerField(),
        place=models.IntegerField(),
        **{name: models.IntegerField()},
    )


def index_named_anew(new: bool) -> None:
    name, index = ("amount", "order_amount") if new else ("total", "order_total")
    define(
        "Order",
        meta={"indexes": [Index(fields=[name], name=index)]},
        number=models.IntegerField(),
        **{name: models.IntegerField()},
    )


def check_changed(new: bool) -> None:
    name = "amount" if new else "total"
    more = {f"{name}__gte": -1 if new else 0}
    define(
        "Order",
        meta={"constraints": [CheckConstraint(condition=Q(**more), name="order_check")]},
        number=models.IntegerField(),
        **{name: models.IntegerField()},
    )


def field_added(new: bool) -> None:
    more: dict[str, Any] = {"extra": models.IntegerField(null=True)} if new else {}
    name = "amount" if new else "total"
    define("Order", number=models.IntegerField(), **{name: models.IntegerField()}, **more)


def model_added(new: bool) -> None:
    name = "amount" if new else "total"
    order = define("Order", number=models.IntegerField(), **{name: models.IntegerField()})
    if new:
        define("Refund", order=models.ForeignKey(order, models.CASCADE), why=models.TextField())


def not_null_and_index(new: bool) -> None:
    define(
        "Order",
        meta={"indexes": [Index(fields=["number", "code"], name="order_both")] if new else []},
        number=models.IntegerField(null=not new),
        code=models.CharField(max_length=20),
    )


def case(name: str, define_models: Any, **more: Any) -> Case:
    return Case(
        f"together: {name}", lambda: define_models(False), lambda: define_models(True), **more
    )


RENAMED = {"order.total": "amount"}

TOGETHER_CASES = [
    case(
        "index, not null and rename of one table",
        shop,
        renames=RENAMED,
        default="none",
        filled={"code": "none"},
    ),
    case(
        "index, not null and rename, a chain for each phase",
        shop,
        renames=RENAMED,
        default="none",
        filled={"code": "none"},
        settings={"GROUPING": "phase"},
        extra=True,
    ),
    case(
        "the five-finding edit",
        five_findings,
        renames={"order.code": "reference"},
        default="none",
        filled={"note": "none"},
        # Old code that adds one to a place makes no two orders alike: the new rule holds.
        values={"place": lambda n: n * 10},
        plain_hazards=("DSM301", "DSM203", "DSM501", "DSM506", "DSM508"),
    ),
    case("rename, and an index on the new name", index_on_new_name, renames=RENAMED),
    case("rename, and its index removed", index_removed, renames=RENAMED),
    case(
        "rename, and a set of unique_together removed",
        unique_removed,
        renames=RENAMED,
        lost_keys=(("total", "place"),),
        hazards=("DSM515",),
        extra=True,
    ),
    case("rename, and its index named anew", index_named_anew, renames=RENAMED),
    case("rename, and its check changed", check_changed, renames=RENAMED),
    case("rename, and a nullable field added", field_added, renames=RENAMED),
    case("rename, and a model added", model_added, renames=RENAMED, extra=True),
    case(
        "not null, and an index on it",
        not_null_and_index,
        default=0,
        filled={"number": 0},
        extra=True,
    ),
]


TOGETHER_CASES = [replace(case, change="Several changes of one table") for case in TOGETHER_CASES]
