"""Drops a column or a table, and never anything that depends on it: that is named first instead.

Django 5.2 writes DROP COLUMN … CASCADE and every Django DROP TABLE … CASCADE, which takes
views, generated columns and foreign keys along without a word. Here RESTRICT is meant, so
what is in the way is looked for when the removal begins, and again before the statement.
https://www.postgresql.org/docs/current/ddl-depend.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from django.db import Error

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import ForeignKey, Table, quote
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.foreign_keys import drop_keys
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.views import MARK, free_columns

DEPENDENT_OBJECTS_STILL_EXIST = "2BP01"

# What keeps DROP … RESTRICT from working, by the kind of object. Indexes, constraints, owned
# sequences and extended statistics go along by themselves, as users of a column expect.
_DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(
             CASE WHEN w.oid IS NOT NULL THEN 'pg_class'::regclass ELSE d.classid END,
             coalesce(w.ev_class, d.objid),
             CASE WHEN w.oid IS NOT NULL THEN 0 ELSE d.objsubid END),
           coalesce(obj_description(w.ev_class, 'pg_class'), '')
    FROM pg_depend d
    LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
    LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
"""


def column_dependents(
    runner: Runner, table: Table, column: str, leaving: Collection[str] = ()
) -> list[str]:
    """Describe what uses a column and would not go along with it by itself.

    Generated columns among those that are `leaving` are left out.

    Views and rules, generated columns, triggers with WHEN or UPDATE OF, row-level security
    policies, publications that list columns, and functions with an SQL body.
    """
    rows = runner.catalog.rows(
        f"""
        {_DEPENDENTS}
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.refclassid = 'pg_class'::regclass AND a.attrelid = %s AND a.attname = %s
          AND (w.oid IS NOT NULL OR g.oid IS NOT NULL OR p.oid IS NOT NULL
               OR d.classid IN ('pg_proc'::regclass, 'pg_publication_rel'::regclass)
               OR (f.oid IS NOT NULL AND (f.adrelid <> a.attrelid OR f.adnum <> a.attnum)
                   AND NOT EXISTS (SELECT FROM pg_attribute l WHERE l.attrelid = f.adrelid
                                   AND l.attnum = f.adnum AND f.adrelid = a.attrelid
                                   AND l.attname = ANY (%s))))
        ORDER BY 1
        """,
        [table.oid, column, list(leaving)],
    )
    parts = runner.catalog.rows(
        """
        SELECT pg_describe_object('pg_class'::regclass, t.partrelid, 0)
        FROM pg_partitioned_table t JOIN pg_attribute a ON a.attrelid = t.partrelid
        WHERE t.partrelid = %s AND a.attname = %s AND a.attnum = ANY (t.partattrs)
        """,
        [table.oid, column],
    )
    return [
        *(description for description, comment in rows if not comment.startswith(MARK)),
        *(f"the partition key of {description}" for (description,) in parts),
    ]


def table_dependents(runner: Runner, table: Table) -> list[str]:
    """Describe what uses a table and would not go along with it by itself.

    Views and rules, other tables' policies and defaults, functions with an SQL body or of
    its row type, columns of its row type, and tables that inherit from it.
    """
    rows = runner.catalog.rows(
        f"""
        {_DEPENDENTS}
        LEFT JOIN pg_type y ON d.refclassid = 'pg_type'::regclass AND y.oid = d.refobjid
        LEFT JOIN pg_type e ON e.typelem = y.oid AND e.typtype = 'b'
        WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = %s)
               OR (y.typrelid = %s)
               OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN
                   (SELECT x.typarray FROM pg_type x WHERE x.typrelid = %s)))
          AND d.deptype = 'n'
          AND (w.oid IS NULL OR w.ev_class <> %s)
          AND (g.oid IS NULL OR g.tgrelid <> %s) AND (p.oid IS NULL OR p.polrelid <> %s)
          AND (f.oid IS NULL OR f.adrelid <> %s) AND (c.oid IS NULL OR c.oid <> %s)
          AND d.classid <> 'pg_constraint'::regclass
          AND d.classid <> 'pg_publication_rel'::regclass
          AND (c.oid IS NULL OR c.relkind NOT IN ('i', 'I', 't'))
          AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = d.refobjid
                          AND d.classid = 'pg_class'::regclass AND h.inhrelid = d.objid)
        ORDER BY 1
        """,
        [table.oid] * 8,
    )
    children = runner.catalog.rows(
        """
        SELECT pg_describe_object('pg_class'::regclass, h.inhrelid, 0)
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
        WHERE h.inhparent = %s AND NOT c.relispartition
        """,
        [table.oid],
    )
    return [
        *(description for description, comment in rows if not comment.startswith(MARK)),
        *(description for (description,) in children),
    ]


