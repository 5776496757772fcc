"""Tells a listener which step of a plan is running, while the real executor runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from django_safemigrations.operations.leaves import leaves
from django_safemigrations.phases import Phase
from django_safemigrations.rehearsal.results import StepKey

METHODS = ("database_forwards", "database_backwards")


class Listener(Protocol):
    """Hears of the steps as they run.

    A step that did not get a lock begins again; one that fails begins and does not end.
    """

    def step_begins(self, key: StepKey) -> None:
        """A step is about to run."""

    def step_ends(self, key: StepKey) -> None:
        """A step has run; its transaction may still be open."""

    def committed(self, key: StepKey) -> None:
        """Everything up to this step is committed: other sessions see it."""


@contextlib.contextmanager
def watching(
    connection: BaseDatabaseWrapper,
    migrations: Sequence[Migration],
    *listeners: Listener,
    phases: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[None]:
    """Tell listeners of every step that the operations of some migrations take.

    The operations are the very objects that an executor runs, so nothing else has to know.

    Args:
        connection: the database on which they run.
        migrations: whose operations; nested ones and stages are steps of their own.
        listeners: told in this order of beginnings, and of ends and commits.
        phases: phase by app label and name of the migration, "expand" where it is not said.
    """
    wrapped: list[tuple[Operation, str]] = []
    watch = _Watch(connection, listeners)
    try:
        for migration in migrations:
            phase = (phases or {}).get((migration.app_label, migration.name), str(Phase.EXPAND))
            for place, leaf in _runnable(migration):
                key = StepKey(migration.app_label, migration.name, place, phase, leaf.describe())
                for name in METHODS:
                    if name in vars(leaf):
                        continue
                    vars(leaf)[name] = watch.around(key, getattr(leaf, name))
                    wrapped.append((leaf, name))
        yield
    finally:
        for leaf, name in wrapped:
            del vars(leaf)[name]


class _Watch:
    """Wraps the methods of operations.

    `AlterField.database_backwards` calls `database_forwards` of the same object: only the
    outermost call is the step.
    """

    def __init__(self, connection: BaseDatabaseWrapper, listeners: Sequence[Listener]) -> None:
        self.connection = connection
        self.listeners = listeners
        self.running = False
        self.last: StepKey | None = None

    def around(self, key: StepKey, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.running:
                return method(*args, **kwargs)
            for listener in self.listeners:
                listener.step_begins(key)
            self.running = True
            try:
                result = method(*args, **kwargs)
            finally:
                self.running = False
            for listener in self.listeners:
                listener.step_ends(key)
            self.last = key
            # Outside of a transaction this calls back at once; a rollback forgets it.
            transaction.on_commit(lambda: self._committed(key), using=self.connection.alias)
            return result

        return call

    def _committed(self, key: StepKey) -> None:
        # Of the steps of one transaction only the last leaves something that others see.
        if key == self.last:
            for listener in self.listeners:
                listener.committed(key)


def _runnable(migration: Migration) -> Iterator[tuple[str, Operation]]:
    """Yield what may run in the database: an Expand on an empty one runs its state operations."""
    yield from leaves(migration)
    for index, operation in enumerate(migration.operations):
        for part in getattr(operation, "state_operations", ()):
            yield str(index), part
