"""Compiles what a user says in Django's terms to the statement of one batch, as plain SQL.

Everything that Django compiles is written as literals, so that a statement is plain text:
another process can run it without this project's code.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.subqueries import UpdateQuery
from psycopg import ClientCursor

from django_safemigrations.backfill.statements import ALIAS, BatchStatement, Bounds, Walked
from django_safemigrations.backfill.work import escaped
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import quote

Where = Q | QuerySet[Any] | None


class Sql(RawSQL):
    """SQL of this package's making, of quoted names and casts; values are parameters."""


# -- rows ---------------------------------------------------------------------------------


def rows_of(connection: BaseDatabaseWrapper, model: Any, where: Where) -> QuerySet[Any]:
    """Return the wanted rows of a model, as a query of its own table called ALIAS.

    Raises:
        UnsupportedChange: the rows are of another model, a slice or a union.
    """
    found = _wanted(connection, model, where)
    query = found.query
    query.get_initial_alias()
    tables = [alias for alias, count in query.alias_refcount.items() if count]
    if query.distinct or query.group_by is not None or len(tables) > 1:
        # What is read from other tables goes into a subquery: one table is written to.
        base: QuerySet[Any] = model._base_manager.using(connection.alias)
        found = base.filter(pk__in=found.values("pk")).order_by()
    _call_by_alias(found.query)
    return found


def _wanted(connection: BaseDatabaseWrapper, model: Any, where: Where) -> QuerySet[Any]:
    if not isinstance(where, QuerySet):
        every: QuerySet[Any] = model._base_manager.using(connection.alias).order_by()
        return every if where is None else every.filter(where)
    if where.model._meta.concrete_model is not model._meta.concrete_model:
        raise UnsupportedChange(
            f"The rows given are of {where.model._meta.label}, and the operation is of "
            f"{model._meta.label}. Return rows of that model from the function, or give the "
            "operation the other model's name."
        )
    if where.query.is_sliced or where.query.combinator:
        raise UnsupportedChange(
            f"The rows of {model._meta.label} are a slice or a union: which rows these are would "
            "change from batch to batch. Give a filter instead."
        )
    return where.using(connection.alias).order_by()


def _call_by_alias(query: Any) -> None:
    alias = query.get_initial_alias()
    if alias != ALIAS:
        query.change_aliases({alias: ALIAS})
        # The base table is the first one.
        query.alias_map = {ALIAS: query.alias_map[ALIAS], **query.alias_map}
        query.__dict__.pop("base_table", None)


def read_from(rows: QuerySet[Any], relation: str) -> QuerySet[Any]:
    """Return a copy of a query of `rows_of` that reads one table or partition."""
    copy = rows.all()
    copy.query.alias_map[ALIAS] = _Read(relation, ALIAS)
    return copy


class _Read(BaseTable):
    """What stands after FROM: a relation that is SQL already, as "ONLY" and a quoted name."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return f"{escaped(self.table_name)} {self.table_alias}", []


def condition(connection: BaseDatabaseWrapper, rows: QuerySet[Any]) -> str:
    """Return the SQL that is true for the rows of a query of `rows_of`."""
    compiler = rows.query.get_compiler(connection=connection)
    try:
        return literally(connection, *compiler.compile(rows.query.where))
    except FullResultSet:
        return "true"
    except EmptyResultSet:
        return "false"


def literally(connection: BaseDatabaseWrapper, sql: str, params: Iterable[Any]) -> str:
    """Return SQL with its parameters written as literals."""
    connection.ensure_connection()
    raw: Any = connection.connection
    return str(ClientCursor(raw).mogrify(sql, list(params)))


# -- what users write as SQL ------------------------------------------------------------------

_PLACES = re.compile(r"(\{batch(?::[A-Za-z_]\w*)?\}|\{table\})")


def names_batch(sql: str) -> bool:
    """Whether a statement has a place for the condition on a batch's rows."""
    return any(part.startswith("{batch") for part in _PLACES.findall(sql))


def plain(sql: str, table: str) -> str:
    """Return a statement with a table and no bounds in its places, to be read by a parser."""
    parts = _PLACES.split(sql)
    parts[1::2] = [table if part == "{table}" else "true" for part in parts[1::2]]
    return "".join(parts)


def template(
    connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any] | None, own_name: str
) -> tuple[str | Bounds | Walked, ...]:
    """Return the parts of a statement in which {batch}, {batch:alias} and {table} are put in later.

    Args:
        connection: the database.
        sql: the statement.
        params: values for %s in it; None to interpolate nothing.
        own_name: what the table is called where it has no alias.
    """
    parts = _PLACES.split(sql)
    if params is not None:
        # Not in a constant: what is put in for %s may hold anything.
        mark = f"/*{uuid.uuid4().hex}*/"
        texts = literally(connection, mark.join(parts[::2]), params).split(mark)
        parts[::2] = texts
    found: list[str | Bounds | Walked] = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            found.append(part)
        elif part == "{table}":
            found.append(Walked())
        else:
            alias = part.strip("{}").partition(":")[2]
            found.append(Bounds(alias or own_name))
    return tuple(found)


