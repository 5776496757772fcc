"""What sqlmigrate shows of a change of type: SQL as far as the models tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.operations.printed import model_column
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.conversions import both_ways
from django_safemigrations.postgres.pairs import Pairs, add_column_statements
from django_safemigrations.postgres.swaps import Type, aside_name, shadow_name


def _names(model: Any, name: str, columns: Mapping[str, str], table: str) -> tuple[str, str, str]:
    """Return the column, its second before the swap, and its second after it."""
    for old, new in columns.items():
        return old, new, old
    column = model._meta.get_field(name).column
    return column, shadow_name(table, column), aside_name(table, column)


def _pairs(
    editor: Any, model: Any, name: str, column: str, second: str, type_: Type | None = None
) -> Pairs:
    table = printed_table(editor, model)
    source = model_column(editor, model, name, column)
    wanted = type_ or Type(source.type)
    zone = editor.connection.timezone_name
    both = both_ways(table, source, second, wanted.name, wanted.collation, zone)
    return Pairs(table, ((source, second),), {source.name: both})


def printed_columns(
    editor: Any,
    model: Any,
    name: str,
    columns: Mapping[str, str],
    type_: Type,
    *,
    backwards: bool = False,
) -> list[str]:
    """Return the statements that add the second column; on the way back that of the old type."""
    column, shadow, aside = _names(model, name, columns, printed_table(editor, model).name)
    first, second = (column, aside if backwards else shadow)
    if columns and backwards:
        first, second = shadow, column
    pairs = _pairs(editor, model, name, first, second, type_)
    both = pairs.conversions[first]
    lines = [*add_column_statements(pairs.table, both.target, second), *pairs.trigger().create()]
    return [*lines, *_batch(pairs)] if backwards else lines


def printed_backfill(editor: Any, model: Any, name: str, columns: Mapping[str, str]) -> list[str]:
    """Return one batch's statement."""
    column, shadow, _ = _names(model, name, columns, printed_table(editor, model).name)
    return _batch(_pairs(editor, model, name, column, shadow))


def _batch(pairs: Pairs) -> list[str]:
    table = pairs.table.qualified
    assigned = ", ".join(f"{quote(b)} = {value}" for b, value in pairs.assignments.items())
    lines = ["-- In batches by key, each in its own transaction, until none is left:"]
    for source, target in pairs.columns:
        null = f"{quote(target)} IS NULL AND {quote(source.name)} IS NOT NULL"
        lines.append(f"UPDATE {table} SET {assigned} WHERE {null}")
    return lines


def printed_swap(editor: Any, model: Any, name: str, *, backwards: bool) -> list[str]:
    """Return what the short transaction does, as far as the model tells it."""
    table = printed_table(editor, model)
    column, second, aside = _names(model, name, {}, table.name)
    if backwards:
        second, aside = aside, second
    alter = f"ALTER TABLE {table.qualified} RENAME COLUMN"
    return [
        "-- Counted first: no row differs, no value is left that does not fit. Then in one "
        "transaction:",
        f"{alter} {quote(column)} TO {quote(aside)}",
        f"{alter} {quote(second)} TO {quote(column)}",
        "-- The copies of indexes and constraints take the places of the originals, the default "
        "goes over, and the trigger is turned round.",
    ]


def printed_drop(
    editor: Any, model: Any, name: str, columns: Mapping[str, str], *, backwards: bool
) -> list[str]:
    """Return the statements that drop the old column, on the way back the new one."""
    column, shadow, aside = _names(model, name, columns, printed_table(editor, model).name)
    first, second = (column, shadow) if backwards else (column, aside)
    gone = second
    if columns:
        first, second = column, shadow
        gone = shadow if backwards else column
    pairs = _pairs(editor, model, name, first, second)
    return [
        *pairs.trigger().drop(),
        f"ALTER TABLE {pairs.table.qualified} DROP COLUMN {quote(gone)}",
    ]
