"""Splits a table into ranges of its key: bounds are found first, from a sample, and never move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django_safemigrations.backfill.work import Key, Relation, Work
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table

ROWS_A_RANGE = 250_000
MOST_RANGES = 200
# A page holds neighbours, so what counts is how many pages are looked at.
PAGES_A_RANGE = 20
BYTES_A_ROW = 100

BY_PLACE = (("ctid", "tid"),)

FAMILY = """
WITH RECURSIVE family (oid) AS (
  SELECT %s::oid
  UNION
  SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.oid
  WHERE NOT i.inhdetachpending
)
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind, c.relispartition,
       format('%%I.%%I', n.nspname, c.relname),
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
       greatest(c.reltuples, 0)::float8, pg_relation_size(c.oid),
       pg_relation_size(c.oid) / current_setting('block_size')::int,
       ARRAY(SELECT a.attname::text FROM pg_partitioned_table p JOIN pg_attribute a
             ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs)
             WHERE p.partrelid = c.oid),
       coalesce((SELECT 0 = ANY (p.partattrs) FROM pg_partitioned_table p
                 WHERE p.partrelid = c.oid), false)
FROM family JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY c.relkind <> 'p', c.oid
"""
KINDS = {"f": "a foreign table", "v": "a view", "m": "a materialized view"}


@dataclass(frozen=True)
class Range:
    """A part of a relation: above `lower`, not above `upper`; the row of that key if both are equal."""

    relation: str
    lower: Key | None
    upper: Key | None


@dataclass(frozen=True)
class Member:
    """A table that holds rows of the one to be filled: itself, a partition, a child.

    Attributes:
        relation: it and its key.
        rows: as the planner estimates them.
        pages: its size in pages.
    """

    relation: Relation
    rows: int
    pages: int


def members_of(catalog: Catalog, work: Work) -> list[Member]:
    """Return the tables that hold the rows, each with the key that it is walked along.

    Partitions are walked one by one, each along its own index. Where the columns that are
    written say which partition a row belongs to, the partitioned table is walked as a
    whole: only through it does a row move.

    Raises:
        UnsupportedChange: it is no table, or one of its partitions is a foreign one.
    """
    found: list[tuple[Table, bool, int, int]] = []
    whole: Table | None = None
    for row in catalog.rows(FAMILY, [work.table.oid]):
        table, parent, rows, size, pages = Table(*row[:6]), *row[6:10]
        if table.kind in KINDS:
            raise UnsupportedChange(
                f"{table.qualified} is {KINDS[table.kind]}, and its rows can't be changed in "
                "batches from here. "
                + (
                    f"Detach it from {work.table.qualified} meanwhile, and fill it where its rows "
                    "are."
                    if table.oid != work.table.oid
                    else "Fill the table that its rows come from."
                )
            )
        if table.kind == "p":
            # Of an expression in the partition key it is not known what it is made from.
            if row[11] or set(row[10]) & set(work.columns_written) or not work.columns_written:
                whole = whole or work.table
            continue
        found.append((table, parent, int(rows) or size // BYTES_A_ROW, pages))
    if whole is not None:
        key = tuple(catalog.primary_key(whole))
        if key:
            total = sum(rows for _, _, rows, _ in found)
            relation = Relation(whole.qualified, whole, key)
            return [Member(relation, total, sum(pages for *_, pages in found))]
    return [
        Member(
            Relation(
                f"ONLY {table.qualified}" if parent else table.qualified,
                table,
                tuple(catalog.primary_key(table)) or BY_PLACE,
            ),
            rows,
            pages,
        )
        for table, parent, rows, pages in found
    ]


def split(catalog: Catalog, members: Sequence[Member]) -> list[Range]:
    """Return the ranges that together hold every row that is there now.

    A range has about ROWS_A_RANGE rows. What is inserted above the last one later is not
    chased: the proof at the end says whether it needs anything.
    """
    return [found for member in members for found in _split(catalog, member)]


def _split(catalog: Catalog, member: Member) -> Iterator[Range]:
    relation = member.relation
    parts = max(1, min(MOST_RANGES, member.rows // ROWS_A_RANGE))
    if relation.by_place:
        if not member.pages:
            return
        bounds = [
            [f"({member.pages * n // parts},0)"]
            for n in range(1, parts + 1)
            if member.pages * n // parts > member.pages * (n - 1) // parts
        ]
    else:
        last = _last(catalog, relation)
        if last is None:
            return
        bounds = _sampled(catalog, member, parts) if parts > 1 else []
        bounds = [*(bound for bound in bounds if bound != last), last]
    lower: Key | None = None
    for upper in bounds:
        yield Range(relation.sql, lower, upper)
        lower = upper


def texts(relation: Relation) -> str:
    """Return the key's columns as texts, for a select list, under names of their own.

    ORDER BY would take an output column of the key's name, and sort text.
    """
    return ", ".join(f"{name}::text AS key{n}" for n, name in enumerate(relation.columns))


def _last(catalog: Catalog, relation: Relation) -> Key | None:
    order = ", ".join(f"{name} DESC" for name in relation.columns)
    rows = catalog.rows(f"SELECT {texts(relation)} FROM {relation.sql} ORDER BY {order} LIMIT 1")
    return list(rows[0]) if rows else None


def _sampled(catalog: Catalog, member: Member, parts: int) -> list[Key]:
    """Return keys that split the table into parts of about the same number of rows."""
    relation = member.relation
    share = min(100.0, 100.0 * PAGES_A_RANGE * parts / max(1, member.pages))
    columns = ", ".join(relation.columns)
    names = ", ".join(f"key{n}" for n in range(len(relation.key)))
    rows = catalog.rows(
        f"""
        SELECT {names} FROM (
          SELECT {texts(relation)}, row_number() OVER (ORDER BY {columns}) AS place,
                 count(*) OVER () AS sampled
          FROM {relation.sql} TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE (1)
        ) sample
        WHERE place * {parts} / sampled <> (place - 1) * {parts} / sampled AND place < sampled
        ORDER BY place
        """
    )
    return [list(row) for row in rows]
