"""Decides which migrations run now, which are stepped over, and which wait for their phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.exceptions import PendingContractConflict
from django_safemigrations.footprints import Footprint, migration_footprint
from django_safemigrations.phases import Phase, migration_phase

Key = tuple[str, str]


def dotted(key: Key) -> str:
    """Write a migration as users know it: ``app_label.name``."""
    return f"{key[0]}.{key[1]}"


def is_reversible(operation: Operation) -> bool:
    """Whether an operation and everything inside it can be taken back."""
    nested = getattr(operation, "database_operations", ())
    return operation.reversible and all(map(is_reversible, nested))


class Action(StrEnum):
    """What becomes of a migration in a run."""

    APPLY = "apply"
    STEP_OVER = "step over"
    """Recorded as applied for Django; its database part stays pending in the ledger."""
    RUN_PENDING = "run pending"
    """The database part of a contract that was stepped over before."""


@dataclass(frozen=True)
class Entry:
    """A migration of a run.

    Attributes:
        migration: the migration.
        action: what becomes of it.
        phase: its phase.
        footprint: what it touches; empty where no contract is in sight.
        parents: the migrations of the same run that it needs directly.
        needed_by: of a contract that is stepped over: the first expand that needs it.
    """

    migration: Migration
    action: Action
    phase: Phase
    footprint: Footprint = field(default_factory=Footprint)
    parents: frozenset[Key] = frozenset()
    needed_by: Key | None = None

    @property
    def key(self) -> Key:
        """App label and name."""
        return self.migration.app_label, self.migration.name


@dataclass(frozen=True)
class Schedule:
    """The migrations of a run in order, and those that are left for another phase."""

    entries: tuple[Entry, ...]
    waiting: tuple[tuple[Key, Phase], ...] = ()

    @property
    def working(self) -> tuple[Entry, ...]:
        """The entries that do something to the database."""
        return tuple(entry for entry in self.entries if entry.action is not Action.STEP_OVER)


def build_schedule(
    loader: MigrationLoader,
    plan: Sequence[Migration],
    full_plan: Sequence[Migration],
    phase: Phase | None,
    pending: Mapping[Key, Footprint],
    pending_in_scope: Iterable[Key],
) -> Schedule:
    """Lay out a forwards run.

    Args:
        loader: the migrations on disk and their graph.
        plan: the unapplied migrations that the target needs, in order.
        full_plan: every migration of the graph, in the order of an empty database.
        phase: the phase to run; None for both.
        pending: the contracts that the ledger holds, with what they touch.
        pending_in_scope: those of them that the target covers.

    Raises:
        MixedPhases: a migration holds operations of both phases.
        PendingContractConflict: an expand migration touches what a contract that has not
            run still has to change.
    """
    phases = {_key(migration): migration_phase(migration) for migration in plan}
    has_contracts = bool(pending) or Phase.CONTRACT in phases.values()
    prints: dict[Key, Footprint] = {}
    if has_contracts:
        prints = footprints(loader, full_plan, {*phases, *pending})
    needs = _needs(loader, plan, phases)
    in_scope = set(pending_in_scope)
    entries = _outside_graph(loader, full_plan, phase, pending, in_scope)
    waiting: list[tuple[Key, Phase]] = []
    for migration in full_plan:
        key = _key(migration)
        if key in pending and key in in_scope and phase is not Phase.EXPAND:
            entries.append(Entry(migration, Action.RUN_PENDING, Phase.CONTRACT, prints[key]))
        if key not in phases:
            continue
        its_phase = phases[key]
        parents = frozenset(
            parent.key for parent in loader.graph.node_map[key].parents if parent.key in phases
        )
        action = Action.APPLY
        needed_by: Key | None = None
        if phase is Phase.EXPAND and its_phase is Phase.CONTRACT:
            action = Action.STEP_OVER
            needed_by = next((k for k in phases if key in needs[k] and _expands(phases, k)), None)
            if needed_by is None:
                waiting.append((key, its_phase))
                continue
        if phase is Phase.CONTRACT and (
            its_phase is Phase.EXPAND or any(_expands(phases, need) for need in needs[key])
        ):
            waiting.append((key, its_phase))
            continue
        entries.append(
            Entry(migration, action, its_phase, prints.get(key, Footprint()), parents, needed_by)
        )
    if phase is Phase.EXPAND:
        _refuse_conflicts(entries, needs, pending, prints)
    return Schedule(tuple(entries), tuple(waiting))


def _outside_graph(
    loader: MigrationLoader,
    full_plan: Sequence[Migration],
    phase: Phase | None,
    pending: Mapping[Key, Footprint],
    in_scope: set[Key],
) -> list[Entry]:
    """Return the pending contracts in whose place a squash stands, if their file is there."""
    if phase is Phase.EXPAND:
        return []
    in_graph = {_key(migration) for migration in full_plan}
    disk = loader.disk_migrations or {}
    return [
        Entry(disk[key], Action.RUN_PENDING, Phase.CONTRACT, footprint)
        for key, footprint in pending.items()
        if key in in_scope and key not in in_graph and key in disk
    ]


def footprints(
    loader: MigrationLoader, full_plan: Sequence[Migration], keys: Iterable[Key]
) -> dict[Key, Footprint]:
    """Return what some migrations touch, walking over the project's states once."""
    wanted = set(keys)
    found: dict[Key, Footprint] = {}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for migration in full_plan:
        key = _key(migration)
        if key in wanted:
            found[key] = migration_footprint(migration, state)
        else:
            migration.mutate_state(state, preserve=False)
    return found


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name


def _expands(phases: Mapping[Key, Phase], key: Key) -> bool:
    return phases[key] is Phase.EXPAND


def _needs(
    loader: MigrationLoader, plan: Sequence[Migration], phases: Mapping[Key, Phase]
) -> dict[Key, frozenset[Key]]:
    """Return for each migration of the plan all others of it that it depends on."""
    needs: dict[Key, frozenset[Key]] = {}
    for migration in plan:
        parents = {
            parent.key
            for parent in loader.graph.node_map[_key(migration)].parents
            if parent.key in phases
        }
        needs[_key(migration)] = frozenset(parents).union(*(needs[key] for key in parents))
    return needs


def _refuse_conflicts(
    entries: Sequence[Entry],
    needs: Mapping[Key, frozenset[Key]],
    pending: Mapping[Key, Footprint],
    prints: Mapping[Key, Footprint],
) -> None:
    for entry in entries:
        if entry.phase is not Phase.EXPAND:
            continue
        owed = {key: prints.get(key, footprint) for key, footprint in pending.items()}
        for other in entries:
            if other.action is Action.STEP_OVER and other.key in needs[entry.key]:
                owed[other.key] = other.footprint
        for key, footprint in owed.items():
            shared = entry.footprint.touches(footprint)
            if shared is not None:
                app_label, name = key
                raise PendingContractConflict(
                    f"{dotted(entry.key)} touches {shared}, which the contract {dotted(key)} still "
                    "has to change; it has not run yet. Nothing was changed.\n"
                    "When no old code is left, run the contract first: "
                    f"manage.py safemigrate {app_label} {name} --phase contract"
                )
