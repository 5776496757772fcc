"""What sqlmigrate shows of a rename: SQL as far as the models tell it, with nothing asked or run.

The real stages read originals from the catalog; sqlmigrate may run where the table does
not exist yet, and must not write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import UniqueConstraint

from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Column, quote
from django_safemigrations.postgres.names import copy_name
from django_safemigrations.postgres.pairs import Pairs, add_column_statements


def foreign_key_name(editor: Any, model: Any, name: str) -> str | None:
    """Return the name Django gives a field's foreign key, or None if it makes none."""
    field = model._meta.get_field(name)
    if not field.remote_field or not field.db_constraint:
        return None
    quoted = str(editor._fk_constraint_name(model, field, "_fk_%(to_table)s_%(to_column)s"))
    return quoted.strip('"').replace('""', '"')


def model_column(editor: Any, model: Any, name: str, column: str | None = None) -> Column:
    """Return a field's column as far as the model tells it, under another name if one is given."""
    field = model._meta.get_field(name)
    parameters = field.db_parameters(editor.connection)
    collation = parameters.get("collation")
    comment = getattr(field, "db_comment", None)
    return Column(
        attnum=0,
        name=column or field.column,
        type=parameters["type"],
        type_oid=0,
        type_schema="pg_catalog",
        collation=editor.quote_name(collation) if collation else None,
        deterministic=True,
        not_null=not field.null,
        default=None,
        comment=comment,
        identity="",
        generated="",
        statistics=None,
        storage=None,
        compression=None,
        options=(),
    )


def _pairs(editor: Any, model: Any, columns: Mapping[str, str]) -> Pairs:
    found = tuple((model_column(editor, model, name), other) for name, other in columns.items())
    return Pairs(printed_table(editor, model), found)


def add_columns(editor: Any, model: Any, columns: Mapping[str, str]) -> list[str]:
    """Return the statements that add columns in sync with those of fields.

    Args:
        editor: the schema editor.
        model: a model that has the fields.
        columns: the column to add, by field.
    """
    pairs = _pairs(editor, model, columns)
    added = [
        sql
        for source, target in pairs.columns
        for sql in add_column_statements(pairs.table, source, target)
    ]
    return [*added, *pairs.trigger().create()]


def backfill(editor: Any, model: Any, columns: Mapping[str, str]) -> list[str]:
    """Return the statement of one batch; `columns` are target by source."""
    table = editor.quote_name(model._meta.db_table)
    assigned = ", ".join(f"{quote(b)} = {quote(a)}" for a, b in columns.items())
    differ = " OR ".join(f"{quote(b)} IS DISTINCT FROM {quote(a)}" for a, b in columns.items())
    return [
        "-- In batches by key, each in its own transaction:",
        f"UPDATE {table} SET {assigned} WHERE {differ}",
    ]


def _uses(statement: Any, column: str) -> bool:
    return quote(column) in str(statement)


def _field_statements(editor: Any, model: Any, name: str) -> list[Any]:
    field = model._meta.get_field(name)
    found = []
    if field.unique:
        found.append(editor._create_unique_sql(model, [field]))
    elif field.db_index:
        found.append(editor._create_index_sql(model, fields=[field]))
    like = editor._create_like_index_sql(model, field)
    if like is not None:
        found.append(like)
    return found


