"""Splits what the autodetector found into chains of migrations.

`hook` composes it onto whatever autodetector is installed. It only touches the result of
``_detect_changes()``: Django has found and optimised the operations by then, and has
yet to name the migrations and connect them to the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import get_settings
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.rewrites import (
    Chain,
    Plain,
    Step,
    own_copy,
    refuse_another_end,
    rewrite,
)

# Django cuts a suggested name at 100 characters; a file name that long helps nobody.
LONGEST_NAME = 60

# Instances carry what the stubs declare for the class: operations, dependencies, atomic.
AnyMigration = Any
Changes = dict[str, list[AnyMigration]]


def stage(changes: Changes, state: ProjectState, graph: Any = None) -> Changes:
    """Return the migrations with unsafe changes split into chains.

    Args:
        changes: unnamed migrations by app, as ``_detect_changes`` returns them.
        state: the state before them; left as it is.
        graph: the migrations there are; without it, an app's first one stands for its last.

    Raises:
        SettingsError: SAFE_MIGRATIONS can't be used.
        UnsupportedChange: the settings forbid a change.
    """
    if not changes:
        return changes
    settings = get_settings()
    before, state = state, own_copy(state)
    created: set[tuple[str, str]] = set()
    by_phase = settings.grouping == "phase"
    parts = {app_label: _Parts(app_label, by_phase=by_phase) for app_label in changes}
    plain = _in_order(changes)
    for migration in plain:
        steps = rewrite(migration.app_label, migration.operations, state, settings, created)
        parts[migration.app_label].add(migration, steps)
    staged = {app_label: parts[app_label].migrations() for app_label in changes}
    _repoint(changes, staged, graph)
    refuse_another_end(before, plain, _in_order(staged))
    return staged


def _repoint(changes: Changes, staged: Changes, graph: Any) -> None:
    """Free other apps from migrations of which only contracts are left.

    They depend on what was there before instead: a contract holds up nobody else's expand.
    """
    left = {(m.app_label, m.name) for migrations in staged.values() for m in migrations}
    gone = {(m.app_label, m.name) for migrations in changes.values() for m in migrations} - left
    for app_label, migrations in staged.items():
        for migration in migrations:
            instead = {
                _before(dependency[0], staged, graph)
                for dependency in gone.intersection(migration.dependencies)
                if dependency[0] != app_label
            }
            kept = {dependency for dependency in migration.dependencies if dependency not in gone}
            migration.dependencies = sorted(kept | instead, key=str)


def _before(app_label: str, staged: Changes, graph: Any) -> tuple[str, str]:
    """Return the last migration of an app that runs before its contracts of this run."""
    expands = [m for m in staged[app_label] if migration_phase(m) is Phase.EXPAND]
    if expands:
        return app_label, expands[-1].name
    leaves = graph.leaf_nodes(app_label) if graph is not None else []
    return leaves[0] if leaves else (app_label, "__first__")


def _in_order(changes: Changes) -> list[AnyMigration]:
    """Return the migrations of all apps, each after those it depends on."""
    waiting = [migration for migrations in changes.values() for migration in migrations]
    names = {(migration.app_label, migration.name) for migration in waiting}
    ordered: list[AnyMigration] = []
    while waiting:
        done = {(migration.app_label, migration.name) for migration in ordered}
        ready = [m for m in waiting if not (set(m.dependencies) & names) - done]
        # The autodetector makes no circles; if it did, its own order would have to do.
        ordered += ready or waiting
        waiting = [m for m in waiting if m not in ordered]
    return ordered


class _Parts:
    """The migrations of one app: all expands in their order, then all contracts."""

    def __init__(self, app_label: str, *, by_phase: bool) -> None:
        self.app_label = app_label
        self.by_phase = by_phase
        self.expands: list[AnyMigration] = []
        self.contracts: list[AnyMigration] = []
        self.leftover: set[Any] = set()

    def add(self, migration: AnyMigration, steps: Sequence[Step]) -> None:
        """Add what became of one migration."""
        notes = [step.note for step in steps if step.note]
        if all(isinstance(step, Plain) for step in steps) and _unchanged(migration, steps):
            _note(migration, notes)
            self._append_expand([migration], migration)
            return
        expands: list[AnyMigration] = []
        plain: list[Operation] = []
        earlier = len(self.contracts)
        for step in steps:
            if isinstance(step, Plain):
                plain.append(step.operation)
                continue
            if plain and step.expand:
                expands.append(self._part(migration, plain))
                plain = []
            if step.expand:
                expands.append(self._staged(migration, step, Phase.EXPAND))
            if step.contract:
                self.contracts.append(self._staged(migration, step, Phase.CONTRACT))
        if plain:
            expands.append(self._part(migration, plain))
        if self.by_phase:
            expands = _merged(expands)
        first = next(iter([*expands, *self.contracts[earlier:]]), None)
        if first is not None:
            _note(first, notes)
        self._append_expand(expands, migration)

    def _append_expand(self, expands: list[AnyMigration], origin: AnyMigration) -> None:
        if not expands:
            # Only contracts came of it: what it waited for, the first of them waits for.
            self.leftover |= set(origin.dependencies)
            return
        expands[0].dependencies = list(origin.dependencies)
        # Other apps' migrations depend on the origin's name: the last expand bears it.
        expands[-1].name = origin.name
        self.expands += expands

    def migrations(self) -> list[AnyMigration]:
        """Return the app's migrations, each depending on the one before it."""
        if self.by_phase:
            self.contracts = _merged(self.contracts)
        ordered = [*self.expands, *self.contracts]
        own = {migration.name for migration in ordered}
        for position, migration in enumerate(ordered):
            dependencies = {
                dependency
                for dependency in migration.dependencies
                if dependency[0] != self.app_label or dependency[1] not in own
            }
            if position:
                dependencies.add((self.app_label, ordered[position - 1].name))
            migration.dependencies = sorted(dependencies, key=str)
        if self.contracts:
            first = self.contracts[0]
            external = {d for d in self.leftover if d[0] != self.app_label}
            first.dependencies = sorted({*first.dependencies, *external}, key=str)
        return ordered

    def _part(self, origin: AnyMigration, operations: list[Operation]) -> AnyMigration:
        part = _new_migration(f"{origin.name}_{len(self.expands)}_{id(operations)}", self.app_label)
        part.operations = operations
        return part

    def _staged(self, origin: AnyMigration, chain: Chain, phase: Phase) -> AnyMigration:
        operations = chain.expand if phase is Phase.EXPAND else chain.contract
        part = self._part(origin, list(operations))
        # CONCURRENTLY can't run in a transaction, and locks must not add up in one.
        part.atomic = False
        name = chain.name[:LONGEST_NAME].rstrip("_")
        if phase is Phase.CONTRACT:
            name = f"{name}_contract"
        part.staged_name = name
        part.title = chain.title
        part.phase = phase
        if phase is Phase.EXPAND:
            after = " Its contract follows when no old code is left." if chain.contract else ""
            reason = f"Expand: {chain.title}. {_sentence(chain.why)}{after}"
        else:
            reason = (
                f"Contract: {chain.title}. {_sentence(chain.after)} "
                "Run it with `manage.py safemigrate --phase contract`."
            )
        part.reason = reason
        return part


