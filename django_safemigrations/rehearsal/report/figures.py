"""Figures as people read them: durations, sizes, counts and dates, in English and without locale."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from django_safemigrations.byte_sizes import in_words

UNKNOWN = "unknown"
MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return a duration with two units at most: "3 ms", "1.24 s", "20 min 5 s", "2 h 3 min"."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds <= 0:
        return "0 s"
    if seconds < 0.0001:
        return "<0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, smaller, smaller_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit:,} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def size(amount: float) -> str:
    """Return bytes in the units of `pg_size_pretty`: "0 bytes", "16 kB", "1.4 GB"."""
    if not math.isfinite(amount):
        return UNKNOWN
    return in_words(amount)


def count(number: int) -> str:
    """Return a whole number with its thousands apart: "1,204,000"."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 step", "12 steps"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def moment(at: datetime) -> str:
    """Return a moment to the second, in UTC; as it is if it has no time zone."""
    if at.tzinfo is None:
        return f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def share(part: float) -> str:
    """Return a share of one as a percentage: "5 %", "0.1 %"."""
    if not math.isfinite(part):
        return UNKNOWN
    return f"{part * 100:.3g} %"


def times(part: float, whole: float) -> str:
    """Return how many times as large one figure is as another: "1.3 times", empty if none is."""
    if not (math.isfinite(part) and math.isfinite(whole)) or whole <= 0 or part <= 0:
        return ""
    return f"{part / whole:,.1f} times"
