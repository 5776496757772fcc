"""The way back: to an earlier migration, or over the last runs."""

from __future__ import annotations

import sys

from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.executor import PhasedExecutor, Undo
from django_safemigrations.management.exit_codes import FAILED, UNMET
from django_safemigrations.management.losses import Losses, losses_of, new_code_lines
from django_safemigrations.management.recording import Recording, done_by
from django_safemigrations.management.rollback import find_rollback, mark_rolled_back
from django_safemigrations.management.targets import Target
from django_safemigrations.models import Run
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.schedule import dotted


class GoingBack(Recording):
    """The modes that take migrations back."""

    def _backwards(self, executor: PhasedExecutor, target: Target) -> int:
        steps = [Undo(migration, fake=self.options["fake"]) for migration in target.migrations]
        losses = self._tell_losses(executor, steps)
        if losses:
            self._ask("Take these back?")
        self._go_back(executor, steps, Run(kind=Run.Kind.BACKWARDS, operator=ledger.operator()))
        return 0

    def _roll_back(self, connection: BaseDatabaseWrapper, guard: LockGuard) -> int:
        executor = self._executor(connection, guard)
        if ledger.exists(connection):
            ledger.mark_interrupted(self.database)
            ledger.reconcile(connection, executor.loader)
        runs, steps = find_rollback(executor, self.options["rollback"])
        self.line(f"Rolling back {len(runs)} run(s), {len(steps)} migration(s):")
        for step in steps:
            self.line(f"  {step.migration}")
        losses = self._tell_losses(executor, steps)
        self._ask("Take these back, and lose that data?" if losses else "Take these back?")
        self._go_back(executor, steps, Run(kind=Run.Kind.ROLLBACK, operator=ledger.operator()))
        mark_rolled_back(self.database, runs, timezone.now())
        self.document["rolled_back"] = [run.pk for run in runs]
        return 0

    def _tell_losses(self, executor: PhasedExecutor, steps: list[Undo]) -> Losses:
        """Say what the way back takes away, what it can't bring back, and whom it would break."""
        losses = losses_of(executor, steps)
        self.document["losses"] = list(losses.lost)
        self.document["not_brought_back"] = list(losses.gone)
        for line in losses.lines():
            self.line(line)
        for line in new_code_lines(executor, steps):
            self.stderr.write(self.style.WARNING(line))
        return losses

    def _ask(self, question: str) -> None:
        """Ask in a terminal, unless --noinput was typed.

        Raises:
            CommandError: the answer was no.
        """
        if not self.interactive or self.as_json or not sys.stdin.isatty():
            return
        answer = input(f"{question} [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.", returncode=FAILED)

    def _go_back(self, executor: PhasedExecutor, steps: list[Undo], run: Run) -> None:
        stuck = executor.irreversible(step.migration for step in steps if not step.fake)
        if stuck:
            lines = [f"  {dotted(key)}: {operation.describe()}" for key, operation in stuck]
            raise CommandError(
                "\n".join(
                    [
                        "reversible: these operations can't be undone; nothing was changed.",
                        *lines,
                        "Give them a reverse (reverse_sql, reverse_code) or restore a backup.",
                    ]
                ),
                returncode=UNMET,
            )
        plan = [(step.migration, True) for step in steps]
        with self._signals(executor, plan) as states:
            self.line("Running migrations:", self.style.MIGRATE_HEADING)
            states[0] = self._create_ledger(executor, states[0])
            with self._recorded(executor, run, bool(steps)):
                states[0] = executor.run_backwards(steps)
        self.document["migrations"] = done_by(executor)
        self.document["result"] = "done" if executor.done else "nothing to do"
