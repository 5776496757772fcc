"""Runs a schedule: phase by phase, ledger and Django's record in step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations import ledger
from django_safemigrations.backfill.control import unfinished_reason
from django_safemigrations.backfill.listing import blocking, list_backfills
from django_safemigrations.exceptions import BackfillLeft, BackfillUnfinished
from django_safemigrations.executor.attempts import AttemptingExecutor, key_of
from django_safemigrations.executor.outcomes import Broken, Failure, Left, Undo
from django_safemigrations.footprints import Footprint
from django_safemigrations.models import PendingContract, Run
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.schedule import Action, Entry, Key, Schedule, dotted, is_reversible


class PhasedExecutor(AttemptingExecutor):
    """Django's executor with phases, pending contracts, and locks that are given back.

    Args:
        connection: the database.
        guard: bounds every lock wait and repeats what did not get its lock.
        progress_callback: as Django's; called with ``contract_start``, ``contract_success``,
            ``step_over``, ``unapply_pending`` and ``failed`` besides Django's own actions.

    Attributes:
        run: the ledger's row of this run; None until the ledger exists.
        failures: what went wrong, and what was not run because of it.
        left: what waits for workers to finish a backfill.
        done: what was done, as (migration, action).
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        guard: LockGuard | None = None,
        progress_callback: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(connection, guard, progress_callback)
        self.run: Run | None = None
        self.failures: list[Failure] = []
        self.left: list[Left] = []
        self.done: list[tuple[Key, str]] = []

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
        a table in common with, and what depends on it; see `failures`. A migration whose
        backfill is left to workers stays unapplied, with what depends on it; see `left`.

        Raises:
            Exception: what the failing expand migration raised.
        """
        self._begin_keeping()
        if any(entry.action is Action.APPLY for entry in schedule.entries):
            self._render(state)
        broken = Broken()
        for entry in schedule.entries:
            needs = broken.left_with(entry)
            if needs is not None:
                broken.leave(entry)
                self.left.append(Left(entry.key, needs=needs))
                continue
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
                if entry.phase is Phase.CONTRACT and not fake:
                    self._refuse_unfinished(entry)
                if entry.action is Action.RUN_PENDING:
                    self.run_contract(entry, fake=fake)
                else:
                    state = self.apply_migration(state, entry.migration, fake, fake_initial)
            except BackfillLeft as error:
                broken.leave(entry)
                self.left.append(Left(entry.key, error.key))
                self._progress("left", entry.migration)
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
            self._note(key_of(migration), action)

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

    def _refuse_unfinished(self, entry: Entry) -> None:
        """Raise if a contract would take away what a backfill has not come to the end of.

        Raises:
            BackfillUnfinished: names it, and says what to type.
        """
        found = blocking(list_backfills(self.connection), entry.footprint)
        if found is not None:
            raise BackfillUnfinished(unfinished_reason(found), found.key)

    # -- backwards -------------------------------------------------------------------

    def run_backwards(self, steps: Sequence[Undo]) -> ProjectState:
        """Take migrations back in the given order and return the state after it.

        A contract that is pending was never run: it is only unrecorded.
        """
        self._begin_keeping()
        states = self._states_before(
            [
                step.migration
                for step in steps
                if not step.contract_only
                and not step.fake
                and self._pending(key_of(step.migration)) is None
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
        key = key_of(migration)
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
        key = key_of(migration)
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
            (key_of(migration), operation)
            for migration in migrations
            if self._pending(key_of(migration)) is None
            for operation in migration.operations
            if not is_reversible(operation)
        ]

    def _begin_keeping(self) -> None:
        if self.keeper is None:
            return
        applied, files = self.loader.applied_migrations, self.loader.disk_migrations or {}

        def undone(key: Key) -> bool:
            # A record that is gone together with its file was pruned, not taken back.
            return key in files and (key not in applied or self._pending(key) is not None)

        self.keeper.begin_run(undone)

    def _note(self, key: Key, action: str) -> None:
        ledger.note(self.run, self.alias, *key, action)

    def _applied(self, migration: Migration, action: str) -> None:
        self.loader.applied_migrations[key_of(migration)] = migration
        self.done.append((key_of(migration), action))

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
        self.failures.append(Failure(key_of(migration), f"{type(error).__name__}: {error}", error))

    def _usable(self) -> bool:
        return self.connection.connection is not None and self.connection.is_usable()
