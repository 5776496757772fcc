"""What one run of lintmigrations found, and whether it fails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from django_safemigrations.hazards import CATALOGUE, Hazard, Severity
from django_safemigrations.lint.baseline import Entry
from django_safemigrations.lint.finding import Finding, HiddenBy


@dataclass(frozen=True)
class Read:
    """A migration file that was judged."""

    app_label: str
    migration: str
    path: str


@dataclass(frozen=True)
class Report:
    """What one run found.

    Attributes:
        findings: all, in the order in which the migrations would run; also the hidden ones.
        read: the files that were judged, by app and name.
        fail_on: the least severity that fails.
        named: labels of the apps that were asked for; their findings count even if they are
            installed packages.
        hazards: by code, with those of the project's own rules.
        stale: entries of the baseline that match nothing any more.
        notices: sentences about the run, such as how old the table sizes are.
        root: of the checkout; paths are written relative to it where machines read them.
    """

    findings: tuple[Finding, ...]
    read: tuple[Read, ...]
    fail_on: Severity = Severity.ERROR
    named: frozenset[str] = frozenset()
    hazards: Mapping[str, Hazard] = field(default_factory=lambda: CATALOGUE)
    stale: tuple[Entry, ...] = ()
    notices: tuple[str, ...] = ()
    root: Path = field(default_factory=lambda: checkout_root(Path.cwd()))

    @cached_property
    def shown(self) -> tuple[Finding, ...]:
        """What neither a comment nor the baseline hides."""
        return tuple(finding for finding in self.findings if finding.hidden is None)

    @cached_property
    def own(self) -> tuple[Finding, ...]:
        """What is shown of the project's own files, and of packages that were asked for."""
        return tuple(finding for finding in self.shown if not self.is_foreign(finding))

    @cached_property
    def others(self) -> tuple[Finding, ...]:
        """What is shown of installed packages, and never fails."""
        return tuple(finding for finding in self.shown if self.is_foreign(finding))

    def is_foreign(self, finding: Finding) -> bool:
        """Return whether a finding is listed only, since nobody here can change the file."""
        return finding.third_party and finding.app_label not in self.named

    def counts(self, finding: Finding) -> bool:
        """Return whether a finding makes the run fail."""
        if finding.hidden is not None or self.is_foreign(finding):
            return False
        if finding.severity is Severity.WARNING:
            return self.fail_on is Severity.WARNING
        return finding.severity is Severity.ERROR

    @property
    def failed(self) -> bool:
        """Whether the exit code is 1."""
        return any(self.counts(finding) for finding in self.findings)

    def number(self, severity: Severity) -> int:
        """Return how many findings of a severity count."""
        return sum(finding.severity is severity for finding in self.own)

    def hidden_by(self, by: HiddenBy) -> int:
        """Return how many findings are hidden by comments, or by the baseline."""
        return sum(f.hidden is not None and f.hidden.by is by for f in self.findings)

    def summary(self) -> dict[str, Any]:
        """Return the totals."""
        return {
            "migrations": len(self.read),
            "errors": self.number(Severity.ERROR),
            "warnings": self.number(Severity.WARNING),
            "notes": self.number(Severity.NOTE),
            "third_party": len(self.others),
            "suppressed": self.hidden_by(HiddenBy.COMMENT),
            "baseline": self.hidden_by(HiddenBy.BASELINE),
            "stale_baseline": len(self.stale),
            "failed": self.failed,
        }

    def in_checkout(self, path: str) -> str | None:
        """Return a path relative to the checkout, with slashes; None if it is outside of it."""
        if not Path(path).is_absolute():
            # What is found in a database has no file.
            return None
        try:
            return Path(path).resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None


def checkout_root(directory: Path) -> Path:
    """Return the checkout that a directory is in; the directory itself if it is in none."""
    for parent in (directory, *directory.parents):
        if (parent / ".git").exists():
            return parent
    return directory


def shortened(path: str) -> str:
    """Return a path relative to the working directory, if it is below it."""
    root = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - a path a finding
    return path.removeprefix(root)


def place(finding: Finding) -> str:
    """Return where a finding is, for people: the file and, if it is known, the line."""
    return f"{shortened(finding.path)}{f':{finding.line}' if finding.line else ''}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 migration``, ``2 migrations``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