def refuse_dependents(found: Sequence[str], what: str, effect: str) -> None:
    """Raise if something depends on what shall be dropped.

    Raises:
        UnsupportedChange: names it, and the way out.
    """
    if found:
        depends = "depends" if len(found) == 1 else "depend"
        raise UnsupportedChange(
            f"{what} can't be dropped: {', '.join(found)} {depends} on it. {effect} Change or drop "
            "that in a migration before this one, or by hand, and run the command again; nothing "
            "is dropped with CASCADE here."
        )


def incoming_keys(runner: Runner, table: Table, columns: Sequence[str]) -> list[ForeignKey]:
    """Return the foreign keys of other tables to these columns."""
    found: dict[tuple[int, str], ForeignKey] = {}
    for column in columns:
        for key in runner.catalog.foreign_keys(table, column):
            if key.to_table_oid == table.oid and key.table_oid != table.oid:
                found[key.table_oid, key.name] = key
    return list(found.values())


def column_names(runner: Runner, table: Table) -> list[str]:
    """Return the names of a table's columns."""
    rows = runner.catalog.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attnum",
        [table.oid],
    )
    return [name for (name,) in rows]


def outgoing_keys(runner: Runner, table: Table) -> list[ForeignKey]:
    """Return the foreign keys of a table to others and to itself."""
    found: dict[str, ForeignKey] = {}
    for column in column_names(runner, table):
        for key in runner.catalog.foreign_keys(table, column):
            if key.table_oid == table.oid:
                found[key.name] = key
    return list(found.values())


def drop_column(runner: Runner, table: Table, column: str) -> None:
    """Drop a column with its indexes, constraints and sequence; does nothing if it is gone.

    Raises:
        UnsupportedChange: something depends on it; nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the referenced
    table too, in a transaction of its own.
    """
    if runner.catalog.column(table, column) is None:
        return
    what = f"Column {quote(column)} of {table.qualified}"
    dependents = column_dependents(runner, table, column)
    keys = runner.catalog.foreign_keys(table, column)
    incoming = [key for key in keys if key.to_table_oid == table.oid and column in key.to_columns]
    dependents += [_described(key) for key in incoming if not is_loose(key)]
    refuse_dependents(dependents, what, "Nothing was changed.")
    _drop_keys(runner, keys)

    def drop() -> None:
        # Views of our own, under an older name of the table, do without it.
        free_columns(runner, table, [column])
        runner.execute(f"ALTER TABLE {table.qualified} DROP COLUMN IF EXISTS {quote(column)}")

    _drop(runner, drop, what)


def drop_table(runner: Runner, table: Table) -> None:
    """Drop a table with its indexes, constraints, triggers and sequences.

    Raises:
        UnsupportedChange: something depends on it; nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant; for each foreign key on the referenced table
    too, in a transaction of its own.
    """
    release_table(runner, table)
    what = f"Table {table.qualified}"
    _drop(runner, lambda: runner.execute(f"DROP TABLE IF EXISTS {table.qualified}"), what)


def release_table(runner: Runner, table: Table) -> None:
    """Drop the foreign keys from and to a table that is about to go.

    Raises:
        UnsupportedChange: something else depends on it; nothing was changed.

    Locks: ACCESS EXCLUSIVE for an instant on it and on the table at the other end, one key
    after the other.
    """
    what = f"Table {table.qualified}"
    incoming = incoming_keys(runner, table, column_names(runner, table))
    dependents = table_dependents(runner, table)
    dependents += [_described(key) for key in incoming if not is_loose(key)]
    refuse_dependents(dependents, what, "Nothing was changed.")
    _drop_keys(runner, [*incoming, *outgoing_keys(runner, table)])


def is_loose(key: ForeignKey) -> bool:
    """Whether a foreign key is that of a field or model that is being removed.

    See `loosening`: such a key is never validated and acts on a DELETE.
    """
    return not key.validated and key.on_delete in ("n", "c")


def _described(key: ForeignKey) -> str:
    return f"foreign key {quote(key.name)} of {key.table}"


def _drop_keys(runner: Runner, keys: Sequence[ForeignKey]) -> None:
    for key in keys:
        rows = runner.catalog.rows(
            "SELECT n.nspname, c.relname, c.relkind, c.relispartition FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
            [key.table_oid],
        )
        for schema, name, kind, is_partition in rows:
            table = Table(key.table_oid, schema, name, kind, is_partition, key.table)
            drop_keys(runner, table, [key])


def _drop(runner: Runner, work: Callable[[], None], what: str) -> None:
    try:
        runner.transaction(work, what)
    except Error as error:
        if sqlstate(error) != DEPENDENT_OBJECTS_STILL_EXIST:
            raise
        # The catalog was asked before; this came in between, or is of a kind not known here.
        refuse_dependents([_detail(error)], what, "It was left as it is.")


def _detail(error: BaseException) -> str:
    cause = error.__cause__ or error
    detail = getattr(getattr(cause, "diag", None), "message_detail", None)
    return str(detail or cause).replace("\n", "; ")