def _index_statements(editor: Any, model: Any) -> list[Any]:
    found = [index.create_sql(model, editor) for index in model._meta.indexes]
    for names in model._meta.unique_together:
        fields = [model._meta.get_field(name) for name in names]
        found.append(editor._create_unique_sql(model, fields))
    found += [
        constraint.create_sql(model, editor)
        for constraint in model._meta.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    return [statement for statement in found if statement is not None]


def _columns(model: Any, names: Iterable[str]) -> list[str]:
    return [model._meta.get_field(name).column for name in names]


def copy_indexes(editor: Any, before: Any, after: Any, renames: Mapping[str, str]) -> list[str]:
    """Return the statements that build copies of the indexes the models declare."""
    old, new = _columns(before, renames), _columns(after, renames.values())
    originals = [s for name in renames for s in _field_statements(editor, before, name)]
    originals += [s for s in _index_statements(editor, before) if any(_uses(s, c) for c in old)]
    copies = [s for name in renames.values() for s in _field_statements(editor, after, name)]
    copies += [s for s in _index_statements(editor, after) if any(_uses(s, c) for c in new)]
    lines = ["-- And a copy of every other index over the columns that the table has."]
    for original, statement in zip(originals, copies, strict=False):
        name = str(original.parts["name"]).strip('"')
        statement.parts["name"] = quote(copy_name(name, old, new))
        if statement.template == editor.sql_create_unique:
            # A constraint is made of the finished index when the old column goes.
            statement.template = editor.sql_create_unique_index
            statement.parts.setdefault("condition", "")
            statement.parts.setdefault("include", "")
        sql = str(statement)
        for plain in ("CREATE INDEX ", "CREATE UNIQUE INDEX "):
            if sql.startswith(plain):
                sql = f"{plain}CONCURRENTLY {sql[len(plain) :]}"
        lines.append(sql)
    return lines


def copy_constraints(editor: Any, before: Any, after: Any, renames: Mapping[str, str]) -> list[str]:
    """Return the statements that add copies of the constraints the models declare."""
    table = printed_table(editor, after)
    old, new = _columns(before, renames), _columns(after, renames.values())
    lines: list[str] = []

    def staged(name: str, statement: str) -> None:
        lines.append(f"{statement} NOT VALID")
        lines.append(f"ALTER TABLE {table.qualified} VALIDATE CONSTRAINT {name}")

    for constraint in after._meta.constraints:
        sql = str(constraint.create_sql(after, editor))
        if not isinstance(constraint, UniqueConstraint) and any(_uses(sql, c) for c in new):
            copied = quote(copy_name(constraint.name, old, new))
            staged(copied, sql.replace(editor.quote_name(constraint.name), copied, 1))
    for old_name, new_name in renames.items():
        field = after._meta.get_field(new_name)
        check = field.db_parameters(editor.connection)["check"]
        if check:
            column = before._meta.get_field(old_name).column
            copied = quote(copy_name(f"{table.name}_{column}_check", old, new))
            staged(copied, f"ALTER TABLE {table.qualified} ADD CONSTRAINT {copied} CHECK ({check})")
        original = foreign_key_name(editor, before, old_name)
        if original is not None:
            copied = quote(copy_name(original, old, new))
            statement = editor._create_fk_sql(after, field, "_fk_%(to_table)s_%(to_column)s")
            statement.parts["name"] = copied
            staged(copied, str(statement))
        if not field.null:
            major = editor.connection.pg_version // 10000
            lines += not_null.statements(table.qualified, table.name, field.column, major)
    return lines


def drop_columns(
    editor: Any, model: Any, columns: Mapping[str, str], names: Mapping[str, str] | None = None
) -> list[str]:
    """Return the statements that drop the other columns of fields.

    Args:
        editor: the schema editor.
        model: a model that has the fields that stay.
        columns: the column to drop, by field.
        names: names that change with the fields, old to new.
    """
    kept = _pairs(editor, model, columns)
    alter = f"ALTER TABLE {kept.table.qualified}"
    gone = list(columns.values())
    return [
        "-- Proven first: no row in which the columns differ.",
        *kept.trigger().drop(),
        *(f"{alter} DROP COLUMN {quote(column)}" for column in gone),
        "-- The copies of indexes and constraints get the names of the originals.",
        *(
            f"ALTER INDEX {quote(copy_name(old, gone, kept.sources))} RENAME TO {quote(new)}"
            for old, new in (names or {}).items()
        ),
    ]
