"""The SAFE_MIGRATIONS setting: one dict, read into one frozen value."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings

from django_safemigrations.exceptions import SettingsError

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


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the setting: which key, what about it, and what to write instead."""

    key: str
    message: str
    hint: str


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


KEYS = {option.name.upper(): option.name for option in fields(Settings)}


def _positive(key: str, value: object) -> list[Problem]:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return [
            Problem(key, f"{value!r} is not a number above 0.", f"Give {key} a number above 0.")
        ]
    return []


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


def _one_of(choices: tuple[str, ...]) -> Callable[[str, object], list[Problem]]:
    def check(key: str, value: object) -> list[Problem]:
        if value in choices:
            return []
        return [
            Problem(key, f"{value!r} is not one of {', '.join(choices)}.", nearest(value, choices))
        ]

    return check


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
            problems += _one_of(LEVELS)(name, level)
    return problems


def _codes(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(code, str) for code in value):
        return []
    return [Problem(key, f"{value!r} is not a list of codes.", 'Write ["DSM101"], for example.')]


CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "LOCK_TIMEOUT": _milliseconds,
    "LOCK_BUDGET": _positive,
    "BATCH_TIME": _milliseconds,
    "RENAME_FIELD": _one_of(RENAME_WAYS),
    "GROUPING": _one_of(GROUPINGS),
    "PLAIN_MIGRATE": _one_of(PLAIN_MIGRATE_WAYS),
    "CHECKLIST": _checklist,
    "EVIDENCE_MAX_AGE": _positive,
    "LINT_IGNORE": _codes,
}


def nearest(value: object, choices: tuple[str, ...] | list[str]) -> str:
    """Say which of the choices was probably meant."""
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Use one of: {', '.join(choices)}."


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
    if "checklist" in values:
        values["checklist"] = {**defaults.checklist, **values["checklist"]}
    if "lint_ignore" in values:
        values["lint_ignore"] = tuple(values["lint_ignore"])
    return Settings(**values)
