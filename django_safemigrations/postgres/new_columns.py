"""Columns that are added bare, in an instant, and the default that old code's INSERTs need.

ADD COLUMN reads no rows if nothing comes with it: no CHECK, UNIQUE, index or foreign key,
and no default that PostgreSQL computes for each row. A volatile default is set after the
column is there, in the same statement: rows that exist stay NULL, new ones get it.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

import copy
from typing import Any

from django.db.models import NOT_PROVIDED

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.postgres import domains
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner

OTHER_THAN_DOMAIN = (
    "Give the field the type under the domain, and its constraint as a CheckConstraint of the "
    "model, which is added NOT VALID and then validated."
)


def bare(field: Any, *, empty: bool) -> Any:
    """Return a copy of a model's field that brings nothing along but its type and NOT NULL.

    Args:
        field: a field of a model.
        empty: whether rows that are there stay NULL, so that it can't be NOT NULL.
    """
    found = copy.copy(field)
    found._unique = False
    found.primary_key = False
    found.db_index = False
    found.default = found.db_default = NOT_PROVIDED
    if empty:
        found.null = True
    return found


def db_default(editor: Any, field: Any) -> str | None:
    """Return the SQL of a field's database default, None if it has none."""
    if not field.has_db_default():
        return None
    sql, params = editor.db_default_sql(field)
    editor.connection.ensure_connection()
    return str(editor.connection.ops.compose_sql(sql, params))


def add_statements(
    editor: Any, model: Any, field: Any, default: str | None, *, empty: bool
) -> list[str]:
    """Return the statements that add a field's column; asks nothing.

    Args:
        editor: Django's schema editor.
        model: the model that has the field.
        field: the field.
        default: the SQL of the default that the column is to have.
        empty: whether rows that are there stay NULL, and only new ones get the default.
    """
    column = quote(field.column)
    definition, params = editor.column_sql(model, bare(field, empty=empty))
    if suffix := field.db_type_suffix(connection=editor.connection):
        definition = f"{definition} {suffix}"
    if params:
        definition = editor.connection.ops.compose_sql(definition, params)
    if default is not None and not empty:
        definition = f"{definition} DEFAULT {default}"
    sql = editor.sql_create_column % {
        "table": editor.quote_name(model._meta.db_table),
        "column": column,
        "definition": definition,
    }
    if default is not None and empty:
        sql = f"{sql}, ALTER COLUMN {column} SET DEFAULT {default}"
    return [sql, *comment_statements(editor, model, field)]


def comment_statements(editor: Any, model: Any, field: Any) -> list[str]:
    """Return the statement that gives a column its comment, if it has one."""
    if not field.db_comment:
        return []
    sql, params = editor._alter_column_comment_sql(
        model, field, field.db_parameters(editor.connection)["type"], field.db_comment
    )
    return [str(editor.connection.ops.compose_sql(sql, params)) if params else sql]


