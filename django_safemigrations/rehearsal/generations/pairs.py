"""Which model and field of new code is which of old code, by what the plan's operations say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import (
    AddField,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

Key = tuple[str, str]
"""App label and model name in lower case."""


@dataclass
class _Traced:
    """A model on its way through the plan: what it and its fields were called at first."""

    first: Key | None
    fields: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairs:
    """Models and fields of both generations that are the same thing.

    Attributes:
        models: key of the old model -> key of the new one.
        fields: key of the old model -> old field name -> new field name.
    """

    models: dict[Key, Key]
    fields: dict[Key, dict[str, str]]

    def reversed(self) -> Pairs:
        """Return the same from new to old."""
        return Pairs(
            {new: old for old, new in self.models.items()},
            {
                self.models[old]: {b: a for a, b in names.items()}
                for old, names in self.fields.items()
            },
        )


def state_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Yield the operations that change the state, containers opened."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from state_operations(operation.state_operations)
        else:
            yield operation


def independent(state: ProjectState) -> ProjectState:
    """Return a copy of a state that shares no field with it.

    States share their fields with the operations in migration files, and RenameField changes
    the ``to_field`` of foreign keys in place: so take a copy of the state before a plan, before
    the plan is applied to it.
    """
    models = {}
    for key, model in state.models.items():
        copied = model.clone()
        copied.fields = {name: field.clone() for name, field in model.fields.items()}
        models[key] = copied
    return ProjectState(models, state.real_apps)


def pair(old: ProjectState, new: ProjectState, migrations: Sequence[Migration]) -> Pairs:
    """Follow models and fields through a plan.

    Args:
        old: the state before the plan.
        new: the state after it.
        migrations: the plan, in order.

    Returns:
        What is in both; a field that was removed and added again is not the same field.
    """
    traced: dict[Key, _Traced] = {
        key: _Traced(key, {name: name for name in model.fields})
        for key, model in old.models.items()
    }
    for migration in migrations:
        for operation in state_operations(migration.operations):
            _follow(traced, migration.app_label, operation)
    models: dict[Key, Key] = {}
    fields: dict[Key, dict[str, str]] = {}
    for key, found in traced.items():
        if found.first is None or key not in new.models:
            continue
        names = new.models[key].fields
        models[found.first] = key
        fields[found.first] = {
            first: name for name, first in found.fields.items() if first and name in names
        }
    _pair_by_table(old, new, models, fields)
    return Pairs(models, fields)


def _follow(traced: dict[Key, _Traced], app: str, operation: Any) -> None:
    if isinstance(operation, RenameModel):
        found = traced.pop((app, operation.old_name_lower), None)
        if found is not None:
            traced[app, operation.new_name_lower] = found
    elif isinstance(operation, CreateModel):
        traced[app, operation.name_lower] = _Traced(None)
    elif isinstance(operation, DeleteModel):
        traced.pop((app, operation.name_lower), None)
    elif isinstance(operation, AddField | RemoveField | RenameField):
        found = traced.get((app, operation.model_name_lower))
        if found is None:
            return
        if isinstance(operation, RenameField):
            found.fields[operation.new_name] = found.fields.pop(operation.old_name, None)
        elif isinstance(operation, AddField):
            found.fields[operation.name] = None
        else:
            found.fields.pop(operation.name, None)


def _pair_by_table(
    old: ProjectState,
    new: ProjectState,
    models: dict[Key, Key],
    fields: dict[Key, dict[str, str]],
) -> None:
    """Pair models that moved to another app and kept their table."""
    left = {
        model._meta.db_table: _key(model)
        for model in new.apps.get_models()
        if _key(model) not in models.values() and not model._meta.proxy
    }
    if not left:
        return
    for model in old.apps.get_models():
        first, second = _key(model), left.get(model._meta.db_table)
        if first not in models and second is not None and not model._meta.proxy:
            models[first] = second
            fields[first] = {
                name: name for name in old.models[first].fields if name in new.models[second].fields
            }


def _key(model: Any) -> Key:
    return model._meta.app_label, model._meta.model_name
