"""Runs safemigrate itself on the copy: what is rehearsed is what will run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.migrations import Migration

from django_safemigrations.backfill.surroundings import surrounded_by, unthrottled
from django_safemigrations.checklist import plan_hash
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.management.announcing import Announcer
from django_safemigrations.management.commands.safemigrate import Command
from django_safemigrations.management.gate import Judged
from django_safemigrations.schedule import Schedule

ON_COPY = "this is a copy, on which the plan is tried"
TOLD = {
    "apply_start": "running {}",
    "contract_start": "running contract {}",
    "unapply_start": "taking back {}",
    "step_over": "stepping over {}",
}


@dataclass(frozen=True)
class Ran:
    """How a command ended.

    Attributes:
        code: exit code.
        document: what ``--format json`` would print.
        error: why it failed; empty if it did not.
    """

    code: int
    document: Mapping[str, Any]
    error: str = ""


class Quiet(Announcer):
    """Tells nobody: what happens on a copy is no news."""

    def tell(self, event: str, **facts: Any) -> None:
        """Tell nothing."""


class OnCopy(Command):
    """safemigrate on a copy: asks no checklist, tells nobody but the rehearsal."""

    announcer_class = Quiet
    keeps_dropped = False

    def __init__(self, progress: Callable[[str], None]) -> None:
        super().__init__(stdout=io.StringIO(), stderr=io.StringIO(), no_color=True)
        self.progress = progress

    def _judge(
        self, executor: PhasedExecutor, schedule: Schedule, *, fake: bool, fresh: bool
    ) -> Judged:
        migrations = [entry.migration for entry in schedule.working]
        return Judged(plan_hash(executor.connection, migrations), skipped=ON_COPY)

    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        """Pass on what begins."""
        if action in TOLD:
            self.progress(TOLD[action].format(migration))


def run_on_copy(alias: str, words: tuple[str, ...], progress: Callable[[str], None]) -> Ran:
    """Run safemigrate in this process, on whatever an alias leads to now.

    Args:
        alias: the alias, for which the copy stands in.
        words: more of the command line.
        progress: told of each migration that begins.
    """
    command = OnCopy(progress)
    line = (*words, "--database", alias, "--noinput", "--no-gather", "--verbosity", "0")
    code, error = 0, ""
    try:
        # Nobody is served by the copy: no window, rate, standby or load is waited for.
        with surrounded_by(throttle=unthrottled):
            call_command(command, *line)
    except CommandError as failure:
        code, error = failure.returncode, str(failure)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return Ran(code, getattr(command, "document", {}), error)
