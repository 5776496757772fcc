"""What `safemigrate --history` shows: who ran what, when, how it ended, and with which waivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_safemigrations.checklist.evidence import is_genuine
from django_safemigrations.models import Evidence, Run


def history_document(alias: str, count: int) -> list[dict[str, Any]]:
    """Return the last runs, the newest first, each with its checklist and its way back."""
    runs = list(Run.objects.using(alias).order_by("-pk")[:count])
    rows = Evidence.objects.using(alias).filter(
        run__in=[run.pk for run in runs], kind=Evidence.Kind.RECORDED
    )
    plans: dict[int, dict[str, Any]] = {}
    releases: dict[int, str] = {}
    for row in rows.order_by("pk"):
        if row.run_id is None or not is_genuine(row):
            continue
        if row.item == "rollback_plan":
            plans[row.run_id] = row.details
        elif "release" in row.details:
            releases[row.run_id] = str(row.details["release"])
    return [
        {
            **run_document(run),
            "release": releases.get(run.pk, ""),
            "checklist": run.checklist,
            "rollback_plan": plans.get(run.pk),
        }
        for run in runs
    ]


def run_document(run: Run) -> dict[str, Any]:
    """Return one run as JSON types."""
    return {
        "id": run.pk,
        "kind": run.kind,
        "phase": run.phase,
        "status": run.status,
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "operator": run.operator,
        "plan_hash": run.plan_hash,
        "waivers": run.waivers,
        "migrations": run.migrations,
        "error": run.error,
        "rolled_back_at": run.rolled_back_at.isoformat() if run.rolled_back_at else None,
    }


def history_lines(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the runs as text."""
    if not runs:
        yield "No run yet."
    for run in runs:
        what = f"{run['kind']} {run['phase']}".strip()
        release = f", release {run['release']}" if run["release"] else ""
        yield (
            f"Run {run['id']}, {_minute(run['started_at'])}: {what}, {run['status']}, by "
            f"{run['operator'] or '?'}{release}"
        )
        if run["rolled_back_at"]:
            yield f"  rolled back {_minute(run['rolled_back_at'])}"
        for entry in run["migrations"]:
            action = entry["action"].replace("_", " ")
            yield f"  {action:<15}{entry['app_label']}.{entry['name']}"
        for item, reason in run["waivers"].items():
            yield f"  waived         {item}: {_one_line(reason)}"
        if run["error"]:
            yield f"  error          {_one_line(run['error'])}"
        if run["plan_hash"]:
            yield f"  plan           {run['plan_hash']}"


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _one_line(text: str) -> str:
    return text.strip().split("\n")[0]
