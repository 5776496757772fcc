"""JUnit XML, as continuous integration reads it: one test case a migration."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from django_safemigrations.lint.finding import Finding
from django_safemigrations.lint.report import Read, Report, place, plural

SUITE = "lintmigrations"


def as_junit(report: Report) -> str:
    """Return a suite in which a migration fails if one of its findings counts.

    A test case has one failure at most, with all findings in its text: some readers show only
    the first.
    """
    by_migration: dict[tuple[str, str], list[Finding]] = {
        (read.app_label, read.migration): [] for read in report.read
    }
    files = {(read.app_label, read.migration): read for read in report.read}
    for finding in report.shown:
        by_migration.setdefault((finding.app_label, finding.migration), []).append(finding)
    failed = sum(any(map(report.counts, found)) for found in by_migration.values())
    totals = {
        "name": SUITE,
        "tests": str(len(by_migration)),
        "failures": str(failed),
        "errors": "0",
        "skipped": "0",
        "time": "0",
    }
    root = ET.Element("testsuites", {k: v for k, v in totals.items() if k != "skipped"})
    suite = ET.SubElement(root, "testsuite", totals)
    for key, found in by_migration.items():
        _case(suite, report, key, files.get(key), found)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}'


def _case(
    suite: ET.Element,
    report: Report,
    key: tuple[str, str],
    read: Read | None,
    found: Sequence[Finding],
) -> None:
    counting = [finding for finding in found if report.counts(finding)]
    at = (counting or found)[0] if found else None
    path = at.path if at else read.path if read else ""
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": key[0],
            "name": _clean(f"{key[0]}.{key[1] or 'database'}"),
            "file": _clean(report.in_checkout(path) or path),
            "time": "0",
        },
    )
    if counting:
        codes = sorted({finding.code for finding in counting})
        failure = ET.SubElement(
            case,
            "failure",
            {
                "type": codes[0],
                "message": f"{plural(len(counting), 'finding')}: {', '.join(codes)}",
            },
        )
        failure.text = _clean("\n\n".join(map(_said, counting)))
    rest = [finding for finding in found if finding not in counting]
    if rest:
        ET.SubElement(case, "system-out").text = _clean("\n\n".join(map(_said, rest)))


def _said(finding: Finding) -> str:
    lines = [
        f"{place(finding)}: {finding.severity} {finding.code} {finding.name}",
        finding.message,
        finding.hint,
        finding.url,
    ]
    return "\n".join(line for line in lines if line)


def _clean(text: str) -> str:
    """Leave out what XML 1.0 can't hold at all."""
    return "".join(c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or c >= "\ue000")
