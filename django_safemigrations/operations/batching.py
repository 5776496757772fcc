"""Runs a user's change through the engine: where it was stopped, and once for each time it is applied.

That a backfill is finished is kept in the ledger, for a later operation of the same
migration may fail. Once the migration is recorded it is over: applied anew some day, it
begins anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.apps import apps as installed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import Value
from django.db.models.functions import Concat

from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.leases import ledger_has_ranges
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.backfill.ranges import members_of
from django_safemigrations.backfill.rows import RowWork
from django_safemigrations.backfill.statements import (
    StatementWork,
    refuse_changing_twice,
    statement_work_of,
)
from django_safemigrations.backfill.store import State
from django_safemigrations.backfill.work import Batch
from django_safemigrations.exceptions import BackfillFailed, BackfillStopped
from django_safemigrations.operations.base import _Staged
from django_safemigrations.operations.positions import Position, walked
from django_safemigrations.postgres.runner import Runner

LONGEST_KEY = 255
NAMED = 5

_done: dict[tuple[str, str], set[tuple[Position, bool]]] = {}
"""What was finished in this process, by database: to be settled when the run is over."""


def key_of(position: Position, *, backwards: bool) -> str:
    """Return what the ledger calls an operation's work."""
    key = f"{position}{', backwards' if backwards else ''}"
    if len(key) <= LONGEST_KEY:
        return key
    # Hashed as a whole, so that no two are taken for one.
    return f"{key[: LONGEST_KEY - 17]} {hashlib.sha256(key.encode()).hexdigest()[:16]}"


def run(
    means: Runner, work: StatementWork | RowWork, position: Position, spec: Any, *, backwards: bool
) -> int:
    """Do the work, or what is left of it; return how many rows were changed.

    Args:
        means: the means to work with.
        work: what to do.
        position: where the operation stands.
        spec: what the file says; an unchanged one goes on with the statement that was begun.
        backwards: whether it is undone.

    Raises:
        UnsupportedChange: there is no key to walk along, so that a row could be changed twice.
    """
    if not work.until_none_left:
        for member in members_of(means.catalog, work):
            refuse_changing_twice(member.relation, work.title)
    forget(means.connection, position, backwards=not backwards)
    key = key_of(position, backwards=backwards)
    task: dict[str, Any] = {"spec": _fingerprint(spec)}
    if isinstance(work, RowWork):
        task |= {"kind": "here", "title": work.title}
        if position.migration:
            task |= {
                "kind": "rows",
                "app_label": position.app_label,
                "migration": position.migration,
                "index": position.index,
                "backwards": backwards,
            }
    work = replace(work, task=task)
    store = progress_store(means.connection, key, work.table.qualified)
    known = store.load()
    if known is not None and known.state is not State.FINISHED:
        if isinstance(work, StatementWork) and known.task.get("spec") == task["spec"]:
            # What was compiled then holds: timezone.now() in a condition means that moment.
            work = statement_work_of(means.connection, known.task)
        elif store.shared:
            _change_task(means.connection, key, {**known.task, **work.describe()})
    changed = fill(means, work, store)
    _done.setdefault(_database(means.connection), set()).add((position, backwards))
    return changed


def run_at_once(means: Runner, work: StatementWork | RowWork) -> int:
    """Do the work as a part of the open transaction, where nobody is served.

    Raises:
        BackfillFailed: rows could not be changed.
    """
    changed = 0
    for member in members_of(means.catalog, work):
        done = work.change(means, Batch(member.relation, "true", (), max(1, member.rows)))
        if done.failed:
            told = [f"  {', '.join(key)}: {error}" for key, error in done.failed[:NAMED]]
            raise BackfillFailed("\n".join([f"{work.title}: rows can't be changed.", *told]))
        changed += done.rows
    return changed


def _database(connection: BaseDatabaseWrapper) -> tuple[str, str]:
    return connection.alias, str(connection.settings_dict["NAME"])


def _fingerprint(spec: Any) -> str:
    try:
        told = MigrationWriter.serialize(spec)[0]
    except ValueError:
        told = repr(spec)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _ledger(connection: BaseDatabaseWrapper) -> Any:
    # By name: the ledger is a layer above.
    model = installed.get_model("django_safemigrations", "BackfillProgress")
    return model._default_manager.using(connection.alias)


def _change_task(connection: BaseDatabaseWrapper, key: str, task: Mapping[str, Any]) -> None:
    """Let an edited operation go on where the one before it was stopped."""
    _ledger(connection).filter(key=key).update(task=dict(task))


def forget(connection: BaseDatabaseWrapper, position: Position, *, backwards: bool) -> None:
    """Let the next application begin anew: what is finished gets a name of its own in the ledger."""
    if connection.vendor != "postgresql" or not ledger_has_ranges(connection):
        return
    key = key_of(position, backwards=backwards)
    found = _ledger(connection).filter(key=key, state=State.FINISHED)
    found.update(key=Concat(Value(key[: LONGEST_KEY - 24] + " #"), "pk"))


# -- when a run is over -----------------------------------------------------------------


def settle(alias: str) -> None:
    """Forget what was finished for migrations that are recorded by now."""
    connection = connections[alias]
    done = _done.pop(_database(connection), set())
    if not done or not ledger_has_ranges(connection):
        return
    applied = MigrationRecorder(connection).applied_migrations()
    pending = installed.get_model("django_safemigrations", "PendingContract")
    owed = set(
        pending._default_manager.using(alias)
        .filter(resolved_at=None)
        .values_list("app_label", "name")
    )
    for position, backwards in done:
        key = (position.app_label, position.migration)
        if (key in applied) is not backwards and key not in owed:
            forget(connection, position, backwards=backwards)


# -- in another process -----------------------------------------------------------------


def row_work_of(connection: BaseDatabaseWrapper, stored: Mapping[str, Any]) -> RowWork:
    """Return the work of a row function, found by its place in the migration files.

    Raises:
        BackfillStopped: this process has no such file.
    """
    key = (stored["app_label"], stored["migration"])
    loader = MigrationLoader(connection)
    if key not in loader.graph.nodes:
        loader = MigrationLoader(connection, replace_migrations=False)
    migration = loader.graph.nodes.get(key)
    found = dict(walked(migration.operations)) if migration is not None else {}
    operation: Any = found.get(stored["index"])
    if migration is None or getattr(operation, "work_with", None) is None:
        raise BackfillStopped(
            f"{stored['title']}: {'.'.join(key)} has no RunInBatches at {stored['index']} in the "
            "code of this process. Start workers with the code that began it."
        )
    state = _state_at(loader.project_state(key, at_end=False), migration, stored["index"])
    work = operation.work_with(
        connection, stored["app_label"], (state, state), backwards=stored["backwards"]
    )
    assert isinstance(work, RowWork)
    return replace(work, task={name: stored[name] for name in stored if name != "keys"})


def _state_at(state: ProjectState, migration: Any, index: str) -> ProjectState:
    """Return the state that an operation gets, from that before its migration."""
    operations, place = migration.operations, index.split(".")
    for depth, number in enumerate(map(int, place)):
        for operation in operations[:number]:
            operation.state_forwards(migration.app_label, state)
        if depth == len(place) - 1:
            break
        container = operations[number]
        if isinstance(container, _Staged):
            # Its stages get the states around the whole change.
            container.state_forwards(migration.app_label, state)
            break
        operations = container.database_operations
    return state
