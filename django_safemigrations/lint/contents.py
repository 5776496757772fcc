"""What a Migration has to hold for Django to run it."""

from __future__ import annotations

from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation


def wrong_contents(migration: Any) -> str | None:
    """Return what Django could not run in a migration; None if there is nothing."""
    if not isinstance(migration, Migration):
        return f"its Migration is {type(migration).__name__}, no subclass of migrations.Migration"
    for name in ("dependencies", "run_before", "replaces"):
        for key in getattr(migration, name):
            if not is_key(key):
                return f'{key!r} in its {name} is not a pair ("app_label", "name")'
    return _wrong_operation(migration.operations, "")


def _wrong_operation(given: Any, prefix: str) -> str | None:
    if not isinstance(given, list | tuple):
        return f"operations {prefix.rstrip('.') or 'of it'} are {type(given).__name__}, no list"
    for index, operation in enumerate(given):
        if not isinstance(operation, Operation):
            what = operation.__name__ if isinstance(operation, type) else repr(operation)[:60]
            return f"its operation {prefix}{index} is {what}, no instance of an operation"
        for inside in ("database_operations", "state_operations"):
            nested = getattr(operation, inside, None)
            if nested and (wrong := _wrong_operation(nested, f"{prefix}{index}.")) is not None:
                return wrong
    return None


def is_key(key: Any) -> bool:
    """Return whether something is an app label and a name."""
    return isinstance(key, list | tuple) and len(key) == 2 and all(isinstance(p, str) for p in key)


def listed(keys: Any) -> list[Any]:
    """Return keys as a list; an empty one if they are none."""
    return list(keys) if isinstance(keys, list | tuple) else []
