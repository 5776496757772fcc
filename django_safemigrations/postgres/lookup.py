"""Looks up what a statement's words do not say: types, tables of indexes, targets, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.catalog import quote

TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped
"""
INDEX_TABLE = """
SELECT c.relname, n.nspname, n.nspname = ANY (current_schemas(false))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indexrelid = to_regclass(%s)
"""
REFERENCED = """
SELECT DISTINCT c.relname, n.nspname, n.nspname = ANY (current_schemas(false))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = to_regclass(%s) AND k.confrelid <> k.conrelid
  AND (%s::text IS NULL OR k.conname = %s)
  AND (%s::text IS NULL OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        AND a.attname = %s))
ORDER BY 1
"""
# reltuples is -1 until the table is first analysed or vacuumed.
SIZE = """
SELECT CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint
            WHEN pg_relation_size(c.oid) = 0 THEN 0 END,
       pg_total_relation_size(c.oid)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""


@dataclass(frozen=True)
class Size:
    """Estimated rows, or None before the first ANALYZE, and bytes with indexes and TOAST."""

    rows: int | None
    size: int


class Lookup:
    """Reads the catalog by the names that statements use; see `costs.Catalogue`."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def column_type(self, table: str, column: str) -> str | None:
        """Type of a column with its modifiers."""
        rows = self._rows(TYPE, [_regclass(table), column])
        return str(rows[0][0]) if rows else None

    def index_table(self, index: str) -> str | None:
        """Table of an index."""
        rows = self._rows(INDEX_TABLE, [_regclass(index)])
        return _written(*rows[0]) if rows else None

    def referenced_tables(
        self, table: str, *, constraint: str | None = None, column: str | None = None
    ) -> list[str]:
        """Tables that foreign keys of a table point to."""
        params = [_regclass(table), constraint, constraint, column, column]
        return [_written(*row) for row in self._rows(REFERENCED, params)]

    def size(self, table: str) -> Size | None:
        """Size of a table; None if it does not exist."""
        rows = self._rows(SIZE, [_regclass(table)])
        return Size(*rows[0]) if rows else None

    def _rows(self, sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def _regclass(name: str) -> str:
    return ".".join(quote(part) for part in name.split("."))


def _written(name: str, schema: str, visible: bool) -> str:
    return name if visible else f"{schema}.{name}"
