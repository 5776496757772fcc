"""A table under a new name, and an updatable view under the old one for the code that knows no other.

Rename and view are made in one transaction: a statement that waits for the lock looks the
name up again when it gets it, and finds the view. The view runs with the rights of whoever
uses it (security_invoker), so row-level security and grants stay as they are.
https://www.postgresql.org/docs/current/sql-createview.html#SQL-CREATEVIEW-UPDATABLE-VIEWS
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db.backends.utils import split_identifier

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table, quote
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.view_statements import (
    MARK as MARK,
)
from django_safemigrations.postgres.view_statements import (
    qualified,
    rename_statements,
    view_statements,
)

SECURITY_INVOKER_SINCE = 15
CONTRACT = "manage.py safemigrate --phase contract"
TABLES = ("r", "p")


@dataclass(frozen=True)
class TableRename:
    """A table's two names, and those of its columns.

    Attributes:
        old: its name in old code, in the forms of ``Meta.db_table``.
        new: its name in new code.
        columns: its columns, by their names in old code.
        renames: the names in new code of those that change.
    """

    old: str
    new: str
    columns: Sequence[str] = ()
    renames: Mapping[str, str] = field(default_factory=dict)


def is_ours(catalog: Catalog, view: Table) -> bool:
    """Whether a relation is a view that stands for a renamed table."""
    comment = catalog.value("SELECT obj_description(%s, 'pg_class')", [view.oid])
    return view.kind == "v" and str(comment or "").startswith(MARK)


def rename_behind_view(runner: Runner, change: TableRename) -> None:
    """Rename a table and put the view in its place, in one transaction; the view alone if renamed.

    Raises:
        UnsupportedChange: there is no such table, or the new name is taken.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    catalog = runner.catalog
    old, new = catalog.find_table(change.old), catalog.find_table(change.new)
    if new is not None and new.kind in TABLES and (old is None or is_ours(catalog, old)):
        if old is None:
            make_view(runner, change)
        return
    if old is None or old.kind not in TABLES:
        raise UnsupportedChange(
            f"{_quoted(change.old)} is no table of this database"
            f"{', but something else' if old is not None else ''}. "
            "The database does not match the migrations before this one."
        )
    _refuse_taken(catalog, change.new, new)
    _refuse_bare_security(runner, old)
    _refuse_no_schema(catalog, change.new)

    def work() -> None:
        renamed = _rename(runner, old, change.old, change.new, change.renames)
        names = {after: before for before, after in change.renames.items()}
        shown = [names.get(name, name) for name in _columns(catalog, renamed)]
        _create_view(runner, renamed, old, change.renames, shown)

    runner.transaction(work, f"renaming {old.qualified}")


def make_view(runner: Runner, change: TableRename) -> None:
    """Create the view under the old name of a table that has its new one, unless it is there.

    Raises:
        UnsupportedChange: there is no such table, or the old name is taken.

    Locks: ACCESS SHARE on the table.
    """
    catalog = runner.catalog
    table, old = _behind(catalog, catalog.table(change.new)), catalog.find_table(change.old)
    if old is not None:
        if not is_ours(catalog, old):
            _refuse_taken(catalog, change.old, old)
        return
    _refuse_bare_security(runner, table)
    there = set(_columns(catalog, table))
    columns = [name for name in change.columns if change.renames.get(name, name) in there]
    view = _view(0, _schema(catalog, table, change.new, change.old), _bare(change.old))
    runner.transaction(
        lambda: _create_view(runner, table, view, change.renames, columns),
        f"view {view.qualified}",
    )


def drop_view(runner: Runner, change: TableRename) -> None:
    """Drop the view under the old name, if it is there.

    Raises:
        UnsupportedChange: something was built on the view.

    Locks: ACCESS EXCLUSIVE on the view alone, for an instant.
    """
    view = runner.catalog.find_table(change.old)
    if view is None or not is_ours(runner.catalog, view):
        return
    _refuse_dependents(runner.catalog, view)
    runner.execute(f"DROP VIEW IF EXISTS {view.qualified}")


