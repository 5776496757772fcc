"""What the rules know about the place of an operation: the state before it and its file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import AddField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import ModelKey, is_migrated

Key = tuple[str, str]
Rule = Callable[[Any, "Context"], Iterator[Observation]]

OPERATIONS_MODULE = "django_safemigrations.operations"
"""Where our operations say they live; the name is written into users' files and never changes."""


@dataclass
class History:
    """What earlier migrations left unfinished.

    Attributes:
        not_valid: constraints added NOT VALID and not validated yet: the migration that added
            each, by (app label, model, constraint name).
        begun: the migration that ran the first half of a pair of ours, by (stage, app label,
            model, names).
        squashed: models that a squashed migration created; its chains may be folded away.
    """

    not_valid: dict[tuple[str, str, str], Key] = field(default_factory=dict)
    begun: dict[tuple[str, ...], Key] = field(default_factory=dict)
    squashed: set[ModelKey] = field(default_factory=set)

    def copy(self) -> History:
        """Return a copy for a walk aside that may not change the main one."""
        return History(dict(self.not_valid), dict(self.begun), set(self.squashed))

    def rename_model(self, app_label: str, old: str, new: str) -> None:
        """Follow a RenameModel."""
        for (label, model, name), key in list(self.not_valid.items()):
            if (label, model) == (app_label, old):
                del self.not_valid[label, model, name]
                self.not_valid[label, new, name] = key
        for (stage, label, model, *names), key in list(self.begun.items()):
            if (label, model) == (app_label, old):
                del self.begun[(stage, label, model, *names)]
                self.begun[(stage, label, new, *names)] = key


@dataclass
class Context:
    """Everything a rule may look at besides the operation.

    Attributes:
        migration: the file.
        state: before the operation; never rendered.
        history: of the migrations before.
        ancestors: keys of the migrations that this one depends on, computed when asked for.
        files: all migration files, for hints.
        created: models whose tables this migration has created so far.
    """

    migration: Migration
    state: ProjectState
    history: History
    ancestors: Callable[[], Collection[Key]]
    files: Mapping[Key, Migration]
    created: set[ModelKey] = field(default_factory=set)

    @property
    def app_label(self) -> str:
        """Label of the migration's app."""
        return self.migration.app_label

    @property
    def key(self) -> Key:
        """Key of the migration in the graph."""
        return self.migration.app_label, self.migration.name

    def find_model(self, name: str) -> ModelState | None:
        """Return a model of this app that has a table; None if Django leaves it alone."""
        model = self.state.models.get((self.app_label, name.lower()))
        return model if model is not None and is_migrated(model) else None

    def used_model(self, name: str) -> ModelState | None:
        """Return a model whose table the running code may be using.

        None if there is no such model, if Django leaves it alone, or if its table was
        created earlier in the same migration.
        """
        if (self.app_label, name.lower()) in self.created:
            return None
        return self.find_model(name)

    def is_atomic(self) -> bool:
        """Return whether the migration runs in one transaction."""
        return bool(self.migration.atomic)

    def fields_added(self, model_name: str) -> Iterator[tuple[str, Any]]:
        """Yield the fields that this file adds to a model, before or after the operation."""
        for operation in flattened(self.migration.operations):
            if isinstance(operation, AddField) and operation.model_name_lower == model_name.lower():
                yield operation.name, operation.field


def flattened(operations: Collection[Operation]) -> Iterator[Operation]:
    """Yield operations and, at any depth, what containers of them run on the database."""
    for operation in operations:
        nested = getattr(operation, "database_operations", None)
        if nested is None:
            yield operation
        else:
            yield from flattened(nested)


def our_name(operation: Operation) -> str | None:
    """Return the class name of an operation of this package, None for any other."""
    cls = type(operation)
    return cls.__name__ if cls.__module__ == OPERATIONS_MODULE else None
