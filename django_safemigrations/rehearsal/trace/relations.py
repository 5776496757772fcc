"""What a trace knows of the tables and indexes of a database, and whom a lock on them stops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import tuple_row

from django_safemigrations.postgres.catalog import quote

STOPS_EVERYTHING = "AccessExclusiveLock"
STOPS_WRITES = frozenset({"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock"})
BLOCKING = STOPS_WRITES | {STOPS_EVERYTHING}
"""Modes that make reads or writes of others wait.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""
STOPS_DDL = "ShareUpdateExclusiveLock"
STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    STOPS_DDL,
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    STOPS_EVERYTHING,
)
NOBODY = "nobody"

TABLES = ("r", "p", "m")
INDEXES = ("i", "I")
KINDS = "'r', 'p', 'm', 'i', 'I', 'v', 'f'"
"""Tables, partitioned ones, materialised views, indexes, views and foreign tables."""
OURS = f"""c.relkind IN ({KINDS}) AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'"""
# reltuples is -1 until the first ANALYZE or VACUUM; otherwise it is as old as that, and the
# planner, too, scales it with the file.
ALL = f"""
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text,
           coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::int8,
           coalesce(i.indrelid, c.oid)::int8,
           coalesce(CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_table_size(c.oid)
                         WHEN c.relkind = 'i' THEN pg_catalog.pg_relation_size(c.oid) END, 0)::int8,
           c.reltuples::float8, c.relpages::int8,
           CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) / 8192 END,
           c.relispopulated AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
    WHERE {OURS}
"""
COUNTED_PAGES = 256
"""Tables up to 2 MB are counted; a point of larger ones is measured."""
SAMPLED_PAGES = 200
SAMPLE = "SELECT count(*) FROM {} TABLESAMPLE SYSTEM ({}) REPEATABLE (1)"


@dataclass(frozen=True)
class Relation:
    """A table, view or index.

    Attributes:
        oid: its number.
        name: schema and name, quoted.
        kind: PostgreSQL's relkind.
        file: number of the file that holds it; 0 if none.
        table: of an index: its table; otherwise itself.
        bytes: size, of a table with TOAST.
        rows: about how many; of tables only.
    """

    oid: int
    name: str
    kind: str
    file: int = 0
    table: int = 0
    bytes: int = 0
    rows: int = 0

    @property
    def is_table(self) -> bool:
        """Whether it has rows of its own, or its partitions have."""
        return self.kind in TABLES

    @property
    def is_index(self) -> bool:
        """Whether it is an index."""
        return self.kind in INDEXES


class Relations:
    """The relations of a database as they were last seen.

    Attributes:
        by_oid: all that are known.
        original: numbers of those that were there at the beginning.
        partitions: of partitioned tables, those at the beginning that hold rows.

    Args:
        found: all that there are.
        partitions: the same.
    """

    def __init__(
        self, found: Iterable[Relation], partitions: Mapping[int, Iterable[int]] | None = None
    ) -> None:
        self.by_oid: dict[int, Relation] = {relation.oid: relation for relation in found}
        self.original = frozenset(self.by_oid)
        self.partitions = {oid: frozenset(parts) for oid, parts in (partitions or {}).items()}
        self._names = {oid: relation.name for oid, relation in self.by_oid.items()}

    def get(self, oid: int) -> Relation | None:
        """Return a relation, or None if it was never seen."""
        return self.by_oid.get(oid)

    def put(self, relation: Relation) -> None:
        """Take over what a relation is now."""
        self.by_oid[relation.oid] = relation
        self._names[relation.oid] = relation.name

    def drop(self, oid: int) -> None:
        """Take a relation out; its name is kept for what is told of it."""
        self.by_oid.pop(oid, None)

    def name(self, oid: int) -> str:
        """Return the quoted name of a relation; of one that was never seen, its number."""
        return self._names.get(oid) or f"(relation {oid}, gone)"

    def served(self, oid: int) -> bool:
        """Whether running code may be using a table, and it isn't empty."""
        relation = self.by_oid.get(oid)
        return relation is not None and oid in self.original and relation.rows > 0

    def bytes_with_indexes(self, oid: int) -> int:
        """Return the size of a table and of its indexes."""
        return sum(r.bytes for r in self.by_oid.values() if r.table == oid)


def read_files(session: Any) -> list[Relation]:
    """Read all relations of a database as they are now, without their rows."""
    with session.cursor(row_factory=tuple_row) as cursor:
        return [_relation(*row[:7]) for row in cursor.execute(ALL).fetchall()]


def read_relations(session: Any) -> Relations:
    """Read all relations of a database, with about how many rows they have.

    Args:
        session: a psycopg connection in autocommit.

    Locks: ACCESS SHARE on each table, one after the other.
    """
    found = []
    with session.cursor(row_factory=tuple_row) as cursor:
        for *about, rows, pages, now, readable in cursor.execute(ALL).fetchall():
            relation = _relation(*about)
            if now:
                counted = _rows(cursor, relation, rows, pages, now) if readable else max(0, rows)
                relation = replace(relation, rows=int(counted))
            found.append(relation)
        parts = dict(cursor.execute(PARTS).fetchall())
    rows_of = {relation.oid: relation.rows for relation in found}
    whole = (
        replace(r, rows=sum(rows_of.get(part, 0) for part in parts[r.oid])) if r.oid in parts else r
        for r in found
    )
    return Relations(whole, parts)


PARTS = """
    SELECT c.oid::int8, array_agg(t.relid::int8)
    FROM pg_catalog.pg_class c, LATERAL pg_catalog.pg_partition_tree(c.oid) t
    WHERE c.relkind = 'p' AND t.isleaf GROUP BY c.oid
"""


def _relation(
    oid: int, schema: str, name: str, kind: str, file: int, table: int, size: int
) -> Relation:
    return Relation(oid, f"{quote(schema)}.{quote(name)}", kind, file, table, size)


def _rows(session: Any, relation: Relation, rows: float, pages: int, now: int) -> int:
    if now <= COUNTED_PAGES:
        return int(session.execute(f"SELECT count(*) FROM ONLY {relation.name}").fetchone()[0])
    if rows >= 0 and pages > 0:
        return max(1, round(rows / pages * now))
    share = min(1.0, SAMPLED_PAGES / now)
    sampled = int(session.execute(SAMPLE.format(relation.name, 100 * share)).fetchone()[0])
    return max(1, round(sampled / share))


def stops(mode: str) -> str:
    """Say whom a table lock of some mode makes wait."""
    if mode == STOPS_EVERYTHING:
        return "reads and writes"
    if mode in STOPS_WRITES:
        return "writes"
    return "schema changes only" if mode == STOPS_DDL else NOBODY


def strongest(modes: Iterable[str]) -> str:
    """Return the strongest of some modes; empty if there is none."""
    known = [mode for mode in modes if mode in STRENGTH]
    return max(known, key=STRENGTH.index) if known else ""
