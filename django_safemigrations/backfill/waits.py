"""Why a backfill waits, and what can make it wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Wait:
    """Why the next batch may not run yet.

    Attributes:
        gate: which gate is closed: "lag", "slots", "load", "asked", "rows", "vacuum", "window".
        reason: for people, with names and figures.
        seconds: when to look again.
    """

    gate: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.gate}: {self.reason}"


class Gate(Protocol):
    """One thing to wait for."""

    def look(self) -> Wait | None:
        """Return why the next batch may not run, None if it may."""

    def note(self, rows: int) -> None:
        """Take note of a batch that changed so many rows."""

    def close(self) -> None:
        """Let go of what the gate holds."""
