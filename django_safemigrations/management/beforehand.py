"""What is worked out before the checklist is asked: the way back, and what is left of old code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.special import RunPython, RunSQL

from django_safemigrations.backup.losses import Effect
from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.checklist.old_code import OldCode, look_for_old_code
from django_safemigrations.checklist.releases_seen import releases_connected
from django_safemigrations.checklist.way_back import seconds_of
from django_safemigrations.conf import Settings
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.models import Evidence
from django_safemigrations.operations.leaves import leaves
from django_safemigrations.postgres.sessions import other_sessions
from django_safemigrations.releases import current_release
from django_safemigrations.rollback_plans import RollbackPlan, rollback_plan
from django_safemigrations.schedule import Schedule


def look_beforehand(
    executor: PhasedExecutor,
    schedule: Schedule,
    plan_hash: str,
    evidence: Sequence[Evidence],
    settings: Settings,
    now: datetime,
    risks: Iterable[AtRisk] = (),
) -> tuple[RollbackPlan, OldCode | None]:
    """Return the way back of a schedule, and what was found of old code before its contracts.

    Reads the database, and changes nothing in it.
    """
    release = current_release()
    others: tuple[str, ...] = ()
    if release:
        others = releases_connected(other_sessions(executor.connection), [release])
    way_back = rollback_plan(
        executor.loader,
        schedule.entries,
        database=executor.alias,
        plan_hash=plan_hash,
        seconds=seconds_of(evidence, plan_hash),
        taken=taken_by(executor.loader, risks),
        kept=kept_for(settings),
        release=release,
        earlier_release=others[0] if len(others) == 1 else "",
    )
    entries = schedule.entries
    old_code = look_for_old_code(
        executor.connection, executor.loader, entries, settings, release, now
    )
    return way_back, old_code


def taken_by(
    loader: MigrationLoader, risks: Iterable[AtRisk]
) -> Mapping[tuple[str, str, str], str]:
    """Return what SQL and functions take away, by their place; empty where nobody can tell.

    What is only overwritten, its own reverse may bring back.
    """
    found: dict[tuple[str, str, str], str] = {}
    for risk in risks:
        place = (risk.app_label, risk.migration, risk.operation)
        operation = _operation(loader, place)
        if not isinstance(operation, RunSQL | RunPython) or risk.elsewhere:
            continue
        has_reverse = operation.reversible and RunSQL.noop != getattr(
            operation, "reverse_sql", RunSQL.noop
        )
        if risk.effect == Effect.DROPPED:
            found[place] = _named(risk, "")
        elif risk.effect == Effect.OVERWRITTEN and not has_reverse:
            found[place] = _named(risk, "the earlier values of ")
        else:
            found.setdefault(place, "")
    return found


def _operation(loader: MigrationLoader, place: tuple[str, str, str]) -> object:
    migration = (loader.disk_migrations or {}).get(place[:2])
    found = dict(leaves(migration)) if migration is not None else {}
    return found.get(place[2])


def _named(risk: AtRisk, before: str) -> str:
    columns = f"{', '.join(risk.columns)} of " if risk.columns else ""
    what = f"{columns}{risk.table}" if risk.table else "what it drops"
    return f"{before}{what}" if before else f"the values of {what}"


def kept_for(settings: Settings) -> str:
    """Write KEEP_DROPPED; empty if nothing is kept."""
    kept = settings.keep_dropped
    if kept is None:
        return ""
    hours = kept.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
