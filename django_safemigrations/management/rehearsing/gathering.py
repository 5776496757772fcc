"""Gathers what a run lacks by itself: a rehearsal and a backup, before anything is locked."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings as django_settings
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backup.taking import intended
from django_safemigrations.byte_sizes import in_words
from django_safemigrations.checklist import Verdict
from django_safemigrations.conf import Settings

GATHERED = {"rehearsed": "REHEARSAL", "backup": "BACKUP"}
"""Items that evidence can be gathered for, and the settings that say how."""


def lacking(verdicts: Collection[Verdict]) -> tuple[str, ...]:
    """Return the items that would be met if somebody gathered evidence, if that would be enough.

    Where another item is unmet, an hour of copying would end in a refusal all the same.
    """
    refusing = [verdict.item for verdict in verdicts if verdict.refuses]
    return tuple(refusing) if all(item in GATHERED for item in refusing) else ()


def may_gather(connection: BaseDatabaseWrapper, item: str, settings: Settings) -> str:
    """Return why evidence is not gathered without being asked for; empty if it is.

    Args:
        connection: the database.
        item: the checklist item.
        settings: those in force.
    """
    if (getattr(django_settings, "SAFE_MIGRATIONS", None) or {}).get(GATHERED[item]) is not None:
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size = int(cursor.fetchone()[0])
    most = settings.small_database_bytes
    if size <= most:
        return ""
    return (
        f"the database has {in_words(size)}, more than SMALL_DATABASE ({in_words(most)}), and "
        f"SAFE_MIGRATIONS[{GATHERED[item]!r}] does not say how to do that"
    )


def intentions(
    connection: BaseDatabaseWrapper, verdicts: Collection[Verdict], settings: Settings
) -> tuple[tuple[str, ...], list[str]]:
    """Return the items that a run gathers evidence for, and what it does or why it does not.

    Either all that is lacking is gathered or nothing: half of it would not let the plan run.
    """
    items = lacking(verdicts)
    reasons = {item: may_gather(connection, item, settings) for item in items}
    rehearsal = settings.rehearsal
    does = {
        "rehearsed": f"rehearse the plan on a copy ({rehearsal.source}), with a report in "
        f"{rehearsal.reports}",
        "backup": intended(settings.backup),
    }
    if any(reasons.values()):
        lines = [f"safemigrate will not {does[i]}: {why}." for i, why in reasons.items() if why]
        return (), lines
    return items, [f"safemigrate will {does[item]}." for item in items]
