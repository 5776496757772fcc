"""Values that occur more than once, looked for before a unique index is built.

The query takes ACCESS SHARE, for which nobody waits. What counts as equal is what the index
will take for equal: its expressions, collations and condition are read from PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from django_safemigrations.exceptions import ViolatingRows
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.definitions import CLONE
from django_safemigrations.postgres.runner import Runner

SHOWN = 5
"""How many of the values that occur more than once are named."""


@dataclass(frozen=True)
class Definition:
    """An index as PostgreSQL reads its definition, before it is built.

    Attributes:
        tail: from the access method on, as in `catalog.Index`.
        keys: the columns and expressions, with their collations.
        predicate: its condition, or None.
    """

    tail: str
    keys: tuple[str, ...]
    predicate: str | None


class _Undo(Exception):
    """Rolls the clone back."""


def read_definition(
    runner: Runner, table: Table, statement: Callable[[str, str], str]
) -> Definition:
    """Ask PostgreSQL how it reads an index, on an empty temporary copy of the table.

    Args:
        runner: the means to work with.
        table: the table it is for.
        statement: makes the CREATE INDEX statement for a quoted table and index name.

    Locks: ACCESS SHARE on the table.
    """
    found: Definition | None = None
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TEMP TABLE {CLONE} (LIKE {table.qualified})", None)
            cursor.execute(statement(f"pg_temp.{CLONE}", "dsm_i0"), None)
            [(definition, keys, predicate)] = runner.catalog.rows(
                """
                SELECT pg_get_indexdef(i.indexrelid),
                       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, false)
                               || coalesce(' COLLATE ' || quote_ident(s.nspname) || '.'
                                           || quote_ident(c.collname), '')
                             FROM generate_series(1, i.indnkeyatts) n
                             LEFT JOIN (pg_collation c JOIN pg_namespace s ON s.oid = c.collnamespace)
                               ON c.oid = i.indcollation[n - 1] AND c.collname <> 'default'
                             ORDER BY n),
                       pg_get_expr(i.indpred, i.indrelid)
                FROM pg_index i WHERE i.indexrelid = 'pg_temp.dsm_i0'::regclass
                """
            )
            found = Definition(definition.partition(f".{CLONE} USING ")[2], tuple(keys), predicate)
            raise _Undo
    except _Undo:
        assert found is not None
        return found


def refuse_duplicates(
    runner: Runner, table: Table, name: str, definition: Definition, *, nulls_distinct: bool
) -> None:
    """Raise if values occur more than once.

    Args:
        runner: the means to work with.
        table: the table.
        name: the name of the index that is to be unique, for the message.
        definition: its definition.
        nulls_distinct: whether NULLs are no duplicates of each other.

    Raises:
        ViolatingRows: how many, in how many rows, and a few of them.

    Locks: ACCESS SHARE: nobody waits.
    """
    keys = definition.keys
    conditions = [f"({definition.predicate})"] if definition.predicate else []
    if nulls_distinct:
        conditions += [f"({key}) IS NOT NULL" for key in keys]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    row = [quote(name) for name, _ in runner.catalog.primary_key(table)]
    named = f"concat_ws(', ', {', '.join(row)})" if row else "''"
    columns = [f"k{number}" for number in range(len(keys))]
    chosen = ", ".join(f"{key} AS {column}" for key, column in zip(keys, columns, strict=True))
    shown = ", ".join(f"coalesce(left({column}::text, 60), 'NULL')" for column in columns)
    with runner.guard.as_long_as_it_takes():
        found = runner.catalog.rows(
            f"WITH dsm AS MATERIALIZED (SELECT concat_ws(', ', {shown}) AS v, count(*) AS n, "
            f"min(r) AS a, max(r) AS z FROM (SELECT {chosen}, {named} AS r FROM "
            f"{table.qualified}{where}) s GROUP BY {', '.join(columns)} HAVING count(*) > 1) "
            f"SELECT count(*) OVER (), sum(n) OVER (), v, n, a, z FROM dsm LIMIT {SHOWN}"
        )
    if not found:
        return
    values, rows = found[0][:2]
    numbers = ", ".join(str(number) for number in range(1, len(keys) + 1))
    every = (
        f"SELECT {', '.join(keys)}, count(*) FROM {table.qualified}{where} GROUP BY {numbers} "
        "HAVING count(*) > 1;"
    )
    listed = ", ".join(keys)
    examples = "; ".join(
        f"({value}) {times} times" + (f" as in rows {first} and {last}" if row else "")
        for _, _, value, times, first, last in found
    )
    more = "; …" if values > SHOWN else ""
    raise ViolatingRows(
        f"{values} value{'s' if values != 1 else ''} of ({listed}) occur{'s' if values == 1 else ''} "
        f"more than once in {rows} rows of {table.qualified}, so {quote(name)} can't "
        f"be unique: {examples}{more}. Nothing was changed. Change or delete the rows that are too "
        f"many, then run the command again. All of them: {every}"
    )
