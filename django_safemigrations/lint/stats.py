"""Sizes of production's tables, read from a file, and what they make of a finding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import Hazard, Severity, Work
from django_safemigrations.lint.finding import Finding

VERSION = 1
STALE_DAYS = 30
INSTANT = 1.0
"""Seconds that a small table's work may take in the worst case for it to be a note."""


class BadStats(SafeMigrationsError):
    """The file of table sizes can't be read."""


@dataclass(frozen=True)
class Size:
    """Size of one table.

    Attributes:
        rows: PostgreSQL's estimate; None before the first ANALYZE.
        bytes: with TOAST, without indexes.
        index_bytes: of all its indexes.
        writes_per_second: rows inserted, updated and deleted, on average; None if it isn't known.
    """

    rows: int | None
    bytes: int
    index_bytes: int
    writes_per_second: float | None = None


@dataclass(frozen=True)
class Stats:
    """Sizes of the tables of one database.

    Attributes:
        exported_at: when they were read.
        search_path: schemas in which an unqualified name is looked for, in order.
        tables: by schema and name, with a dot between.
    """

    exported_at: datetime
    search_path: tuple[str, ...]
    tables: Mapping[str, Size]

    def find(self, table: str) -> Size | None:
        """Return the size of a table as Django names it in ``db_table``; None if it isn't there."""
        if table.startswith('"') and '"."' in table:
            return self.tables.get(table.strip('"').replace('"."', "."))
        name = table.strip('"')
        for schema in self.search_path:
            if (size := self.tables.get(f"{schema}.{name}")) is not None:
                return size
        return None

    def age(self, now: datetime) -> int:
        """Return the days since the export."""
        return max((now - self.exported_at).days, 0)

    def as_dict(self) -> dict[str, Any]:
        """Return what is written into the file: names and numbers, nothing of any row."""
        return {
            "version": VERSION,
            "exported_at": self.exported_at.isoformat(timespec="seconds"),
            "search_path": list(self.search_path),
            "tables": {
                name: {
                    "rows": size.rows,
                    "bytes": size.bytes,
                    "index_bytes": size.index_bytes,
                    "writes_per_second": size.writes_per_second,
                }
                for name, size in sorted(self.tables.items())
            },
        }


