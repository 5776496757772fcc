"""Times of the day in which backfills may work, as people write them: "mon-fri 22:00-06:00"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLE = 'Write "22:00-06:00" or "mon-fri 22:00-06:00", for example.'
WHOLE_DAY = 24 * 60


@dataclass(frozen=True)
class Window:
    """A span of wall-clock time on some days of the week.

    Attributes:
        days: the days on which it opens; Monday is 0.
        opens: minutes after midnight.
        closes: minutes after midnight; when not after `opens`, of the next day.
    """

    days: frozenset[int]
    opens: int
    closes: int

    def on(self, day: datetime, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """Return from when to when it is open if it opens on a day; None if it does not."""
        if day.weekday() not in self.days:
            return None
        last = day + timedelta(days=1) if self.closes <= self.opens else day
        return _moment(day, self.opens, zone), _moment(last, self.closes, zone)


def parse_window(text: str) -> Window:
    """Read one window.

    Raises:
        ValueError: says what is wrong with it, and how one is written.
    """
    *before, span = text.lower().split() or [""]
    if len(before) > 1:
        raise ValueError(f"{text!r} is not a time window. {EXAMPLE}")
    opens, dash, closes = span.partition("-")
    if not dash:
        raise ValueError(f"{text!r} says no time to open and to close. {EXAMPLE}")
    first, last = _minutes(opens, text), _minutes(closes, text)
    if first in (last, WHOLE_DAY):
        raise ValueError(f'{text!r} is never open; for the whole day write "00:00-24:00".')
    days = frozenset(range(7))
    if before:
        days = frozenset(day for part in before[0].split(",") for day in _days(part, text))
    return Window(days, first, last)


def opens_at(
    windows: Sequence[Window], zone: ZoneInfo, now: datetime
) -> tuple[datetime, datetime] | None:
    """Return the window that is open, or the next to open, as (from, to); None without windows.

    Args:
        windows: the windows.
        zone: whose wall clock they are written in; summer time is its business.
        now: an aware moment.
    """
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    spans = [
        span
        # Yesterday's may reach into today; the same day a week on is the latest to come.
        for offset in range(-1, 9)
        for window in windows
        if (span := window.on(today + timedelta(days=offset), zone)) and span[1] > now
    ]
    return min(spans, default=None)


def _days(part: str, text: str) -> list[int]:
    first, dash, last = part.partition("-")
    for name in (first, last) if dash else (first,):
        if name not in DAYS:
            raise ValueError(f"{text!r} names no day {name!r}; days are {', '.join(DAYS)}.")
    start = DAYS.index(first)
    count = (DAYS.index(last) - start) % 7 + 1 if dash else 1
    return [(start + offset) % 7 for offset in range(count)]


def _minutes(clock: str, text: str) -> int:
    hours, colon, minutes = clock.partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2):
        raise ValueError(f"{text!r}: {clock!r} is not a time of day. {EXAMPLE}")
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > WHOLE_DAY:
        raise ValueError(f"{text!r}: {clock!r} is not a time of day. {EXAMPLE}")
    return found


def _moment(day: datetime, minutes: int, zone: ZoneInfo) -> datetime:
    """Return wall-clock minutes of a day as a moment, in UTC so that moments compare."""
    day += timedelta(days=minutes // WHOLE_DAY)
    clock = time(*divmod(minutes % WHOLE_DAY, 60))
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
