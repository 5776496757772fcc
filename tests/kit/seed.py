"""Fills the old schema of a case with rows, as production would have them."""

from __future__ import annotations

from tests.kit.case import Case
from tests.kit.values import Values

SPACE = 1_000
MANY_SPACE = 10_000


def seed(case: Case, using: str = "default") -> None:
    """Give every old model its rows, in an order that satisfies foreign keys, then the case's own."""
    values = Values(case.values, nulls=case.nulls, using=using, distinct=case.distinct)
    for model in case.models("old"):
        for number in range(case.rows):
            row = values.row(model, SPACE + number)
            model._base_manager.using(using).create(**row)
    if case.seed is not None:
        case.seed(case.apps("old"))


def seed_many(case: Case, rows: int, using: str = "default") -> None:
    """Add so many rows to the tables that can take them in bulk, for a backfill of some length."""
    values = Values(case.values, nulls=case.nulls, using=using, distinct=case.distinct)
    for place, model in enumerate(case.models("old")):
        if model._meta.parents:
            continue
        start = MANY_SPACE + place * rows
        new = [model(**values.row(model, start + number)) for number in range(rows)]
        model._base_manager.using(using).bulk_create(new)
