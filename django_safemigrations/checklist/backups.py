"""The item that asks for a backup, where a plan drops or overwrites data."""

from __future__ import annotations

from django_safemigrations.backup.risk import is_destructive
from django_safemigrations.checklist.evidenced import Answer, evidenced
from django_safemigrations.checklist.verdicts import Context, State

SHOWN = 5


def backed_up(context: Context) -> Answer:
    """Met by a fresh backup, or because the plan takes nothing away."""
    found = context.at_risk
    if found is not None and not is_destructive(found):
        if not context.settings.backup.always:
            return State.MET, "nothing is dropped or overwritten", ""
        found = ()
    state, evidence, type_next = evidenced("backup", context)
    lines = [evidence]
    for each in (found or ())[:SHOWN]:
        lines.append(f"at risk: {each}")
    if found and len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more")
    return state, "\n".join(lines), type_next