def add(runner: Runner, model: Any, field: Any, default: str | None, *, empty: bool) -> None:
    """Add a field's column; where it is there from an earlier run, do what is missing.

    Args:
        runner: the means to work with.
        model: the model that has the field.
        field: the field.
        default: the SQL of the default that the column is to have.
        empty: whether rows that are there stay NULL, and only new ones get the default.

    Raises:
        UnsupportedChange: there is a column of that name and another type, or its type is a
            domain with a constraint, for which a large table would be written anew.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    table = runner.catalog.table(model._meta.db_table)
    there = runner.catalog.column(table, field.column)
    if there is None:
        kind = field.db_type(runner.connection)
        domains.refuse_rewrite(runner, table, field.column, kind, OTHER_THAN_DOMAIN)
        statements = add_statements(runner.editor, model, field, default, empty=empty)
    else:
        refuse_another(runner, table, field)
        statements = []
        if default is not None and there.default is None:
            statements.append(set_default_statement(table.qualified, field.column, default))
        if there.comment is None:
            statements += comment_statements(runner.editor, model, field)
    if not statements:
        return

    def work() -> None:
        for sql in statements:
            runner.execute(sql)

    runner.transaction(work, f"column {quote(field.column)} of {table.qualified}")


def refuse_another(runner: Runner, table: Table, field: Any) -> None:
    """Raise if a column is not the one that a field stands for.

    Raises:
        UnsupportedChange: it has another type, or PostgreSQL computes it.
    """
    there = runner.catalog.column(table, field.column)
    wanted = field.db_parameters(connection=runner.connection)["type"]
    type_oid = runner.catalog.value("SELECT to_regtype(%s)::oid::bigint", [wanted])
    computed = bool(getattr(field, "generated", False))
    # A type of another schema than the search_path's has no OID by its bare name.
    same = type_oid is None or there is None or there.type_oid == type_oid
    if there is None or (same and bool(there.generated) == computed):
        return
    raise UnsupportedChange(
        f"{table.qualified} has a column {quote(field.column)} already, of type {there.type} "
        f"instead of {wanted}. Nothing was changed. Rename or drop it (ALTER TABLE "
        f"{table.qualified} RENAME COLUMN {quote(field.column)} TO …), or give the field another "
        "db_column, and run the command again."
    )


def drop(runner: Runner, model: Any, field: Any) -> None:
    """Drop a field's column, if it is there; what depends on it elsewhere keeps it from going.

    Locks: ACCESS EXCLUSIVE for an instant.
    """
    table = runner.catalog.find_table(model._meta.db_table)
    if table is not None and runner.catalog.column(table, field.column) is not None:
        runner.execute(drop_statement(table.qualified, field.column))


def drop_statement(table: str, column: str) -> str:
    """Return the statement that drops a column."""
    return f"ALTER TABLE {table} DROP COLUMN {quote(column)}"


def set_default_statement(table: str, column: str, default: str) -> str:
    """Return the statement that sets a column's default."""
    return f"ALTER TABLE {table} ALTER COLUMN {quote(column)} SET DEFAULT {default}"


def drop_default_statement(table: str, column: str) -> str:
    """Return the statement that drops a column's default."""
    return f"ALTER TABLE {table} ALTER COLUMN {quote(column)} DROP DEFAULT"


def set_default(runner: Runner, table: Table, column: str, default: str) -> None:
    """Set a column's default unless it has one; does nothing if there is no such column.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    there = runner.catalog.column(table, column)
    if there is not None and there.default is None:
        runner.execute(set_default_statement(table.qualified, column, default))


def drop_default(runner: Runner, table: Table, column: str) -> None:
    """Drop a column's default, if it has one.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    there = runner.catalog.column(table, column)
    if there is not None and there.default is not None:
        runner.execute(drop_default_statement(table.qualified, column))


def refuse_missing_target(
    runner: Runner, table: Table, model: Any, field: Any, default: str
) -> None:
    """Raise if the one value for all rows of a foreign key refers to nothing.

    Found out here, before the column is there, it changes nothing; found out by the
    foreign key, it would make INSERTs of old code fail until it is mended.

    Raises:
        ViolatingRows: the value, and the table that does not have it.
    """
    if not field.remote_field or not field.db_constraint or runner.catalog.is_empty(table):
        return
    target = field.target_field
    referenced = runner.catalog.find_table(target.model._meta.db_table)
    if referenced is None or runner.catalog.value(
        f"SELECT EXISTS (SELECT FROM {referenced.qualified} "
        f"WHERE {quote(target.column)} = {default})"
    ):
        return
    raise ViolatingRows(
        f"The default of {model._meta.label}.{field.name} is {default}, and {referenced.qualified} "
        f"has no such {quote(target.column)}, so no row of {table.qualified} could have it. "
        "Nothing was changed. Insert that row, or give another default: delete this migration and "
        "run makemigrations again. Then run the command again."
    )
