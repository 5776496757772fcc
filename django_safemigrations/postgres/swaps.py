"""A second column of another type takes the name of the first, in one short transaction.

The column that code reads and writes is always the first of the pairs; the trigger gives the
second what the first converts to. So the way back is the same way with the types exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import Error

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Check, Column, Index, Table, literal, quote
from django_safemigrations.postgres.conversions import both_ways
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.names import cut, short_hash
from django_safemigrations.postgres.pair_ends import (
    drop_foreign_key,
    drop_orphans,
    final_index,
    refuse_differences,
    refuse_misfits,
)
from django_safemigrations.postgres.pairs import Pairs, copy_constraints, copy_indexes
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.trigger_functions import compile_anew, refuse_strange_functions
from django_safemigrations.postgres.views import free_columns

CANNOT_COERCE = "42846"
NATIVE_NOT_NULL = not_null.NATIVE_SINCE


def shadow_name(table: str, column: str) -> str:
    """Return the name of the column of the new type, before it takes the place of the other."""
    return cut(f"dsm_new_{short_hash(table, column)}_{column}")


def aside_name(table: str, column: str) -> str:
    """Return the name that the column of the old type has until it is dropped."""
    return cut(f"dsm_old_{short_hash(table, column)}_{column}")


def is_second_name(name: str) -> bool:
    """Whether a name is one that a column has only while its type changes."""
    return name.startswith(("dsm_new_", "dsm_old_"))


@dataclass(frozen=True)
class Type:
    """What a column becomes.

    Attributes:
        name: PostgreSQL's type with its modifiers.
        collation: quoted name of a collation, or None for the type's own.
    """

    name: str
    collation: str | None = None


def typed_pairs(runner: Runner, table: Table, column: str, second: str, type_: Type) -> Pairs:
    """Return a column and a second one of another type, whether that is there yet or not.

    Raises:
        UnsupportedChange: the column is missing, or PostgreSQL has no cast between the types.
    """
    source = runner.catalog.column(table, column)
    if source is None:
        raise UnsupportedChange(
            f"{table.qualified} has no column {quote(column)}. The database does not match the "
            "migrations before this one."
        )
    found = runner.catalog.column(table, second)
    zone = str(runner.catalog.value("SELECT current_setting('TimeZone')"))
    name, collation = type_.name, type_.collation
    if found is not None:
        # As PostgreSQL spells it; Django's name of a type may be an alias.
        name, collation = found.type, found.collation
    both = both_ways(table, source, second, name, collation, zone)
    return Pairs(table, ((source, second),), {source.name: both})


def refuse_without_cast(runner: Runner, pairs: Pairs) -> None:
    """Raise if PostgreSQL has no cast from the one type to the other, or back.

    Raises:
        UnsupportedChange: names the types.
    """
    for both in pairs.conversions.values():
        for way in (both.there, both.back):
            try:
                runner.catalog.value(way.probe())
            except Error as error:
                if sqlstate(error) != CANNOT_COERCE:
                    raise
                raise UnsupportedChange(
                    f"PostgreSQL can't cast {way.old} to {way.new}, so {pairs.title} can't be kept "
                    "in step. Add a second field of the new type, fill it in a data migration, "
                    "switch the code over, and remove this one in a later release."
                ) from error


def refuse_unswappable(runner: Runner, table: Table) -> None:
    """Raise if a column of the table can't change its type under running sessions.

    Raises:
        UnsupportedChange: names the trigger's function that is in the way.
    """
    refuse_strange_functions(
        runner.catalog,
        table,
        "Or add a second field of the new type, fill it in a data migration, switch the code over, "
        "and remove this one in a later release.",
    )


def keeps_unique(pairs: Pairs) -> bool:
    """Whether values that differ in the first columns can't be equal in the second."""
    return all(both.there.is_distinct for both in pairs.conversions.values())


def swap(runner: Runner, pairs: Pairs, aside: str) -> None:
    """Let the second column take the name of the first, with everything the first has.

    What is missing of the copies is made first. Foreign keys go one by one, for dropping one
    locks both tables; the rest is one short transaction.

    Args:
        runner: the means to work with.
        pairs: the column that code uses, and the one that takes its place.
        aside: the name that the first has from then on; it is kept in step for the way back.

    Raises:
        DataDiffers: the columns are not in step.
        ViolatingRows: values do not fit the other type, or are no longer unique.

    Locks: ACCESS EXCLUSIVE for an instant on the table and, for foreign keys, on the table
    at their other end.
    """
    table, catalog = pairs.table, runner.catalog
    ((source, second),) = pairs.columns
    refuse_differences(runner, pairs)
    refuse_misfits(runner, pairs)
    copy_indexes(runner, pairs)
    copy_constraints(runner, pairs)
    drop_orphans(runner, pairs)
    for key in catalog.foreign_keys(table, source.name):
        runner.transaction(
            partial(drop_foreign_key, runner, pairs, key, {}),
            f"foreign key {quote(key.name)} on {key.table}",
        )
    indexes = pairs.indexes(catalog)
    checks = pairs.checks(catalog)
    statements = [
        *pairs.trigger().drop(),
        *_drop_originals(runner, pairs),
        *_exchange_names(table, source, second, aside),
        *_take_over(pairs, indexes, checks),
    ]
    # It may have changed since the second column was added.
    comment = literal(source.comment) if source.comment is not None else "NULL"
    statements.append(f"COMMENT ON COLUMN {table.qualified}.{quote(source.name)} IS {comment}")

    def work() -> None:
        for sql in statements:
            runner.execute(sql)
        # The view of a renamed table would show the column that goes aside.
        free_columns(runner, table, [aside])
        _name_not_null(runner, table, source.name)
        kept = typed_pairs(runner, table, source.name, aside, Type(source.type))
        for sql in kept.trigger().create():
            runner.execute(sql)
        compile_anew(runner, table)

    runner.transaction(work, f"swapping the columns of {pairs.title}")


