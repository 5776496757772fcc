"""What a run leaves behind of itself: its way back, its release, and news for those who listen."""

from __future__ import annotations

from django_safemigrations.checklist.evidence import record_evidence
from django_safemigrations.checklist.releases_seen import is_behind, note_release
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.management.gate import Judged
from django_safemigrations.management.plan_files import write_plan
from django_safemigrations.management.preparing import Preparing
from django_safemigrations.models import Run
from django_safemigrations.postgres.sessions import other_sessions
from django_safemigrations.releases import current_release
from django_safemigrations.rollback_plans import RollbackPlan


class Telling(Preparing):
    """Keeps what somebody will want to know of a run, and tells it.

    Attributes:
        way_back: of the run; None if nothing was asked of it.
    """

    way_back: RollbackPlan | None = None

    def _tell_judged(self, judged: Judged) -> None:
        """Tell what the checklist said, and keep the way back for the run."""
        self.way_back = judged.way_back
        if self.announcer is not None:
            self.announcer.tell(
                "checklist_judged",
                plan_hash=judged.plan_hash,
                checklist=[verdict.as_dict() for verdict in judged.verdicts],
                skipped=judged.skipped,
            )

    def _write_way_back(self, plan: RollbackPlan | None) -> None:
        """Write the file that was asked for."""
        name = self.options["rollback_plan"]
        if not name:
            return
        if plan is None:
            self.line(f"Nothing was judged, so there is no way back to write into {name}.")
            return
        write_plan(plan, name)
        self.document["rollback_plan_file"] = name
        self.line(f"The way back is written into {name}.")

    def _began(self, executor: PhasedExecutor, run: Run) -> None:
        """Keep way back and release with a run that is in the ledger now, and tell of it."""
        if self.way_back is not None and not self.way_back.stuck:
            record_evidence(
                self.database, "rollback_plan", run.plan_hash, self.way_back.as_json(), run=run
            )
        self._note_release(executor, run)
        if self.announcer is not None:
            self.announcer.tell(
                "run_started",
                run=run.pk,
                kind=str(run.kind),
                phase=run.phase,
                operator=run.operator,
                plan_hash=run.plan_hash,
                waivers=run.waivers,
            )

    def _note_release(self, executor: PhasedExecutor, run: Run) -> None:
        """Record that this release knows the migrations, if it knows those of the last run."""
        release = current_release()
        known = executor.loader.disk_migrations or {}
        if not release or run.kind != Run.Kind.FORWARDS or is_behind(self.database, list(known)):
            return
        sessions = other_sessions(executor.connection)
        bound = run if run.pk is not None else None
        note_release(self.database, release, sessions, run.plan_hash, bound)

    def _ended(self, executor: PhasedExecutor, run: Run, status: Run.Status, error: str) -> None:
        """Tell that a run is over."""
        if self.announcer is not None:
            self.announcer.tell(
                "run_finished",
                run=run.pk,
                kind=str(run.kind),
                phase=run.phase,
                status=str(status),
                migrations=done_by(executor),
                error=error,
            )


def done_by(executor: PhasedExecutor) -> list[dict[str, str]]:
    return [
        {"app_label": key[0], "name": key[1], "action": action} for key, action in executor.done
    ]
