"""Reads the size of every table: names and numbers, and nothing of any row.

https://www.postgresql.org/docs/current/monitoring-stats.html
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.postgres.errors import LOCK_NOT_AVAILABLE, sqlstate

SEARCH_PATH = "SELECT current_schemas(false)"
# A partitioned table has no rows of its own; those of its partitions count for it, and each
# partition also for itself. reltuples is -1 until the table is first analysed or vacuumed.
SIZES = """
WITH parts AS (
    SELECT c.oid AS root, COALESCE(t.relid, c.oid) AS part
    FROM pg_class c LEFT JOIN LATERAL pg_partition_tree(c.oid) t ON c.relkind = 'p'
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
), since AS (
    SELECT EXTRACT(epoch FROM now() - stats_reset)::float8 AS seconds
    FROM pg_stat_database WHERE datname = current_database()
)
SELECT n.nspname, r.relname,
       SUM(CASE WHEN p.relkind = 'p' THEN 0
                WHEN p.reltuples >= 0 THEN p.reltuples
                WHEN pg_relation_size(p.oid) = 0 THEN 0 END)::bigint,
       BOOL_OR(p.relkind = 'r' AND p.reltuples < 0 AND pg_relation_size(p.oid) > 0),
       SUM(pg_table_size(p.oid))::bigint,
       SUM(pg_indexes_size(p.oid))::bigint,
       SUM(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::float8
           / NULLIF((SELECT seconds FROM since), 0)
FROM parts
JOIN pg_class r ON r.oid = parts.root
JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_class p ON p.oid = parts.part
LEFT JOIN pg_stat_user_tables s ON s.relid = p.oid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY n.nspname, r.relname
ORDER BY 1, 2
"""
LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
READ_ONLY = "SET LOCAL transaction_read_only = on"


class TableLocked(SafeMigrationsError):
    """A table's size can't be read, since another session has locked it exclusively."""


@dataclass(frozen=True)
class TableSize:
    """Size of one table; see `lint.stats.Size` for its numbers."""

    schema: str
    name: str
    rows: int | None
    bytes: int
    index_bytes: int
    writes_per_second: float | None


def read_sizes(
    connection: BaseDatabaseWrapper, *, wait: int = 5000
) -> tuple[tuple[str, ...], list[TableSize]]:
    """Return the search path, and the sizes of all tables that aren't PostgreSQL's own.

    Takes ACCESS SHARE on each table, which reads and writes don't feel; runs in a read-only
    transaction.

    Args:
        connection: of the database.
        wait: milliseconds to wait for a table that somebody has locked exclusively.

    Raises:
        TableLocked: it did not become free.
    """
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(READ_ONLY)
        cursor.execute(LOCK_TIMEOUT, [str(wait)])
        cursor.execute(SEARCH_PATH)
        path = tuple(cursor.fetchone()[0])
        try:
            cursor.execute(SIZES)
        except Exception as error:
            if sqlstate(error) == LOCK_NOT_AVAILABLE:
                raise TableLocked(
                    f"A table of '{connection.alias}' is locked exclusively, probably by a "
                    "migration; its size can't be read. Try again later."
                ) from error
            raise
        return path, [
            TableSize(
                schema=schema,
                name=name,
                rows=None if unknown else rows,
                bytes=size,
                index_bytes=index_size,
                writes_per_second=None if rate is None else round(rate, 3),
            )
            for schema, name, rows, unknown, size, index_size, rate in cursor.fetchall()
        ]
