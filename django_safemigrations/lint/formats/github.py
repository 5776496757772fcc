"""Annotations for GitHub Actions, one workflow command a finding.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from django_safemigrations.hazards import Severity
from django_safemigrations.lint.finding import Finding
from django_safemigrations.lint.report import Report, place

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def as_github(report: Report) -> str:
    """Return the annotations; findings of installed packages have no place to be shown at."""
    return "\n".join(_command(report, finding) for finding in report.own)


def _command(report: Report, finding: Finding) -> str:
    path = report.in_checkout(finding.path)
    message = f"{finding.message}\n{finding.hint}\n{finding.url}".strip()
    properties = {"title": f"{finding.code} {finding.name}"}
    if path is None:
        message = f"{place(finding)}: {message}"
    else:
        # Without a line GitHub shows the annotation at the top of the file.
        properties = {"file": path, "line": str(max(finding.line, 1)), **properties}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{COMMANDS[finding.severity]} {said}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
