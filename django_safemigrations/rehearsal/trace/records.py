"""What is kept of statements and steps while a plan runs: bounded, however many statements there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django_safemigrations.rehearsal.results import (
    HazardSeen,
    LockSeen,
    ScanSeen,
    StatementTrace,
    StepKey,
    StepTrace,
)
from django_safemigrations.rehearsal.trace.facts import Facts
from django_safemigrations.rehearsal.trace.relations import (
    NOBODY,
    STRENGTH,
    Relations,
    stops,
)
from django_safemigrations.rehearsal.trace.ways import LONGEST, shape_of

PLAIN = 100
"""So many statements of a step are told apart by their text; more of them by their shape."""
MOST = 400
"""So many records a step may have; what comes after is told by its first word only."""


@dataclass
class Lock:
    """A lock of a record.

    Attributes:
        granted: when; on the tracer's clock.
        waited: seconds.
        held: seconds; None until its transaction has ended.
    """

    granted: float
    waited: float = 0.0
    held: float | None = None


@dataclass
class Record:
    """One statement, or many of one shape; see `StatementTrace`."""

    sql: str
    started: float
    seconds: float = 0.0
    locks: dict[tuple[str, str], Lock] = field(default_factory=dict)
    rewrites: dict[str, None] = field(default_factory=dict)
    builds: dict[str, None] = field(default_factory=dict)
    scans: dict[str, int] = field(default_factory=dict)
    new_relations: set[str] = field(default_factory=set)
    rows: int = 0
    wal: int = 0
    disk: int = 0
    concurrent: bool = False
    waited: float = 0.0
    attempts: int = 1
    repeats: int = 1

    def add(self, facts: Facts, known: Relations) -> None:
        """Take over what a statement did; its locks are added by the tracer."""
        self.rewrites.update(dict.fromkeys(map(known.name, facts.rewritten)))
        self.builds.update(dict.fromkeys(built.index.name for built in facts.built))
        for table, rows in facts.scanned.items():
            name = known.name(table)
            self.scans[name] = max(rows, self.scans.get(name, 0))
        self.rows += facts.written
        self.wal += facts.wal
        self.disk += facts.disk
        self.concurrent = self.concurrent or facts.concurrent

    def merge(self, other: Record) -> None:
        """Take over another one: sums of figures, and the longest of waits and holds."""
        for key, lock in other.locks.items():
            mine = self.locks.setdefault(key, lock)
            mine.granted = min(mine.granted, lock.granted)
            mine.waited = max(mine.waited, lock.waited)
            if lock.held is not None:
                mine.held = max(mine.held or 0.0, lock.held)
        self.rewrites.update(other.rewrites)
        self.builds.update(other.builds)
        for name, rows in other.scans.items():
            self.scans[name] = max(rows, self.scans.get(name, 0))
        self.new_relations |= other.new_relations
        self.seconds += other.seconds
        self.rows += other.rows
        self.wal += other.wal
        self.disk += other.disk
        self.concurrent = self.concurrent or other.concurrent
        self.waited = max(self.waited, other.waited)
        self.attempts = max(self.attempts, other.attempts)
        self.repeats += other.repeats

    def end(self, now: float) -> None:
        """Note that its transaction is over: what it holds is let go."""
        for name, mode in self.locks:
            self.release(name, mode, now)

    def release(self, name: str, mode: str, now: float) -> None:
        """Note that one of its locks is free, if it is one of them and was held until now."""
        lock = self.locks.get((name, mode))
        if lock is not None and lock.held is None:
            lock.held = max(0.0, now - lock.granted)

    def frozen(self, now: float) -> StatementTrace:
        """Return it as a value."""
        locks = sorted(
            self.locks.items(), key=lambda item: (-STRENGTH.index(item[0][1]), item[0][0])
        )
        return StatementTrace(
            sql=self.sql,
            started=round(self.started, 6),
            seconds=round(self.seconds, 6),
            locks=tuple(
                LockSeen(
                    name,
                    mode,
                    NOBODY if name in self.new_relations else stops(mode),
                    round(lock.waited, 6),
                    round(now - lock.granted if lock.held is None else lock.held, 6),
                )
                for (name, mode), lock in locks
            ),
            rewrites=tuple(self.rewrites),
            index_builds=tuple(self.builds),
            scans=tuple(ScanSeen(name, rows) for name, rows in self.scans.items()),
            rows=self.rows,
            wal_bytes=self.wal,
            disk_bytes=self.disk,
            concurrent=self.concurrent,
            waited=round(self.waited, 6),
            attempts=self.attempts,
            repeats=self.repeats,
        )


class Records:
    """Records by the text of their statement, in the order of their first; a bounded number."""

    def __init__(self) -> None:
        self._by_text: dict[str, Record] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._by_text.values())

    def __len__(self) -> int:
        return len(self._by_text)

    def add(self, record: Record) -> Record:
        """Add a record, to the one of its shape if there is one, and return where it is now."""
        text = record.sql
        if text not in self._by_text and len(self._by_text) >= PLAIN:
            text = shape_of(record.sql[:LONGEST])
            if text not in self._by_text and len(self._by_text) >= MOST:
                text = f"{text.split(None, 1)[0] if text else ''} … (of many shapes)"
            record.sql = text
        found = self._by_text.get(text)
        if found is None:
            self._by_text[text] = record
            return record
        found.merge(record)
        return found

    def take(self, sql: str) -> None:
        """Forget a record."""
        self._by_text.pop(sql, None)


@dataclass
class Step:
    """A step while it runs, and after it; see `StepTrace`."""

    key: StepKey
    started: float
    seconds: float = 0.0
    running: bool = True
    records: Records = field(default_factory=Records)
    hazards: dict[tuple[str, str], HazardSeen] = field(default_factory=dict)

    def add_hazard(self, hazard: HazardSeen) -> None:
        """Add a hazard; of those of one code and table the one that lasted longest is kept."""
        place = (hazard.code, hazard.relation)
        known = self.hazards.get(place)
        if known is None or known.held < hazard.held:
            self.hazards[place] = hazard

    def frozen(self, now: float) -> StepTrace:
        """Return it as a value."""
        return StepTrace(
            key=self.key,
            started=round(self.started, 6),
            seconds=round(now - self.started if self.running else self.seconds, 6),
            statements=tuple(record.frozen(now) for record in self.records),
            hazards=tuple(self.hazards.values()),
        )
