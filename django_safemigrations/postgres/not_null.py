"""NOT NULL in stages: no statement both holds a blocking lock and reads the table.

Before PostgreSQL 18: CHECK … NOT VALID, VALIDATE, SET NOT NULL (the validated CHECK
proves it, so nothing is read), DROP the CHECK; four statements, for SET and DROP in one
would drop first and scan. From 18 on: NOT NULL … NOT VALID, VALIDATE.
https://www.postgresql.org/docs/current/sql-altertable.html
"""

from __future__ import annotations

from django.db import Error

from django_safemigrations.exceptions import ViolatingRows
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.errors import CHECK_VIOLATION, NOT_NULL_VIOLATION, sqlstate
from django_safemigrations.postgres.names import cut, short_hash
from django_safemigrations.postgres.runner import Runner

NATIVE_SINCE = 18


def statements(table: str, table_name: str, column: str, major: int) -> list[str]:
    """Return the statements that make a column NOT NULL, for PostgreSQL `major`."""
    if major >= NATIVE_SINCE:
        # NOT NULL constraints have names there. PostgreSQL chooses it: the usual one may be taken.
        name = quote(native_name(table_name, column))
        return [
            f"ALTER TABLE {table} ADD NOT NULL {quote(column)} NOT VALID",
            f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
        ]
    name = quote(check_name(table_name, column))
    return [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({quote(column)} IS NOT NULL) NOT VALID",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
        f"ALTER TABLE {table} ALTER COLUMN {quote(column)} SET NOT NULL",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    ]


def check_name(table: str, column: str) -> str:
    """Return the name of the CHECK that proves NOT NULL while it is staged."""
    return f"dsm_nn_{short_hash(table, column)}"


def native_name(table: str, column: str) -> str:
    """Return a name for a NOT NULL constraint, shortened as PostgreSQL shortens."""
    whole = f"{table}_{column}_not_null"
    if whole == cut(whole):
        return whole
    return f"{cut(f'{table}_{column}', 40)}_{short_hash(table, column)}_not_null"


def set_not_null(runner: Runner, table: Table, column: str) -> None:
    """Make a column NOT NULL; does nothing if it is, goes on where it was stopped.

    Raises:
        ViolatingRows: the column holds NULLs; counts them and names some rows.

    Locks: ACCESS EXCLUSIVE for an instant (no scan), then SHARE UPDATE EXCLUSIVE for the
    scan, which blocks no reads or writes.
    """
    check = check_name(table.name, column)
    major = runner.connection.pg_version // 10000  # type: ignore[attr-defined]
    if not runner.catalog.not_null_is_proven(table, column):
        refuse_nulls(runner, table, column)
        if major >= NATIVE_SINCE:
            _native(runner, table, column)
        else:
            _checked(runner, table, column, check, major)
    if runner.catalog.constraint_exists(table.oid, check)[0]:
        runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(check)}")


def _native(runner: Runner, table: Table, column: str) -> None:
    name = _native_constraint(runner, table, column)
    if name is None:
        runner.execute(statements(table.qualified, table.name, column, NATIVE_SINCE)[0])
        name = _native_constraint(runner, table, column)
    assert name is not None
    try:
        runner.execute(f"ALTER TABLE {table.qualified} VALIDATE CONSTRAINT {quote(name)}")
    except Error as error:
        if sqlstate(error) in (CHECK_VIOLATION, NOT_NULL_VIOLATION):
            runner.execute(
                f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column)} DROP NOT NULL"
            )
            refuse_nulls(runner, table, column)
        raise


def _native_constraint(runner: Runner, table: Table, column: str) -> str | None:
    found = runner.catalog.value(
        """
        SELECT k.conname FROM pg_constraint k JOIN pg_attribute a
          ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        WHERE k.conrelid = %s AND k.contype = 'n' AND a.attname = %s
        """,
        [table.oid, column],
    )
    return str(found) if found is not None else None


def _checked(runner: Runner, table: Table, column: str, check: str, major: int) -> None:
    add, validate, set_, _ = statements(table.qualified, table.name, column, major)
    exists, valid = runner.catalog.constraint_exists(table.oid, check)
    if not exists:
        runner.execute(add)
    if not valid:
        try:
            runner.execute(validate)
        except Error as error:
            if sqlstate(error) == CHECK_VIOLATION:
                runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(check)}")
                refuse_nulls(runner, table, column)
            raise
    runner.execute(set_)


def refuse_nulls(runner: Runner, table: Table, column: str) -> None:
    """Raise if the column holds NULLs.

    Raises:
        ViolatingRows: how many, and the keys of a few.
    """
    where = f"FROM {table.qualified} WHERE {quote(column)} IS NULL"
    with runner.guard.as_long_as_it_takes():
        if not runner.catalog.value(f"SELECT EXISTS (SELECT {where})"):
            return
        count = runner.catalog.value(f"SELECT count(*) {where}")
    named = runner.catalog.some_keys(table, f"{quote(column)} IS NULL")
    raise ViolatingRows(
        f"{count} row{'s' if count != 1 else ''} of {table.qualified} "
        f"{'have' if count != 1 else 'has'} NULL in {quote(column)}{named}; it can't be NOT NULL "
        "and was left as it was. Fill them, or give a default: delete this migration, run "
        "makemigrations again and answer with a one-off default. Then run the command again."
    )


def drop_not_null(runner: Runner, table: Table, column: str) -> None:
    """Let a column hold NULLs again, whatever stage NOT NULL had reached.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    check = check_name(table.name, column)
    found = runner.catalog.column(table, column)
    if found is not None and found.not_null:
        runner.execute(f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column)} DROP NOT NULL")
    if runner.catalog.constraint_exists(table.oid, check)[0]:
        runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(check)}")