def _merged(parts: list[AnyMigration]) -> list[AnyMigration]:
    """Pour staged parts that stand side by side into the first of them.

    Plain ones stay apart: they run in a transaction, and what is not atomic and not ours
    could not be run again after it was killed in the middle.
    """
    merged: list[AnyMigration] = []
    for part in parts:
        last = merged[-1] if merged else None
        if last is None or not (getattr(part, "reason", "") and getattr(last, "reason", "")):
            merged.append(part)
            continue
        last.operations = [*last.operations, *part.operations]
        _note(last, [*getattr(last, "notes", []), *getattr(part, "notes", [])])
        last.title = f"{last.title}; {part.title}"
        last.staged_name = _name_of_all(last)
        last.reason = _reason_of_all(last)
    return merged


def _name_of_all(part: AnyMigration) -> str:
    name = ""
    for fragment in filter(None, (o.migration_name_fragment for o in part.operations)):
        longer = f"{name}_{fragment}" if name else fragment[:LONGEST_NAME].rstrip("_")
        if len(longer) > LONGEST_NAME:
            name = f"{name}_and_more"
            break
        name = longer
    return f"{name}_contract" if part.phase is Phase.CONTRACT else name


def _reason_of_all(part: AnyMigration) -> str:
    if part.phase is Phase.EXPAND:
        return f"Expand: {part.title}. Old and new code both work afterwards."
    return (
        f"Contract: {part.title}. It runs when no old code is left. "
        "Run it with `manage.py safemigrate --phase contract`."
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _unchanged(migration: AnyMigration, steps: Sequence[Step]) -> bool:
    operations = [step.operation for step in steps if isinstance(step, Plain)]
    return bool(operations == migration.operations)


def _note(migration: AnyMigration, notes: list[str]) -> None:
    migration.notes = notes


def _suggest_name(self: AnyMigration) -> str:
    return getattr(self, "staged_name", "") or Migration.suggest_name(self)


def _new_migration(name: str, app_label: str) -> AnyMigration:
    namespace = {"operations": [], "dependencies": [], "suggest_name": _suggest_name}
    migration = type("Migration", (Migration,), namespace)(name, app_label)
    migration.initial = False
    return migration
