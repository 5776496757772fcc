"""Makes INSERTs that leave a column out work, and says early what keeps it from being dropped."""

from __future__ import annotations

from collections.abc import Collection

from django.db import Error, transaction

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Column, Table, quote
from django_safemigrations.postgres.dropping import column_dependents, refuse_dependents
from django_safemigrations.postgres.not_null import drop_not_null
from django_safemigrations.postgres.runner import Runner


def relax_column(
    runner: Runner, table: Table, column: str, value: str | None, leaving: Collection[str] = ()
) -> None:
    """Let rows be inserted without a column; does nothing if they can be.

    Args:
        runner: the means to work with.
        table: the table.
        column: the column.
        value: SQL of what the code that knows the column would put there; None if nothing.
        leaving: columns that are removed in the same step, and may be computed from this one.

    Raises:
        UnsupportedChange: something depends on the column, or refuses such rows; nothing was
            changed.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    found = runner.catalog.column(table, column)
    if found is None:
        return
    what = f"Column {quote(column)} of {table.qualified}"
    dependents = column_dependents(runner, table, column, leaving)
    refuse_dependents(dependents, what, "Nothing was changed.")
    if found.generated or found.identity:
        return
    if any(index.primary for index in runner.catalog.indexes(table, column)):
        raise UnsupportedChange(
            f"{what} is a part of the primary key, which can't go without rewriting what refers to "
            "it. Nothing was changed. Make another primary key first, in a release before this one."
        )
    unique = in_unique_index(runner, table, column)
    default = found.default
    if default is None and found.not_null:
        usable = value is not None and _fits(runner, found, value)
        if value is not None and usable and not (unique and _repeats(runner, found, value)):
            refuse_checks(runner, table, found, value)
            runner.execute(_set_default(table, column, value))
            return
    elif default is not None and unique and _repeats(runner, found, default):
        refuse_checks(runner, table, found, "NULL")
        runner.execute(_drop_default(table, column))
        default = None
    refuse_checks(runner, table, found, default or "NULL")
    if default is None and found.not_null:
        drop_not_null(runner, table, column)


def stop_relaxing(runner: Runner, table: Table, column: str, value: str | None) -> None:
    """Drop the default that `relax_column` set, if it is still there.

    Args:
        runner: the means to work with.
        table: the table.
        column: the column.
        value: as given to `relax_column`.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    found = runner.catalog.column(table, column)
    if found is None or found.default is None or value is None:
        return
    if _fits(runner, found, value) and found.default == as_default(runner, table, found, value):
        runner.execute(_drop_default(table, column))


def restore_default(runner: Runner, table: Table, column: str, value: str) -> None:
    """Set the column's own default again, if `relax_column` dropped it.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    found = runner.catalog.column(table, column)
    if found is not None and found.default is None:
        runner.execute(_set_default(table, column, value))


def _set_default(table: Table, column: str, value: str) -> str:
    return f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column)} SET DEFAULT {value}"


def _drop_default(table: Table, column: str) -> str:
    return f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column)} DROP DEFAULT"


def relaxed_statements(table: str, column: str, value: str | None) -> list[str]:
    """Return the statement of `relax_column` for sqlmigrate."""
    how = f"SET DEFAULT {value}" if value is not None else "DROP NOT NULL"
    return [f"ALTER TABLE {table} ALTER COLUMN {quote(column)} {how}"]


def in_unique_index(runner: Runner, table: Table, column: str) -> bool:
    """Whether two rows may not have the same value in a column, alone or with others.

    Raises:
        UnsupportedChange: they may not even both have NULL.
    """
    rules = [
        index
        for index in runner.catalog.indexes(table, column)
        if index.unique or index.constraint_type == "x"
    ]
    for index in rules:
        if not index.nulls_distinct:
            raise UnsupportedChange(
                f"Unique index {index.qualified} takes NULLs for equal, so rows that leave "
                f"{quote(column)} out would be refused. Nothing was changed. Drop it in a "
                "migration before this one, and run the command again."
            )
    return bool(rules)


def refuse_checks(runner: Runner, table: Table, column: Column, value: str) -> None:
    """Raise if a CHECK refuses rows that leave a column out, or can't be judged.

    Raises:
        UnsupportedChange: names it.
    """
    rows = runner.catalog.rows(
        """
        SELECT k.conname, pg_get_expr(k.conbin, k.conrelid), cardinality(k.conkey)
        FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid
        WHERE k.conrelid = %s AND k.contype = 'c' AND a.attname = %s AND a.attnum = ANY (k.conkey)
        ORDER BY k.conname
        """,
        [table.oid, column.name],
    )
    row = f"(SELECT CAST({value} AS {column.type}) AS {quote(column.name)}) AS {quote(table.name)}"
    for name, condition, columns in rows:
        if columns == 1:
            if runner.catalog.value(f"SELECT ({condition}) FROM {row}") is not False:
                continue
            why = f"refuses rows that leave {quote(column.name)} out"
        else:
            why = f"is over {quote(column.name)} and other columns, and would go with it unsaid"
        raise UnsupportedChange(
            f"CHECK {quote(name)} of {table.qualified} {why}: {condition}. Nothing was changed. "
            "Drop or change it in a migration before this one, and run the command again."
        )


def _fits(runner: Runner, column: Column, value: str) -> bool:
    """Whether a value is one of the column's type: "" is none of an enum."""
    try:
        with transaction.atomic(using=runner.connection.alias):
            runner.catalog.value(f"SELECT CAST({value} AS {column.type}) IS NULL")
    except Error:
        return False
    return True


def _repeats(runner: Runner, column: Column, value: str) -> bool:
    """Whether an expression gives two rows the same value."""
    cast = f"CAST({value} AS {column.type})"
    return not runner.catalog.value(f"SELECT {cast} IS DISTINCT FROM {cast}")


def as_default(runner: Runner, table: Table, column: Column, value: str) -> str | None:
    """Return an expression as PostgreSQL would show it, were it the column's default."""
    shown: str | None = None
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TEMP TABLE dsm_clone (LIKE {table.qualified})", None)
            cursor.execute(
                f"ALTER TABLE pg_temp.dsm_clone ALTER COLUMN {quote(column.name)} "
                f"SET DEFAULT {value}",
                None,
            )
            shown = runner.catalog.value(
                "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef "
                "WHERE adrelid = 'pg_temp.dsm_clone'::regclass"
            )
            raise _Undo
    except _Undo:
        return shown


class _Undo(Exception):
    """Rolls the clone back."""