def rename_back(runner: Runner, change: TableRename) -> None:
    """Drop the view and give the table its old name, in one transaction.

    Raises:
        UnsupportedChange: the old name is taken, or something was built on the view.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    catalog = runner.catalog
    old, new = catalog.find_table(change.old), catalog.find_table(change.new)
    if new is None or new.kind not in TABLES:
        if old is None or old.kind not in TABLES:
            catalog.table(change.new)
        return
    view = old if old is not None and is_ours(catalog, old) else None
    if view is None:
        _refuse_taken(catalog, change.old, old)
    else:
        _refuse_dependents(catalog, view)
    columns = {after: before for before, after in change.renames.items()}

    def work() -> None:
        if view is not None:
            runner.execute(f"DROP VIEW {view.qualified}")
        _rename(runner, new, change.new, change.old, columns)

    runner.transaction(work, f"renaming {new.qualified}")


def free_columns(runner: Runner, table: Table, columns: Sequence[str]) -> None:
    """Make the views of the table's old names do without columns that are about to go.

    To be called in the transaction that drops them. A view follows a column, not its name:
    afterwards each of its columns shows what has the name now.

    Locks: ACCESS EXCLUSIVE on the views for an instant.
    """
    catalog = runner.catalog
    for view, renames in views_of(catalog, table):
        there = set(_columns(catalog, table)) - set(columns)
        kept = [name for name in _columns(catalog, view) if renames.get(name, name) in there]
        runner.execute(f"DROP VIEW {view.qualified}")
        _create_view(runner, table, view, renames, kept)


def views_of(catalog: Catalog, table: Table) -> list[tuple[Table, dict[str, str]]]:
    """Return the views that stand for a renamed table, with the columns that changed names."""
    rows = catalog.rows(
        """
        SELECT DISTINCT c.oid::bigint, n.nspname::text, c.relname::text,
               obj_description(c.oid, 'pg_class')
        FROM pg_depend d
        JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        JOIN pg_class c ON c.oid = w.ev_class AND c.relkind = 'v'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
        ORDER BY 2, 3
        """,
        [table.oid],
    )
    found = []
    for oid, schema, name, comment in rows:
        if str(comment or "").startswith(MARK):
            renames = dict(json.loads(comment.partition("\n")[2]))
            found.append((_view(oid, schema, name), renames))
    return found


def _behind(catalog: Catalog, found: Table) -> Table:
    """Return the table that a view stands for, or the relation itself if it is no such view."""
    if not is_ours(catalog, found):
        return found
    rows = catalog.rows(
        """
        SELECT DISTINCT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
               c.relispartition
        FROM pg_rewrite w
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
        JOIN pg_class c ON c.oid = d.refobjid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE w.ev_class = %s
        """,
        [found.oid],
    )
    oid, schema, name, kind, is_partition = rows[0]
    return _behind(catalog, Table(oid, schema, name, kind, is_partition, qualified(schema, name)))


# -- the steps of a transaction --------------------------------------------------------


def _rename(
    runner: Runner, table: Table, before: str, after: str, renames: Mapping[str, str]
) -> Table:
    """Rename a table, and move it if the names say so; return it under its new name."""
    schema, name = _schema(runner.catalog, table, before, after), _bare(after)
    moves = schema if schema != table.schema else None
    for sql in rename_statements(table.qualified, table.name, name, renames, moves):
        runner.execute(sql)
    return replace(table, schema=schema, name=name, qualified=qualified(schema, name))


def _schema(catalog: Catalog, table: Table, before: str, after: str) -> str:
    """Return the schema of another name of a table, which is the table's if none is named."""
    named, named_before = split_identifier(after)[0], split_identifier(before)[0]
    if not named and not named_before:
        return table.schema
    return str(named or catalog.value("SELECT pg_catalog.current_schema()"))


def _create_view(
    runner: Runner, table: Table, view: Table, renames: Mapping[str, str], columns: Sequence[str]
) -> None:
    catalog = runner.catalog
    for sql in view_statements(
        view.qualified, table.qualified, columns, renames, invoker=_is_invoker(runner, table)
    ):
        runner.execute(sql)
    owner, is_me = catalog.rows(
        "SELECT quote_ident(pg_get_userbyid(relowner)), pg_get_userbyid(relowner) = current_user "
        "FROM pg_class WHERE oid = %s",
        [table.oid],
    )[0]
    if not is_me:
        runner.execute(f"ALTER VIEW {view.qualified} OWNER TO {owner}")
    for privilege, grantee, option in _grants(catalog, table):
        how = " WITH GRANT OPTION" if option else ""
        runner.execute(f"GRANT {privilege} ON {view.qualified} TO {grantee}{how}")
    for name in columns:
        for privilege, grantee, option in catalog.column_grants(table, renames.get(name, name)):
            how = " WITH GRANT OPTION" if option else ""
            runner.execute(
                f"GRANT {privilege} ({quote(name)}) ON {view.qualified} TO {grantee}{how}"
            )


