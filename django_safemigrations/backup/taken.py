"""What there is to say of a backup, whichever way it was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class BackupTaken:
    """A backup that was taken, or that somebody says there is.

    Attributes:
        strategy: how.
        taken_at: what was committed before is in it.
        summary: in a line.
        details: for the ledger: JSON types, and no secrets.
        describe: for people, in lines: what there is, and how it is restored.
    """

    strategy: str
    taken_at: datetime
    summary: str
    details: Mapping[str, Any]
    describe: tuple[str, ...]


def taken(
    strategy: str, taken_at: datetime, summary: str, describe: tuple[str, ...], **details: Any
) -> BackupTaken:
    """Return a backup with what all of them tell in their details."""
    told = {
        "strategy": strategy,
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "summary": summary,
        **details,
    }
    return BackupTaken(strategy, taken_at, summary, told, describe)
