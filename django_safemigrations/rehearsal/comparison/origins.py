"""Which model and field of the end was which at the start, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED

Key: TypeAlias = tuple[str, str]
"""App label and name of a model in lower case."""
UNKNOWN = object()
"""Stands for a value that only running it would tell."""


@dataclass
class Origins:
    """Where models and fields come from.

    Attributes:
        models: the key at the start, by the key now, of models that were there.
        fields: the name at the start, by key and name now, of fields that were there.
        known: the fields that there were, as key and name; Django adds some by itself.
        filled: the value that NULLs of a field were replaced with, by key and name at the start;
            UNKNOWN where it was not the same for every row.
        finishes: whether the plan finishes what was begun before it.
    """

    models: dict[Key, Key]
    fields: dict[tuple[Key, str], str]
    known: frozenset[tuple[Key, str]]
    filled: dict[tuple[Key, str], Any] = field(default_factory=dict)
    finishes: bool = False

    def follow(self, operation: Operation, app_label: str) -> None:
        """Bring it up to date with one operation."""
        key = (app_label, str(getattr(operation, "model_name", "")).lower())
        if isinstance(operation, operations.RenameModel):
            old = (app_label, operation.old_name_lower)
            self._move_model(old, (app_label, operation.new_name_lower))
        elif isinstance(operation, operations.CreateModel | operations.DeleteModel):
            self._forget_model((app_label, operation.name_lower))
        elif isinstance(operation, operations.AddField | operations.RemoveField):
            self.fields.pop((key, operation.name), None)
        elif isinstance(operation, operations.RenameField):
            name = self.fields.pop((key, operation.old_name), None)
            if name is not None:
                self.fields[key, operation.new_name] = name
        elif isinstance(operation, operations.AlterField):
            name = self.fields.get((key, operation.name))
            given = operation.field
            if name is None:
                return
            if given.has_default():
                answer = UNKNOWN if callable(given.default) else given.default
                self.filled[self.models[key], name] = answer
            elif given.db_default is not NOT_PROVIDED:
                self.filled[self.models[key], name] = UNKNOWN

    def _move_model(self, old: Key, new: Key) -> None:
        origin = self.models.pop(old, None)
        if origin is not None:
            self.models[new] = origin
        for key, name in [place for place in self.fields if place[0] == old]:
            self.fields[new, name] = self.fields.pop((key, name))

    def _forget_model(self, key: Key) -> None:
        self.models.pop(key, None)
        for place in [place for place in self.fields if place[0] == key]:
            del self.fields[place]


def origins(
    state: ProjectState, migrations: Sequence[Migration], stepped_over: frozenset[Key] = frozenset()
) -> Origins:
    """Follow every model and field of a state through a plan.

    Args:
        state: the models at the start; not changed.
        migrations: those of the plan, in order.
        stepped_over: (app label, name) of contracts whose state is in `state` already.
    """
    fields = {(key, name): name for key, model in state.models.items() for name in model.fields}
    found = Origins({key: key for key in state.models}, fields, frozenset(fields))
    for migration in migrations:
        if (migration.app_label, migration.name) in stepped_over:
            continue
        for operation in migration.operations:
            for one in _state_operations(operation):
                found.follow(one, migration.app_label)
    return found


def _state_operations(operation: Operation) -> Iterator[Operation]:
    if isinstance(operation, SeparateDatabaseAndState):
        for one in operation.state_operations:
            yield from _state_operations(one)
        return
    yield operation
