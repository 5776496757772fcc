"""SAFE_MIGRATIONS["BACKFILL"]: when a backfill has to wait and for what, and who works on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django_safemigrations.setting_checks import (
    Problem,
    callable_like,
    count,
    each,
    name_like,
    one_of,
    or_none,
    positive,
    whole,
    yes_or_no,
)
from django_safemigrations.windows import parse_window

VACUUM_WAYS = ("run", "wait", "off")


@dataclass(frozen=True)
class BackfillSettings:
    """The values in force of SAFE_MIGRATIONS["BACKFILL"]: when a backfill has to wait, and for what.

    Attributes:
        max_lag: seconds that a standby may be behind; None does not look.
        max_lag_bytes: bytes of WAL that a standby may be behind.
        max_slot_bytes: bytes of WAL that a replication slot may hold back.
        ignore_replicas: application names of standbys, and names of slots, that do not count.
        lag_query: SQL that returns the lag in seconds, where pg_stat_replication does not tell it.
        max_active: other sessions of the database that may be running a statement.
        throttle: a callable or its dotted path; see `backfill.throttle.Asked`.
        vacuum: "run" VACUUM between batches, "wait" for autovacuum, or "off".
        vacuum_after: dead rows that are put up with, as a share of the table's rows.
        vacuum_patience: seconds to wait for dead rows that can't be removed yet.
        max_rows_per_second: rows that all workers of a backfill may change in a second.
        windows: when backfills may work.
        time_zone: whose clock the windows mean; None for Django's TIME_ZONE.
        workers: sessions that `runbackfill` works with, unless --workers says otherwise.
        tasks: Django tasks that `safemigrate --no-wait` enqueues for each backfill.
        task_backend: alias in Django's TASKS.
        task_queue: the queue they are put into.
        task_seconds: how long one task works before it enqueues itself again.
        synchronous_commit: whether each batch's commit is waited for, also where a crash of the
            server would lose nothing but what is done again.
    """

    max_lag: float | None = 10.0
    max_lag_bytes: int | None = None
    max_slot_bytes: int | None = 10 * 1024**3
    ignore_replicas: tuple[str, ...] = ()
    lag_query: str | None = None
    max_active: int | None = None
    throttle: str | Callable[..., Any] | None = None
    vacuum: str = "run"
    vacuum_after: float = 0.2
    vacuum_patience: float = 300.0
    max_rows_per_second: int | None = None
    windows: tuple[str, ...] = ()
    time_zone: str | None = None
    workers: int = 1
    tasks: int = 0
    task_backend: str = "default"
    task_queue: str = "default"
    task_seconds: float = 60.0
    synchronous_commit: bool = False


def _sql(key: str, value: object) -> list[Problem]:
    if isinstance(value, str) and value.strip():
        return []
    return [Problem(key, f"{value!r} is not an SQL query.", "Write a SELECT that returns seconds.")]


def _names(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(name, str) for name in value):
        return []
    return [Problem(key, f"{value!r} is not a list of names.", 'Write ["standby1"], for example.')]


def _windows(key: str, value: object) -> list[Problem]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        return [
            Problem(key, f"{value!r} is not a list of windows.", 'Write ["22:00-06:00"].'),
        ]
    problems = []
    for text in value:
        try:
            parse_window(text)
        except ValueError as error:
            said, _, hint = str(error).partition(". ")
            problems.append(Problem(key, f"{said.rstrip('.')}.", hint))
    return problems


def _time_zone(key: str, value: object) -> list[Problem]:
    try:
        ZoneInfo(value if isinstance(value, str) else "")
    except (LookupError, ValueError, OSError):
        return [Problem(key, f"{value!r} is not a time zone.", 'Write "Europe/Berlin" or "UTC".')]
    return []


BACKFILL_CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "MAX_LAG": or_none(positive),
    "MAX_LAG_BYTES": or_none(count),
    "MAX_SLOT_BYTES": or_none(count),
    "IGNORE_REPLICAS": _names,
    "LAG_QUERY": or_none(_sql),
    "MAX_ACTIVE": or_none(whole),
    "THROTTLE": or_none(callable_like("shop.backfills.wait")),
    "VACUUM": one_of(VACUUM_WAYS),
    "VACUUM_AFTER": positive,
    "VACUUM_PATIENCE": positive,
    "MAX_ROWS_PER_SECOND": or_none(count),
    "WINDOWS": _windows,
    "TIME_ZONE": or_none(_time_zone),
    "WORKERS": count,
    "TASKS": whole,
    "TASK_BACKEND": name_like("default"),
    "TASK_QUEUE": name_like("default"),
    "TASK_SECONDS": positive,
    "SYNCHRONOUS_COMMIT": yes_or_no,
}


def check_backfill(key: str, value: object) -> list[Problem]:
    """Refuse unknown keys and unusable values."""
    return each(key, value, BACKFILL_CHECKS, '{"MAX_LAG": 5}')


def read_backfill(raw: Mapping[str, Any]) -> BackfillSettings:
    """Read a value that was checked."""
    values: dict[str, Any] = {
        key.lower(): tuple(value) if isinstance(value, list | set) else value
        for key, value in raw.items()
    }
    return BackfillSettings(**values)
