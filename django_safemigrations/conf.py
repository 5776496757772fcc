"""The SAFE_MIGRATIONS setting: one dict, read into one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

from django_safemigrations.backfill_settings import BACKFILL_CHECKS as BACKFILL_CHECKS
from django_safemigrations.backfill_settings import BackfillSettings as BackfillSettings
from django_safemigrations.backfill_settings import check_backfill, read_backfill
from django_safemigrations.backup_settings import BACKUP_CHECKS as BACKUP_CHECKS
from django_safemigrations.backup_settings import BackupSettings as BackupSettings
from django_safemigrations.backup_settings import (
    check_backup,
    check_keep_dropped,
    read_backup,
    read_keep_dropped,
)
from django_safemigrations.byte_sizes import byte_size, parse_size
from django_safemigrations.exceptions import SettingsError
from django_safemigrations.profiles import PROFILES as PROFILES
from django_safemigrations.profiles import VARIABLE, defaults_of, profile_asked
from django_safemigrations.rehearsal_settings import REHEARSAL_CHECKS as REHEARSAL_CHECKS
from django_safemigrations.rehearsal_settings import RehearsalSettings as RehearsalSettings
from django_safemigrations.rehearsal_settings import check_rehearsal, read_rehearsal
from django_safemigrations.release_settings import function, not_negative, release
from django_safemigrations.setting_checks import Problem as Problem
from django_safemigrations.setting_checks import count, one_of, positive
from django_safemigrations.setting_checks import nearest as nearest

CHECKLIST_ITEMS = (
    "reversible",
    "rehearsed",
    "batched",
    "concurrent",
    "no_downtime",
    "backup",
    "rollback_plan",
)
LEVELS = ("require", "warn", "off")
RENAME_WAYS = ("dual_write", "db_column")
GROUPINGS = ("change", "phase")
PLAIN_MIGRATE_WAYS = ("refuse", "warn", "allow")
LINT_SEVERITIES = ("error", "warning", "note", "off")


@dataclass(frozen=True)
class Settings:
    """The values in force.

    Attributes:
        lock_timeout: milliseconds a statement waits for a lock before it steps back.
        lock_budget: seconds a statement may try again before the migration fails.
        batch_time: milliseconds a backfill batch should take.
        rename_field: "dual_write" (second column and trigger) or "db_column" (no database work).
        grouping: one chain of files for each "change", or for each "phase".
        plain_migrate: what `migrate` does with a contract to run: refuse, warn or allow.
        checklist: level of each checklist item: require, warn or off.
        evidence_max_age: hours for which recorded evidence counts.
        lint_ignore: codes that lintmigrations leaves out.
        lint_severities: severity by code, where it is not the catalogue's: error, warning, note, off.
        lint_exclude_apps: labels of apps whose migrations are not judged.
        lint_rules: dotted paths of the project's own rules.
        lint_small_rows: up to so many rows, with --stats, work on each row is a note.
        lint_large_rows: from so many rows on, with --stats, work on each row is an error.
        backfill: what backfills wait for.
        rehearsal: where the copy for a rehearsal comes from.
        backup: what kind of backup there is to be before data is dropped.
        keep_dropped: how long dropped columns and tables are kept; None keeps nothing.
        profile: "development", "ci" or "production": what is asked where nothing else is set.
        release: name of the release that this code is, or a callable that returns it.
        soak: hours that must lie between an expand and its contract.
        contract_overdue: days after which a contract that has not run is called overdue.
        on_progress: a callable, or its dotted path, that is told what runs do.
        small_database: up to this size evidence is gathered without being configured.
    """

    lock_timeout: int = 50
    lock_budget: float = 120.0
    batch_time: int = 100
    rename_field: str = "dual_write"
    grouping: str = "change"
    plain_migrate: str = "refuse"
    checklist: Mapping[str, str] = field(
        default_factory=lambda: dict.fromkeys(CHECKLIST_ITEMS, "require")
    )
    evidence_max_age: float = 24.0
    lint_ignore: tuple[str, ...] = ()
    lint_severities: Mapping[str, str] = field(default_factory=dict)
    lint_exclude_apps: tuple[str, ...] = ()
    lint_rules: tuple[str, ...] = ()
    lint_small_rows: int = 10_000
    lint_large_rows: int = 1_000_000
    backfill: BackfillSettings = field(default_factory=BackfillSettings)
    rehearsal: RehearsalSettings = field(default_factory=RehearsalSettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    keep_dropped: timedelta | None = None
    profile: str = "production"
    release: str | Callable[[], str] | None = None
    soak: float = 0.0
    contract_overdue: float = 14.0
    on_progress: str | Callable[..., Any] | None = None
    small_database: str | int = "10 GB"

    @property
    def small_database_bytes(self) -> int:
        """SMALL_DATABASE in bytes."""
        return parse_size(self.small_database)


KEYS = {option.name.upper(): option.name for option in fields(Settings)}


def _milliseconds(key: str, value: object) -> list[Problem]:
    # PostgreSQL takes whole milliseconds, and 0 for no timeout at all.
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return [
            Problem(
                key,
                f"{value!r} is not a whole number of milliseconds, 1 or more.",
                f"Give {key} a whole number, 1 or more.",
            )
        ]
    return []


def _checklist(key: str, value: object) -> list[Problem]:
    if not isinstance(value, Mapping):
        return [Problem(key, f"{value!r} is not a dict.", 'Write {"backup": "warn"}, for example.')]
    problems = []
    for item, level in value.items():
        name = f"{key}[{item!r}]"
        if item not in CHECKLIST_ITEMS:
            problems.append(
                Problem(name, "there is no such checklist item.", nearest(item, CHECKLIST_ITEMS))
            )
        elif level not in LEVELS:
            problems += one_of(LEVELS)(name, level)
    return problems


def _codes(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(code, str) for code in value):
        return []
    return [Problem(key, f"{value!r} is not a list of codes.", 'Write ["DSM101"], for example.')]


def _severities(key: str, value: object) -> list[Problem]:
    if not isinstance(value, Mapping) or not all(isinstance(code, str) for code in value):
        hint = 'Write {"DSM401": "error"}, for example.'
        return [Problem(key, f"{value!r} is not a dict of codes.", hint)]
    problems = []
    for code, severity in value.items():
        problems += one_of(LINT_SEVERITIES)(f"{key}[{code!r}]", severity)
    return problems


def _labels(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(label, str) for label in value):
        return []
    return [Problem(key, f"{value!r} is not a list of app labels.", 'Write ["shop"], for example.')]


def _paths(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple) and all(
        isinstance(path, str) and "." in path.strip(".") for path in value
    ):
        return []
    return [
        Problem(
            key,
            f"{value!r} is not a list of dotted paths.",
            'Write ["shop.lint.no_text_fields"], for example.',
        )
    ]


CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "LOCK_TIMEOUT": _milliseconds,
    "LOCK_BUDGET": positive,
    "BATCH_TIME": _milliseconds,
    "RENAME_FIELD": one_of(RENAME_WAYS),
    "GROUPING": one_of(GROUPINGS),
    "PLAIN_MIGRATE": one_of(PLAIN_MIGRATE_WAYS),
    "CHECKLIST": _checklist,
    "EVIDENCE_MAX_AGE": positive,
    "LINT_IGNORE": _codes,
    "LINT_SEVERITIES": _severities,
    "LINT_EXCLUDE_APPS": _labels,
    "LINT_RULES": _paths,
    "LINT_SMALL_ROWS": count,
    "LINT_LARGE_ROWS": count,
    "BACKFILL": check_backfill,
    "REHEARSAL": check_rehearsal,
    "BACKUP": check_backup,
    "KEEP_DROPPED": check_keep_dropped,
    "PROFILE": one_of(PROFILES),
    "RELEASE": release,
    "SOAK": not_negative,
    "CONTRACT_OVERDUE": positive,
    "ON_PROGRESS": function,
    "SMALL_DATABASE": byte_size,
}


def validate(raw: object) -> list[Problem]:
    """Return everything wrong with a SAFE_MIGRATIONS value; an empty list if it is usable."""
    if not isinstance(raw, Mapping):
        return [
            Problem("SAFE_MIGRATIONS", f"{raw!r} is not a dict.", "Write SAFE_MIGRATIONS = {}.")
        ]
    problems = []
    for key, value in raw.items():
        if key not in CHECKS:
            hint = nearest(str(key).upper(), list(CHECKS))
            problems.append(Problem(str(key), "there is no such key in SAFE_MIGRATIONS.", hint))
        else:
            problems += CHECKS[key](key, value)
    if "PROFILE" not in raw:
        problems += one_of(PROFILES)(VARIABLE, profile_asked(raw))
    return problems


def get_settings() -> Settings:
    """Read SAFE_MIGRATIONS as it stands now.

    Raises:
        SettingsError: the setting has an unknown key or an unusable value.
    """
    raw: Any = getattr(django_settings, "SAFE_MIGRATIONS", {})
    problems = validate(raw)
    if problems:
        raise SettingsError(
            "\n".join(f"SAFE_MIGRATIONS {p.key}: {p.message} {p.hint}" for p in problems)
        )
    values = {KEYS[key]: value for key, value in raw.items()}
    defaults = Settings()
    values["profile"] = profile_asked(raw)
    of_profile = defaults_of(values["profile"])
    values = {**of_profile, **values}
    levels = {**defaults.checklist, **of_profile.get("checklist", {})}
    values["checklist"] = {**levels, **raw.get("CHECKLIST", {})}
    for key in ("lint_ignore", "lint_exclude_apps", "lint_rules"):
        if key in values:
            values[key] = tuple(values[key])
    if "backfill" in values:
        values["backfill"] = read_backfill(values["backfill"])
    if "rehearsal" in values:
        values["rehearsal"] = read_rehearsal(values["rehearsal"])
    if "backup" in values:
        values["backup"] = read_backup(values["backup"])
    if "keep_dropped" in values:
        values["keep_dropped"] = read_keep_dropped(values["keep_dropped"])
    return Settings(**values)
