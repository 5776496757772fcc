"""Whether a database holds anything that could be lost."""

from __future__ import annotations

from collections.abc import Collection

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.catalog import quote

# Tables of extensions (spatial_ref_sys and the like) come with the extension.
TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%%' AND n.nspname NOT LIKE 'pg\\_temp%%'
  AND c.relname <> ALL (%s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


def user_tables(connection: BaseDatabaseWrapper, besides: Collection[str]) -> list[str]:
    """Return the tables of a database, quoted, without those of extensions.

    Args:
        connection: the database.
        besides: names of tables that do not count.
    """
    with connection.cursor() as cursor:
        cursor.execute(TABLES, [list(besides)])
        return [f"{quote(schema)}.{quote(name)}" for schema, name in cursor.fetchall()]


def any_rows(connection: BaseDatabaseWrapper, tables: Collection[str]) -> bool:
    """Whether one of these tables has a row."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table})")
            if cursor.fetchone()[0]:
                return True
    return False
