"""Runs a schedule: phase by phase, every lock wait bounded, ledger and Django's record in step."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations import ledger
from django_safemigrations.footprints import Footprint
from django_safemigrations.models import PendingContract, Run
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.schedule import Action, Entry, Key, Schedule, dotted, is_reversible

T = TypeVar("T")

# Since Django 6.0 it takes names; before, the migration.
RECORDS_BY_NAME = "app_label" in inspect.signature(MigrationExecutor.record_migration).parameters


@dataclass(frozen=True)
class Failure:
    """A migration that raised, or was not run because of another one.

    Attributes:
        key: the migration.
        error: what happened.
        cause: the exception, or None if it was not run.
    """

    key: Key
    error: str
    cause: Exception | None = None


@dataclass(frozen=True)
class Undo:
    """One migration to take back.

    Attributes:
        migration: the migration.
        fake: only unrecord it.
        contract_only: only the database part of a contract that had been pending; it stays
            recorded as applied, and is pending again.
        footprint: of such a contract.
    """

    migration: Migration
    fake: bool = False
    contract_only: bool = False
    footprint: Footprint = field(default_factory=Footprint)


class PhasedExecutor(MigrationExecutor):
    """Django's executor with phases, pending contracts, and locks that are given back.

    Args:
        connection: the database.
        guard: bounds every lock wait and repeats what did not get its lock.
        progress_callback: as Django's; called with ``contract_start``, ``contract_success``,
            ``step_over``, ``unapply_pending`` and ``failed`` besides Django's own actions.

    Attributes:
        run: the ledger's row of this run; None until the ledger exists.
        failures: what went wrong, and what was not run because of it.
        done: what was done, as (migration, action).
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        guard: LockGuard | None = None,
        progress_callback: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(connection, progress_callback)
        self.guard = guard
        self.run: Run | None = None
        self.failures: list[Failure] = []
        self.done: list[tuple[Key, str]] = []

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

    # -- forwards --------------------------------------------------------------------

    def run_forwards(
        self,
        schedule: Schedule,
        state: ProjectState,
        *,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        """Run a schedule and return the state after it.

        A failing expand migration stops the run. A failing contract only stops what it has
        a table in common with, and what depends on it; see `failures`.

        Raises:
            Exception: what the failing expand migration raised.
        """
        if any(entry.action is Action.APPLY for entry in schedule.entries):
            self._render(state)
        broken = _Broken()
        for entry in schedule.entries:
            if entry.action is Action.STEP_OVER:
                state = self._step_over(entry, state)
                continue
            reason = broken.reason_against(entry)
            if reason is not None:
                broken.hold(entry)
                self.failures.append(Failure(entry.key, reason))
                continue
            if entry.action is Action.APPLY and entry.phase is Phase.CONTRACT:
                # In a row of contracts each depends on the one before. One that could not run
                # becomes a pending contract, or it would stop those of other tables.
                for held in broken.take_ancestors(entry):
                    state = self._step_over(held, state, needed_by=entry.key)
            try:
                if entry.action is Action.RUN_PENDING:
                    self.run_contract(entry, fake=fake)
                else:
                    state = self.apply_migration(state, entry.migration, fake, fake_initial)
            except Exception as error:
                self._fail(entry.migration, error)
                if entry.phase is not Phase.CONTRACT or not self._usable():
                    raise
                broken.hold(entry)
                self._remember_error(entry.key, error)
        self.check_replacements()
        return state

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        """Run one migration and record it, in the same transaction if it has one.

        Raises:
            LockNotGranted: a lock was not granted within LOCK_BUDGET.
        """
        self._progress("apply_start", migration, fake)
        if fake_initial and not fake:
            fake, soft_state = self.detect_soft_applied(state, migration)
            state = soft_state if fake else state
        elif fake:
            state = migration.mutate_state(state, preserve=False)

        action = "faked" if fake else "applied"

        def record() -> None:
            self._record(migration)
            self._note(_key(migration), action)

        if fake:
            self._together(record)
        else:
            state = self._execute(migration, state, record)
        self._applied(migration, action)
        self._progress("apply_success", migration, fake)
        return state

    def run_contract(self, entry: Entry, *, fake: bool = False) -> None:
        """Run the database part of a contract that was stepped over before."""
        migration, key = entry.migration, entry.key
        action = "contract_faked" if fake else "contract_run"
        self._progress("contract_start", migration, fake)

        def settle() -> None:
            row = self._pending(key)
            if row is not None:
                how = PendingContract.Resolution.FAKED if fake else PendingContract.Resolution.RUN
                ledger.resolve(row, how, self.alias)
            self._note(key, action)

        if fake:
            self._together(settle)
        else:
            self._execute(migration, self._state_at(key), settle)
        self.done.append((key, action))
        self._progress("contract_success", migration, fake)

    def _step_over(
        self, entry: Entry, state: ProjectState, *, needed_by: Key | None = None
    ) -> ProjectState:
        """Record a contract as applied for Django and as pending for us."""
        migration, key = entry.migration, entry.key
        needed_by = needed_by or entry.needed_by
        error = next((f.error for f in self.failures if f.key == key), "")

        def record() -> None:
            self._record(migration)
            PendingContract.objects.using(self.alias).create(
                app_label=key[0],
                name=key[1],
                needed_by=dotted(needed_by) if needed_by else "",
                record=ledger.record_key(self.connection, *key),
                footprint=entry.footprint.as_json(),
                operations=[operation.describe() for operation in migration.operations],
                last_error=error,
            )
            self._note(key, "stepped_over")

        self._together(record)
        self._applied(migration, "stepped_over")
        self._progress("step_over", migration)
        return migration.mutate_state(state, preserve=False)

    # -- backwards -------------------------------------------------------------------

    def run_backwards(self, steps: Sequence[Undo]) -> ProjectState:
        """Take migrations back in the given order and return the state after it.

        A contract that is pending was never run: it is only unrecorded.
        """
        states = self._states_before(
            [
                step.migration
                for step in steps
                if not step.contract_only
                and not step.fake
                and self._pending(_key(step.migration)) is None
            ]
        )
        for step in steps:
            try:
                if step.contract_only:
                    self.undo_contract(step.migration, step.footprint)
                else:
                    self.take_back(states.get(step.migration), step.migration, fake=step.fake)
            except Exception as error:
                self._fail(step.migration, error)
                raise
        self.check_replacements()
        return self.applied_state()

    def take_back(
        self, state: ProjectState | None, migration: Migration, *, fake: bool = False
    ) -> None:
        """Unapply one migration and unrecord it, in the same transaction if it has one.

        Args:
            state: the state before it; not needed if nothing runs.
            migration: the migration.
            fake: only unrecord it.
        """
        key = _key(migration)
        pending = self._pending(key) is not None
        only_record = fake or state is None or pending
        self._progress("unapply_start", migration, only_record)

        def record() -> None:
            self._record(migration, forward=False)
            row = self._pending(key)
            if row is not None:
                ledger.resolve(row, PendingContract.Resolution.REVERSED, self.alias)
            self._note(key, "unapplied")

        if only_record or state is None:
            self._together(record)
        else:
            self._execute(migration, state, record, backwards=True)
        self.loader.applied_migrations.pop(key, None)
        self.done.append((key, "unapplied"))
        self._progress("unapply_pending" if pending else "unapply_success", migration, only_record)

    def undo_contract(self, migration: Migration, footprint: Footprint) -> None:
        """Take back the database part of a contract that had been pending: it is so again."""
        key = _key(migration)
        self._progress("unapply_start", migration)

        def record() -> None:
            PendingContract.objects.using(self.alias).create(
                app_label=key[0],
                name=key[1],
                record=ledger.record_key(self.connection, *key),
                footprint=footprint.as_json(),
                operations=[operation.describe() for operation in migration.operations],
            )
            self._note(key, "contract_undone")

        self._execute(migration, self._state_at(key), record, backwards=True)
        self.done.append((key, "contract_undone"))
        self._progress("unapply_success", migration)

    def irreversible(self, migrations: Iterable[Migration]) -> list[tuple[Key, Operation]]:
        """Return the operations of applied migrations that can't be taken back."""
        return [
            (_key(migration), operation)
            for migration in migrations
            if self._pending(_key(migration)) is None
            for operation in migration.operations
            if not is_reversible(operation)
        ]

    # -- one migration ---------------------------------------------------------------

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
            for app_label, name in (*migration.replaces, _key(migration)):
                self.recorder.record_unapplied(app_label, name)

    def _note(self, key: Key, action: str) -> None:
        ledger.note(self.run, self.alias, *key, action)

    def _applied(self, migration: Migration, action: str) -> None:
        self.loader.applied_migrations[_key(migration)] = migration
        self.done.append((_key(migration), action))

    # -- states ----------------------------------------------------------------------

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

    # -- the ledger ------------------------------------------------------------------

    def _pending(self, key: Key) -> PendingContract | None:
        if not ledger.exists(self.connection):
            return None
        rows = PendingContract.objects.using(self.alias).filter(resolved_at=None)
        return rows.filter(app_label=key[0], name=key[1]).first()

    def _remember_error(self, key: Key, error: Exception) -> None:
        row = self._pending(key)
        if row is not None:
            row.last_error = str(error)
            row.save(using=self.alias, update_fields=["last_error"])

    def _fail(self, migration: Migration, error: Exception) -> None:
        self._progress("failed", migration)
        self.failures.append(Failure(_key(migration), f"{type(error).__name__}: {error}", error))

    def _usable(self) -> bool:
        return self.connection.connection is not None and self.connection.is_usable()

    def _progress(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        if self.progress_callback is not None:
            self.progress_callback(action, migration, fake)


class _Broken:
    """What can't run any more in a run, because something before it failed."""

    def __init__(self) -> None:
        self._tables: dict[str, Key] = {}
        self._held: dict[Key, Entry] = {}
        self._skipped: set[Key] = set()

    def reason_against(self, entry: Entry) -> str | None:
        """Say why an entry can't run; None if it can."""
        lost = sorted(entry.parents & self._skipped)
        if lost:
            return f"not run: it needs {dotted(lost[0])}, which was not run"
        if entry.phase is not Phase.CONTRACT:
            failed = sorted(entry.parents & set(self._held))
            return f"not run: it needs the contract {dotted(failed[0])}" if failed else None
        for table in sorted(entry.footprint.tables):
            if table in self._tables:
                return f"not run: {dotted(self._tables[table])} comes before it on table {table}"
        return None

    def hold(self, entry: Entry) -> None:
        """Note that an entry was not run."""
        if entry.phase is not Phase.CONTRACT:
            self._skipped.add(entry.key)
            return
        for table in entry.footprint.tables:
            self._tables.setdefault(table, entry.key)
        if entry.action is Action.APPLY:
            self._held[entry.key] = entry

    def take_ancestors(self, entry: Entry) -> list[Entry]:
        """Return the unrecorded contracts that an entry depends on, in order, and forget them."""
        needed: set[Key] = set()
        queue = list(entry.parents)
        while queue:
            held = self._held.get(queue.pop())
            if held is not None and held.key not in needed:
                needed.add(held.key)
                queue.extend(held.parents)
        # Entries were held in the order of the schedule.
        return [self._held.pop(key) for key in list(self._held) if key in needed]


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


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name
