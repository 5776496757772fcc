"""Before a run: gathers the evidence that it lacks, where the database is small or settings say how."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.backup.taking import attested, take_backup
from django_safemigrations.checklist import record_evidence
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import (
    BackupFailed,
    ChecklistUnmet,
    CopyFailed,
    CopyRefused,
    ProgramFailed,
    ProgramMissing,
    ReportNotWritten,
)
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.footprints import Footprint
from django_safemigrations.management.gate import Judged, is_fresh
from django_safemigrations.management.rehearsing.gathering import GATHERED, intentions
from django_safemigrations.management.running import Running
from django_safemigrations.management.targets import Target, usage
from django_safemigrations.postgres.session import migrator_lock
from django_safemigrations.schedule import Key, Schedule

NOT_GATHERED = (
    BackupFailed,
    CopyFailed,
    CopyRefused,
    ProgramFailed,
    ProgramMissing,
    ReportNotWritten,
)


class EvidenceFirst(Running):
    """Meets `rehearsed` and `backup` before anything is locked; the run then judges anew."""

    def _gather(self, connection: BaseDatabaseWrapper) -> None:
        """Gather what a forwards run lacks, if nothing else would refuse it.

        Raises:
            ChecklistUnmet: the rehearsal found something.
        """
        options = self.options
        forwards = options["rollback"] is None and not options["prune"] and not self.resolutions
        levels = get_settings().checklist
        wanted = [i for i in GATHERED if levels[i] == "require" and i not in self.waivers]
        if not forwards or not options["gather"] or options["fake"] or not wanted:
            return
        executor = self._executor(connection)
        owed = self._owed(executor)
        target = self._target(executor, owed)
        if target.backwards or is_fresh(executor):
            return
        schedule = self._schedule(executor, target, self._phase_of_run(fresh=False), owed)
        judged = self._judge(executor, schedule, fake=False, fresh=False)
        items, told = intentions(connection, judged.verdicts, get_settings())
        if not items:
            if self.verbosity >= 1:
                self.lines(told)
            return
        self._ensure_ledger(connection)
        if "rehearsed" in items:
            with self._or_unmet("rehearsed"):
                self._rehearse(executor, target, owed, schedule)
        if "backup" in items:
            with self._or_unmet("backup"):
                self._back_up(executor, judged)

    @contextlib.contextmanager
    def _or_unmet(self, item: str) -> Iterator[None]:
        """Refuse the run where evidence can't be gathered: then the item is unmet.

        Raises:
            ChecklistUnmet: with the reason and the other ways.
        """
        try:
            yield
        except NOT_GATHERED as error:
            raise ChecklistUnmet(
                f"{item}: no evidence could be gathered; nothing was changed.\n{error}\n"
                f"Or record evidence of your own, or waive the item with a reason that the ledger "
                f'keeps: {self._typed()} --waive {item}="..."'
            ) from error

    def _ensure_ledger(self, connection: BaseDatabaseWrapper) -> None:
        """Make the tables that evidence is kept in: they are this app's own."""
        if not ledger.is_whole(connection):
            with migrator_lock(connection):
                executor = self._executor(connection)
                self._create_ledger(executor, executor.applied_state())

    def _rehearse(
        self,
        executor: PhasedExecutor,
        target: Target,
        owed: dict[Key, Footprint],
        schedule: Schedule,
    ) -> None:
        # Imported when needed: it runs this very command on the copy.
        from django_safemigrations.management.rehearsing.planned import plan_of
        from django_safemigrations.management.rehearsing.recorded import rehearse_and_record
        from django_safemigrations.management.rehearsing.told import rehearsal_lines

        options = self.options
        words = tuple(w for w in (options["app_label"], options["migration_name"]) if w)
        self.line("Rehearsing the plan on a copy:", self.style.MIGRATE_HEADING)
        done = rehearse_and_record(
            executor,
            plan_of(executor, target, owed, words),
            get_settings(),
            judge=lambda: self._judge(executor, schedule, fake=False, fresh=False),
            next_command=self._typed(),
            progress=lambda text: self.line(f"  {text}"),
            now=timezone.now,
        )
        self.document["rehearsal"] = done.document()
        lines = rehearsal_lines(done, unicode=self.can_print_unicode)
        if not done.rehearsal.passed:
            raise ChecklistUnmet("\n".join(["rehearsed: nothing was changed.", *lines]))
        if self.verbosity >= 1:
            self.lines(lines)

    def _back_up(self, executor: PhasedExecutor, judged: Judged) -> None:
        """Take the backup that the settings ask for, and record it for this plan."""
        self.line("Taking a backup:", self.style.MIGRATE_HEADING)
        settings = get_settings().backup
        given = self.options["backup_id"]
        if settings.strategy == "attested" and given:
            name, _, at = given.partition("@")
            taken = attested(name, _moment(at), settings.max_age, timezone.now())
        else:
            taken = take_backup(
                executor.connection,
                settings,
                at_risk=judged.at_risk,
                progress=lambda text: self.line(f"  {text}"),
                clock=timezone.now,
            )
        record_evidence(self.database, "backup", judged.plan_hash, taken.details)
        self.document["backup"] = dict(taken.details)
        if self.verbosity >= 1:
            self.lines(f"  {line}" for line in taken.describe)


def _moment(text: str) -> datetime:
    """Read when a backup was begun; now if nobody says it."""
    if not text:
        return timezone.now()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise usage(
            f"--backup-id: {text!r} is not a time. Write ID@2026-11-23T06:00+00:00, for example."
        ) from None
