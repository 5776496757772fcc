"""CHECK constraints in stages, and what constraints of every kind have in common.

ADD CONSTRAINT … NOT VALID reads no rows and holds ACCESS EXCLUSIVE for an instant; VALIDATE
CONSTRAINT reads them under SHARE UPDATE EXCLUSIVE, which blocks no reads or writes. Rows
that violate it are counted before, so that nothing is left behind when there are some.
https://www.postgresql.org/docs/current/sql-altertable.html
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import Error, transaction
from django.db.backends.ddl_references import Statement

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.catalog import Table, literal, quote
from django_safemigrations.postgres.definitions import CLONE
from django_safemigrations.postgres.errors import CHECK_VIOLATION, sqlstate
from django_safemigrations.postgres.names import LONGEST, cut
from django_safemigrations.postgres.runner import Runner


@dataclass(frozen=True)
class WantedCheck:
    """A CHECK constraint that a model stands for.

    Attributes:
        name: its whole name; PostgreSQL cuts it to 63 bytes.
        statement: Django's ADD CONSTRAINT … CHECK.
    """

    name: str
    statement: Statement

    @property
    def catalog_name(self) -> str:
        """Its name as the catalog has it."""
        return cut(self.name)

    @property
    def condition(self) -> str:
        """What every row has to meet, or be unknown."""
        return str(self.statement.parts["check"])

    def add_sql(self) -> str:
        """Return the statement that adds it without reading a row."""
        return f"{self.statement} NOT VALID"

    def validate_sql(self, table: str) -> str:
        """Return the statement that validates it."""
        return f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(self.name)}"


def add_check(runner: Runner, table: Table, wanted: WantedCheck) -> None:
    """Add a CHECK NOT VALID unless it is there; rows that violate it are counted first.

    Raises:
        ViolatingRows: rows violate it; counts them and names some. Nothing was changed.
        UnsupportedChange: another constraint has the name.

    Locks: ACCESS SHARE while rows are counted, ACCESS EXCLUSIVE for an instant.
    """
    if _is_there(runner, table, wanted):
        return
    refuse_violators(runner, table, wanted)
    runner.execute(wanted.add_sql())


def restore_check(runner: Runner, table: Table, wanted: WantedCheck) -> str:
    """Add a CHECK again, and validate it if all rows meet it.

    Returns:
        What is to be reported: it stays NOT VALID because rows violate it; or "".

    Locks: as `add_check` and `validate_check`.
    """
    if not _is_there(runner, table, wanted):
        runner.execute(wanted.add_sql())
    found = violators(runner, table, wanted)
    if not found:
        validate_check(runner, table, wanted)
    return found


def _is_there(runner: Runner, table: Table, wanted: WantedCheck) -> bool:
    name = wanted.catalog_name
    there = [check for check in runner.catalog.checks(table) if check.name == name]
    if not there:
        if runner.catalog.constraint_exists(table.oid, name)[0]:
            raise UnsupportedChange(
                f"{table.qualified} has another constraint named {quote(name)}, which is no CHECK. "
                "Nothing was changed. Rename or drop it and run the command again."
            )
        return False
    found = there[0].definition.removesuffix(" NOT VALID")
    read = _definition(runner, table, wanted)
    if found != read:
        raise UnsupportedChange(
            f"{table.qualified} has a constraint {quote(name)} with another definition: {found} "
            f"instead of {read}. Nothing was changed. Rename or drop it (ALTER TABLE "
            f"{table.qualified} RENAME CONSTRAINT {quote(name)} TO …) and run the command again."
        )
    return True


class _Undo(Exception):
    """Rolls the clone back."""


def _definition(runner: Runner, table: Table, wanted: WantedCheck) -> str:
    """Ask PostgreSQL how it reads a CHECK, on an empty temporary copy of the table."""
    clone = f"pg_temp.{CLONE}"
    parts = {**wanted.statement.parts, "table": clone, "name": "dsm_c0"}
    found = ""
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TEMP TABLE {CLONE} (LIKE {table.qualified})", None)
            cursor.execute(str(Statement(wanted.statement.template, **parts)), None)
            found = runner.catalog.value(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'dsm_c0' "
                f"AND conrelid = {literal(clone)}::regclass"
            )
            raise _Undo
    except _Undo:
        return found


def validate_check(runner: Runner, table: Table, wanted: WantedCheck) -> None:
    """Validate a CHECK unless it is valid; one that rows violate is dropped again.

    Raises:
        ViolatingRows: rows violate it; counts them and names some.

    Locks: SHARE UPDATE EXCLUSIVE for the scan: reads and writes go on.
    """
    exists, valid = runner.catalog.constraint_exists(table.oid, wanted.catalog_name)
    if valid:
        return
    if not exists:
        raise UnsupportedChange(
            f"{table.qualified} has no constraint {quote(wanted.catalog_name)} to validate. Run the "
            "stage before this one, which adds it."
        )
    try:
        runner.execute(wanted.validate_sql(table.qualified))
    except Error as error:
        if sqlstate(error) == CHECK_VIOLATION and not runner.in_transaction:
            # Even NOT VALID it would refuse every update of such a row.
            drop_constraint(runner, table, wanted.catalog_name)
            refuse_violators(runner, table, wanted)
        raise


def refuse_violators(runner: Runner, table: Table, wanted: WantedCheck) -> None:
    """Raise if rows violate a CHECK.

    Raises:
        ViolatingRows: how many, and the keys of a few.
    """
    found = violators(runner, table, wanted)
    if found:
        raise ViolatingRows(
            f"{found}, so it was not added. Correct or delete these rows, then run the command "
            f"again. All of them: SELECT * FROM {table.qualified} WHERE NOT ({wanted.condition});"
        )


def violators(runner: Runner, table: Table, wanted: WantedCheck) -> str:
    """Say how many rows violate a CHECK, and name a few; an empty text if none do.

    Locks: ACCESS SHARE for the scan: nobody waits.
    """
    condition = f"NOT ({wanted.condition})"
    where = f"FROM {table.qualified} WHERE {condition}"
    with runner.guard.as_long_as_it_takes():
        if not runner.catalog.value(f"SELECT EXISTS (SELECT {where})"):
            return ""
        count = runner.catalog.value(f"SELECT count(*) {where}")
        named = runner.catalog.some_keys(table, condition)
    rows, violate = ("row", "violates") if count == 1 else ("rows", "violate")
    return (
        f"{count} {rows} of {table.qualified}{named} {violate} {quote(wanted.catalog_name)}, "
        f"which demands {wanted.condition}"
    )


def drop_constraint(runner: Runner, table: Table, name: str) -> None:
    """Drop a constraint of a table if it is there.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    name = cut(name)
    if runner.catalog.constraint_exists(table.oid, name)[0]:
        runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(name)}")


