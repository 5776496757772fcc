"""What there is to rehearse: all of a plan, whichever phase of it runs today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from django_safemigrations import ledger
from django_safemigrations.checklist import plan_hash
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.footprints import Footprint
from django_safemigrations.management.targets import Target
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.rehearsal.generations import independent
from django_safemigrations.schedule import Key


@dataclass(frozen=True)
class Planned:
    """A plan, as production would run it.

    Attributes:
        alias: the database.
        words: app label and migration, as they were typed.
        migrations: all that have work to do in the database, in the order of the graph.
        phases: the phase of each.
        pending: those of them that Django takes for applied.
        old: the models before.
        new: the models after all of it.
        hashes: the hashes under which safemigrate asks for evidence: of each phase by itself, and
            of both.
    """

    alias: str
    words: tuple[str, ...]
    migrations: tuple[Migration, ...]
    phases: Mapping[Key, Phase]
    pending: frozenset[Key]
    old: ProjectState
    new: ProjectState
    hashes: tuple[str, ...]

    @property
    def keys(self) -> list[Key]:
        """App label and name of each migration."""
        return [(m.app_label, m.name) for m in self.migrations]

    def has(self, phase: Phase) -> bool:
        """Whether there is something to run in a phase."""
        return phase in self.phases.values()


def plan_of(
    executor: PhasedExecutor, target: Target, owed: Mapping[Key, Footprint], words: tuple[str, ...]
) -> Planned:
    """Return what safemigrate has to run to get to a target, in all phases.

    Args:
        executor: on the database in question.
        target: where to.
        owed: the contracts that the ledger holds.
        words: app label and migration, as they were typed.
    """
    unapplied = {
        (m.app_label, m.name): m for m in target.migrations if m.app_label != ledger.APP_LABEL
    }
    applied = executor.applied_state()
    # RenameField changes in place what states and files share.
    old, new = independent(applied), applied.clone()
    migrations: list[Migration] = []
    in_order = {(m.app_label, m.name): m for m in executor.full_plan()}
    disk = executor.loader.disk_migrations or {}
    outside = {key: disk[key] for key in owed if key not in in_order and key in disk}
    pending = frozenset(key for key in owed if target.covers(key) and key in {**in_order, **disk})
    for key, migration in {**outside, **in_order}.items():
        if key in unapplied:
            new = migration.mutate_state(new, preserve=False)
        if key in unapplied or key in pending:
            migrations.append(migration)
    phases = {(m.app_label, m.name): migration_phase(m) for m in migrations}
    groups = [[m for m in migrations if phases[m.app_label, m.name] is phase] for phase in Phase]
    hashes = [plan_hash(executor.connection, group) for group in (*groups, migrations) if group]
    return Planned(
        executor.alias,
        words,
        tuple(migrations),
        phases,
        pending,
        old,
        new,
        tuple(dict.fromkeys(hashes)),
    )
