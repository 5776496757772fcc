"""What every run does around its migrations: signals, ledger, and a report when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.migrations import Migration
from django.db.migrations.state import ModelState, ProjectState
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.checklist.evidence import record_waiver
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.management.exit_codes import FAILED
from django_safemigrations.management.telling import Telling
from django_safemigrations.management.telling import done_by as done_by
from django_safemigrations.models import Run
from django_safemigrations.postgres import fresh as freshness
from django_safemigrations.schedule import dotted


class Recording(Telling):
    """The parts that runs in both directions share."""

    @contextlib.contextmanager
    def _signals(
        self, executor: PhasedExecutor, plan: list[tuple[Migration, bool]]
    ) -> Iterator[list[ProjectState]]:
        """Send pre_migrate and post_migrate as migrate does; holds the state, which may be set."""
        state = executor.applied_state()
        plan = [*((m, False) for m in _unapplied_ledger(executor)), *plan]
        arguments = (self.verbosity, self.interactive, self.database)
        states = [state.clone()]
        try:
            emit_pre_migrate_signal(*arguments, stdout=self.stdout, apps=state.apps, plan=plan)
            yield states
            (after,) = states
            after.clear_delayed_apps_cache()
            _render_real_models(after)
            emit_post_migrate_signal(*arguments, stdout=self.stdout, apps=after.apps, plan=plan)
        finally:
            freshness.note_end(self.database)

    def _create_ledger(self, executor: PhasedExecutor, state: ProjectState) -> ProjectState:
        """Apply this app's own migrations: the ledger has to be there before what it records."""
        migrations = _unapplied_ledger(executor)
        if migrations:
            executor.recorder.ensure_schema()
        for migration in migrations:
            state = executor.apply_migration(state, migration, fake_initial=True)
        if not ledger.is_whole(executor.connection):
            raise CommandError(
                f"The tables of {ledger.APP_LABEL} are missing on {self.database!r}, although its "
                f"migrations are recorded as applied. Type: manage.py migrate {ledger.APP_LABEL} "
                f"zero --fake --database {self.database}; then run the command again.",
                returncode=FAILED,
            )
        return state

    @contextlib.contextmanager
    def _recorded(self, executor: PhasedExecutor, run: Run, worth_it: bool) -> Iterator[None]:
        """Keep the ledger's row of a run up to date, however the run ends."""
        if not worth_it:
            self._note_release(executor, run)
            yield
            return
        run.save(using=self.database)
        for item, reason in run.waivers.items():
            record_waiver(self.database, item, run.plan_hash, reason, run)
        executor.run = run
        self.document["run"] = run.pk
        self._began(executor, run)
        try:
            yield
        except BaseException as error:
            failed = isinstance(error, Exception)
            status = Run.Status.FAILED if failed else Run.Status.INTERRUPTED
            # The connection may be what broke; the next run then marks this one.
            with contextlib.suppress(Exception):
                self._close(run, status, f"{type(error).__name__}: {error}")
            self._ended(executor, run, status, f"{type(error).__name__}: {error}")
            if not failed:
                raise
            raise CommandError(self._report(executor, error), returncode=FAILED) from error
        problems = "\n".join(f"{dotted(f.key)}: {f.error}" for f in executor.failures)
        status = Run.Status.FAILED if problems else Run.Status.SUCCEEDED
        self._close(run, status, problems)
        self._ended(executor, run, status, problems)

    def _close(self, run: Run, status: Run.Status, error: str) -> None:
        Run.objects.using(self.database).filter(pk=run.pk).update(
            status=status, finished_at=timezone.now(), error=error
        )

    def _report(self, executor: PhasedExecutor, error: BaseException | None = None) -> str:
        """Say what failed; also for the JSON document."""
        self.document["result"] = "failed"
        self.document["migrations"] = done_by(executor)
        self.document["failures"] = [
            {"app_label": f.key[0], "name": f.key[1], "error": f.error} for f in executor.failures
        ]
        lines = []
        for failure in executor.failures:
            lines.append(f"{dotted(failure.key)}: {failure.error}".rstrip())
        if error is not None and not executor.failures:
            lines.append(f"{type(error).__name__}: {error}".rstrip())
        migrations = executor.loader.disk_migrations or {}
        if any(f.cause and not migrations[f.key].atomic for f in executor.failures):
            lines.append("What was done before the failing step stays; a second run goes on there.")
        else:
            lines.append("A failed migration left nothing behind.")
        lines.append("Then run the command again; --traceback shows where it was raised.")
        return "\n".join(lines)


def _unapplied_ledger(executor: PhasedExecutor) -> list[Migration]:
    leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] == ledger.APP_LABEL]
    return [m for m, backwards in executor.migration_plan(leaves) if not backwards]


def _render_real_models(state: ProjectState) -> None:
    """Render models of apps without migrations again: now their relations are there."""
    rendered = state.apps
    with rendered.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in rendered.real_models]
        for key in keys:
            rendered.unregister_model(*key)
    rendered.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
