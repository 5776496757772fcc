"""Contracts that should have run long ago: triggers and second columns are at work until then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from django_safemigrations.checklist.old_code import NOBODY_TOLD, expanded_since, expands_of
from django_safemigrations.checklist.releases_seen import aware
from django_safemigrations.schedule import Key


def overdue_contracts(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    contracts: list[Key],
    days: float,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return the contracts whose expand was applied too long ago, the oldest first.

    Args:
        connection: the database.
        loader: the migrations.
        contracts: those that have not run.
        days: how long they may wait.
        now: the time by which that is reckoned.
    """
    now = aware(now)
    since = expanded_since(connection, {key: expands_of(loader, key) for key in contracts})
    found = [
        (when, key)
        for key, when in since.items()
        if when is not None and when != NOBODY_TOLD and (now - when).total_seconds() > days * 86400
    ]
    return [
        {"app_label": key[0], "name": key[1], "since": when.isoformat(), "days": (now - when).days}
        for when, key in sorted(found)
    ]


def waiting_contracts(document: dict[str, Any]) -> list[Key]:
    """Return the contracts that a `work_document` says are left."""
    names = [tuple(name.split(".", 1)) for name in document["contract"]["pending"]]
    rows = [(row["app_label"], row["name"]) for row in document["pending_contracts"]]
    return [(name[0], name[1]) for name in (*names, *rows)]


def overdue_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield them as text."""
    if not rows:
        return
    yield "Overdue contracts, to run with --phase contract when no old code is left:"
    for row in rows:
        days = f"{row['days']} day{'s' if row['days'] != 1 else ''}"
        yield f"  {row['app_label']}.{row['name']}, {days} after its expand ({row['since'][:10]})"
