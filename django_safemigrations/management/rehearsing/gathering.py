"""Gathers what a run lacks by itself: a rehearsal and a backup, before anything is locked."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.conf import settings as django_settings
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.checklist import State, Verdict
from django_safemigrations.conf import Settings
from django_safemigrations.rehearsal.report.figures import size as said_size

GATHERED = {"rehearsed": "REHEARSAL", "backup": "BACKUP"}
"""Items that evidence can be gathered for, and the settings that say how."""
DOES = {
    "rehearsed": "rehearse the plan on a copy ({source}), with a report in {reports}",
    "backup": "take a backup ({strategy}){where}",
}


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
        f"the database has {said_size(size)}, more than SMALL_DATABASE ({said_size(most)}), and "
        f"SAFE_MIGRATIONS[{GATHERED[item]!r}] does not say how to do that"
    )


def intentions(
    connection: BaseDatabaseWrapper, verdicts: Collection[Verdict], settings: Settings
) -> list[str]:
    """Return what a run would do to meet its items, or why it would not; one line each."""
    wanted = [v.item for v in verdicts if v.item in GATHERED and v.state is State.UNMET]
    lines = []
    for item in wanted:
        why_not = may_gather(connection, item, settings)
        backup = settings.backup
        does = DOES[item].format(
            source=settings.rehearsal.source,
            reports=settings.rehearsal.reports,
            strategy=backup.strategy,
            where=f" into {backup.directory}" if backup.strategy == "pg_dump" else "",
        )
        lines.append(
            f"safemigrate will not {does}: {why_not}." if why_not else f"safemigrate will {does}."
        )
    return lines


class Gathering:
    """Meets items one after the other, and tells what it does.

    Args:
        steps: what to do for each item.
        line: prints.
    """

    def __init__(self, steps: dict[str, Callable[[], Any]], line: Callable[[str], None]) -> None:
        self.steps = steps
        self.line = line

    def gather(self, items: Collection[str]) -> None:
        """Do what the items ask for, in the order of the steps."""
        for item, step in self.steps.items():
            if item in items:
                step()
