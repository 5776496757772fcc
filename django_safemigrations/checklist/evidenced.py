"""The three items that only something gathered outside of the files can answer."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta

from django_safemigrations.checklist.evidence import is_genuine
from django_safemigrations.checklist.verdicts import Context, State
from django_safemigrations.models import Evidence

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
    setting, max_age = "EVIDENCE_MAX_AGE", context.settings.evidence_max_age
    if item == "backup":
        setting, max_age = 'BACKUP["MAX_AGE"]', context.settings.backup.max_age
    for row in mine:
        if is_genuine(row) and context.now - _since(row) <= timedelta(hours=max_age):
            age = _age(context.now - row.created_at)
            details = _told(row)
            return State.MET, f"recorded {age} ago{f' ({details})' if details else ''}", ""
    if mine and not is_genuine(mine[0]):
        why = "the recorded evidence was edited, or signed under another SECRET_KEY"
    elif mine:
        why = (
            f"the recorded evidence is {_age(context.now - _since(mine[0]))} old; "
            f"{setting} is {max_age:g} h"
        )
    elif rows:
        why = "evidence is recorded for other files or another database only"
    else:
        why = "nothing is recorded"
    type_next = context.waiver_command(item)
    if item == "rehearsed":
        type_next = rehearsal_command(context.command)
    return State.UNMET, f"{why}; wanted: {WANTED[item]}", type_next


def rehearsal_command(command: str) -> str:
    """Return the command line that rehearses what another one would run.

    Args:
        command: of safemigrate; phases and waivers are nothing to a rehearsal.
    """
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if word in ("--phase", "--waive"):
            next(words, None)
        else:
            kept.append("rehearsemigrations" if word == "safemigrate" else word)
    return shlex.join(kept)


def _since(row: Evidence) -> datetime:
    """Return when what a row tells of was so: a backup is as old as its beginning."""
    try:
        taken = datetime.fromisoformat(row.details["taken_at"])
    except (KeyError, TypeError, ValueError):
        return row.created_at
    return min(taken, row.created_at) if taken.tzinfo is not None else row.created_at


def _told(row: Evidence) -> str:
    """Return the details of a row in a line."""
    if "summary" in row.details:
        return str(row.details["summary"])
    return ", ".join(f"{key}: {value}" for key, value in sorted(row.details.items()))


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{max(0, age.total_seconds()) / 60:.0f} min"
