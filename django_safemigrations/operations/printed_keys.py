"""What sqlmigrate shows of a wider key: SQL as far as the models tell it, with nothing asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.operations.relations_to import relations_to
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Column, Table, quote
from django_safemigrations.postgres.key_copies import key_trigger
from django_safemigrations.postgres.key_swaps import (
    leave_statements,
    rename_statements,
    second_statements,
)
from django_safemigrations.postgres.keys import KeyColumn
from django_safemigrations.postgres.names import copy_name, key_name

MORE = "-- And a copy of every other index and CHECK over these columns that the tables have."


def _parts(
    editor: Any, model: Any, name: str, old: Any, new: Any
) -> Iterator[tuple[Table, KeyColumn, Any]]:
    """Yield table, column and field of the key and of what refers to it."""
    key = model._meta.get_field(name)
    connection = editor.connection
    for field in (key, *relations_to(key)):
        table = printed_table(editor, field.model)
        if field is key:
            types = old.db_type(connection), new.db_type(connection)
        else:
            types = old.rel_db_type(connection), new.rel_db_type(connection)
        beside = key_name(table.name, field.column)
        live = _column(field, types[0])
        yield table, KeyColumn(live, types[1], beside, None, None), field


def _column(field: Any, type_: str) -> Column:
    automatic = field.get_internal_type().endswith("AutoField")
    return Column(
        attnum=0,
        name=field.column,
        type=type_,
        type_oid=0,
        type_schema="pg_catalog",
        collation=None,
        deterministic=True,
        not_null=not field.null,
        default=None,
        comment=None,
        identity="d" if automatic else "",
        generated="",
        statistics=None,
        storage=None,
        compression=None,
        options=(),
    )


def add_columns(editor: Any, before: Any, after: Any, name: str, wanted: Any = None) -> list[str]:
    """Return the statements that add second columns with their triggers."""
    old, new = before._meta.get_field(name), wanted or after._meta.get_field(name)
    lines: list[str] = []
    for table, column, _ in _parts(editor, after, name, old, new):
        added = f"ADD COLUMN {quote(column.beside)} {column.wanted}"
        lines.append(f"ALTER TABLE {table.qualified} {added}")
        lines += key_trigger(table, (column,), []).create()
    return lines


def drop_columns(editor: Any, model: Any, name: str, old: Any) -> list[str]:
    """Return the statements that drop second columns with their triggers."""
    return [
        sql
        for table, column, _ in _parts(editor, model, name, old, old)
        for sql in second_statements(table, (column,))
    ]


def backfill(editor: Any, before: Any, after: Any, name: str) -> list[str]:
    """Return the statement of one batch for each table."""
    old, new = before._meta.get_field(name), after._meta.get_field(name)
    lines = ["-- In batches by key, each in its own transaction:"]
    for table, column, _ in _parts(editor, after, name, old, new):
        live, beside = quote(column.live.name), quote(column.beside)
        lines.append(
            f"UPDATE {table.qualified} SET {beside} = {live} WHERE {beside} IS DISTINCT FROM {live}"
        )
    return lines


def copy_indexes(editor: Any, before: Any, after: Any, name: str) -> list[str]:
    """Return the statements that build copies of the columns' own indexes."""
    old, new = before._meta.get_field(name), after._meta.get_field(name)
    lines = [MORE]
    for table, column, field in _parts(editor, after, name, old, new):
        if not (field.unique or field.db_index):
            continue
        copied = copy_name(f"{table.name}_{column.live.name}", [column.live.name], [column.beside])
        kind = "UNIQUE INDEX" if field.unique else "INDEX"
        lines.append(
            f"CREATE {kind} CONCURRENTLY {quote(copied)} ON {table.qualified} "
            f"({quote(column.beside)})"
        )
    return lines


def copy_constraints(editor: Any, before: Any, after: Any, name: str) -> list[str]:
    """Return the statements that add NOT NULL and the foreign keys of second columns."""
    old, new = before._meta.get_field(name), after._meta.get_field(name)
    major = editor.connection.pg_version // 10000
    lines: list[str] = []
    for table, column, field in _parts(editor, after, name, old, new):
        if not field.null:
            lines += not_null.statements(table.qualified, table.name, column.beside, major)
        if not field.remote_field or not field.db_constraint:
            continue
        target = printed_table(editor, field.target_field.model)
        statement = editor._create_fk_sql(field.model, field, "_fk")
        copied = quote(copy_name(str(statement.parts["name"]), [column.live.name], [column.beside]))
        statement.parts["name"] = copied
        statement.parts["column"] = quote(column.beside)
        statement.parts["to_column"] = quote(key_name(target.name, field.target_field.column))
        lines.append(f"{statement} NOT VALID")
        lines.append(f"ALTER TABLE {table.qualified} VALIDATE CONSTRAINT {copied}")
    return lines


def swap(editor: Any, before: Any, after: Any, name: str) -> list[str]:
    """Return the statements that exchange the columns' names, and move what only one can have."""
    old, new = before._meta.get_field(name), after._meta.get_field(name)
    lines = [
        "-- Proven first: no row in which a second column differs. Foreign keys change over",
        "-- one by one; then each table in a short transaction of its own, the key's own last.",
    ]
    parts = list(_parts(editor, after, name, old, new))
    for table, column, _ in reversed(parts):
        alter = f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column.live.name)}"
        lines += leave_statements(table, column.live)
        lines += rename_statements(table, column.live.name, column.beside)
        if column.live.identity:
            lines.append(f"{alter} ADD GENERATED BY DEFAULT AS IDENTITY")
    lines.append("-- Copies of indexes and constraints get the names of the originals.")
    return lines
