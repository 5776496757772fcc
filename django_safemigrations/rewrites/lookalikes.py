"""Warns of a removed field beside a new one that looks like it: a rename that Django could not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db.migrations import AddField, RemoveField

from django_safemigrations.lookalikes import twin
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context


def with_warning(steps: Sequence[Step], operation: RemoveField, context: Context) -> list[Step]:
    """Return the steps of a removal, which say it if the removal looks like a rename."""
    heir = _twin(operation, context)
    if heir is None:
        return list(steps)
    model = context.model(operation.model_name)
    where = f"{context.app_label}.{model.name}"
    note = (
        f"{where}.{operation.name} is removed and {where}.{heir}, which looks like it, is added "
        "(DSM305). If that is a rename, its data is lost with the old column: Django takes a "
        "rename together with any other change for a removal and an addition. Delete the "
        "migrations just written, rename the field and change nothing else of it, run "
        "makemigrations, and make the other change in a run of its own."
    )
    first, *others = steps
    first = replace(first, note=f"{first.note} {note}".strip())
    if not isinstance(first, Plain) and first.contract:
        doubt = f"if {heir} is {operation.name} renamed, the data is lost then (DSM305)"
        first = replace(first, after="; ".join(filter(None, (first.after, doubt))))
    return [first, *others]


def _twin(operation: RemoveField, context: Context) -> str | None:
    """Return the name of the added field that is most like the removed one, None if none is."""
    old = context.model(operation.model_name).fields.get(operation.name)
    if old is None:
        return None
    added = (
        (other.name, other.field)
        for other in context.operations
        if isinstance(other, AddField) and other.model_name_lower == operation.model_name_lower
    )
    return twin(operation.name, old, added, context.app_label)
