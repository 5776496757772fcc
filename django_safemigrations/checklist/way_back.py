"""The item rollback_plan: met by the way back that is worked out for exactly these files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_safemigrations.checklist.evidence import is_genuine
from django_safemigrations.checklist.evidenced import evidenced
from django_safemigrations.checklist.verdicts import Context, State
from django_safemigrations.models import Evidence
from django_safemigrations.rollback_plans import RollbackPlan

SHOWN = 5
TIMES = "way_back_seconds"
"""Where evidence of a rehearsal keeps what steps took on the way back, by "app.name index"."""


def way_back(context: Context) -> tuple[State, str, str]:
    """Met if every operation can be taken back; says from where on data is gone."""
    plan = context.rollback_plan
    if plan is None:
        return evidenced("rollback_plan", context)
    if plan.stuck:
        lines = [f"{step.name} {step.operation}: {step.undo}" for step in plan.stuck]
        shown = lines[:SHOWN]
        if len(lines) > SHOWN:
            shown.append(f"and {len(lines) - SHOWN} more")
        said = "\n".join(["there is no whole way back:", *shown])
        return State.UNMET, said, context.waiver_command("rollback_plan")
    return State.MET, _told(plan), ""


def _told(plan: RollbackPlan) -> str:
    count = len({step.name for step in plan.steps})
    told = f"worked out for {count} migration{'s' if count != 1 else ''}; --plan shows it"
    if plan.no_return is not None:
        told += f"\npoint of no return: {plan.no_return.migration}: {plan.no_return.why}"
    return told


def seconds_of(rows: Sequence[Evidence], plan_hash: str) -> Mapping[tuple[str, str, str], float]:
    """Return how long steps took on the way back in the last rehearsal of exactly this plan."""
    for row in rows:
        if row.item == "rehearsed" and row.plan_hash == plan_hash and is_genuine(row):
            return {
                _place(name): float(value) for name, value in row.details.get(TIMES, {}).items()
            }
    return {}


def _place(name: str) -> tuple[str, str, str]:
    migration, _, operation = name.partition(" ")
    app_label, _, migration_name = migration.partition(".")
    return app_label, migration_name, operation