def _drop_originals(runner: Runner, pairs: Pairs) -> list[str]:
    """Return the statements that take indexes and constraints from the column that goes aside.

    None of them may refuse a write from now on, and nobody reads through them.
    """
    ((source, _),) = pairs.columns
    table = pairs.table
    alter = f"ALTER TABLE {table.qualified}"
    statements = []
    for index in runner.catalog.indexes(table, source.name):
        if index.constraint is not None:
            statements.append(f"{alter} DROP CONSTRAINT {quote(index.constraint)}")
        else:
            statements.append(f"DROP INDEX {index.qualified}")
    for check in runner.catalog.checks(table, source.name):
        statements.append(f"{alter} DROP CONSTRAINT {quote(check.name)}")
    return statements


def _exchange_names(table: Table, source: Column, second: str, aside: str) -> list[str]:
    alter, old = f"ALTER TABLE {table.qualified}", quote(aside)
    statements = [
        f"{alter} RENAME COLUMN {quote(source.name)} TO {old}",
        f"{alter} RENAME COLUMN {quote(second)} TO {quote(source.name)}",
    ]
    if source.not_null:
        # What does not fit the old type becomes NULL there.
        statements.append(f"{alter} ALTER COLUMN {old} DROP NOT NULL")
    if source.default is not None:
        statements.append(f"{alter} ALTER COLUMN {old} DROP DEFAULT")
    return statements


def _take_over(pairs: Pairs, indexes: list[Index], checks: list[Check]) -> list[str]:
    """Return the statements that give the column its default, and the copies their final names."""
    ((source, _),) = pairs.columns
    table = pairs.table
    alter = f"ALTER TABLE {table.qualified}"
    statements = []
    if source.default is not None:
        default = pairs.conversions[source.name].there.default(source.default)
        statements.append(f"{alter} ALTER COLUMN {quote(source.name)} SET DEFAULT {default}")
    for index in indexes:
        statements += final_index(table, index, pairs.copied(index.name), {})
    for check in checks:
        copied = quote(pairs.copied(check.name))
        statements.append(f"{alter} RENAME CONSTRAINT {copied} TO {quote(check.name)}")
        if check.comment is not None:
            statements.append(
                f"COMMENT ON CONSTRAINT {quote(check.name)} ON {table.qualified} IS "
                f"{literal(check.comment)}"
            )
    return statements


def _name_not_null(runner: Runner, table: Table, column: str) -> None:
    """Let the name of a NOT NULL constraint (PostgreSQL 18) say the column's name."""
    if runner.connection.pg_version // 10000 < NATIVE_NOT_NULL:  # type: ignore[attr-defined]
        return
    rows = runner.catalog.rows(
        """
        SELECT k.conname FROM pg_constraint k JOIN pg_attribute a
          ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        WHERE k.conrelid = %s AND k.contype = 'n' AND a.attname = %s
        """,
        [table.oid, column],
    )
    wanted = not_null.native_name(table.name, column)
    if not rows or rows[0][0] == wanted or runner.catalog.constraint_exists(table.oid, wanted)[0]:
        return
    runner.execute(
        f"ALTER TABLE {table.qualified} RENAME CONSTRAINT {quote(rows[0][0])} TO {quote(wanted)}"
    )


def drop_second(runner: Runner, pairs: Pairs) -> None:
    """Drop the second column, which nobody uses, with everything that it has.

    Locks: ACCESS EXCLUSIVE for an instant on the table and, for foreign keys, on the table
    at their other end.
    """
    table, catalog = pairs.table, runner.catalog
    ((_, second),) = pairs.columns
    for key in catalog.foreign_keys(table, second):
        runner.execute(f"ALTER TABLE {key.table} DROP CONSTRAINT {quote(key.name)}")
    statements = [
        *pairs.trigger().drop(),
        f"ALTER TABLE {table.qualified} DROP COLUMN {quote(second)}",
    ]

    def work() -> None:
        for sql in statements:
            runner.execute(sql)

    runner.transaction(work, f"dropping {quote(second)} of {table.qualified}")
