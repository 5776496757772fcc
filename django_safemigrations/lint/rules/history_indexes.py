"""The rule for foreign keys that no index covers, judged by the state that all files lead to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Q

from django_safemigrations.lint.columns import column_name
from django_safemigrations.lint.context import Context, History, Place
from django_safemigrations.lint.expressions import proves_not_null
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.indexes import together
from django_safemigrations.lint.tables import (
    is_foreign_key,
    is_migrated,
    related_model,
    table_name,
)

UNCOVERING = (
    operations.RemoveIndex,
    operations.RemoveConstraint,
    operations.AlterUniqueTogether,
    operations.AlterIndexTogether,
)


def note(operation: Operation, position: str, context: Context) -> None:
    """Remember the foreign keys without an index of their own; context is before the operation."""
    unindexed = context.history.unindexed
    place = (context.key, position)
    if isinstance(operation, operations.CreateModel):
        for name, field in operation.fields:
            if _lacks_index(field):
                unindexed[context.app_label, operation.name_lower, name] = place
    elif isinstance(operation, operations.AddField | operations.AlterField):
        key = (context.app_label, operation.model_name_lower, operation.name)
        if _lacks_index(operation.field):
            unindexed.setdefault(key, place)
        else:
            unindexed.pop(key, None)
    elif not unindexed:
        return
    elif isinstance(operation, operations.RenameField):
        old = (context.app_label, operation.model_name_lower, operation.old_name)
        if old in unindexed:
            unindexed[*old[:2], operation.new_name] = unindexed.pop(old)
    elif isinstance(operation, operations.RenameModel):
        for label, model_name, name in list(unindexed):
            if (label, model_name) == (context.app_label, operation.old_name_lower):
                unindexed[label, operation.new_name_lower, name] = unindexed.pop(
                    (label, model_name, name)
                )
    elif isinstance(operation, UNCOVERING):
        _uncover(operation, place, context)


def _uncover(operation: Any, place: Place, context: Context) -> None:
    """Move what is remembered to the operation that takes the covering index away."""
    model_name = getattr(operation, "model_name", None) or operation.name
    key = (context.app_label, model_name.lower())
    model = context.state.models.get(key)
    if model is None:
        return
    after = ModelState(model.app_label, model.name, [], dict(model.options), model.bases)
    try:
        state = ProjectState({key: model.clone()})
        operation.state_forwards(context.app_label, state)
        after = state.models[key]
    except Exception:  # noqa: BLE001 - reported where the operation is applied
        return
    for label, name, field in context.history.unindexed:
        if (label, name) == key and is_covered(model, field) and not is_covered(after, field):
            context.history.unindexed[label, name, field] = place


def judge_history(state: ProjectState, history: History) -> Iterator[tuple[Place, Observation]]:
    """Yield the foreign keys that have no index in the end, where they came to lack it."""
    for (label, model_name, name), place in history.unindexed.items():
        model = state.models.get((label, model_name))
        field: Any = model.fields.get(name) if model is not None else None
        if model is None or field is None or not is_migrated(model):
            continue
        if not _lacks_index(field) or is_covered(model, name):
            continue
        target = related_model(state, model, field)
        if target is None or not is_migrated(target):
            continue
        table, other = table_name(model), table_name(target)
        yield (
            place,
            Observation(
                "DSM408",
                f"No index begins with {table}.{column_name(name, field)}, which refers to {other}: "
                f"for every row that is deleted from {other}, and every change of its key, "
                f"PostgreSQL reads all of {table}, with the row locked meanwhile.",
                f"Take db_index=False off {model.name}.{name} (makemigrations builds the index "
                "concurrently), or let an index, a unique constraint or unique_together begin "
                f"with {name}. If rows of {other} are never deleted, say so: "
                "# safemigrations: ignore DSM408 -- the reason",
                table=table,
            ),
        )


def _lacks_index(field: Any) -> bool:
    return bool(
        is_foreign_key(field)
        and field.db_constraint
        and not field.db_index
        and not field.unique
        and not field.primary_key
    )


def is_covered(model: ModelState, name: str) -> bool:
    """Return whether an index of a model begins with a field and holds all rows that it is set in."""
    options = model.options
    for names in together(options.get("unique_together")) | together(options.get("index_together")):
        if names and names[0] == name:
            return True
    for field in model.fields.values():
        parts = getattr(field, "field_names", None)
        if parts and parts[0] == name:
            return True
    for index in options.get("indexes", ()):
        if _begins_with(index, name) and _serves_lookups(index):
            return True
    return any(
        isinstance(constraint, models.UniqueConstraint) and _begins_with(constraint, name)
        for constraint in options.get("constraints", ())
    )


def _begins_with(index: Any, name: str) -> bool:
    if not index.fields or index.fields[0].lstrip("-") != name:
        return False
    condition: Q | None = index.condition
    return condition is None or (proves_not_null(condition, name) and len(condition.children) == 1)


def _serves_lookups(index: models.Index) -> bool:
    """Return whether PostgreSQL finds rows by one value with an index (not by BRIN: it scans)."""
    return type(index).__name__ not in ("BrinIndex", "GinIndex", "BloomIndex", "SpGistIndex")
