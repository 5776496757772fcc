"""Second columns for a key and for what refers to it, with all that the first ones have.

Code goes on with the first columns until the swap and never writes to a second one: a
trigger does. Which column has which name changes in the swap, the trigger's text does not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from django_safemigrations.exceptions import DataDiffers, ViolatingRows
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.builds import drop_index
from django_safemigrations.postgres.catalog import ForeignKey, Index, Table, quote
from django_safemigrations.postgres.definitions import foreign_key_definition, renamed_definitions
from django_safemigrations.postgres.keys import (
    RANGES,
    Family,
    KeyColumn,
    KeyTable,
    refuse_unsupported,
)
from django_safemigrations.postgres.names import copy_name, is_copy_name, sync_name, trigger_name
from django_safemigrations.postgres.pairs import add_column_statements, constrain, copy_indexes
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.triggers import TriggerFunction, lock_key


def key_trigger(
    table: Table, columns: tuple[KeyColumn, ...], unique_indexes: list[Index]
) -> TriggerFunction:
    """Return the trigger that keeps second columns equal to the ones that code knows.

    A value that the narrower of the two types can't hold becomes NULL.

    Args:
        table: the table.
        columns: its columns.
        unique_indexes: unique indexes that have a copy over the second columns; two
            transactions that insert the same new key wait for each other, see `lock_key`.
    """
    names = [name for column in columns for name in (column.live.name, column.beside)]
    function = sync_name(table.name, names)
    assigned = "".join(f"  NEW.{quote(c.beside)} := {fitting(c, 'NEW.')};\n" for c in columns)
    pairs = [(column.live, column.beside) for column in columns]
    waits = "".join(lock_key(table, pairs, index) for index in unique_indexes)
    different = " OR ".join(
        f"NEW.{quote(c.beside)} IS DISTINCT FROM NEW.{quote(c.live.name)}" for c in columns
    )
    return TriggerFunction(
        schema=table.schema,
        name=function,
        body=(
            "-- Keeps a second column for a key while its type changes.\n"
            f"#variable_conflict use_column\nBEGIN\n{assigned}{waits}  RETURN NEW;\nEND\n"
        ),
        table=table.qualified,
        triggers=(
            (trigger_name(function, "ins"), "BEFORE INSERT", ""),
            (trigger_name(function, "upd"), "BEFORE UPDATE", different),
        ),
    )


def fitting(column: KeyColumn, prefix: str = "") -> str:
    """Return the SQL of a column's value, NULL if the second column can't hold it."""
    other = column.second.type if column.done and column.second else column.wanted
    low, high = max(RANGES[column.live.type], RANGES[other], key=lambda r: r[0])
    name = f"{prefix}{quote(column.live.name)}"
    return f"CASE WHEN {name} BETWEEN {low} AND {high} THEN {name} END"


def where_too_large(column: KeyColumn) -> str:
    """Return a condition that is true for values that the type that is wanted can't hold."""
    low, high = RANGES[column.wanted]
    return f"{quote(column.live.name)} NOT BETWEEN {low} AND {high}"


def refuse_large_values(runner: Runner, family: Family) -> None:
    """Raise if a table holds a value that the type that is wanted can't hold.

    Raises:
        ViolatingRows: how many rows, and the keys of a few.
    """
    for table in family.open:
        for column in table.open:
            low, high = RANGES[column.wanted]
            wide_low, wide_high = RANGES.get(column.live.type, (0, 0))
            if low <= wide_low and wide_high <= high:
                continue
            condition, where = where_too_large(column), table.table.qualified
            with runner.guard.as_long_as_it_takes():
                count = runner.catalog.value(f"SELECT count(*) FROM {where} WHERE {condition}")
            if count:
                named = runner.catalog.some_keys(table.table, condition)
                have = "have values" if count != 1 else "has a value"
                raise ViolatingRows(
                    f"{count} row{'s' if count != 1 else ''} of {where} {have} in "
                    f"{quote(column.live.name)} that "
                    f"{column.wanted} can't hold{named}. Nothing was changed: the key stays "
                    f"{column.live.type}. Give the rows smaller keys or delete them, then run the "
                    "command again."
                )


