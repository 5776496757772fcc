"""How much larger production's tables are than those of a copy that holds a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Rows = Mapping[str, tuple[int, int]]
"""Rows copied and rows in production, by table: schema and name, quoted or not."""


class Scales:
    """What to multiply figures of the copy with.

    Args:
        rows: of the tables of which only a part was copied; None if the copy is whole.
    """

    def __init__(self, rows: Rows | None = None) -> None:
        self._factors = {
            _plain(name): max(1.0, total / max(1, copied))
            for name, (copied, total) in (rows or {}).items()
        }

    def of(self, relation: str) -> float:
        """Return the factor of one table; 1.0 for one that was copied whole."""
        return self._factors.get(_plain(relation), 1.0)

    def largest(self, relations: Iterable[str]) -> float:
        """Return the largest factor of some tables."""
        return max(map(self.of, relations), default=1.0)


def _plain(name: str) -> str:
    return name.replace('"', "")
