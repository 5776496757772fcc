"""A removed field beside a new one that looks like it: a rename that Django could not see.

Django asks about a rename only if nothing else of the field changes; a rename with any
other change is a removal and an addition, and the data goes with the old column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

from django.db import models
from django.db.migrations import AddField, RemoveField

from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context

# Values of one of a row fit into a column of another, as far as a developer would try it.
FAMILIES: tuple[tuple[type[models.Field[Any, Any]], ...], ...] = (
    (models.CharField, models.TextField),
    (models.IntegerField, models.DecimalField, models.FloatField),
    (models.DateField, models.DateTimeField),
    (models.BooleanField,),
    (models.FileField,),
)


def with_warning(steps: Sequence[Step], operation: RemoveField, context: Context) -> list[Step]:
    """Return the steps of a removal, which say it if the removal looks like a rename."""
    twin = _twin(operation, context)
    if twin is None:
        return list(steps)
    model = context.model(operation.model_name)
    where = f"{context.app_label}.{model.name}"
    note = (
        f"{where}.{operation.name} is removed and {where}.{twin}, which looks like it, is added "
        "(DSM305). If that is a rename, its data is lost with the old column: Django takes a "
        "rename together with any other change for a removal and an addition. Delete the "
        "migrations just written, rename the field and change nothing else of it, run "
        "makemigrations, and make the other change in a run of its own."
    )
    first, *others = steps
    first = replace(first, note=f"{first.note} {note}".strip())
    if not isinstance(first, Plain) and first.contract:
        doubt = f"if {twin} is {operation.name} renamed, the data is lost then (DSM305)"
        first = replace(first, after="; ".join(filter(None, (first.after, doubt))))
    return [first, *others]


def _twin(operation: RemoveField, context: Context) -> str | None:
    """Return the name of the added field that is most like the removed one, None if none is."""
    fields = context.model(operation.model_name).fields
    old = fields.get(operation.name)
    # A field of the same name is another definition, no rename.
    candidates = [
        other
        for other in context.operations
        if type(other) is AddField
        and other.model_name_lower == operation.model_name_lower
        and other.name_lower != operation.name_lower
    ]
    alike = [other.name for other in candidates if old is not None and _alike(old, other.field)]
    if not alike:
        return None
    return max(alike, key=lambda name: SequenceMatcher(None, operation.name, name).ratio())


def _alike(old: Any, new: Any) -> bool:
    if old.is_relation or new.is_relation:
        return bool(
            old.is_relation
            and new.is_relation
            and bool(old.many_to_many) == bool(new.many_to_many)
            and old.related_model == new.related_model
        )
    if type(old) is type(new):
        return True
    return any(isinstance(old, family) and isinstance(new, family) for family in FAMILIES)
