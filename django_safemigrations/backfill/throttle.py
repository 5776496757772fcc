"""What a backfill waits for before its next batch: standbys, load, VACUUM, the time of day.

A throttle is a row of gates. Each says whether the next batch may run, and if not, why
and when to look again; it never sleeps itself, so that whoever waits can still be paused,
cancelled or stopped, and can keep its lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings as django_settings
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from django_safemigrations.backfill.load import ActiveSessions
from django_safemigrations.backfill.replication import LagQuery, Slots, Standbys
from django_safemigrations.backfill.vacuuming import Vacuuming
from django_safemigrations.backfill.waits import Gate, Wait
from django_safemigrations.conf import BackfillSettings, get_settings
from django_safemigrations.exceptions import SettingsError, ThrottleFailed
from django_safemigrations.windows import Window, opens_at, parse_window

LOOK_EVERY = 1.0
ASK_AGAIN = 5.0


class Throttling:
    """Every gate of a backfill; the first that is closed is what is waited for.

    Args:
        gates: in the order in which they are asked.
    """

    def __init__(self, gates: Sequence[Gate] = ()) -> None:
        self.gates = tuple(gates)

    def look(self) -> Wait | None:
        """Return why the next batch may not run, None if it may."""
        for gate in self.gates:
            wait = gate.look()
            if wait is not None:
                return wait
        return None

    @property
    def lag(self) -> float | None:
        """Seconds that the standby furthest behind was behind when it was last looked at."""
        found = [getattr(getattr(gate, "gate", gate), "lag", None) for gate in self.gates]
        return max((lag for lag in found if lag is not None), default=None)

    def note(self, rows: int) -> None:
        """Take note of a batch that changed so many rows."""
        for gate in self.gates:
            gate.note(rows)

    def close(self) -> None:
        """Let go of what the gates hold; a VACUUM that runs is cancelled."""
        for gate in self.gates:
            gate.close()


class Rarely:
    """Looks through a gate at most every so often: a look costs a query, a batch little more.

    Args:
        gate: the gate.
        seconds: between two looks.
        clock: injected by tests.
    """

    def __init__(
        self,
        gate: Gate,
        seconds: float = LOOK_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gate, self.seconds, self.clock = gate, seconds, clock
        self._next: float | None = None
        self._found: Wait | None = None

    def look(self) -> Wait | None:
        """Return what the gate says, or said a moment ago."""
        now = self.clock()
        if self._next is None or now >= self._next:
            self._found = self.gate.look()
            self._next = self.clock() + (self._found.seconds if self._found else self.seconds)
            return self._found
        if self._found is None:
            return None
        return Wait(self._found.gate, self._found.reason, self._next - now)

    def note(self, rows: int) -> None:
        """Pass it on."""
        self.gate.note(rows)

    def close(self) -> None:
        """Pass it on."""
        self.gate.close()


class RowRate:
    """Lets no more rows be changed in a second than were allowed.

    Args:
        most: rows a second, of all workers together.
        workers: how many share them.
        clock: injected by tests.
    """

    def __init__(
        self,
        most: int,
        workers: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.workers, self.clock = most, workers, clock
        self._began = self._ready = clock()

    def look(self) -> Wait | None:
        """Wait until the rows of the batches before have had their time."""
        now = self.clock()
        if now < self._ready:
            return Wait("rows", f"at most {self.most:,} rows a second", self._ready - now)
        self._began = now
        return None

    def note(self, rows: int) -> None:
        """Count a batch, which had the time since it began."""
        share = self.most / max(1, self.workers())
        self._ready = max(self._ready, self._began) + rows / share

    def close(self) -> None:
        """Hold nothing."""


class Windows:
    """Lets batches run at certain times of the day only.

    Args:
        windows: when.
        zone: whose clock they mean.
        now: injected by tests.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        zone: ZoneInfo,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.windows, self.zone, self.now = windows, zone, now

    def look(self) -> Wait | None:
        """Wait until the next window opens, and say when that is."""
        now = self.now()
        span = opens_at(self.windows, self.zone, now)
        if span is None or span[0] <= now:
            return None
        left = span[0] - now
        rounded = timedelta(seconds=round(left.total_seconds()))
        until = f"{span[0].astimezone(self.zone):%a %H:%M}"
        reason = f"outside of the time windows until {until} {self.zone.key}, {rounded} from now"
        return Wait("window", reason, left.total_seconds())

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""


