"""Tables and columns of the start beside those that hold the same values at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.models import Field

from django_safemigrations.postgres.catalog import Catalog, literal
from django_safemigrations.postgres.type_changes import (
    WHOLE_NUMBERS,
    base_type,
    is_narrowing,
    same_type,
)
from django_safemigrations.rehearsal.comparison.beginnings import finished_only
from django_safemigrations.rehearsal.comparison.origins import UNKNOWN, Key, Origins, origins

# Django brings them up to date with the models after every run.
KEPT_BY_DJANGO = ("django_content_type", "auth_permission")
TEXTS = ("text", "character varying", "character", "citext")
VALUE = "\0"
"""Stands for the column in SQL about its value; nothing in SQL can be mistaken for it."""
TEXT = f"({VALUE})::text"
FORETOLD = "its NULLs are filled with values that nobody can foretell"


@dataclass(frozen=True)
class Pair:
    """A column of the start, and what becomes of its values.

    Attributes:
        old: name at the start.
        new: name at the end; None if it goes.
        there: SQL for the text of the value at the end, with VALUE for the column at the start;
            None if nobody can say.
        back: the same for the value after the way back.
        why: what to say where it can't be compared.
    """

    old: str
    new: str | None
    there: str | None = TEXT
    back: str | None = TEXT
    why: str = ""


@dataclass(frozen=True)
class TablePair:
    """A table of the start with its columns.

    Attributes:
        old: as the catalog names it, quoted.
        new: its db_table at the end, None if the plan takes it away; of tables without a
            model the same as `old`.
        columns: those that are compared.
        key: columns of the primary key at the start.
        has_model: whether a model of the start knows it.
        touched: whether the plan changes the model.
        size: bytes of its rows.
    """

    old: str
    new: str | None
    columns: tuple[Pair, ...]
    key: tuple[str, ...]
    has_model: bool
    touched: bool
    size: int


TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), c.oid::bigint,
       (SELECT coalesce(sum(pg_relation_size(t.relid)), 0) FROM pg_partition_tree(c.oid) t)
       + CASE c.relkind WHEN 'r' THEN pg_relation_size(c.oid) ELSE 0 END,
       (SELECT array_agg(a.attname ORDER BY k.place)
        FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(number, place), pg_attribute a
        WHERE i.indrelid = c.oid AND i.indisprimary
        AND a.attrelid = c.oid AND a.attnum = k.number)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND c.relname !~ '^django_(safemigrations_|migrations$)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
# Computed from others, so what is to be said of it is said of them.
COLUMNS = """
SELECT attrelid::bigint, attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY 1, attnum
"""


def table_pairs(
    connection: BaseDatabaseWrapper,
    old: ProjectState,
    new: ProjectState,
    migrations: Sequence[Migration],
    stepped_over: frozenset[Key] = frozenset(),
) -> Iterator[TablePair]:
    """Yield every table of the database as it is now, at the start of a plan.

    Args:
        connection: the database.
        old: the models at the start.
        new: the models at the end.
        migrations: those of the plan, in order.
        stepped_over: contracts of the plan whose state is in `old` already.
    """
    origin = origins(old, migrations, stepped_over)
    origin.finishes = bool(finished_only(migrations))
    models = _models(connection, old, new, origin)
    catalog = Catalog(connection)
    tables = catalog.rows(TABLES)
    columns: dict[int, list[tuple[str, str]]] = {}
    for oid, name, db_type in catalog.rows(COLUMNS, [[row[1] for row in tables]]):
        columns.setdefault(oid, []).append((name, db_type))
    for qualified, oid, size, key in tables:
        if qualified.rpartition(".")[2] in KEPT_BY_DJANGO:
            continue
        before, after = models.get(oid, (None, None))
        pairs = [
            _pair(connection, before, after, name, db_type, origin)
            for name, db_type in columns.get(oid, ())
        ]
        table: str | None = qualified
        if before is not None:
            table = after._meta.db_table if after is not None else None
        yield TablePair(
            qualified,
            table,
            tuple(pairs),
            tuple(key or ()),
            before is not None,
            before is not None and _is_touched(pairs, before, after),
            int(size),
        )


def _is_touched(pairs: list[Pair], before: Any, after: Any) -> bool:
    if after is None:
        return True
    if before._meta.db_table != after._meta.db_table:
        return True
    return any(pair.old != pair.new or pair.there != TEXT for pair in pairs)


def _models(
    connection: BaseDatabaseWrapper, old: ProjectState, new: ProjectState, origin: Origins
) -> dict[int, tuple[Any, Any]]:
    """Return models of the start and of the end, by the oid of their table at the start."""
    ends = {start: end for end, start in origin.models.items() if end in new.models}
    catalog = Catalog(connection)
    found: dict[int, tuple[Any, Any]] = {}
    for key in old.models:
        before = old.apps.get_model(*key)
        if before._meta.proxy or before._meta.swapped:
            continue
        after = new.apps.get_model(*ends[key]) if key in ends else None
        both = [(before, after)]
        for relation in before._meta.local_many_to_many:
            through = relation.remote_field.through
            if not through._meta.auto_created:
                continue
            name = _name_at_end(origin, ends.get(key), relation.name)
            other = None
            if after is not None and name is not None:
                field: Any = after._meta.get_field(name)
                own = field.many_to_many and field.remote_field.through._meta.auto_created
                other = field.remote_field.through if own else None
            both.append((through, other))
        for one, two in both:
            table = catalog.find_table(one._meta.db_table)
            if table is not None:
                found[table.oid] = (one, two)
    return found


def _name_at_end(origin: Origins, key: Key | None, name: str) -> str | None:
    if key is None:
        return None
    return next((now for (k, now), was in origin.fields.items() if k == key and was == name), None)


def _pair(
    connection: BaseDatabaseWrapper,
    before: Any,
    after: Any,
    column: str,
    db_type: str,
    origin: Origins,
) -> Pair:
    if before is None:
        return Pair(column, column)
    number, one = next(
        (
            (number, field)
            for number, field in enumerate(before._meta.local_concrete_fields)
            if field.column == column
        ),
        (0, None),
    )
    if one is None:
        # No model knows it; the schema's comparison says so if it goes.
        return Pair(column, column)
    if after is None:
        return Pair(column, None, None, None, "the plan takes the table away")
    two = _field_at_end(before, after, one, number, origin)
    if two is None:
        return Pair(column, None, None, None, "the plan takes the column away")
    return _values(connection, one, two, column, db_type, origin)


def _field_at_end(before: Any, after: Any, one: Any, number: int, origin: Origins) -> Any:
    if before._meta.auto_created:
        # The columns of a many-to-many table are named after the models, in a fixed order.
        fields = after._meta.local_concrete_fields
        return fields[number] if number < len(fields) else None
    start = (before._meta.app_label, before._meta.model_name)
    name = _name_at_end(origin, (after._meta.app_label, after._meta.model_name), one.name)
    if (start, one.name) not in origin.known:
        # A key that Django added by itself, to the parent or as "id".
        name = one.name
    return next((f for f in after._meta.local_concrete_fields if f.name == name), None)


def _values(
    connection: BaseDatabaseWrapper,
    one: Field[Any, Any],
    two: Field[Any, Any],
    column: str,
    db_type: str,
    origin: Origins,
) -> Pair:
    """Return what becomes of the values of a field that stays."""
    there: str | None = TEXT
    back: str | None = TEXT
    why = ""
    old_type = one.db_type(connection) or db_type
    new_type = two.db_type(connection) or db_type
    if origin.finishes:
        # The models have the new type since the expand, and the column still has the old one.
        old_type = db_type
    if not same_type(old_type, new_type):
        there, back, why = _converted(old_type, new_type)
    if there is not None and one.null and not two.null and two.column:
        meta = one.model._meta
        key = ((meta.app_label, meta.model_name or ""), one.name)
        if origin.filled.get(key) is UNKNOWN:
            return Pair(column, two.column, None, None, FORETOLD)
        if key in origin.filled and back is not None:
            text = _text_of(connection, two, origin.filled[key], new_type)
            there, back = (f"coalesce({sql}, {literal(text)})" for sql in (there, back))
    return Pair(column, two.column, there, back, why)


def _converted(old: str, new: str) -> tuple[str | None, str | None, str]:
    """Return SQL for the text of converted values, and of those converted back."""
    kinds = (base_type(old), base_type(new))
    if all(kind in TEXTS for kind in kinds) or all(kind in WHOLE_NUMBERS for kind in kinds):
        return TEXT, TEXT, ""
    if kinds[0] == kinds[1] or is_narrowing(old, new) or is_narrowing(new, old):
        # Of the same kind: what does not fit is refused, or rounded by this very cast.
        return f"(({VALUE})::{new})::text", f"((({VALUE})::{new})::{old})::text", ""
    if "boolean" in kinds or any(kind.startswith(("time", "date")) for kind in kinds):
        return None, None, f"from {old} to {new} there is no one way to convert"
    return f"({TEXT}::{new})::text", f"(({TEXT}::{new})::text::{old})::text", ""


def _text_of(
    connection: BaseDatabaseWrapper, field: Field[Any, Any], value: Any, db_type: str
) -> str:
    """Return a default as the database prints it in a column."""
    saved = field.get_db_prep_save(value, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT (%s::{db_type})::text", [saved])
        return str(cursor.fetchone()[0])


def resolve(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """Return the quoted name of a table as the catalog has it, None if there is no such table.

    Args:
        connection: the database.
        name: quoted with its schema, or a model's db_table.
    """
    if not name:
        return None
    rows = Catalog(connection).rows(
        "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
        [name],
    )
    if rows:
        return str(rows[0][0])
    table = Catalog(connection).find_table(name)
    return table.qualified if table is not None else None
