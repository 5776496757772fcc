"""Lays findings out for people and for machines; prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import indent
from typing import Any

from django.core.management.color import Style

from django_safemigrations.hazards import Hazard, Severity
from django_safemigrations.hazards.examples import before_source, migration_source
from django_safemigrations.lint.finding import Finding


@dataclass(frozen=True)
class Report:
    """What one run found.

    Attributes:
        findings: all, in the order in which the migrations would run.
        migrations: number of files that were judged.
        fail_on: the least severity that fails.
        named: the app that was asked for; its findings count even if it is an installed package.
    """

    findings: tuple[Finding, ...]
    migrations: int
    fail_on: Severity
    named: str | None = None

    def counts(self, finding: Finding) -> bool:
        """Return whether a finding makes the run fail."""
        if finding.third_party and finding.app_label != self.named:
            return False
        return finding.severity is Severity.ERROR or self.fail_on is Severity.WARNING

    @property
    def failed(self) -> bool:
        """Whether the exit code is 1."""
        return any(self.counts(finding) for finding in self.findings)

    def summary(self) -> dict[str, Any]:
        """Return the totals."""
        own = [f for f in self.findings if not f.third_party or f.app_label == self.named]
        return {
            "migrations": self.migrations,
            "errors": sum(f.severity is Severity.ERROR for f in own),
            "warnings": sum(f.severity is Severity.WARNING for f in own),
            "third_party": len(self.findings) - len(own),
            "failed": self.failed,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the report as the JSON output shows it."""
        return {
            "findings": [shortened(finding).as_dict() for finding in self.findings],
            "summary": self.summary(),
        }

    def as_text(self, style: Style) -> str:
        """Return the report for a terminal."""
        own = [f for f in self.findings if not f.third_party or f.app_label == self.named]
        others = [f for f in self.findings if f not in own]
        parts = [_paragraph(finding, style) for finding in own]
        if others:
            heading = "Installed packages (listed, never failing; name the app to have them count):"
            lines = [_line(finding, style) for finding in others]
            parts.append("\n".join([style.MIGRATE_HEADING(heading), *lines]))
        parts.append(self._last_line(style))
        return "\n\n".join(parts)

    def _last_line(self, style: Style) -> str:
        summary = self.summary()
        files = _plural(summary["migrations"], "migration")
        if not summary["errors"] and not summary["warnings"]:
            return style.SUCCESS(f"{files} read, nothing found.")
        found = f"{_plural(summary['errors'], 'error')}, {_plural(summary['warnings'], 'warning')}"
        colour = style.ERROR if self.failed else style.WARNING
        return colour(f"{files} read: {found}.") + " lintmigrations --explain CODE tells more."


def shortened(finding: Finding) -> Finding:
    """Return the finding with its path relative to the working directory, if it is below it."""
    try:
        return replace(finding, path=str(Path(finding.path).relative_to(Path.cwd())))
    except ValueError:
        return finding


def explanation(hazard: Hazard, style: Style) -> str:
    """Return the catalogue's entry for a terminal."""
    before = before_source(hazard.good)
    good = f"{before}\n# and then:\n\n" if before else ""
    colour = style.ERROR if hazard.severity is Severity.ERROR else style.WARNING
    return "\n\n".join(
        [
            f"{colour(hazard.code)} {hazard.name} ({hazard.severity})\n{hazard.title}.",
            hazard.why,
            f"Lock: {hazard.lock}\nWho waits: {hazard.who_waits}",
            f"{style.MIGRATE_HEADING('What to write instead')}\n{hazard.way_out}",
            f"{style.MIGRATE_HEADING('Unsafe')}\n"
            f"{indent(migration_source(hazard.bad), '    ')}".rstrip(),
            f"{style.MIGRATE_HEADING('Safe')}\n"
            f"{indent(good + migration_source(hazard.good), '    ')}".rstrip(),
            hazard.url,
        ]
    )


def _paragraph(finding: Finding, style: Style) -> str:
    return f"{_line(finding, style)}\n{indent(finding.hint, '    ')}"


def _line(finding: Finding, style: Style) -> str:
    near = shortened(finding)
    colour = style.ERROR if finding.severity is Severity.ERROR else style.WARNING
    return f"{near.path}:{near.line}: {colour(finding.code)} {finding.message}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def selected(
    findings: Sequence[Finding], select: Sequence[str], ignore: Sequence[str]
) -> tuple[Finding, ...]:
    """Return the findings whose code is selected (all if none is named) and not ignored."""
    return tuple(
        finding
        for finding in findings
        if (not select or finding.code in select) and finding.code not in ignore
    )
