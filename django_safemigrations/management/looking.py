"""What safemigrate shows without changing anything: status, check, plan."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, TextIO, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.backfill.listing import unfinished
from django_safemigrations.backup.kept import list_kept
from django_safemigrations.conf import get_settings
from django_safemigrations.executor import PhasedExecutor, Undo
from django_safemigrations.footprints import Footprint
from django_safemigrations.management.backfills import (
    Looks,
    backfill_lines,
    documents_of,
    watch,
)
from django_safemigrations.management.display import Display
from django_safemigrations.management.exit_codes import PENDING
from django_safemigrations.management.gate import Judged, is_fresh, judge
from django_safemigrations.management.history import history_document, history_lines
from django_safemigrations.management.losses import losses_of, new_code_lines
from django_safemigrations.management.overdue import (
    overdue_contracts,
    overdue_lines,
    waiting_contracts,
)
from django_safemigrations.management.plan_report import plan_document, plan_lines
from django_safemigrations.management.preparing import footprints_of
from django_safemigrations.management.rehearsing.gathering import intentions
from django_safemigrations.management.rollback import find_rollback
from django_safemigrations.management.status_report import (
    has_work,
    kept_lines,
    ledger_lines,
    read_ledger,
    work_document,
    work_lines,
)
from django_safemigrations.management.targets import Target
from django_safemigrations.management.telling import Telling
from django_safemigrations.phases import Phase
from django_safemigrations.planning import build_plan
from django_safemigrations.schedule import Action, Entry, Key, Schedule, dotted


class Looking(Telling):
    """The modes that only read."""

    def _status(self, connection: BaseDatabaseWrapper) -> int:
        executor = self._executor(connection)
        pending, rest = read_ledger(connection, executor.loader)
        document = work_document(executor.loader, pending, self.options["app_label"])
        self.document.update(document, **rest)
        self.lines(work_lines(document))
        self._overdue(executor, document)
        self.lines(ledger_lines(rest))
        kept = list_kept(connection)
        self.document["kept"] = [each.as_dict() for each in kept]
        self.lines(kept_lines(kept))
        if self.options["watch"]:
            self._watch(connection)
        return 0

    def _history(self, connection: BaseDatabaseWrapper) -> int:
        count = self.options["history"]
        runs = history_document(self.database, count) if ledger.exists(connection) else []
        self.document["history"] = runs
        self.lines(history_lines(runs))
        return 0

    def _overdue(self, executor: PhasedExecutor, document: dict[str, Any]) -> None:
        """Say which contracts of what is left should have run long ago."""
        self.document["overdue"] = overdue_contracts(
            executor.connection,
            executor.loader,
            waiting_contracts(document),
            get_settings().contract_overdue,
            timezone.now(),
        )
        if self.verbosity >= 1:
            self.lines(overdue_lines(self.document["overdue"]))

    def _watch(self, connection: BaseDatabaseWrapper) -> None:
        """Show backfills until all have ended, or until somebody has seen enough."""
        # Ctrl-C ends only the looking.
        with (
            contextlib.suppress(KeyboardInterrupt),
            Display(cast("TextIO", self.stdout)) as display,
        ):
            watch(Looks(connection), display)
        self.line("")

    def _check(self, connection: BaseDatabaseWrapper) -> int:
        executor = self._executor(connection)
        pending, _ = read_ledger(connection, executor.loader)
        owed = footprints_of(pending)
        target = self._target(executor, owed)
        if target.backwards:
            left = bool(target.migrations)
            self.document["backwards"] = [str(migration) for migration in target.migrations]
        else:
            wanted = {(m.app_label, m.name) for m in target.migrations}
            rows = [row for row in pending if target.covers((row.app_label, row.name))]
            document = work_document(executor.loader, rows, None, wanted)
            left = has_work(document, self._asked_phase)
            self.document.update(document)
            if self.verbosity >= 1:
                self.lines(work_lines(document))
            self._overdue(executor, document)
        under_way = unfinished(connection) if not target.backwards else []
        looks = Looks(connection)
        self.document["backfills"] = documents_of(looks, under_way)
        if under_way and self.verbosity >= 1:
            self.lines(["Backfills:", *backfill_lines(self.document["backfills"])])
        left = left or bool(under_way)
        self.document["pending"] = left
        return PENDING if left else 0

    def _plan(self, connection: BaseDatabaseWrapper) -> int:
        executor = self._executor(connection)
        pending, _ = read_ledger(connection, executor.loader)
        owed = footprints_of(pending)
        if self.options["rollback"] is not None:
            _, steps = find_rollback(executor, self.options["rollback"])
            return self._show_way_back(executor, steps)
        target = self._target(executor, owed)
        if target.backwards:
            return self._show_way_back(executor, [Undo(m) for m in target.migrations])
        fresh = is_fresh(executor)
        phase = self._phase_of_run(fresh=fresh)
        schedule = self._schedule(executor, target, phase, owed)
        judged = judge(
            executor,
            schedule,
            command=self._typed(),
            waivers=self.waivers,
            fake=self.options["fake"],
            fresh=fresh,
        )
        state = executor.applied_state()
        now = build_plan(connection, executor.loader, schedule.entries, state)
        later: list[Entry] = []
        if self.options["phase"] is None and phase is Phase.EXPAND:
            later = self._later(executor, target, owed, schedule)
        then = build_plan(connection, executor.loader, later, state)
        self.document.update(judged.document())
        self.document["phase"] = str(phase or "all")
        self.document["steps"] = plan_document(now)
        self.document["later"] = plan_document(then)
        self.document["stepped_over"] = [
            dotted(e.key) for e in schedule.entries if e.action is Action.STEP_OVER
        ]
        _, self.document["gathers"] = intentions(connection, judged.verdicts, get_settings())
        self._print_plan(schedule, now, then, judged)
        left = bool(schedule.working or later)
        return PENDING if left and self.options["check_unapplied"] else 0

    def _print_plan(self, schedule: Schedule, now: Any, then: Any, judged: Judged) -> None:
        if not now.steps and not then.steps:
            self.lines([f"Database {self.database!r}: no migrations to run."])
            return
        runs = "runs now"
        self.lines([f"Plan for database {self.database!r}, hash {judged.plan_hash}"])
        titles = {str(phase): f"{phase.upper()} ({runs})" for phase in Phase}
        self.lines(plan_lines(now, titles))
        for entry in schedule.entries:
            if entry.action is Action.STEP_OVER and entry.needed_by is not None:
                name, needed_by = dotted(entry.key), dotted(entry.needed_by)
                self.lines(["", f"  {name} is stepped over, for {needed_by} needs its state"])
        if then.steps:
            titles = {
                str(phase): f"{phase.upper()} (runs with --phase contract)" for phase in Phase
            }
            self.lines(plan_lines(then, titles))
        self.lines(["", *judged.lines(unicode=self.can_print_unicode)])
        self.lines(self.document["gathers"])
        if judged.way_back is not None:
            self.lines(["", *judged.way_back.lines()])
        self._write_way_back(judged.way_back)

    def _later(
        self,
        executor: PhasedExecutor,
        target: Target,
        owed: dict[Key, Footprint],
        schedule: Schedule,
    ) -> list[Entry]:
        """Return the contracts that an expand run leaves, each shown at its place in the graph."""
        keys = {key for key, _ in schedule.waiting}
        keys |= {e.key for e in schedule.entries if e.action is Action.STEP_OVER}
        keys |= {key for key in owed if target.covers(key)}
        disk = executor.loader.disk_migrations or {}
        order = [(m.app_label, m.name) for m in executor.full_plan()]
        return [
            Entry(disk[key], Action.RUN_PENDING, Phase.CONTRACT)
            for key in [*(k for k in keys if k not in order), *(k for k in order if k in keys)]
            if key in disk
        ]

    def _show_way_back(self, executor: PhasedExecutor, steps: Sequence[Undo]) -> int:
        migrations = [step.migration for step in steps]
        entries = [Entry(m, Action.APPLY, Phase.EXPAND) for m in migrations]
        state = executor.applied_state()
        plan = build_plan(
            executor.connection, executor.loader, entries, state, backwards=True, findings=()
        )
        self.document["steps"] = plan_document(plan)
        self.lines([f"Way back on database {self.database!r}, in this order:"])
        self.lines(plan_lines(plan, {Phase.EXPAND: "BACKWARDS"}))
        losses = losses_of(executor, steps)
        self.document["losses"] = list(losses.lost)
        self.document["not_brought_back"] = list(losses.gone)
        self.lines(["", *losses.lines(), *new_code_lines(executor, steps)])
        return PENDING if migrations and self.options["check_unapplied"] else 0