def column_checks(
    runner: Runner, table: Table, column: str, exclude: Collection[str] = ()
) -> list[str]:
    """Return the names of the CHECKs over one column alone, as Django looks for them.

    Args:
        runner: the means to work with.
        table: the table.
        column: the column.
        exclude: names to leave out; so are those of unfinished stages.
    """
    rows = runner.catalog.rows(
        """
        SELECT k.conname FROM pg_constraint k JOIN pg_attribute a
          ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
        WHERE k.conrelid = %s AND k.contype = 'c' AND a.attname = %s ORDER BY k.oid
        """,
        [table.oid, column],
    )
    left_out = {cut(name) for name in exclude}
    return [name for (name,) in rows if name not in left_out and not name.startswith("dsm_")]


def rename_constraint(runner: Runner, table: Table, old: str, new: str) -> None:
    """Rename a constraint, or a unique index that is none; does nothing if that was done.

    Raises:
        UnsupportedChange: neither name is there.

    Locks: ACCESS EXCLUSIVE (SHARE UPDATE EXCLUSIVE for an index) for an instant, no scan.
    """
    old, new = cut(old), cut(new)
    if old == new:
        return
    if runner.catalog.constraint_exists(table.oid, old)[0]:
        runner.execute(
            f"ALTER TABLE {table.qualified} RENAME CONSTRAINT {quote(old)} TO {quote(new)}"
        )
        return
    index = runner.catalog.index(table, old)
    if index is not None:
        runner.execute(f"ALTER INDEX {index.qualified} RENAME TO {quote(new)}")
        return
    done = runner.catalog.constraint_exists(table.oid, new)[0]
    if not done and runner.catalog.index(table, new) is None:
        raise UnsupportedChange(
            f"{table.qualified} has no constraint {quote(old)} that could be renamed to {quote(new)}. "
            "Nothing was changed."
        )


def inline_name(runner: Runner, table: Table, column: str, label: str, is_ours: str = "") -> str:
    """Return the name that PostgreSQL gives a constraint which is written with its column.

    Args:
        runner: the means to work with.
        table: the table.
        column: the column.
        label: ``key`` or ``check``.
        is_ours: a condition on pg_constraint k and pg_class c, true for what is there
            already and is meant; then the name counts as free.

    Source: ChooseRelationName, makeObjectName in src/backend/commands/indexcmds.c.
    """
    number = 0
    while True:
        name = _object_name(table.name, column, f"{label}{number or ''}")
        taken = runner.catalog.value(
            f"""
            SELECT EXISTS (
                SELECT FROM pg_namespace n
                LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = %s
                LEFT JOIN pg_constraint k ON k.connamespace = n.oid AND k.conname = %s
                WHERE n.nspname = %s AND NOT coalesce(({is_ours or "false"}), false)
                  -- What partitions have inherited is named after this table's.
                  AND (k.oid IS NULL OR k.coninhcount = 0 OR k.conrelid NOT IN (
                    SELECT relid FROM pg_partition_tree({table.oid})))
                  AND (k.oid IS NOT NULL OR ({"true" if label == "key" else "false"}
                                             AND c.oid IS NOT NULL)))
            """,
            [name, name, table.schema],
        )
        if not taken:
            return name
        number += 1


def printed_inline_name(table: str, column: str, label: str) -> str:
    """Return the same for sqlmigrate, which does not look whether it is taken."""
    return _object_name(table, column, label)


def _object_name(table: str, column: str, label: str) -> str:
    """Join names with underscores, shortening the longer one until the whole fits."""
    room = LONGEST - len(label.encode()) - 2
    first, second = len(table.encode()), len(column.encode())
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return f"{cut(table, first)}_{cut(column, second)}_{label}"
