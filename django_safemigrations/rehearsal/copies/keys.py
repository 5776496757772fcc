"""Tables, their columns and the foreign keys between them, as a sample has to know them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from django_safemigrations.postgres.catalog import quote
from django_safemigrations.rehearsal.copies.sessions import Session, identifier

# Partitions are read and written through their parent; rows of extensions come with them.
TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'p',
       coalesce((SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) t
                 JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf AND l.relkind = 'r'),
                greatest(c.reltuples, 0))::bigint,
       coalesce((SELECT bool_and(l.reltuples >= 0) FROM pg_partition_tree(c.oid) t
                 JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf AND l.relkind = 'r'),
                c.reltuples >= 0),
       ARRAY(SELECT a.attname FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' ORDER BY a.attnum)::text[]
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3
"""
# A foreign key of a partition that its parent does not have refers from the partition's rows.
FOREIGN_KEYS = """
SELECT k.conrelid::bigint, n.nspname, c.relname, k.confrelid::bigint, m.nspname, p.relname,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num
             ORDER BY u.place)::text[],
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num
             ORDER BY u.place)::text[],
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod)
             FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num
             ORDER BY u.place)::text[]
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY 2, 3, k.conname
"""
# A partition's rows are copied through the topmost table.
ROOTS = """
SELECT inhrelid::bigint, (SELECT relid FROM pg_partition_ancestors(inhrelid) WITH ORDINALITY a(relid, n)
                  ORDER BY n DESC LIMIT 1)::oid::bigint
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE c.relispartition
"""
SEQUENCES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Table:
    """A table that is copied in part.

    Attributes:
        oid: in the original.
        schema: its schema.
        name: its name.
        partitioned: whether its rows are in partitions.
        estimate: how many rows the planner believes it has.
        analyzed: whether the planner knows.
        columns: those that are stored and not generated.
    """

    oid: int
    schema: str
    name: str
    partitioned: bool
    estimate: int
    analyzed: bool
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """Quoted schema and name, as facts of a rehearsal name it."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def quoted(self) -> sql.Composable:
        """Its quoted name."""
        return identifier(self.schema, self.name)

    @property
    def rows(self) -> sql.Composable:
        """What to select its own rows from: not those of tables that inherit from it."""
        return self.quoted if self.partitioned else sql.SQL("ONLY {}").format(self.quoted)

    def listed(self, prefix: str = "") -> sql.Composable:
        """Return its columns, for a SELECT or a COPY."""
        names = [identifier(prefix, name) if prefix else identifier(name) for name in self.columns]
        return sql.SQL(", ").join(names)


@dataclass(frozen=True)
class Reference:
    """A foreign key.

    Attributes:
        child: the table that refers, or a partition of it.
        parent: the table referred to.
        parent_oid: its oid in the original.
        child_columns: in order.
        parent_columns: in order.
        types: of the parent's columns, as they are written.
    """

    child: tuple[str, str]
    parent: tuple[str, str]
    parent_oid: int
    child_columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    types: tuple[str, ...]


def tables_of(session: Session) -> dict[int, Table]:
    """Return the tables of a database that hold rows, by oid; no partitions."""
    return {
        oid: Table(oid, schema, name, partitioned, estimate, analyzed, tuple(columns))
        for oid, schema, name, partitioned, estimate, analyzed, columns in session.execute(TABLES)
    }


def references_of(session: Session) -> list[Reference]:
    """Return every foreign key."""
    return [
        Reference((row[1], row[2]), (row[4], row[5]), row[3], *map(tuple, row[6:]))
        for row in session.execute(FOREIGN_KEYS).fetchall()
    ]


def roots_of(session: Session) -> dict[int, int]:
    """Return the topmost table of each partition."""
    return {row[0]: row[1] for row in session.execute(ROOTS).fetchall()}


def batches(rows: list[Any], size: int) -> Iterable[list[Any]]:
    """Yield a list in parts."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
