"""What a run takes back, what went wrong in it, and what can't run because of that."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.migrations import Migration

from django_safemigrations.footprints import Footprint
from django_safemigrations.phases import Phase
from django_safemigrations.schedule import Action, Entry, Key, dotted


@dataclass(frozen=True)
class Failure:
    """A migration that raised, or was not run because of another one.

    Attributes:
        key: the migration.
        error: what happened.
        cause: the exception, or None if it was not run.
    """

    key: Key
    error: str
    cause: Exception | None = None


@dataclass(frozen=True)
class Left:
    """A migration that waits for workers, or for one that does.

    Attributes:
        key: the migration.
        backfill: what the ledger calls the backfill that is left to workers; empty if the
            migration only waits for another one.
        needs: that other one.
    """

    key: Key
    backfill: str = ""
    needs: Key | None = None


@dataclass(frozen=True)
class Undo:
    """One migration to take back.

    Attributes:
        migration: the migration.
        fake: only unrecord it.
        contract_only: only the database part of a contract that had been pending; it stays
            recorded as applied, and is pending again.
        footprint: of such a contract.
    """

    migration: Migration
    fake: bool = False
    contract_only: bool = False
    footprint: Footprint = field(default_factory=Footprint)


class Broken:
    """What can't run any more in a run, because something before it failed."""

    def __init__(self) -> None:
        self._tables: dict[str, Key] = {}
        self._held: dict[Key, Entry] = {}
        self._skipped: set[Key] = set()
        self._left: set[Key] = set()
        self._left_tables: dict[str, Key] = {}

    def reason_against(self, entry: Entry) -> str | None:
        """Say why an entry can't run; None if it can."""
        lost = sorted(entry.parents & self._skipped)
        if lost:
            return f"not run: it needs {dotted(lost[0])}, which was not run"
        if entry.phase is not Phase.CONTRACT:
            failed = sorted(entry.parents & set(self._held))
            return f"not run: it needs the contract {dotted(failed[0])}" if failed else None
        for table in sorted(entry.footprint.tables):
            if table in self._tables:
                return f"not run: {dotted(self._tables[table])} comes before it on table {table}"
        return None

    def left_with(self, entry: Entry) -> Key | None:
        """Return the migration that was left to workers and without which an entry can't run."""
        lost = sorted(entry.parents & self._left)
        if lost:
            return lost[0]
        if entry.phase is Phase.CONTRACT:
            for table in sorted(entry.footprint.tables & set(self._left_tables)):
                return self._left_tables[table]
        return None

    def leave(self, entry: Entry) -> None:
        """Note that an entry waits for workers, or for one that does."""
        self._left.add(entry.key)
        if entry.phase is Phase.CONTRACT:
            for table in entry.footprint.tables:
                self._left_tables.setdefault(table, entry.key)

    def hold(self, entry: Entry) -> None:
        """Note that an entry was not run."""
        if entry.phase is not Phase.CONTRACT:
            self._skipped.add(entry.key)
            return
        for table in entry.footprint.tables:
            self._tables.setdefault(table, entry.key)
        if entry.action is Action.APPLY:
            self._held[entry.key] = entry

    def take_ancestors(self, entry: Entry) -> list[Entry]:
        """Return the unrecorded contracts that an entry depends on, in order, and forget them."""
        needed: set[Key] = set()
        queue = list(entry.parents)
        while queue:
            held = self._held.get(queue.pop())
            if held is not None and held.key not in needed:
                needed.add(held.key)
                queue.extend(held.parents)
        # Entries were held in the order of the schedule.
        return [self._held.pop(key) for key in list(self._held) if key in needed]
