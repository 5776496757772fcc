"""JSON, whose shape is a promise to the tools that read it."""

from __future__ import annotations

import json
from dataclasses import replace

from django_safemigrations.lint.report import Report, shortened


def as_json(report: Report) -> str:
    """Return the findings that are not hidden, and the totals."""
    found = [replace(f, path=shortened(f.path)).as_dict() for f in report.shown]
    return json.dumps({"findings": found, "summary": report.summary()}, indent=2)
