"""The three items that only something gathered outside of the files can answer."""

from __future__ import annotations

from datetime import timedelta

from django_safemigrations.checklist.evidence import is_genuine, is_stale
from django_safemigrations.checklist.verdicts import Context, State

Answer = tuple[State, str, str]

WANTED = {
    "rehearsed": "a rehearsal of exactly these files on a copy of production data",
    "backup": "a verified backup of this database",
    "rollback_plan": "a rollback plan for exactly these files",
}


def evidenced(item: str, context: Context) -> Answer:
    """Met by recorded evidence for exactly this plan that is genuine and fresh enough."""
    rows = [row for row in context.evidence if row.item == item]
    mine = [row for row in rows if row.plan_hash == context.plan_hash]
    max_age = context.settings.evidence_max_age
    for row in mine:
        if is_genuine(row) and not is_stale(row, context.now, max_age):
            details = ", ".join(f"{key}: {value}" for key, value in sorted(row.details.items()))
            age = _age(context.now - row.created_at)
            return State.MET, f"recorded {age} ago{f' ({details})' if details else ''}", ""
    if mine and not is_genuine(mine[0]):
        why = "the recorded evidence was edited, or signed under another SECRET_KEY"
    elif mine:
        why = (
            f"the recorded evidence is {_age(context.now - mine[0].created_at)} old; "
            f"EVIDENCE_MAX_AGE is {max_age:g} h"
        )
    elif rows:
        why = "evidence is recorded for other files or another database only"
    else:
        why = "nothing is recorded"
    return State.UNMET, f"{why}; wanted: {WANTED[item]}", context.waiver_command(item)


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{max(0, age.total_seconds()) / 60:.0f} min"