class Asked:
    """Asks a callable of the user's whether to wait.

    It is called with Django's connection, outside of any transaction, at most once a
    second. None and False let the next batch run; a number is how many seconds to wait
    before it is asked again; a string says why to wait; True waits without saying why.

    Args:
        throttle: the callable.
        name: what it is called in messages.
        connection: what it is called with.
    """

    def __init__(
        self,
        throttle: Callable[[BaseDatabaseWrapper], Any],
        name: str,
        connection: BaseDatabaseWrapper,
    ) -> None:
        self.throttle, self.name, self.connection = throttle, name, connection

    def look(self) -> Wait | None:
        """Ask.

        Raises:
            ThrottleFailed: it raised, or returned something else.
        """
        try:
            said = self.throttle(self.connection)
        except Error:
            raise  # a connection that is lost is found again by whoever works
        except Exception as error:
            raise ThrottleFailed(
                f"{self.name}, SAFE_MIGRATIONS['BACKFILL']['THROTTLE'], raised "
                f"{type(error).__name__}: {error}. Mend it, or leave the setting out."
            ) from error
        if said is None or said is False:
            return None
        if said is True:
            return Wait("asked", f"{self.name} says so", ASK_AGAIN)
        if isinstance(said, str):
            return Wait("asked", said or f"{self.name} says so", ASK_AGAIN)
        if isinstance(said, int | float):
            return Wait("asked", f"{self.name} says so", said) if said > 0 else None
        raise ThrottleFailed(
            f"{self.name}, SAFE_MIGRATIONS['BACKFILL']['THROTTLE'], returned {said!r}. Let it "
            "return None to go on, a number of seconds to wait, or a string that says why."
        )

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""


def find_callable(given: str | Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    """Return the user's callable and its name.

    Raises:
        SettingsError: the dotted path leads nowhere.
    """
    if not isinstance(given, str):
        return given, getattr(given, "__qualname__", repr(given))
    try:
        found = import_string(given)
    except ImportError as error:
        raise SettingsError(
            f"SAFE_MIGRATIONS BACKFILL['THROTTLE']: {given!r} can't be imported: {error}. "
            "Give the dotted path of a function."
        ) from error
    if not callable(found):
        raise SettingsError(
            f"SAFE_MIGRATIONS BACKFILL['THROTTLE']: {given!r} is not callable. "
            "Give the dotted path of a function."
        )
    return found, given


def zone_of(settings: BackfillSettings) -> ZoneInfo:
    """Return the time zone that the windows are written in."""
    return ZoneInfo(settings.time_zone or django_settings.TIME_ZONE or "UTC")


def throttling(
    connection: BaseDatabaseWrapper,
    table_oid: int,
    *,
    settings: BackfillSettings | None = None,
    workers: Callable[[], int] = lambda: 1,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Throttling:
    """Return the throttle that the settings ask for.

    Args:
        connection: the database; asked between batches, outside of transactions.
        table_oid: the table that is filled.
        settings: None reads SAFE_MIGRATIONS.
        workers: how many work on the same backfill, this one included.
        clock, now: injected by tests.

    Raises:
        SettingsError: THROTTLE leads nowhere.
    """
    chosen = settings or get_settings().backfill
    gates: list[Gate] = []
    if chosen.windows:
        windows = [parse_window(text) for text in chosen.windows]
        gates.append(Windows(windows, zone_of(chosen), now))
    if chosen.max_rows_per_second:
        gates.append(RowRate(chosen.max_rows_per_second, workers, clock))
    dear: list[Gate] = []
    if chosen.throttle is not None:
        dear.append(Asked(*find_callable(chosen.throttle), connection))
    if chosen.max_active is not None:
        dear.append(ActiveSessions(connection, chosen.max_active))
    if chosen.lag_query is not None:
        dear.append(LagQuery(connection, chosen.lag_query, chosen.max_lag))
    elif chosen.max_lag is not None or chosen.max_lag_bytes is not None:
        dear.append(Standbys(connection, chosen, clock))
    if chosen.max_slot_bytes is not None:
        dear.append(Slots(connection, chosen))
    if chosen.vacuum != "off":
        dear.append(Vacuuming(connection, table_oid, chosen, clock))
    return Throttling([*gates, *(Rarely(gate, clock=clock) for gate in dear)])
