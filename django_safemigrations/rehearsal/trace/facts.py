"""What one statement did, read off two looks and off what was polled while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from django_safemigrations.rehearsal.trace.looks import NONE, Counters, Look
from django_safemigrations.rehearsal.trace.relations import Relation, Relations
from django_safemigrations.rehearsal.trace.watcher import Polled

NEARLY_ALL = 0.9
"""Share of a table's rows from which on it was read through; how many there are is an estimate."""
FEWEST = 3
"""Of a table with fewer rows, a look at one of them is nearly a look at all."""


@dataclass(frozen=True)
class Built:
    """An index that was built, or built anew.

    Attributes:
        index: the index as it is now.
        rebuilt: it had been there before, in another file.
    """

    index: Relation
    rebuilt: bool


@dataclass(frozen=True)
class Facts:
    """What one statement did.

    Attributes:
        sql: its text.
        before: the relations that it replaced, rebuilt or dropped, as they were.
        earlier: modes by relation that its transaction held before it.
        added: modes by relation that it took.
        rewritten: tables that got a new file.
        built: indexes.
        counters: by table.
        rows: rows by table, before it.
        wal: bytes.
        disk: bytes.
        concurrent: it was watched from outside.
        polled: its waits, and if it was watched, its locks.
    """

    sql: str
    earlier: Mapping[int, frozenset[str]] = field(default_factory=dict)
    added: Mapping[int, frozenset[str]] = field(default_factory=dict)
    rewritten: tuple[int, ...] = ()
    built: tuple[Built, ...] = ()
    counters: Mapping[int, Counters] = field(default_factory=dict)
    rows: Mapping[int, int] = field(default_factory=dict)
    wal: int = 0
    disk: int = 0
    concurrent: bool = False
    polled: Polled = field(default_factory=Polled)

    def held(self, relation: int) -> frozenset[str]:
        """Return the modes that were held on a relation when it ended, or while it was watched."""
        return self.earlier.get(relation, frozenset()) | self.added.get(relation, frozenset())

    @property
    def scanned(self) -> dict[int, int]:
        """Tables that were read through, with the rows that were read."""
        return {
            table: counted.read
            for table, counted in self.counters.items()
            if self.rows.get(table, 0) >= FEWEST and counted.read >= self.rows[table] * NEARLY_ALL
        }

    @property
    def written(self) -> int:
        """Rows inserted, updated and deleted."""
        return sum(counted.written for counted in self.counters.values())


def facts_inside(sql: str, before: Look, after: Look, known: Relations, polled: Polled) -> Facts:
    """Return what a statement did in its transaction, and bring `known` up to date.

    Args:
        sql: the statement.
        before: what its transaction held and had done before it.
        after: the same after it.
        known: the relations; changed.
        polled: its waits.
    """
    rows = {oid: relation.rows for oid in after.counters if (relation := known.get(oid))}
    counters = {
        table: more
        for table, counted in after.counters.items()
        if (more := counted.since(before.counters.get(table, NONE))) != NONE
    }
    # A dropped relation that was never known is a sequence or TOAST.
    added = {
        oid: new
        for oid, modes in after.locks.items()
        if (new := modes - before.locks.get(oid, frozenset()))
        and (oid in after.relations or oid in known.by_oid)
    }
    rewritten, built, disk = _changes(known, after.relations, after.gone)
    for table, counted in counters.items():
        relation = known.get(table)
        if relation is not None:
            left = relation.rows + counted.inserted - counted.deleted
            known.put(replace(relation, rows=max(0, left)))
    return Facts(
        sql=sql,
        earlier=before.locks,
        added=added,
        rewritten=rewritten,
        built=built,
        counters={table: c for table, c in counters.items() if table in known.by_oid},
        rows=rows,
        wal=max(0, after.wal - before.wal),
        disk=disk,
        polled=polled,
    )


def facts_outside(
    sql: str,
    counters: Mapping[int, Counters],
    now: list[Relation],
    known: Relations,
    polled: Polled,
    wal: int,
) -> Facts:
    """Return what a statement did that was watched from a second session.

    Args:
        sql: the statement.
        counters: what was done to tables while it ran, by everybody.
        now: all relations after it.
        known: the relations; changed.
        polled: its locks and waits.
        wal: bytes.
    """
    rows = {oid: relation.rows for oid, relation in known.by_oid.items()}
    added: dict[int, frozenset[str]] = {}
    for oid, mode in polled.held:
        added[oid] = added.get(oid, frozenset()) | {mode}
    after = {relation.oid: relation for relation in now}
    gone = frozenset(known.by_oid) - frozenset(after)
    rewritten, built, disk = _changes(known, after, gone)
    return Facts(
        sql=sql,
        added=added,
        rewritten=rewritten,
        built=built,
        counters={t: c for t, c in counters.items() if c != NONE and t in known.by_oid},
        rows=rows,
        wal=wal,
        disk=disk,
        concurrent=True,
        polled=polled,
    )


def _changes(
    known: Relations, after: Mapping[int, Relation], gone: frozenset[int]
) -> tuple[tuple[int, ...], tuple[Built, ...], int]:
    """Compare files, and take over what is now."""
    rewritten: list[int] = []
    built: list[Built] = []
    disk = 0
    names = {known.by_oid[oid].name: known.by_oid[oid] for oid in gone if oid in known.by_oid}
    new_here = {oid for oid in after if oid not in known.by_oid}
    for oid, new in after.items():
        old = known.get(oid)
        before = old if old is not None else names.get(new.name) if new.is_index else None
        other_file = before is None or before.file != new.file
        size = new.bytes if new.bytes >= 0 else before.bytes if before is not None else 0
        if other_file and new.file:
            # The file that it had stays until the transaction ends.
            disk += size
        elif before is not None:
            disk += max(0, size - before.bytes)
        if old is not None and old.is_table and old.file != new.file:
            rewritten.append(oid)
        elif new.kind == "i" and other_file and new.table not in new_here:
            built.append(Built(replace(new, bytes=size), before is not None))
        rows = old.rows if old is not None else new.rows
        known.put(replace(new, bytes=size, rows=rows))
    for oid in gone:
        known.drop(oid)
    return tuple(rewritten), tuple(built), disk