def add_columns(runner: Runner, family: Family) -> None:
    """Add the second columns and their triggers, one transaction a table.

    Raises:
        UnsupportedChange: a column can't be replaced faithfully; nothing was changed.
        ViolatingRows: the type that is wanted can't hold all values; nothing was changed.

    Locks: ACCESS EXCLUSIVE for an instant on each table, no scan.
    """
    for table in family.open:
        refuse_unsupported(runner.catalog, table)
    refuse_large_values(runner, family)
    for table in family.open:
        runner.transaction(partial(_add, runner, table), f"adding columns for {table.title}")


def _add(runner: Runner, table: KeyTable) -> None:
    for column in table.open:
        if column.second is not None:
            continue
        added = replace(column.live, type=column.wanted)
        for sql in add_column_statements(table.table, added, column.beside):
            runner.execute(sql)
        for privilege, grantee, option in runner.catalog.column_grants(
            table.table, column.live.name
        ):
            runner.execute(
                f"GRANT {privilege} ({quote(column.beside)}) ON {table.table.qualified} "
                f"TO {grantee}" + (" WITH GRANT OPTION" if option else "")
            )
    unique = [index for index in table.pairs.indexes(runner.catalog) if index.unique]
    for sql in key_trigger(table.table, table.open, unique).create():
        runner.execute(sql)


def copy_all_indexes(runner: Runner, family: Family) -> None:
    """Build copies of all indexes over the first columns, on the second ones.

    Locks: SHARE UPDATE EXCLUSIVE on one table at a time (blocks no reads or writes).
    """
    for table in family.open:
        copy_indexes(runner, table.pairs)


def copy_all_constraints(runner: Runner, family: Family) -> None:
    """Give the second columns the CHECKs, NOT NULL and foreign keys of the first, in stages.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, without a scan;
    SHARE UPDATE EXCLUSIVE while validating.
    """
    catalog = runner.catalog
    for table in family.open:
        pairs = table.pairs
        checks = pairs.checks(catalog)
        _, definitions = renamed_definitions(runner, table.table, pairs.renames, [], checks)
        for check, definition in zip(checks, definitions, strict=True):
            constrain(
                runner,
                table.table.oid,
                table.table.qualified,
                pairs.copied(check.name),
                definition.removesuffix(" NOT VALID"),
                check.validated,
            )
        for column in table.open:
            if catalog.not_null_is_proven(table.table, column.live.name):
                not_null.set_not_null(runner, table.table, column.beside)
    for key, copy in family.foreign_keys(catalog):
        constrain(
            runner,
            key.table_oid,
            key.table,
            copied_key(key, copy),
            foreign_key_definition(copy),
            key.validated,
        )


def copied_key(key: ForeignKey, copy: ForeignKey) -> str:
    """Return the name that the copy of a foreign key has for now."""
    return copy_name(
        key.name, [*key.columns, "", *key.to_columns], [*copy.columns, "", *copy.to_columns]
    )


def drop_orphans(runner: Runner, table: KeyTable) -> None:
    """Drop copies of indexes and CHECKs whose originals somebody has dropped meanwhile.

    Locks: SHARE UPDATE EXCLUSIVE for indexes, ACCESS EXCLUSIVE for an instant for CHECKs.
    """
    catalog, pairs = runner.catalog, table.pairs
    wanted = {pairs.copied(item.name) for item in pairs.indexes(catalog)}
    wanted |= {pairs.copied(item.name) for item in pairs.checks(catalog)}
    for column in table.open:
        for index in catalog.indexes(table.table, column.beside):
            if is_copy_name(index.name) and index.name not in wanted:
                drop_index(runner, index)
        for check in catalog.checks(table.table, column.beside):
            if is_copy_name(check.name) and check.name not in wanted:
                runner.execute(
                    f"ALTER TABLE {table.table.qualified} "
                    f"DROP CONSTRAINT IF EXISTS {quote(check.name)}"
                )


def refuse_differences(runner: Runner, table: KeyTable) -> None:
    """Raise unless the second columns equal the first in every row (a scan that blocks nobody).

    Raises:
        DataDiffers: how many rows differ, and the keys of a few.
    """
    condition = table.where_different
    with runner.guard.as_long_as_it_takes():
        count = runner.catalog.value(
            f"SELECT count(*) FROM {table.table.qualified} WHERE {condition}"
        )
    if count:
        named = runner.catalog.some_keys(table.table, condition)
        raise DataDiffers(
            f"{table.title}: the second column differs in {count} "
            f"row{'s' if count != 1 else ''}{named}; nothing was swapped. Either a value is too "
            "large for the type, or something writes past the trigger (session_replication_role, a "
            "disabled trigger). Make the rows equal, and run the command again."
        )
