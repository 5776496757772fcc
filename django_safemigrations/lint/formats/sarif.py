"""SARIF 2.1.0, as code scanning reads it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django_safemigrations.hazards import DOCS_URL, Hazard, Severity
from django_safemigrations.hazards.examples import migration_source
from django_safemigrations.lint.finding import Finding, HiddenBy
from django_safemigrations.lint.report import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
FINGERPRINT = "safemigrationsOperation/v1"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
KINDS = {HiddenBy.COMMENT: "inSource", HiddenBy.BASELINE: "external"}


def as_sarif(report: Report) -> str:
    """Return one run with all rules, and all findings of the project's own files.

    What a comment or the baseline hides is there as suppressed, with its reason. Findings of
    installed packages are left out, since code scanning has no place to show them at.
    """
    indexes = {code: index for index, code in enumerate(report.hazards)}
    seen: Counter[str] = Counter()
    results = [
        _result(report, finding, indexes, seen)
        for finding in report.findings
        if not report.is_foreign(finding)
    ]
    driver: dict[str, Any] = {
        "name": "lintmigrations",
        "fullName": "lintmigrations of django_safemigrations",
        "informationUri": DOCS_URL.partition("reference/")[0],
        "rules": [_rule(hazard) for hazard in report.hazards.values()],
    }
    if version := _version():
        driver["version"] = version
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the checkout."}}},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": notice}} for notice in report.notices
                ],
            }
        ],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(hazard: Hazard) -> dict[str, Any]:
    parts = [hazard.why, f"Lock: {hazard.lock}", f"Who waits: {hazard.who_waits}", hazard.way_out]
    text = "\n\n".join(parts)
    markdown = (
        f"{hazard.why}\n\n* **Lock**: {hazard.lock}\n* **Who waits**: {hazard.who_waits}\n\n"
        f"## What to write instead\n\n{hazard.way_out}"
    )
    for title, example in (("Unsafe", hazard.bad), ("Safe", hazard.good)):
        if example.source:
            markdown += f"\n\n## {title}\n\n```python\n{migration_source(example).rstrip()}\n```"
    rule: dict[str, Any] = {
        "id": hazard.code,
        "name": hazard.name,
        "shortDescription": {"text": f"{hazard.title}."},
        "fullDescription": {"text": hazard.why},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": LEVELS[hazard.severity]},
        "properties": {"tags": ["django", "migrations", "postgresql"]},
    }
    if hazard.url:
        rule["helpUri"] = hazard.url
    return rule


def _result(
    report: Report, finding: Finding, indexes: Mapping[str, int], seen: Counter[str]
) -> dict[str, Any]:
    suppressions = []
    if finding.hidden is not None:
        suppression = {"kind": KINDS[finding.hidden.by]}
        if finding.hidden.reason:
            suppression["justification"] = finding.hidden.reason
        suppressions.append(suppression)
    return {
        "ruleId": finding.code,
        "ruleIndex": indexes[finding.code],
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message}\n\n{finding.hint}".strip()},
        "locations": [_location(report, finding)],
        "partialFingerprints": {FINGERPRINT: _mark(finding, seen)},
        # An empty list says that suppressions were looked for, and there is none.
        "suppressions": suppressions,
        "properties": {
            "app_label": finding.app_label,
            "migration": finding.migration,
            "operation": finding.operation,
        },
    }


def _location(report: Report, finding: Finding) -> dict[str, Any]:
    name = ".".join(filter(None, (finding.app_label, finding.migration))) or finding.path
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": name}]}
    # What is found in a database has no file.
    if Path(finding.path).is_absolute():
        location["physicalLocation"] = {
            "artifactLocation": _artifact(report, finding.path),
            "region": {"startLine": max(finding.line, 1)},
        }
    return location


def _artifact(report: Report, path: str) -> dict[str, str]:
    near = report.in_checkout(path)
    if near is None:
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(near), "uriBaseId": ROOT}


def _mark(finding: Finding, seen: Counter[str]) -> str:
    """Return what tells the finding from all others, and stays when its lines move."""
    parts = (finding.code, finding.app_label, finding.migration, finding.fingerprint)
    mark = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    seen[mark] += 1
    return f"{mark}:{seen[mark]}"


def _version() -> str | None:
    try:
        return metadata.version("django-safemigrations")
    except metadata.PackageNotFoundError:
        # Run from a checkout.
        return None