def _grants(catalog: Catalog, table: Table) -> list[tuple[str, str, bool]]:
    """Return privilege, quoted grantee and grant option of what may be done through a view."""
    rows = catalog.rows(
        """
        SELECT x.privilege_type,
               CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
               x.is_grantable
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
        WHERE c.oid = %s AND c.relacl IS NOT NULL AND x.grantee <> c.relowner
          AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
        ORDER BY 2, 1
        """,
        [table.oid],
    )
    return [(privilege, grantee, bool(option)) for privilege, grantee, option in rows]


def _columns(catalog: Catalog, table: Table) -> list[str]:
    rows = catalog.rows(
        "SELECT attname::text FROM pg_attribute "
        "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table.oid],
    )
    return [name for (name,) in rows]


def _view(oid: int, schema: str, name: str) -> Table:
    return Table(oid, schema, name, "v", is_partition=False, qualified=qualified(schema, name))


def _bare(db_table: str) -> str:
    return str(split_identifier(db_table)[1])


def _quoted(db_table: str) -> str:
    schema, name = split_identifier(db_table)
    return qualified(schema, name) if schema else quote(name)


def _is_invoker(runner: Runner, table: Table) -> bool:
    """Whether the view checks the rights of whoever uses it, rather than its owner's.

    It would ask for the right to read every column that it shows. Where roles may read some
    only, it is the grants on the view that tell them apart.
    """
    version = int(getattr(runner.connection, "pg_version", 0))
    return version >= SECURITY_INVOKER_SINCE * 10000 and not _has_column_grants(
        runner.catalog, table
    )


def _has_column_grants(catalog: Catalog, table: Table) -> bool:
    return bool(
        catalog.value(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %s AND attacl IS NOT NULL)",
            [table.oid],
        )
    )


# -- refusals -------------------------------------------------------------------------


def _refuse_taken(catalog: Catalog, name: str, found: Table | None) -> None:
    if found is None:
        return
    if is_ours(catalog, found):
        raise UnsupportedChange(
            f"The name {found.qualified} is still served to old code, by the view of a rename "
            f"whose contract has not run. Run it first: {CONTRACT}"
        )
    raise UnsupportedChange(
        f"The name {found.qualified} is taken by something that no migration made. Nothing was "
        "changed. Rename or drop it, then run the command again."
    )


def _refuse_no_schema(catalog: Catalog, name: str) -> None:
    schema = split_identifier(name)[0]
    if schema and not catalog.value("SELECT to_regnamespace(%s)", [quote(schema)]):
        raise UnsupportedChange(
            f"There is no schema {quote(schema)}, into which db_table moves a table. Nothing was "
            f"changed. CREATE SCHEMA {quote(schema)}, then run the command again."
        )


def _refuse_bare_security(runner: Runner, table: Table) -> None:
    """Raise if a view would let everybody see what row-level security hides."""
    if _is_invoker(runner, table) or not runner.catalog.value(
        "SELECT relrowsecurity FROM pg_class WHERE oid = %s", [table.oid]
    ):
        return
    why = (
        "and roles that may use some of its columns only: a view can obey one or the other. "
        "Grant these roles the whole table"
        if _has_column_grants(runner.catalog, table)
        else f"which views obey from PostgreSQL {SECURITY_INVOKER_SINCE} on only. Upgrade"
    )
    raise UnsupportedChange(
        f"{table.qualified} has row-level security, {why}, or keep the table's name with db_table. "
        "Nothing was changed."
    )


def _refuse_dependents(catalog: Catalog, view: Table) -> None:
    rows = catalog.rows(
        """
        SELECT DISTINCT pg_describe_object(
                 CASE WHEN w.oid IS NOT NULL THEN 'pg_class'::regclass ELSE d.classid END,
                 coalesce(w.ev_class, d.objid), 0)
        FROM pg_depend d
        LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        WHERE d.refobjid IN (%s, (SELECT reltype FROM pg_class WHERE oid = %s))
          AND d.refclassid IN ('pg_class'::regclass, 'pg_type'::regclass)
          AND d.deptype = 'n' AND (w.oid IS NULL OR w.ev_class <> %s)
        ORDER BY 1
        """,
        [view.oid, view.oid, view.oid],
    )
    if rows:
        raise UnsupportedChange(
            f"{', '.join(row[0] for row in rows)} was built on {view.qualified}, the view that "
            "stands for a renamed table. Nothing was changed. Build it on the table's new name "
            "instead, then run the command again."
        )
