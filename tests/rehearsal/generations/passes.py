"""Runs a chain forwards as a rehearsal does, with both generations tried at every boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.rehearsal.generations import Generations, independent
from django_safemigrations.rehearsal.results import BoundaryCheck, StepKey
from django_safemigrations.rehearsal.steps import watching
from tests.kit.case import LABEL
from tests.kit.chain import Chain


class Boundaries:
    """Checks at every boundary: old code to the last expand, new code from the first contract.

    Where the two can't run side by side, old code is stopped before the contract, and new code
    is started after it.
    """

    def __init__(self, generations: Generations, expands: int, *, overlap: bool = True) -> None:
        self.overlap = overlap
        self.generations = generations
        self.expands_left = expands
        self.contracts_begun = False
        self.checks: list[BoundaryCheck] = []
        self.last: StepKey | None = None
        self.atomic = False

    @property
    def who(self) -> tuple[str, ...]:
        if self.contracts_begun:
            return ("new",)
        return ("old",) if self.expands_left or not self.overlap else ("old", "new")

    def look(self, after: StepKey | None = None) -> None:
        self.checks.append(self.generations.check(after, self.who, "default"))

    def step_begins(self, key: StepKey) -> None:
        self.contracts_begun = self.contracts_begun or key.phase == "contract"

    def step_ends(self, key: StepKey) -> None:
        pass

    def committed(self, key: StepKey) -> None:
        self.last = key
        if not self.atomic and (self.overlap or not self.contracts_begun):
            self.look(key)


def forwards(chain: Chain, **options: Any) -> list[BoundaryCheck]:
    """Bring `default` from the old schema to the end of a chain, and return what code could do."""
    old, new = states(chain)
    with chain.installed():
        executor = MigrationExecutor(connection)
        migrations = [executor.loader.disk_migrations[LABEL, name] for name in chain.change]
        generations = Generations(old, new, migrations, **options)
        return run(executor, migrations, generations, overlap=chain.case.overlap)


def states(chain: Chain) -> tuple[ProjectState, ProjectState]:
    """Return the states before and after a chain, from files that nothing else uses."""
    with chain.installed():
        loader = MigrationLoader(connection)
        old = independent(loader.project_state((LABEL, chain.initial[-1])))
    with chain.installed():
        loader = MigrationLoader(connection)
        return old, independent(loader.project_state((LABEL, chain.change[-1])))


def run(
    executor: MigrationExecutor,
    migrations: Sequence[Migration],
    generations: Generations,
    *,
    overlap: bool,
) -> list[BoundaryCheck]:
    """Run migrations one by one, with checks before, in between and after them."""
    phases = {(m.app_label, m.name): str(migration_phase(m)) for m in migrations}
    expands = sum(migration_phase(m) is Phase.EXPAND for m in migrations)
    boundaries = Boundaries(generations, expands, overlap=overlap)
    boundaries.look()
    with watching(connection, migrations, boundaries, phases=phases):
        for migration in migrations:
            # What is committed at once is looked at once, when it is in the records.
            boundaries.atomic = migration.atomic
            executor.migrate([(migration.app_label, migration.name)])
            executor.loader.build_graph()
            boundaries.expands_left -= migration_phase(migration) is Phase.EXPAND
            last_expand = not boundaries.expands_left and not boundaries.contracts_begun
            if migration.atomic or last_expand or not boundaries.overlap:
                # New code comes when the last expand is in the records.
                boundaries.look(boundaries.last)
    return boundaries.checks


def told(checks: Sequence[BoundaryCheck]) -> list[str]:
    """Return a line for each failure, for messages."""
    return [
        f"{check.after}: {f.generation} {f.model} {f.call}: {f.error}\n      {f.statement}"
        for check in checks
        for f in check.failures
    ]
