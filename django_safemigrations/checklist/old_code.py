"""Before a contract: whether old code is really gone, and everything it needs is proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.backfill.control import unfinished_reason
from django_safemigrations.backfill.listing import blocking, list_backfills
from django_safemigrations.checklist.equal_columns import differing_rows
from django_safemigrations.checklist.releases_seen import aware, releases_since
from django_safemigrations.conf import Settings
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.postgres.sessions import Session, other_sessions, role
from django_safemigrations.releases import release_in
from django_safemigrations.schedule import Action, Entry, Key, dotted

SHOWN = 5
NOBODY_TOLD = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OldCode:
    """What speaks against contracts, and what was found besides.

    Attributes:
        problems: why old code may still be there, or something is not proven.
        notes: what was looked at and is well, or can't be seen.
        type_next: what to type; empty if there is only something to wait for.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    type_next: str = ""


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    type_next: list[str] = field(default_factory=list)


def look_for_old_code(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    entries: Iterable[Entry],
    settings: Settings,
    release: str,
    now: datetime,
) -> OldCode | None:
    """Look at what must be gone or done before the contracts of a run; None if there are none.

    Args:
        connection: the database; it is only read.
        loader: the migrations, and which of them are applied.
        entries: what is about to run.
        settings: the settings in force.
        release: the release that runs them; empty if it has no name.
        now: the time by which ages are reckoned.
    """
    contracts = [
        entry
        for entry in entries
        if entry.phase is Phase.CONTRACT and entry.action is not Action.STEP_OVER
    ]
    if not contracts:
        return None
    found = _Findings()
    expanded = {entry.key: expands_of(loader, entry.key) for entry in contracts}
    since = expanded_since(connection, expanded)
    _judge_soak(found, since, settings, aware(now))
    _judge_sessions(found, connection, expanded, since, release)
    ready = [entry for entry in contracts if since[entry.key] is not None]
    _judge_backfills(found, connection, ready)
    problems, notes = differing_rows(connection, loader, ready)
    found.problems += problems
    found.notes += notes
    return OldCode(
        tuple(found.problems), tuple(found.notes), found.type_next[0] if found.type_next else ""
    )


def expands_of(loader: MigrationLoader, key: Key) -> frozenset[Key]:
    """Return the migrations behind which a contract stands, without other contracts of its row."""
    nodes = loader.graph.node_map
    if key not in nodes:
        return frozenset()
    found: set[Key] = set()
    queue = [parent.key for parent in nodes[key].parents]
    seen: set[Key] = set()
    while queue:
        parent = queue.pop()
        migration = loader.graph.nodes.get(parent)
        if parent in seen or migration is None:
            continue
        seen.add(parent)
        if migration_phase(migration) is Phase.CONTRACT:
            queue += [node.key for node in nodes[parent].parents]
        else:
            found.add(parent)
    return frozenset(found)


def expanded_since(
    connection: BaseDatabaseWrapper, expanded: Mapping[Key, frozenset[Key]]
) -> dict[Key, datetime | None]:
    """Return when the last expand of each contract was applied; None if one was not."""
    recorder = MigrationRecorder(connection)
    applied: dict[Key, datetime] = {}
    if recorder.has_table():
        for app, name, when in recorder.migration_qs.values_list("app", "name", "applied"):
            applied[app, name] = aware(when)
    return {
        key: max((applied[expand] for expand in expands), default=NOBODY_TOLD)
        if expands <= applied.keys()
        else None
        for key, expands in expanded.items()
    }


def _judge_soak(
    found: _Findings, since: Mapping[Key, datetime | None], settings: Settings, now: datetime
) -> None:
    ages = {
        key: (now - when if when is not None else timedelta(0))
        for key, when in since.items()
        if when != NOBODY_TOLD
    }
    if not ages:
        return
    youngest = min(ages, key=lambda key: ages[key])
    age = ages[youngest]
    if age < timedelta(hours=settings.soak):
        left = timedelta(hours=settings.soak) - age
        applied = f"was applied {told(age)} ago" if since[youngest] else "is not applied yet"
        found.problems.append(
            f"{dotted(youngest)}: its expand {applied}, and SOAK asks for {settings.soak:g} h; "
            f"{told(left)} are left"
        )
    else:
        asked = f"SOAK asks for {settings.soak:g} h" if settings.soak else "SOAK asks for none"
        found.notes.append(f"the last expand was applied {told(age)} ago; {asked}")


def _judge_sessions(
    found: _Findings,
    connection: BaseDatabaseWrapper,
    expanded: Mapping[Key, frozenset[Key]],
    since: Mapping[Key, datetime | None],
    release: str,
) -> None:
    sessions = other_sessions(connection)
    if not release:
        told_apart = (
            f"so {_count(sessions)} can't be told apart" if sessions else "nobody is connected"
        )
        found.notes.append(f"RELEASE is not set, {told_apart}: make sure that no old code is left")
        return
    known = {release} | frozenset.intersection(
        *(
            # Of an expand that was squashed away nobody can tell who knows it.
            releases_since(connection.alias, expanded[key], when)
            if when is not None and when != NOBODY_TOLD
            else frozenset()
            for key, when in since.items()
        )
    )
    old = [each for each in sessions if release_in(each.application) not in {"", *known}]
    for session in old[:SHOWN]:
        found.problems.append(
            f"old code is connected, or code that nobody told of the expand: {session}"
        )
    if len(old) > SHOWN:
        found.problems.append(f"and {len(old) - SHOWN} more sessions of other releases")
    if old:
        found.problems.append(
            "let these processes end, then run the command again (a pooler's session keeps the name "
            "of its last client; PgBouncer's until RECONNECT)"
        )
    else:
        found.notes.append(f"no session of another release than {', '.join(sorted(known))}")
    untold = [each for each in sessions if not release_in(each.application)]
    if untold:
        named = "; ".join(map(str, untold[:SHOWN]))
        more = f"; and {len(untold) - SHOWN} more" if len(untold) > SHOWN else ""
        found.notes.append(f"{_count(untold)} without a release: {named}{more}")
    if any(session.hidden for session in sessions):
        found.notes.append(
            "since when sessions of other roles are connected is hidden from this one; to see it: "
            f"GRANT pg_read_all_stats TO {role(connection)}"
        )


def _judge_backfills(
    found: _Findings, connection: BaseDatabaseWrapper, contracts: Sequence[Entry]
) -> None:
    backfills = list_backfills(connection)
    for entry in contracts:
        held = blocking(backfills, entry.footprint)
        if held is not None:
            reason = " ".join(unfinished_reason(held).split())
            found.problems.append(f"{dotted(entry.key)}: {reason}")
            found.type_next.append("manage.py runbackfill")


def _count(sessions: Sequence[Session]) -> str:
    return f"{len(sessions)} other session{'s' if len(sessions) != 1 else ''}"


def told(age: timedelta) -> str:
    """Return an age as people say it."""
    hours = age.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{max(0.0, hours * 60):.0f} min"
