"""Columns of a domain with constraints: adding one writes the whole table anew.

Any other column is added in an instant. For a domain with a constraint PostgreSQL computes the
column's NULL for each row, to check it, under ACCESS EXCLUSIVE (`ATExecAddColumn`, also in 18).
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner

SMALL = 8 * 1024**2
"""Bytes of a table that are written anew sooner than anybody minds the wait."""

# A domain over a domain has the constraints of both.
WITH_CONSTRAINTS = """
WITH RECURSIVE under AS (
    SELECT t.oid, t.typtype, t.typbasetype, t.typnotnull FROM pg_type t
    WHERE t.oid = to_regtype(%s)
    UNION ALL
    SELECT t.oid, t.typtype, t.typbasetype, t.typnotnull
    FROM under JOIN pg_type t ON t.oid = under.typbasetype
)
SELECT (SELECT oid::regtype::text FROM under LIMIT 1), pg_table_size(%s)
WHERE EXISTS (
    SELECT FROM under WHERE typtype = 'd'
    AND (typnotnull OR EXISTS (SELECT FROM pg_constraint c WHERE c.contypid = under.oid))
)
"""


def refuse_rewrite(runner: Runner, table: Table, column: str, kind: str, way_out: str) -> None:
    """Raise if adding a column would write a table anew that is not small.

    Args:
        runner: the means to work with.
        table: the table.
        column: the new column's name.
        kind: its type, as SQL.
        way_out: what to do instead.

    Raises:
        UnsupportedChange: names the domain and the size of the table.
    """
    for domain, size in runner.catalog.rows(WITH_CONSTRAINTS, [kind, table.oid]):
        if size > SMALL:
            raise UnsupportedChange(
                f"{table.qualified}.{quote(column)} would be of {domain}, a domain with a "
                f"constraint: to add such a column PostgreSQL writes the whole table anew "
                f"({size / 1024**2:,.0f} MB) under ACCESS EXCLUSIVE, and all reads and writes "
                f"wait. Nothing was changed. {way_out}"
            )
