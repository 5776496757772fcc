"""Which releases have run safemigrate, and which were connected then: what a later contract asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import connections

from django_safemigrations import ledger
from django_safemigrations.checklist.evidence import is_genuine, record_evidence
from django_safemigrations.models import Evidence, Run
from django_safemigrations.postgres.sessions import Session
from django_safemigrations.releases import release_in

ITEM = "no_downtime"
Key = tuple[str, str]


def aware(moment: datetime) -> datetime:
    """Return a moment that can be compared with others: without USE_TZ Django's know no zone."""
    return moment if moment.tzinfo else moment.astimezone()


def releases_connected(sessions: Iterable[Session], but: Collection[str] = ()) -> tuple[str, ...]:
    """Return the releases that sessions name, in order of their age, without some."""
    named = (release_in(session.application) for session in sessions)
    return tuple(dict.fromkeys(name for name in named if name and name not in but))


def note_release(
    using: str, release: str, sessions: Iterable[Session], plan_hash: str, run: Run | None
) -> None:
    """Record that a release has run safemigrate; once for each release where nothing was to do.

    Code that does not know the migrations of the last run is older than the database: it must
    not be recorded, or a contract would take it for new.
    """
    if run is None and any(row.details["release"] == release for row in _rows(using)[:1]):
        return
    connected = list(releases_connected(sessions, [release]))
    details = {"release": release, "connected": connected}
    record_evidence(using, ITEM, plan_hash, details, run=run)


def is_behind(using: str, known: Collection[Key]) -> bool:
    """Whether the last run holds migrations that this code does not know."""
    last = ledger.last_runs(using, 1) if ledger.exists(connections[using]) else []
    return any((e["app_label"], e["name"]) not in known for run in last for e in run.migrations)


def releases_since(using: str, expands: Collection[Key], since: datetime) -> frozenset[str]:
    """Return the releases that have run safemigrate from an expand on: their code knows it.

    Args:
        using: alias of the database.
        expands: the migrations of the expand.
        since: when the last of them was applied; for when no record is bound to its run.
    """
    rows = _rows(using)
    begun = next((row.pk for row in rows if row.run and _ran(row.run, expands)), None)
    return frozenset(
        str(row.details["release"])
        for row in rows
        if (row.pk >= begun if begun is not None else aware(row.created_at) >= since)
    )


def _rows(using: str) -> list[Evidence]:
    """Return the genuine records, the newest first."""
    if not ledger.exists(connections[using]):
        return []
    rows = Evidence.objects.using(using).filter(
        item=ITEM, kind=Evidence.Kind.RECORDED, details__has_key="release"
    )
    return [row for row in rows.select_related("run").order_by("-pk")[:1000] if is_genuine(row)]


def _ran(run: Run, expands: Collection[Key]) -> bool:
    return any((entry["app_label"], entry["name"]) in expands for entry in run.migrations)
