"""What lintmigrations reports: one finding is one hazard of one operation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    """

    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Finding:
    """One hazard in one migration file.

    Attributes:
        code, name, severity, url: of the hazard.
        app_label, migration: the migration.
        operation: index in ``operations``, nested as ``"3.0"`` (the first database operation of
            the fourth operation); None when the finding is about the whole file.
        path, line: the file, and the line on which the operation starts; 0 if it isn't known.
        message: what happens, to what, under which lock, and who waits.
        hint: what to write instead, with the user's own names.
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

    @property
    def third_party(self) -> bool:
        """Whether the file belongs to an installed package, which its users can't change."""
        return not SITE_DIRECTORIES.isdisjoint(Path(self.path).parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as the JSON output shows it."""
        return asdict(self)