def read_stats(path: str) -> Stats:
    """Read a file that ``lintmigrations --export-stats`` wrote.

    Raises:
        BadStats: it isn't there, or isn't such a file; the message says what is wrong where.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadStats(f"{path} can't be read: {error.strerror}. {HOW}") from error
    except ValueError as error:
        raise BadStats(f"{path} is not JSON: {error}. {HOW}") from error
    try:
        return _stats(raw)
    except _WrongError as error:
        raise BadStats(f"{path} is not a file of table sizes: {error}. {HOW}") from error


HOW = "Write it on production with: manage.py lintmigrations --export-stats FILE"


class _WrongError(Exception):
    """What is wrong with the file."""


def _stats(raw: Any) -> Stats:
    if not isinstance(raw, dict):
        raise _WrongError("it holds no object")
    if raw.get("version") != VERSION:
        raise _WrongError(f"its version is {raw.get('version')!r}, and not {VERSION}")
    try:
        exported = datetime.fromisoformat(raw["exported_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise _WrongError("exported_at is not a date and time") from error
    if exported.tzinfo is None:
        exported = exported.replace(tzinfo=UTC)
    path = raw.get("search_path")
    if not isinstance(path, list) or not all(isinstance(schema, str) for schema in path):
        raise _WrongError("search_path is not a list of schemas")
    tables = raw.get("tables")
    if not isinstance(tables, dict):
        raise _WrongError("tables is not an object")
    return Stats(
        exported, tuple(path), {name: _size(name, value) for name, value in tables.items()}
    )


def _size(name: str, raw: Any) -> Size:
    if not isinstance(raw, dict):
        raise _WrongError(f"tables[{name!r}] is not an object")
    rows, rate = raw.get("rows"), raw.get("writes_per_second")
    numbers = [raw.get("bytes"), raw.get("index_bytes"), *([] if rows is None else [rows])]
    if not all(_is_count(number) for number in numbers):
        raise _WrongError(f"tables[{name!r}] needs whole numbers for rows, bytes and index_bytes")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):
        raise _WrongError(f"tables[{name!r}]: writes_per_second is not a number")
    return Size(rows, raw["bytes"], raw["index_bytes"], rate)


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


@dataclass(frozen=True)
class Speed:
    """How fast PostgreSQL goes through a table, at the slowest and at the fastest."""

    slow_rows: float
    fast_rows: float
    slow_bytes: float
    fast_bytes: float


MB = 1e6
# From what was measured on PostgreSQL 18.6 with default settings on two cores, on tables in the
# page cache (tests/lint/test_stats.py has the figures). The slow ends are below the slowest that
# was seen, for cold disks and a busy server; foreign keys are among the scans, and slower than
# checks by far. The fast ends are above the fastest.
SPEEDS = {
    Work.SCAN: Speed(0.4e6, 20e6, 40 * MB, 2000 * MB),
    Work.BUILD: Speed(0.1e6, 3e6, 25 * MB, 1000 * MB),
    Work.REWRITE: Speed(0.05e6, 0.8e6, 10 * MB, 250 * MB),
    Work.UPDATE: Speed(0.005e6, 0.5e6, 1 * MB, 200 * MB),
}


def estimate(work: Work, size: Size) -> tuple[float, float]:
    """Return the seconds that work on each row takes at least and at most, roughly."""
    speed = SPEEDS[work]
    rows = size.rows or 0
    # The indexes are written, too.
    amount = size.bytes + (size.index_bytes if work in (Work.REWRITE, Work.UPDATE) else 0)
    return (
        max(rows / speed.fast_rows, amount / speed.fast_bytes),
        max(rows / speed.slow_rows, amount / speed.slow_bytes),
    )


@dataclass(frozen=True)
class Scale:
    """Weighs findings by the sizes of their tables.

    Attributes:
        stats: the sizes.
        small_rows: up to so many rows, work on each of them is a note.
        large_rows: from so many rows on, it is an error.
        fixed: codes whose severity somebody has set; they are never made more severe.
    """

    stats: Stats
    small_rows: int
    large_rows: int
    fixed: frozenset[str] = frozenset()

    def weigh(self, finding: Finding, hazard: Hazard) -> Finding:
        """Return the finding with the severity and the figures that its table's size gives it."""
        if hazard.work is Work.NONE or not finding.table:
            return finding
        size = self.stats.find(finding.table)
        if size is None:
            said = f"{finding.table} is not in the file of table sizes, so it counts as large."
            return replace(finding, message=f"{finding.message} {said}")
        low, high = estimate(hazard.work, size)
        what = f"{_plain(finding.table)} has {_rows(size.rows)}, {in_bytes(size.bytes)}"
        if self._is_small(size, high):
            if hazard.remains:
                said = f"{what}: done in an instant; but {hazard.remains}, whatever its size."
                return _as(finding, Severity.WARNING, said, only_down=True)
            said = f"{what}: done in an instant."
            return _as(finding, Severity.NOTE, said, only_down=True)
        said = f"{what}: about {in_time(low, high)}, by a rough estimate{_writes(size)}."
        if size.rows is not None and size.rows >= self.large_rows:
            if finding.code in self.fixed:
                return replace(finding, message=f"{finding.message} {said}")
            return _as(finding, Severity.ERROR, said)
        return replace(finding, message=f"{finding.message} {said}")

    def _is_small(self, size: Size, seconds: float) -> bool:
        return size.rows is not None and size.rows <= self.small_rows and seconds <= INSTANT


ORDER = (Severity.NOTE, Severity.WARNING, Severity.ERROR)


def _as(finding: Finding, severity: Severity, said: str, *, only_down: bool = False) -> Finding:
    if only_down:
        severity = min(severity, finding.severity, key=ORDER.index)
    return replace(finding, severity=severity, message=f"{finding.message} {said}")


def _plain(table: str) -> str:
    return table.strip('"').replace('"."', ".")


def _rows(rows: int | None) -> str:
    if rows is None:
        return "an unknown number of rows (never analysed)"
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _writes(size: Size) -> str:
    if not size.writes_per_second:
        return ""
    return f"; it is written to {size.writes_per_second:,.1f} times a second"


def in_bytes(number: int) -> str:
    """Return a size for people."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return (
                f"{value:.0f} {unit}" if unit == "bytes" or value >= 10 else f"{value:.1f} {unit}"
            )
        value /= 1000
    return f"{value:.1f} TB"


def in_time(low: float, high: float) -> str:
    """Return a range of seconds for people: ``12 s to 4 min``."""
    first, last = _time(low), _time(high)
    return first if first == last else f"{first} to {last}"


def _time(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def said_age(stats: Stats, path: str, now: datetime) -> str:
    """Return how old the sizes are; a warning if they are too old to be relied on."""
    days = stats.age(now)
    when = f"{days} day{'' if days == 1 else 's'} old" if days else "of today"
    said = f"Table sizes from {path}, {when}"
    if days > STALE_DAYS:
        return f"{said}: export them again, tables grow (manage.py lintmigrations --export-stats)"
    return said
