"""A forwards run: checklist, signals, ledger, migrations, report."""

from __future__ import annotations

from django.apps import apps
from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.backfill.surroundings import surrounded_by
from django_safemigrations.checklist import State
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import ChecklistUnmet
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.management.backfills import Looks, documents_of
from django_safemigrations.management.exit_codes import FAILED, PENDING
from django_safemigrations.management.gate import Judged, is_fresh, judge, migrations_of
from django_safemigrations.management.going_back import GoingBack
from django_safemigrations.management.preparing import footprints_of
from django_safemigrations.management.recording import done_by
from django_safemigrations.management.targets import Target
from django_safemigrations.models import PendingContract, Run
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.schedule import Schedule, dotted


class Running(GoingBack):
    """The modes that change the database."""

    def _migrate(self, connection: BaseDatabaseWrapper, guard: LockGuard) -> int:
        executor = self._executor(connection, guard)
        pending: list[PendingContract] = []
        if ledger.exists(connection):
            ledger.mark_interrupted(self.database)
            pending = ledger.reconcile(connection, executor.loader)
        owed = footprints_of(pending)
        target = self._target(executor, owed)
        if target.backwards:
            return self._backwards(executor, target)
        fresh = is_fresh(executor)
        phase = self._phase_of_run(fresh=fresh)
        schedule = self._schedule(executor, target, phase, owed)
        fake = self.options["fake"]
        judged = self._judge(executor, schedule, fake=fake, fresh=fresh)
        self.document.update(judged.document(), phase=str(phase or "all"))
        self._tell_judged(judged)
        try:
            judged.refuse(self._typed(), unicode=self.can_print_unicode)
        except ChecklistUnmet as error:
            self.document["result"] = "refused"
            self._note_refusal(connection, phase, judged, error)
            raise
        self._announce(schedule, target, judged, phase)
        self._write_way_back(judged.way_back)
        if fake:
            self._warn_of_faked_contracts(schedule)
        run = Run(
            kind=Run.Kind.FORWARDS,
            phase=str(phase or "all"),
            operator=ledger.operator(),
            plan_hash=judged.plan_hash,
            fresh=fresh,
            checklist=[verdict.as_dict() for verdict in judged.verdicts],
            waivers={
                v.item: self.waivers[v.item] for v in judged.verdicts if v.state is State.WAIVED
            },
        )
        with self._signals(executor, migrations_of(schedule)) as states:
            state = states[0]
            self._sync(connection, executor)
            self.line("Running migrations:", self.style.MIGRATE_HEADING)
            if not schedule.entries:
                self._nothing_to_apply(executor)
            state = self._create_ledger(executor, state)
            with (
                self._recorded(executor, run, bool(schedule.entries)),
                surrounded_by(leave=self.options["no_wait"]),
            ):
                states[0] = executor.run_forwards(
                    schedule, state, fake=fake, fake_initial=self.options["fake_initial"]
                )
        return self._conclude(executor, schedule)

    def _judge(
        self, executor: PhasedExecutor, schedule: Schedule, *, fake: bool, fresh: bool
    ) -> Judged:
        return judge(
            executor,
            schedule,
            command=self._typed(),
            waivers=self.waivers,
            fake=fake,
            fresh=fresh,
        )

    def _announce(
        self, schedule: Schedule, target: Target, judged: Judged, phase: Phase | None
    ) -> None:
        if schedule.entries and self.verbosity >= 1:
            self.lines(judged.lines(unicode=self.can_print_unicode))
        self.line("Operations to perform:", self.style.MIGRATE_HEADING)
        label = self.style.MIGRATE_LABEL(f"  Phase {phase}: " if phase else "  All phases: ")
        if self.options["migration_name"] and target.keys[0][1]:
            what = f"to migration {target.keys[0][1]} of {target.keys[0][0]}"
        else:
            what = ", ".join(sorted({key[0] for key in target.keys})) or "(none)"
        self.line(label + what)

    def _sync(self, connection: BaseDatabaseWrapper, executor: PhasedExecutor) -> None:
        unmigrated = executor.loader.unmigrated_apps
        if self.options["run_syncdb"] and unmigrated:
            self.line("Synchronizing apps without migrations:", self.style.MIGRATE_HEADING)
            app_label = self.options["app_label"]
            self.sync_apps(connection, [app_label] if app_label else list(unmigrated))

    def _conclude(self, executor: PhasedExecutor, schedule: Schedule) -> int:
        self.document["migrations"] = done_by(executor)
        self.document["waiting"] = [
            {"app_label": key[0], "name": key[1], "phase": str(phase)}
            for key, phase in schedule.waiting
        ]
        pending = ledger.open_contracts(self.database)
        self.document["pending_contracts"] = [str(row) for row in pending]
        self._report_left(executor)
        if executor.failures:
            raise CommandError(self._report(executor), returncode=FAILED)
        self.document["failures"] = []
        if not executor.left:
            self.document["result"] = "done" if executor.done else "nothing to do"
        for phase in Phase:
            names = [dotted(key) for key, its_phase in schedule.waiting if its_phase is phase]
            if names:
                self.line(f"Left for --phase {phase}: {', '.join(names)}")
        if pending:
            names = [str(row) for row in pending]
            self.line(f"Pending contracts, for --phase contract: {', '.join(names)}")
        return PENDING if executor.left else 0

    def _report_left(self, executor: PhasedExecutor) -> None:
        """Say what waits for workers, and hand it to Django's tasks if the settings say so."""
        looks = Looks(executor.connection)
        keys = [left.backfill for left in executor.left if left.backfill]
        found = looks.look(keys) if keys else []
        self.document["backfills"] = documents_of(looks, found)
        self.document["left"] = [
            {
                "app_label": left.key[0],
                "name": left.key[1],
                "backfill": left.backfill,
                "needs": dotted(left.needs) if left.needs else "",
            }
            for left in executor.left
        ]
        if not executor.left:
            return
        self.document["result"] = "left to workers"
        self.line("Left to workers:", self.style.MIGRATE_HEADING)
        for each in found:
            self.line(f"  {each.key} on {each.table}, about {each.rows_total:,} rows")
        later = [dotted(left.key) for left in executor.left if left.needs]
        if later:
            self.line(f"  after that: {', '.join(later)}")
        tasks = get_settings().backfill.tasks
        if tasks:
            # Workers of the same settings may have no task framework at all.
            from django_safemigrations.tasks import enqueue

            count = sum(enqueue(self.database, each.key, tasks) for each in found)
            self.document["tasks"] = count
            self.line(f"  {count} Django tasks were enqueued")
        else:
            database = "" if self.database == "default" else f" --database {self.database}"
            self.line(f"Let workers run: manage.py runbackfill{database}")
        self.line(f"When it is finished, type again: {self._typed()} --no-wait")

    def _warn_of_faked_contracts(self, schedule: Schedule) -> None:
        faked = [e for e in schedule.working if e.phase is Phase.CONTRACT]
        for entry in faked:
            self.stderr.write(
                self.style.WARNING(
                    f"Faking the contract {dotted(entry.key)}: the columns, triggers and "
                    "constraints that it would remove or tighten stay as they are, and nothing "
                    "will come back to them. The ledger records it."
                )
            )

    def _nothing_to_apply(self, executor: PhasedExecutor) -> None:
        self.line("  No migrations to apply.")
        if self.verbosity < 1:
            return
        autodetector = self.autodetector(
            executor.loader.project_state(), ProjectState.from_apps(apps)
        )
        changes = autodetector.changes(graph=executor.loader.graph)
        if changes:
            names = ", ".join(repr(app) for app in sorted(changes))
            self.line(
                f"  Your models in app(s): {names} have changes that are not yet reflected in a "
                "migration, and so won't be applied.\n"
                "  Run 'manage.py makemigrations' to make new migrations, and then re-run "
                "'manage.py safemigrate' to apply them.",
                self.style.NOTICE,
            )

    def _note_refusal(
        self,
        connection: BaseDatabaseWrapper,
        phase: Phase | None,
        judged: Judged,
        error: ChecklistUnmet,
    ) -> None:
        if ledger.exists(connection):
            Run.objects.using(self.database).create(
                kind=Run.Kind.FORWARDS,
                phase=str(phase or "all"),
                status=Run.Status.REFUSED,
                finished_at=timezone.now(),
                operator=ledger.operator(),
                plan_hash=judged.plan_hash,
                checklist=[verdict.as_dict() for verdict in judged.verdicts],
                waivers=self.waivers,
                error=str(error).split("\n")[0],
            )
