"""SAFE_MIGRATIONS["BACKUP"] and ["KEEP_DROPPED"]: what there is to go back to, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django_safemigrations.setting_checks import (
    Problem,
    count,
    each,
    one_of,
    or_none,
    path_like,
    positive,
    yes_or_no,
)

STRATEGIES = ("pg_dump", "command", "restore_point", "attested")
TABLES = ("all", "at_risk")
VERIFICATIONS = ("list", "read")
SPANS = {"hour": 1, "day": 24, "week": 7 * 24}
"""Units of KEEP_DROPPED, in hours."""


@dataclass(frozen=True)
class BackupSettings:
    """The values in force of SAFE_MIGRATIONS["BACKUP"].

    Attributes:
        strategy: "pg_dump", a "command" of yours, a "restore_point" in the WAL archive, or
            "attested": somebody says that there is one.
        directory: where dumps are written; created with mode 0700.
        jobs: sessions that pg_dump works with.
        tables: "all" tables of the database, or only those "at_risk" in the plan.
        verify: "read" reads the whole dump back; "list" only its table of contents.
        programs: where pg_dump and pg_restore are; None looks for them.
        command: the command and its arguments, which no shell reads.
        command_timeout: seconds that it may take.
        archive_timeout: seconds to wait until the WAL of a restore point is archived.
        max_age: hours for which a backup counts.
        always: whether plans that drop and overwrite nothing need a fresh backup, too.
    """

    strategy: str = "pg_dump"
    directory: str = ".safemigrations/backups"
    jobs: int = 2
    tables: str = "all"
    verify: str = "read"
    programs: str | None = None
    command: tuple[str, ...] = ()
    command_timeout: float = 3600.0
    archive_timeout: float = 120.0
    max_age: float = 24.0
    always: bool = False


def _words(key: str, value: object) -> list[Problem]:
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(word, str) and "\0" not in word for word in value)
        and value[0]
    ):
        return []
    hint = 'Write ["/usr/local/bin/snapshot", "--wait"], for example; no shell reads it.'
    return [Problem(key, f"{value!r} is not a list of a command and its arguments.", hint)]


BACKUP_CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "STRATEGY": one_of(STRATEGIES),
    "DIRECTORY": path_like("/var/backups/shop"),
    "JOBS": count,
    "TABLES": one_of(TABLES),
    "VERIFY": one_of(VERIFICATIONS),
    "PROGRAMS": or_none(path_like("/usr/lib/postgresql/18/bin")),
    "COMMAND": _words,
    "COMMAND_TIMEOUT": positive,
    "ARCHIVE_TIMEOUT": positive,
    "MAX_AGE": positive,
    "ALWAYS": yes_or_no,
}


def check_backup(key: str, value: object) -> list[Problem]:
    """Refuse unknown keys and unusable values."""
    problems = each(key, value, BACKUP_CHECKS, '{"STRATEGY": "pg_dump"}')
    if not isinstance(value, Mapping):
        return problems
    if value.get("STRATEGY") == "command" and not value.get("COMMAND"):
        hint = 'Write "COMMAND": ["/usr/local/bin/snapshot"], for example.'
        problems.append(Problem(f"{key}['COMMAND']", 'STRATEGY is "command", but none is.', hint))
    return problems


def read_backup(raw: Mapping[str, Any]) -> BackupSettings:
    """Read a value that was checked."""
    values: dict[str, Any] = {key.lower(): value for key, value in raw.items()}
    if "command" in values:
        values["command"] = tuple(values["command"])
    for key in ("directory", "programs"):
        if values.get(key) is not None:
            values[key] = str(values[key])
    return BackupSettings(**values)


def check_keep_dropped(key: str, value: object) -> list[Problem]:
    """Refuse what is not a span of time such as "7 days"; None keeps nothing."""
    if value is None or _span(value) is not None:
        return []
    hint = 'Write "7 days", "12 hours" or "2 weeks"; or None to keep nothing.'
    return [Problem(key, f"{value!r} is not a span of time.", hint)]


def read_keep_dropped(value: object) -> timedelta | None:
    """Read a value that was checked."""
    return _span(value)


def _span(value: object) -> timedelta | None:
    if isinstance(value, timedelta):
        return value if value > timedelta(0) else None
    words = value.split() if isinstance(value, str) else []
    if len(words) != 2 or not words[0].isascii() or not words[0].isdecimal():
        return None
    number, unit = int(words[0]), words[1].lower().removesuffix("s")
    # Longer than this is no span to keep something for, and overflows.
    if unit not in SPANS or not 0 < number <= 10_000:
        return None
    return timedelta(hours=number * SPANS[unit])