# -- statements -----------------------------------------------------------------------------


def owner_of(model: Any, names: Iterable[str]) -> Any:
    """Return the model in whose table the columns of some fields are.

    Raises:
        UnsupportedChange: they are in several tables.
    """
    owners = {model._meta.get_field(name).model._meta.concrete_model: name for name in names}
    if len(owners) > 1:
        told = ", ".join(f"{name} in {owner._meta.db_table}" for owner, name in owners.items())
        raise UnsupportedChange(
            f"These fields of {model._meta.label} are columns of several tables ({told}), and a "
            "batch writes to one. Write one RunInBatches for each."
        )
    return next(iter(owners), model._meta.concrete_model)


def update_statement(
    connection: BaseDatabaseWrapper, model: Any, values: Mapping[str, Any], where: Where
) -> tuple[Any, BatchStatement]:
    """Return the model whose table is written to, and the UPDATE of one batch.

    Args:
        connection: the database; its encoding decides how text is quoted.
        model: the model, as it is at this point of the migrations.
        values: the new values by field, as `QuerySet.update` takes them.
        where: the rows; None for all.

    Raises:
        UnsupportedChange: the fields are columns of several tables, or can't be written.
    """
    owner = owner_of(model, values)
    if owner is not model._meta.concrete_model:
        # A multi-table child's inherited columns are in its parent's table.
        where = Q(pk__in=_wanted(connection, model, where).values(owner._meta.pk.name))
    rows = rows_of(connection, owner, where)
    needed = condition(connection, rows)
    query: Any = rows.query.chain(klass=UpdateQuery)
    query.clear_where()
    query.add_update_values(dict(values))
    sql, params = query.get_compiler(connection=connection).as_sql()
    if not sql:
        raise UnsupportedChange(
            f"{', '.join(values)} of {model._meta.label} are generated by the database: there is "
            "nothing to write."
        )
    _, _, assigned = literally(connection, sql, params).partition(" SET ")
    return owner, BatchStatement(
        (
            "UPDATE ",
            Walked(),
            f" AS {ALIAS} SET {assigned} WHERE ({needed}) AND ",
            Bounds(),
        ),
        needed,
    )


def delete_statement(
    connection: BaseDatabaseWrapper, model: Any, where: Where
) -> tuple[Any, BatchStatement]:
    """Return the model whose table is written to, and the DELETE of one batch.

    Raises:
        UnsupportedChange: the model's rows have a part in a parent's table.
    """
    if model._meta.get_parent_list():
        raise UnsupportedChange(
            f"A row of {model._meta.label} has a part in the table of "
            f"{model._meta.get_parent_list()[0]._meta.label}, and a batch writes to one table. "
            "Delete its rows first and the parent's after them, in two RunInBatches of SQL."
        )
    rows = rows_of(connection, model, where)
    needed = condition(connection, rows)
    parts = ("DELETE FROM ", Walked(), f" AS {ALIAS} WHERE ({needed}) AND ", Bounds())
    return model._meta.concrete_model, BatchStatement(parts, needed)


def insert_statement(
    connection: BaseDatabaseWrapper,
    model: Any,
    target: Any,
    values: Mapping[str, Any],
    where: Where,
) -> tuple[Any, BatchStatement]:
    """Return the walked model, and the INSERT … SELECT of one batch, which leaves out what is there.

    Args:
        connection: the database.
        model: the model whose rows are read.
        target: the model whose rows are made.
        values: what the new rows have, by the target's fields: constants, or expressions of
            the walked model's fields.
        where: the rows that are read; None for all.
    """
    rows = rows_of(connection, model, where)
    needed = condition(connection, rows)
    compiler = rows.query.get_compiler(connection=connection)
    columns, expressions = [], []
    for name, value in values.items():
        field = target._meta.get_field(name)
        given = value if hasattr(value, "resolve_expression") else Value(value, output_field=field)
        resolved = given.resolve_expression(rows.query, allow_joins=False, for_save=True)
        columns.append(quote(field.column))
        expressions.append(literally(connection, *compiler.compile(resolved)))
    table = connection.ops.quote_name(target._meta.db_table)
    parts = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(expressions)} FROM ",
        Walked(),
        f" AS {ALIAS} WHERE ({needed}) AND ",
        Bounds(),
        " ON CONFLICT DO NOTHING",
    )
    return model._meta.concrete_model, BatchStatement(parts, needed)
