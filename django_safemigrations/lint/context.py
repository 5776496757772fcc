"""What the rules know about the place of an operation: the state before it and its file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations import AddField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.lint.ancestry import Ancestry
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.facts import Facts, Session
from django_safemigrations.lint.tables import ModelKey, is_migrated
from django_safemigrations.phases import Phase

Key = tuple[str, str]
Place = tuple[Key, str]
"""A migration and the position of an operation in it."""
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
        created_by: the migration that brought each model into the state.
        unindexed: foreign keys with db_index=False, by (app label, model, field): where.
        sql: what the SQL of RunSQLs did.
    """

    not_valid: dict[tuple[str, str, str], Key] = field(default_factory=dict)
    begun: dict[tuple[str, ...], Key] = field(default_factory=dict)
    squashed: set[ModelKey] = field(default_factory=set)
    created_by: dict[ModelKey, Key] = field(default_factory=dict)
    unindexed: dict[tuple[str, str, str], Place] = field(default_factory=dict)
    sql: Facts = field(default_factory=Facts)

    def copy(self) -> History:
        """Return a copy for a walk aside that may not change the main one."""
        return History(
            dict(self.not_valid),
            dict(self.begun),
            set(self.squashed),
            dict(self.created_by),
            dict(self.unindexed),
            self.sql.copy(),
        )

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


class Mode(IntEnum):
    """Whom a table's lock keeps waiting, until the transaction ends."""

    WRITES = 1
    """SHARE or SHARE ROW EXCLUSIVE."""
    READS = 2
    """ACCESS EXCLUSIVE: everybody."""


@dataclass(frozen=True)
class Work:
    """What one operation does in the database.

    Attributes:
        position: of the operation.
        operation: it.
        table: of the model that it is about; empty if it isn't known.
        locks: tables that were there before the migration, and who waits for them.
        long: whether it reads all rows, or writes them anew.
        at_end: whether the long part comes after all operations, as Django's deferred SQL does.
        again: why it can't be run a second time; empty if it can.
        first: the field that the index begins with that it builds or drops; empty for no index.
    """

    position: str
    operation: Operation
    table: str = ""
    locks: Mapping[str, Mode] = field(default_factory=dict)
    long: bool = False
    at_end: bool = False
    again: str = ""
    first: str = ""


@dataclass
class Context:
    """Everything a rule may look at besides the operation.

    Attributes:
        migration: the file.
        state: before the operation; never rendered.
        history: of the migrations before.
        files: all migration files, for hints.
        place: key of the migration in the graph, if it isn't its own app label and name.
        graph: of all files.
        ancestry: of all migrations that were walked.
        migrated_apps: labels of the apps that have migrations.
        complete: whether all files could be read; if not, nothing is said to be missing.
        created: models whose tables this migration has created so far.
        work: what its operations have done in the database so far.
        sql: what the SQL of its RunSQLs has done so far.
        phase: of the container in which the operation stands, or None.
    """

    migration: Migration
    state: ProjectState
    history: History
    files: Mapping[Key, Migration]
    place: Key | None = None
    graph: MigrationGraph = field(default_factory=MigrationGraph)
    ancestry: Ancestry = field(default_factory=Ancestry)
    migrated_apps: Collection[str] = ()
    complete: bool = True
    created: set[ModelKey] = field(default_factory=set)
    work: list[Work] = field(default_factory=list)
    sql: Session = field(default_factory=Session)
    phase: Phase | None = None

    @property
    def app_label(self) -> str:
        """Label of the migration's app."""
        return self.migration.app_label

    @property
    def key(self) -> Key:
        """Key of the migration in the graph."""
        return self.place or (self.migration.app_label, self.migration.name)

    def depends_on(self, other: Key) -> bool:
        """Return whether the migration depends on another one, directly or not."""
        return self.ancestry.depends(self.key, other)

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
