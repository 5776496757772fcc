"""A rehearsal with everything that comes of it: verdicts, a report, and evidence in the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django_safemigrations.checklist import record_evidence
from django_safemigrations.checklist.way_back import TIMES
from django_safemigrations.conf import Settings
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.lint import lint_migrations
from django_safemigrations.management.gate import TITLES, Judged
from django_safemigrations.management.rehearsing.planned import Planned
from django_safemigrations.management.rehearsing.rehearse import Means, rehearse
from django_safemigrations.rehearsal.report import write_report
from django_safemigrations.rehearsal.report.figures import size
from django_safemigrations.rehearsal.report.files import report_name
from django_safemigrations.rehearsal.results import Direction, ItemSeen, Rehearsal


@dataclass(frozen=True)
class Done:
    """A rehearsal and where to read of it.

    Attributes:
        rehearsal: what was seen.
        html: the report for people.
        json: the report for machines.
        next_command: what to type when it passed.
    """

    rehearsal: Rehearsal
    html: Path
    json: Path
    next_command: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON types, without what the report holds."""
        rehearsal = self.rehearsal
        return {
            "result": "passed" if rehearsal.passed else "not passed",
            "plan_hash": rehearsal.plan_hash,
            "migrations": list(rehearsal.migrations),
            "problems": list(rehearsal.problems),
            "copy": rehearsal.as_json()["copy"],
            "report": {"html": str(self.html), "json": str(self.json)},
        }


def rehearse_and_record(
    executor: PhasedExecutor,
    planned: Planned,
    settings: Settings,
    *,
    judge: Callable[[], Judged],
    next_command: str,
    progress: Callable[[str], None],
    now: Callable[[], datetime],
) -> Done:
    """Rehearse a plan, keep the evidence if it passed, and write the report.

    Args:
        executor: on the database itself.
        planned: what to rehearse.
        settings: those in force.
        judge: asks the checklist, when the evidence is there.
        next_command: what to type when it passed.
        progress: told what is going on.
        now: the time.

    Raises:
        CopyRefused, CopyFailed: there is no copy to try it on.
        ReportNotWritten: the directory for reports can't be written to.
    """
    findings = lint_migrations(executor.loader, planned.keys, settings, details=True)
    rehearsal = rehearse(executor.connection, planned, Means(settings, findings, progress, now))
    directory = Path(settings.rehearsal.reports)
    if rehearsal.passed:
        seen = json.dumps(rehearsal.as_json(), sort_keys=True).encode()
        name = report_name(rehearsal)
        details = {
            "summary": f"passed on {_copy(rehearsal)}; report: {directory / name}.html",
            "report": str(directory.absolute() / name),
            "sha256": hashlib.sha256(seen).hexdigest(),
            TIMES: _times_back(rehearsal),
        }
        for plan_hash in planned.hashes:
            record_evidence(planned.alias, "rehearsed", plan_hash, details, now=now())
    rehearsal = _with_checklist(rehearsal, judge())
    html, as_json = write_report(rehearsal, directory)
    return Done(rehearsal, html, as_json, next_command)


def _copy(rehearsal: Rehearsal) -> str:
    copy = rehearsal.copy
    sample = "" if copy.sampled >= 1 else f" ({copy.sampled:.1%} of the rows)"
    return f"a copy of {copy.source}{sample}, {size(copy.size_bytes)}"


def _times_back(rehearsal: Rehearsal) -> dict[str, float]:
    """Return how long each step of the way back took, for the rollback plan."""
    return {
        f"{step.key.app_label}.{step.key.migration} {step.key.operation}": round(step.seconds, 3)
        for one in rehearsal.passes
        if one.direction is Direction.BACKWARDS
        for step in one.steps
    }


def _with_checklist(rehearsal: Rehearsal, judged: Judged) -> Rehearsal:
    seen = tuple(
        ItemSeen(v.item, TITLES[v.item], str(v.state), v.evidence) for v in judged.verdicts
    )
    way_back = tuple(judged.way_back.lines()) if judged.way_back is not None else ()
    return replace(rehearsal, checklist=seen, rollback_plan=way_back)
