"""What can be seen of a schema, and what an operation made of it: facts, no opinions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.lint.truth.statements import Failures

SCHEMA = "truth"
"""The schema in which cases live, one at a time."""

STOPS_WRITES = frozenset(
    {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
)
STOPS_READS = "AccessExclusiveLock"

RELATIONS = f"""
    SELECT c.oid::int8, c.relname, pg_relation_filenode(c.oid)::int8,
           pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid),
           pg_stat_get_xact_tuples_updated(c.oid)
    FROM pg_class c WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind = 'r'
"""
INDEXES = f"""
    SELECT i.indexrelid::int8, c.relname, i.indrelid::int8, pg_relation_filenode(c.oid)::int8,
           i.indisunique, i.indisvalid, k.oid IS NOT NULL, pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
    WHERE c.relnamespace = '{SCHEMA}'::regnamespace
"""
COLUMNS = f"""
    SELECT a.attrelid::int8, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.atthasdef, a.attgenerated <> '', coalesce(l.collname, ''),
           coalesce(col_description(a.attrelid, a.attnum), '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped
"""
CONSTRAINTS = f"""
    SELECT k.oid::int8, k.conname, k.contype, k.conrelid::int8, k.confrelid::int8,
           k.convalidated, k.conkey
    FROM pg_constraint k
    WHERE k.connamespace = '{SCHEMA}'::regnamespace AND k.contype IN ('c', 'f', 'p', 'u', 'x')
"""
EVERYTHING = "SELECT " + ", ".join(
    f"(SELECT coalesce(json_agg(to_json(r)), '[]') FROM ({query}) AS r({', '.join('abcdefghi'[:n])}))"
    for query, n in ((RELATIONS, 5), (INDEXES, 8), (COLUMNS, 9), (CONSTRAINTS, 7))
)
LOCKS = f"""
    SELECT DISTINCT l.relation, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND l.granted
    AND c.relnamespace = '{SCHEMA}'::regnamespace
"""


@dataclass(frozen=True)
class Table:
    """A table: its name, its file, and the rows that this transaction has read and updated."""

    name: str
    file: int
    read: int
    updated: int


@dataclass(frozen=True)
class Index:
    """An index: its name, the table that it is on, and whether a constraint owns it."""

    name: str
    table: int
    file: int
    unique: bool
    valid: bool
    owned: bool
    definition: str


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    generated: bool
    collation: str
    comment: str


@dataclass(frozen=True)
class Constraint:
    """A constraint: PostgreSQL's letter for its kind, its table, and the table it points to."""

    name: str
    kind: str
    table: int
    target: int
    valid: bool
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """A schema at one moment; everything by the number that PostgreSQL gave it."""

    tables: dict[int, Table]
    indexes: dict[int, Index]
    columns: dict[tuple[int, int], Column]
    constraints: dict[int, Constraint]

    @classmethod
    def take(cls, connection: BaseDatabaseWrapper) -> Snapshot:
        """Look at the schema."""
        with connection.cursor() as cursor:
            cursor.execute(EVERYTHING)
            relations, keys, attributes, rules = (
                [tuple(row.values()) for row in rows] for rows in cursor.fetchone()
            )
        tables = {row[0]: Table(*row[1:]) for row in relations}
        indexes = {row[0]: Index(*row[1:]) for row in keys}
        columns = {(row[0], row[1]): Column(*row[2:]) for row in attributes}
        constraints = {
            oid: Constraint(name, kind, table, target, valid, tuple(numbers or ()))
            for oid, name, kind, table, target, valid, numbers in rules
        }
        return cls(tables, indexes, columns, constraints)

    def shape(self) -> Any:
        """Return what is compared to see whether anything changed."""
        files = {oid: (table.name, table.file) for oid, table in self.tables.items()}
        return files, self.indexes, self.columns, self.constraints


def locks_held(connection: BaseDatabaseWrapper) -> dict[int, frozenset[str]]:
    """Return the modes of the locks that the session holds, by relation."""
    held: dict[int, set[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(LOCKS)
        for relation, mode in cursor.fetchall():
            held.setdefault(relation, set()).add(mode)
    return {relation: frozenset(modes) for relation, modes in held.items()}


@dataclass
class Facts:
    """What one operation did.

    Attributes:
        before: the schema before it.
        after: the schema after it.
        used: tables that were there before the migration, which old code may use.
        locks: modes by table that it took.
        held: modes by table that earlier operations of the transaction still hold.
        sizes: how many rows tables were given.
        error: SQLSTATE or name of the error with which it failed on the rows; empty if none.
        concurrent: whether a second session saw no lock that stops writes.
        updates: whether Django sent an UPDATE.
        broken: statements of the code of the state before it that work before it and fail after.
        failed_before: whether that code couldn't insert into one of the tables before it, either.
        still_broken: those of them that fail when the migration is done.
        reversible: whether Django would go back past it.
        again: SQLSTATE of running it a second time; only asked of concurrent builds.
    """

    before: Snapshot
    after: Snapshot
    used: frozenset[int]
    locks: dict[int, frozenset[str]] = field(default_factory=dict)
    held: dict[int, frozenset[str]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    error: str = ""
    updates: bool = False
    concurrent: bool = False
    broken: Failures = field(default_factory=dict)
    failed_before: bool = False
    still_broken: Failures = field(default_factory=dict)
    reversible: bool = True
    again: str = ""

    @property
    def harmed(self) -> Failures:
        """What is broken of code that uses a table from before the migration."""
        names = {table.name for oid, table in self.before.tables.items() if oid in self.used}
        return {s: state for s, state in self.broken.items() if s[0] in names}

    def read(self, table: int) -> bool:
        """Whether all rows of a table were read, or the read was what made it fail."""
        if table not in self.before.tables or table not in self.after.tables:
            return False
        size = self.sizes.get(table, 0)
        difference = self.after.tables[table].read - self.before.tables[table].read
        return bool(size) and difference >= size

    def updated(self, table: int) -> bool:
        """Whether rows of a table were updated."""
        if table not in self.before.tables or table not in self.after.tables:
            return False
        return self.after.tables[table].updated > self.before.tables[table].updated

    def rewritten(self) -> set[int]:
        """Tables whose rows are in another file."""
        return {
            oid
            for oid, table in self.after.tables.items()
            if oid in self.used and self.before.tables[oid].file != table.file
        }

    def built(self) -> list[Index]:
        """Indexes that are new on tables in use."""
        old = {index.name: index for index in self.before.indexes.values()}
        definitions = {index.definition for index in old.values()}
        return [
            index
            for oid, index in self.after.indexes.items()
            if index.table in self.used
            and oid not in self.before.indexes
            and index.definition not in definitions
            # PostgreSQL itself keeps names; a class of operators changes only if Django says so.
            and (index.name not in old or _classes(old[index.name]) != _classes(index))
        ]

    def rebuilt(self) -> list[Index]:
        """Indexes that have the definition they had, in another file."""
        old = {index.name: index for index in self.before.indexes.values()}
        built = self.built()
        return [
            index
            for index in self.after.indexes.values()
            if index.table in self.used
            and index not in built
            and index.name in old
            and old[index.name].file != index.file
        ]

    def dropped(self) -> list[Index]:
        """Indexes that are gone from tables that are still there."""
        names = {index.name for index in self.after.indexes.values()}
        new = {index.definition for index in self.after.indexes.values()}
        return [
            index
            for oid, index in self.before.indexes.items()
            if oid not in self.after.indexes
            and index.table in self.used
            and index.table in self.after.tables
            and index.definition not in new
            and index.name not in names
        ]

    def added_columns(self) -> list[Column]:
        """Columns that are new in tables in use."""
        return [
            column
            for key, column in self.after.columns.items()
            if key[0] in self.used and key not in self.before.columns
        ]

    def dropped_columns(self) -> list[tuple[int, Column]]:
        """Columns that are gone from tables that are still there."""
        return [
            (key[0], column)
            for key, column in self.before.columns.items()
            if key not in self.after.columns and key[0] in self.used and key[0] in self.after.tables
        ]

    def changed_columns(self) -> list[tuple[tuple[int, int], Column, Column]]:
        """Columns that are there before and after, and differ."""
        return [
            (key, column, self.after.columns[key])
            for key, column in self.before.columns.items()
            if key[0] in self.used
            and key in self.after.columns
            and self.after.columns[key] != column
        ]

    def new_constraints(self, kinds: str) -> list[Constraint]:
        """Constraints of some kinds that are new on tables in use.

        PostgreSQL gives a CHECK over a column whose type is set a new number; it keeps its name.
        """
        checks = {c.name for c in self.before.constraints.values() if c.kind == "c"}
        return [
            constraint
            for oid, constraint in self.after.constraints.items()
            if constraint.kind in kinds
            and constraint.table in self.used
            and oid not in self.before.constraints
            and not (constraint.kind == "c" and constraint.name in checks)
        ]

    def gone_constraints(self, kinds: str) -> list[Constraint]:
        """Constraints of some kinds that are gone."""
        return [
            constraint
            for oid, constraint in self.before.constraints.items()
            if constraint.kind in kinds
            and constraint.table in self.used
            and oid not in self.after.constraints
        ]

    def dropped_tables(self) -> set[int]:
        """Tables in use that are gone."""
        return {oid for oid in self.before.tables if oid in self.used} - set(self.after.tables)

    def renamed_tables(self) -> set[int]:
        """Tables in use that have another name."""
        return {
            oid
            for oid, table in self.after.tables.items()
            if oid in self.used and self.before.tables[oid].name != table.name
        }


def _classes(index: Index) -> set[str]:
    return {word.strip("(),") for word in index.definition.split() if "_pattern_ops" in word}
