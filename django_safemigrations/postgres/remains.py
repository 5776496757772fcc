"""Finds in the catalog what lives only while a change is under way, and builds that came to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django_safemigrations.postgres.catalog import Catalog, quote
from django_safemigrations.postgres.view_statements import MARK


class Kind(StrEnum):
    """What it is."""

    TRIGGER = "trigger"
    """A function of this package, with the triggers that call it."""
    COLUMN = "column"
    """A second column under a name of this package."""
    VIEW = "view"
    """A view under the old name of a renamed table."""
    INDEX = "invalid index"
    """An index whose build failed."""
    CONSTRAINT = "unvalidated constraint"
    """A constraint that nobody has validated."""


@dataclass(frozen=True)
class Remain:
    """One of them.

    Attributes:
        kind: what it is.
        name: its own, without schema.
        table: the table that it belongs to, without schema; empty for a function without triggers.
        schema: of both.
        removal: the statement that removes it; for a constraint the one that validates it.
    """

    kind: Kind
    name: str
    table: str
    schema: str
    removal: str


# Names are compared without LIKE, in which the underscore has a meaning of its own.
_OURS = "left({0}, 4) = 'dsm_'"

_TRIGGERS = f"""
    SELECT n.nspname, p.proname, coalesce(c.relname, '')
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_trigger g ON g.tgfoid = p.oid
    LEFT JOIN pg_class c ON c.oid = g.tgrelid
    WHERE {_OURS.format("p.proname")} AND p.prorettype = 'trigger'::regtype
      AND n.nspname = ANY(current_schemas(false))
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

_COLUMNS = f"""
    SELECT n.nspname, a.attname, c.relname
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OURS.format("a.attname")} AND a.attnum > 0 AND NOT a.attisdropped
      AND n.nspname = ANY(current_schemas(false))
    ORDER BY 1, 3, 2
"""

_VIEWS = """
    SELECT n.nspname, c.relname, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'v' AND starts_with(obj_description(c.oid, 'pg_class'), %s)
      AND n.nspname = ANY(current_schemas(false))
    ORDER BY 1, 2
"""

# An index that is being built is not valid yet, and neither is one of a partitioned table that
# waits for those of its partitions.
_INDEXES = """
    SELECT n.nspname, i.relname, t.relname
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid AND i.relkind = 'i'
    JOIN pg_class t ON t.oid = x.indrelid AND t.relkind IN ('r', 'm')
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE NOT x.indisvalid
      AND NOT EXISTS (
          SELECT FROM pg_stat_progress_create_index b WHERE b.index_relid = x.indexrelid
      )
      AND n.nspname = ANY(current_schemas(false))
    ORDER BY 1, 3, 2
"""

_CONSTRAINTS = """
    SELECT n.nspname, k.conname, t.relname
    FROM pg_constraint k
    JOIN pg_class t ON t.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE NOT k.convalidated AND k.conparentid = 0
      -- PostgreSQL 18 has constraints that are never checked; older ones lack the column.
      AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
      AND n.nspname = ANY(current_schemas(false))
    ORDER BY 1, 3, 2
"""


def remains(catalog: Catalog) -> list[Remain]:
    """Return all of them in the schemas of the search path. Takes no locks but those of a query."""
    found = []
    for schema, name, table in catalog.rows(_TRIGGERS):
        removal = f"DROP FUNCTION {quote(schema)}.{quote(name)}() CASCADE"
        found.append(Remain(Kind.TRIGGER, name, table, schema, removal))
    for schema, name, table in catalog.rows(_COLUMNS):
        removal = f"ALTER TABLE {quote(schema)}.{quote(table)} DROP COLUMN {quote(name)}"
        found.append(Remain(Kind.COLUMN, name, table, schema, removal))
    for schema, name, table in catalog.rows(_VIEWS, [MARK]):
        removal = f"DROP VIEW {quote(schema)}.{quote(name)}"
        found.append(Remain(Kind.VIEW, name, table, schema, removal))
    for schema, name, table in catalog.rows(_INDEXES):
        removal = f"DROP INDEX CONCURRENTLY {quote(schema)}.{quote(name)}"
        found.append(Remain(Kind.INDEX, name, table, schema, removal))
    for schema, name, table in catalog.rows(_CONSTRAINTS):
        removal = f"ALTER TABLE {quote(schema)}.{quote(table)} VALIDATE CONSTRAINT {quote(name)}"
        found.append(Remain(Kind.CONSTRAINT, name, table, schema, removal))
    return found
