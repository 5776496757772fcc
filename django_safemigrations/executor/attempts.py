"""Runs one migration: with its record, and again from its start when it does not get a lock."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.backup.keeping import Keeper
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.schedule import Key

T = TypeVar("T")

# Since Django 6.0 it takes names; before, the migration.
RECORDS_BY_NAME = "app_label" in inspect.signature(MigrationExecutor.record_migration).parameters


class AttemptingExecutor(MigrationExecutor):
    """Django's executor, whose migrations give their locks back.

    Args:
        connection: the database.
        guard: bounds every lock wait and repeats what did not get its lock.
        progress_callback: as Django's.

    Attributes:
        keeper: keeps what migrations drop, and puts it back; None where nobody asked for it.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        guard: LockGuard | None = None,
        progress_callback: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(connection, progress_callback)
        self.guard = guard
        self.keeper: Keeper | None = None

    @property
    def alias(self) -> str:
        """Alias of the database."""
        return self.connection.alias

    def full_plan(self) -> list[Migration]:
        """Return every migration of the graph in the order of an empty database."""
        targets = self.loader.graph.leaf_nodes()
        return [migration for migration, _ in self.migration_plan(targets, clean_start=True)]

    def applied_state(self) -> ProjectState:
        """Return the state that the applied migrations make."""
        create: Callable[..., ProjectState] = getattr(self, "_create_project_state")  # noqa: B009
        return create(with_applied_migrations=True)

    def _execute(
        self,
        migration: Migration,
        state: ProjectState,
        record: Callable[[], None],
        *,
        backwards: bool = False,
    ) -> ProjectState:
        """Run the operations of a migration and then `record`.

        A migration with a transaction is repeated as a whole when it does not get a lock:
        it must not sit on the locks that it has. Without one its operations are re-run by
        themselves, and it is recorded after the last.
        """
        if self.keeper is not None and backwards:
            self.keeper.before_undo(migration)
        elif self.keeper is not None:
            self.keeper.before(migration, state)
        state = self._executed(migration, state, record, backwards=backwards)
        if self.keeper is not None and backwards:
            self.keeper.after_undo([key_of(migration)])
        return state

    def _executed(
        self,
        migration: Migration,
        state: ProjectState,
        record: Callable[[], None],
        *,
        backwards: bool,
    ) -> ProjectState:
        if not migration.atomic:
            with self.connection.schema_editor(atomic=False) as editor:
                state = self._each(migration, state, editor, backwards=backwards)
            self._together(record)
            return state

        def attempt() -> ProjectState:
            # Around the schema editor, so that deferred SQL and the record are one commit.
            with transaction.atomic(using=self.alias):
                with self.connection.schema_editor(atomic=True) as editor:
                    run = migration.unapply if backwards else migration.apply
                    after = run(state.clone(), editor)
                record()
            return after

        return self._repeated(attempt, migration)

    def _each(
        self,
        migration: Migration,
        state: ProjectState,
        editor: BaseDatabaseSchemaEditor,
        *,
        backwards: bool,
    ) -> ProjectState:
        """Run the operations one by one; one with a transaction of its own is repeated alone."""
        steps: Sequence[tuple[Operation, ProjectState | None]]
        if backwards:
            steps = [*zip(migration.operations, _states(migration, state), strict=True)][::-1]
        else:
            # Each begins where the one before it ended.
            steps = [(operation, None) for operation in migration.operations]
        for operation, before in steps:
            part = _alone(migration, operation)
            deferred = list(editor.deferred_sql)
            start = before or state

            def attempt(
                part: Migration = part, start: ProjectState = start, kept: list[Any] = deferred
            ) -> ProjectState:
                editor.deferred_sql[:] = kept
                run = part.unapply if backwards else part.apply
                return run(start.clone(), editor)

            state = self._repeated(attempt, migration) if operation.atomic else attempt()
        return state

    def _repeated(self, attempt: Callable[[], T], migration: Migration) -> T:
        if self.guard is None:
            return attempt()
        return self.guard.run(attempt, f"migration {migration}")

    def _together(self, work: Callable[[], None]) -> None:
        with transaction.atomic(using=self.alias):
            work()

    def _record(self, migration: Migration, *, forward: bool = True) -> None:
        record: Any = self.record_migration
        if RECORDS_BY_NAME:
            record(migration.app_label, migration.name, forward)
        elif forward:
            record(migration)
        else:
            for app_label, name in (*migration.replaces, key_of(migration)):
                self.recorder.record_unapplied(app_label, name)

    def state_before(self, migration: Migration) -> ProjectState:
        """Return the state before a migration, at its place in the graph."""
        return self._state_at(key_of(migration))

    def _state_at(self, key: Key) -> ProjectState:
        """Return the state before a migration, at its place in the graph."""
        loader = self.loader
        if key not in loader.graph.nodes:
            # A squash stands in its place; its own file still knows where it was.
            loader = MigrationLoader(self.connection, replace_migrations=False)
        return loader.project_state(key, at_end=False)

    def _states_before(self, migrations: Sequence[Migration]) -> dict[Migration, ProjectState]:
        """Return the state before each of some applied migrations, as Django's executor does."""
        wanted = set(migrations)
        applied = {
            self.loader.graph.nodes[key]
            for key in self.loader.applied_migrations
            if key in self.loader.graph.nodes
        }
        states: dict[Migration, ProjectState] = {}
        state = ProjectState(real_apps=self.loader.unmigrated_apps)
        for migration in self.full_plan():
            if len(states) == len(wanted):
                break
            if migration in wanted:
                self._render(state)
                states[migration] = state
                state = migration.mutate_state(state, preserve=True)
            elif migration in applied:
                migration.mutate_state(state, preserve=False)
        return states

    def _render(self, state: ProjectState) -> None:
        if "apps" not in state.__dict__:
            self._progress("render_start")
            state.apps  # noqa: B018  rendering all at once is much faster
            self._progress("render_success")

    def _progress(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        if self.progress_callback is not None:
            self.progress_callback(action, migration, fake)


def _alone(migration: Migration, operation: Operation) -> Migration:
    part = copy.copy(migration)
    part.__dict__["operations"] = [operation]
    return part


def _states(migration: Migration, state: ProjectState) -> list[ProjectState]:
    """Return the state before each operation of a migration."""
    states = []
    for operation in migration.operations:
        states.append(state)
        state = state.clone()
        operation.state_forwards(migration.app_label, state)
    return states


def key_of(migration: Migration) -> Key:
    return migration.app_label, migration.name
