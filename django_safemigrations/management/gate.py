"""Asks the checklist on behalf of a run, and says what it answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.backup.risk import AtRisk, at_risk
from django_safemigrations.checklist import ITEMS, Context, Verdict, judge_all, plan_hash
from django_safemigrations.checklist.evidence import gathered
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import ChecklistUnmet
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.lint import Finding, lint_migrations
from django_safemigrations.management.beforehand import look_beforehand
from django_safemigrations.management.plan_report import checklist_lines
from django_safemigrations.management.table_stats import weighed
from django_safemigrations.models import Run
from django_safemigrations.postgres.populated import any_rows, user_tables
from django_safemigrations.rollback_plans import RollbackPlan
from django_safemigrations.schedule import Schedule

TITLES = {item.name: item.title for item in ITEMS}
NOTHING_TO_LOSE = "a fresh, empty database has nothing to lose, so nothing is asked"
FAKED = "--fake runs nothing in the database, so nothing is asked"
NOTHING_RUNS = "nothing runs in the database, so nothing is asked"


@dataclass(frozen=True)
class Judged:
    """What the checklist said of a run.

    Attributes:
        plan_hash: of the migrations about to run.
        verdicts: of all seven items; empty if nothing was asked.
        skipped: why nothing was asked.
        findings: what lintmigrations says.
        way_back: how the run is taken back; None if nothing was asked.
        at_risk: what the plan drops or overwrites.
    """

    plan_hash: str
    verdicts: tuple[Verdict, ...] = ()
    skipped: str = ""
    findings: tuple[Finding, ...] = ()
    way_back: RollbackPlan | None = None
    at_risk: tuple[AtRisk, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "plan_hash": self.plan_hash,
            "checklist": [verdict.as_dict() for verdict in self.verdicts],
            "checklist_skipped": self.skipped,
            "rollback_plan": self.way_back.as_json() if self.way_back else None,
        }

    def lines(self, *, unicode: bool) -> list[str]:
        """Return it as text."""
        if self.skipped:
            return [f"Checklist: {self.skipped}."]
        return ["Checklist:", *checklist_lines(self.verdicts, TITLES, unicode=unicode)]

    def refuse(self, command: str, *, unicode: bool) -> None:
        """Raise if an item that is required is unmet.

        Raises:
            ChecklistUnmet: with all seven items and what to type.
        """
        unmet = [verdict.item for verdict in self.verdicts if verdict.refuses]
        if not unmet:
            return
        waivers = " ".join(f'--waive {item}="..."' for item in unmet)
        raise ChecklistUnmet(
            "\n".join(
                [
                    f"The checklist is not met ({', '.join(unmet)}); nothing was changed.",
                    *checklist_lines(self.verdicts, TITLES, unicode=unicode),
                    "Make these items true, or waive them with reasons that the ledger keeps:",
                    f"  {command} {waivers}",
                    f"Evidence is bound to the plan {self.plan_hash}",
                ]
            )
        )


def judge(
    executor: PhasedExecutor,
    schedule: Schedule,
    *,
    command: str,
    waivers: Mapping[str, str],
    fake: bool,
    fresh: bool,
) -> Judged:
    """Let the checklist judge what is about to run."""
    migrations = tuple(entry.migration for entry in schedule.working)
    hashed = plan_hash(executor.connection, migrations)
    if not migrations or fake or fresh:
        why = NOTHING_RUNS if not migrations else NOTHING_TO_LOSE if fresh else FAKED
        return Judged(hashed, skipped=why)
    settings = get_settings()
    keys = [(migration.app_label, migration.name) for migration in migrations]
    findings = tuple(lint_migrations(executor.loader, keys, settings))
    evidence, now = gathered(executor.alias), timezone.now()
    risks = at_risk(migrations, executor.state_before, executor.connection)
    way_back, old_code = look_beforehand(executor, schedule, hashed, evidence, settings, now, risks)
    context = Context(
        using=executor.alias,
        migrations=migrations,
        plan_hash=hashed,
        findings=findings,
        evidence=evidence,
        settings=settings,
        now=now,
        command=command,
        waivers=waivers,
        rollback_plan=way_back,
        old_code=old_code,
        weighed=weighed(findings, executor.connection, settings),
        at_risk=risks,
    )
    return Judged(
        hashed,
        judge_all(context),
        findings=findings,
        way_back=way_back,
        at_risk=risks,
    )


def is_fresh(executor: PhasedExecutor) -> bool:
    """Whether nothing could be lost: no migration applied and no table there.

    A first run that was cut short still counts while every table is empty.
    """
    connection = executor.connection
    ours = [model._meta.db_table for model in ledger.MODELS]
    tables = user_tables(connection, ["django_migrations", *ours])
    if not any(key[0] != ledger.APP_LABEL for key in executor.loader.applied_migrations):
        return not tables
    return _first_run_was_cut_short(connection) and not any_rows(connection, tables)


def _first_run_was_cut_short(connection: BaseDatabaseWrapper) -> bool:
    if not ledger.exists(connection):
        return False
    run = Run.objects.using(connection.alias).order_by("-pk").first()
    return run is not None and run.fresh and run.status != Run.Status.SUCCEEDED


def migrations_of(schedule: Schedule) -> list[tuple[Migration, bool]]:
    """Return what runs in the form of Django's plans."""
    return [(entry.migration, False) for entry in schedule.working]
