"""What lintmigrations reports: one finding is one hazard of one operation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from django_safemigrations.hazards import Severity

SITE_DIRECTORIES = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Observation:
    """What a rule saw in one operation, before it is placed in a file.

    Attributes:
        code: the hazard.
        message: what happens, to what, under which lock, and who waits.
        hint: what to write instead, with the user's own names.
        line: where in the file, if that is not where the operation starts; None if it is.
        table: whose rows the work is done on, as PostgreSQL names it; empty if the rule
            doesn't say, and then it is the operation's own.
    """

    code: str
    message: str
    hint: str
    line: int | None = None
    table: str = ""


def on_table(observation: Observation, table: str) -> Observation:
    """Return the observation with its table, unless the rule has named one."""
    return observation if observation.table else replace(observation, table=table)


class HiddenBy(StrEnum):
    """Who decided that a finding is not reported."""

    COMMENT = "comment"
    """A comment in the migration file."""
    BASELINE = "baseline"
    """The baseline file."""


@dataclass(frozen=True)
class Hidden:
    """Why a finding is not reported."""

    by: HiddenBy
    reason: str


@dataclass(frozen=True)
class Finding:
    """One hazard in one migration file.

    Attributes:
        code, name, severity, url: of the hazard; the severity is the one in force.
        app_label, migration: the migration.
        operation: index in ``operations``, nested as ``"3.0"`` (the first database operation of
            the fourth operation); None when the finding is about the whole file.
        path, line: the file, and the line on which the operation starts; 0 if it isn't known.
        message: what happens, to what, under which lock, and who waits.
        hint: what to write instead, with the user's own names.
        table: whose rows are worked on; empty if it isn't known.
        fingerprint: of the operation's text, whatever its lines and layout; empty if the
            operation isn't in the file.
        hidden: why it is not reported; None if it is.
    """

    code: str
    name: str
    severity: Severity
    app_label: str
    migration: str
    operation: str | None
    path: str
    line: int
    message: str
    hint: str
    url: str
    table: str = ""
    fingerprint: str = ""
    hidden: Hidden | None = None

    @property
    def third_party(self) -> bool:
        """Whether the file belongs to an installed package, which its users can't change."""
        return not SITE_DIRECTORIES.isdisjoint(Path(self.path).parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as the JSON output shows it."""
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity.value,
            "app_label": self.app_label,
            "migration": self.migration,
            "operation": self.operation,
            "path": self.path,
            "line": self.line,
            "message": self.message,
            "hint": self.hint,
            "url": self.url,
        }
