"""Puts a table aside instead of dropping it, and back to where it was: nothing is copied.

Its indexes, constraints, triggers, sequences and rights go along. Foreign keys do not: they
would go on checking other tables against rows that nobody sees.
https://www.postgresql.org/docs/current/sql-altertable.html
"""

from __future__ import annotations

from dataclasses import replace

from django.db import Error

from django_safemigrations.backup.kept import SCHEMA, Kept, Way, comment_statement
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Table, literal, quote
from django_safemigrations.postgres.dropping import release_table
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.runner import Runner

DUPLICATE_TABLE = "42P07"
# Names that would be in the way where a table is moved to: those of all that goes along with it.
TAKEN = """
SELECT count(*) FROM pg_class c
WHERE c.relnamespace = to_regnamespace(%s) AND c.relname IN (
  SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = %s
  UNION
  SELECT s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %s
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
"""
HAS_FAMILY = """
SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = %s OR inhparent = %s)
"""


def may_put_aside(runner: Runner, table: Table, kept: Kept) -> bool:
    """Whether a table can be put aside as it is: with nothing left behind, no name taken."""
    return (
        table.kind == "r"
        and kept.schema == SCHEMA
        and table.schema != SCHEMA
        and not runner.catalog.value(HAS_FAMILY, [table.oid, table.oid])
        and not runner.catalog.value(TAKEN, [SCHEMA, table.oid, table.oid])
    )


def put_aside(runner: Runner, table: Table, kept: Kept) -> Kept:
    """Put a table aside, and return what it says of itself.

    Raises:
        UnsupportedChange: something depends on it; nothing was changed.

    Locks: ACCESS EXCLUSIVE for an instant; for each foreign key on the table at its other end
    too, in a transaction of its own.
    """
    release_table(runner, table)
    comment = runner.catalog.value("SELECT obj_description(%s::oid, 'pg_class')", [table.oid])
    with runner.guard.as_long_as_it_takes():
        rows = int(runner.catalog.value(f"SELECT count(*) FROM {table.qualified}"))
    moved = replace(kept, way=Way.MOVED, complete=True, comment=comment, rows=rows)

    def move() -> None:
        runner.execute(f"ALTER TABLE {table.qualified} SET SCHEMA {quote(SCHEMA)}")
        there = f"{quote(SCHEMA)}.{quote(table.name)}"
        runner.execute(f"ALTER TABLE {there} RENAME TO {quote(moved.name)}")
        runner.execute(comment_statement(moved))

    runner.transaction(move, f"putting {table.qualified} aside")
    return moved


def take_out(runner: Runner, kept: Kept) -> bool:
    """Put a table that was put aside where it was; false if there is one of its name again.

    Raises:
        UnsupportedChange: the name of one of its indexes or sequences is in use.

    Locks: ACCESS EXCLUSIVE for an instant on a table that nobody uses.
    """
    if runner.catalog.find_table(kept.source) is not None:
        return False

    def move() -> None:
        runner.execute(f"ALTER TABLE {kept.qualified} RENAME TO {quote(kept.from_table)}")
        aside = f"{quote(kept.schema)}.{quote(kept.from_table)}"
        runner.execute(f"ALTER TABLE {aside} SET SCHEMA {quote(kept.from_schema)}")
        comment = literal(kept.comment) if kept.comment is not None else "NULL"
        runner.execute(f"COMMENT ON TABLE {kept.source} IS {comment}")

    try:
        runner.transaction(move, f"putting {kept.source} back")
    except Error as error:
        if sqlstate(error) != DUPLICATE_TABLE:
            raise
        raise UnsupportedChange(
            f"{kept.source} was kept as {kept.qualified} and can't be put back, since a name of "
            f"its indexes or sequences is in use: {str(error).strip()}. Rename that, and run the "
            "command again."
        ) from error
    return True
