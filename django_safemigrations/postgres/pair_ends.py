"""What is proven before the first of two columns goes, and the transaction that drops it.

The copies of its indexes and constraints get their final names there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django_safemigrations.exceptions import DataDiffers, ViolatingRows
from django_safemigrations.postgres.builds import drop_index
from django_safemigrations.postgres.catalog import Check, ForeignKey, Index, Table, literal, quote
from django_safemigrations.postgres.names import is_copy_name
from django_safemigrations.postgres.pairs import (
    Pairs,
    copy_constraints,
    copy_indexes,
    execute_all,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.views import free_columns


def refuse_differences(runner: Runner, pairs: Pairs) -> None:
    """Raise unless the columns of each pair are equal in every row (a scan that blocks nobody).

    Raises:
        DataDiffers: how many rows differ, and the keys of a few.
    """
    table = pairs.table
    where = f"FROM {table.qualified} WHERE {pairs.where_different}"
    with runner.guard.as_long_as_it_takes():
        count = runner.catalog.value(f"SELECT count(*) {where}")
    if count:
        named = runner.catalog.some_keys(table, pairs.where_different)
        raise DataDiffers(
            f"{pairs.title}: the columns differ in {count} row{'s' if count != 1 else ''}{named}; "
            "dropping one would lose data, so nothing was dropped. Find out what writes past the "
            "trigger (session_replication_role, a disabled trigger), make the rows equal, and run "
            "the command again."
        )


def refuse_misfits(runner: Runner, pairs: Pairs) -> None:
    """Raise if values of the first columns have no place in the second (a scan that blocks nobody).

    Raises:
        ViolatingRows: how many rows, and the keys of a few.
    """
    if pairs.where_misfit == "false":
        return
    table, types = pairs.table, ", ".join(both.there.new for both in pairs.conversions.values())
    with runner.guard.as_long_as_it_takes():
        count = runner.catalog.value(
            f"SELECT count(*) FROM {table.qualified} WHERE {pairs.where_misfit}"
        )
    if count:
        named = runner.catalog.some_keys(table, pairs.where_misfit)
        columns = ", ".join(map(quote, pairs.sources))
        raise ViolatingRows(
            f"{count} row{'s' if count != 1 else ''} of {table.qualified} "
            f"hold{'' if count != 1 else 's'} a value in {columns} that does not fit {types}{named}. "
            "Nothing was cut, rounded or lost: the column still has it. Change these values (or "
            "the type in the model), and run the command again."
        )


def drop_sources(
    runner: Runner, pairs: Pairs, names: dict[str, str], foreign_key_names: dict[str, str]
) -> None:
    """Drop the first columns and give the second everything final: names, default, constraints.

    The copies are completed first if any is missing. Foreign keys go one by one, for
    dropping one locks both tables; the rest is one short transaction.

    Args:
        runner: the means to work with.
        pairs: the columns; all exist.
        names: names that copies of indexes and constraints shall have, where they
            differ from the names of the originals.
        foreign_key_names: the names that Django gives foreign keys of columns that stay.

    Raises:
        DataDiffers: the columns are not equal.

    Locks: ACCESS EXCLUSIVE for an instant on the table and, for foreign keys, on the
    table that they reference.
    """
    refuse_differences(runner, pairs)
    refuse_misfits(runner, pairs)
    copy_indexes(runner, pairs)
    copy_constraints(runner, pairs)
    drop_orphans(runner, pairs)
    catalog = runner.catalog
    # Copies that the way back leaves behind are among them: they go with the columns.
    for column in pairs.sources:
        for key in catalog.foreign_keys(pairs.table, column):
            runner.transaction(
                partial(drop_foreign_key, runner, pairs, key, foreign_key_names),
                f"foreign key {quote(key.name)} on {key.table}",
            )
    indexes, checks = pairs.indexes(catalog), pairs.checks(catalog)
    defaulted = {
        target
        for target in pairs.targets
        if (found := catalog.column(pairs.table, target)) and found.default is not None
    }
    statements = drop_statements(pairs, indexes, checks, names, defaulted)

    def work() -> None:
        free_columns(runner, pairs.table, pairs.sources)
        execute_all(runner, statements)

    runner.transaction(work, f"dropping the old side of {pairs.title}")


def drop_orphans(runner: Runner, pairs: Pairs) -> None:
    """Drop copies on the columns that stay whose originals are gone.

    A later change of the same deploy may have dropped an index or constraint of the other
    column, on the way back for example.

    Locks: SHARE UPDATE EXCLUSIVE for indexes, ACCESS EXCLUSIVE for an instant for constraints.
    """
    catalog, table = runner.catalog, pairs.table
    wanted = {pairs.copied(item.name) for item in pairs.indexes(catalog)}
    wanted |= {pairs.copied(item.name) for item in pairs.checks(catalog)}
    wanted |= {pairs.copied(item.name) for item in pairs.foreign_keys(catalog)}
    for column in pairs.targets:
        for index in catalog.indexes(table, column):
            if is_copy_name(index.name) and index.name not in wanted:
                drop_index(runner, index)
        named = [(table.qualified, check.name) for check in catalog.checks(table, column)]
        named += [(key.table, key.name) for key in catalog.foreign_keys(table, column)]
        for owner, name in named:
            if is_copy_name(name) and name not in wanted:
                runner.execute(f"ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS {quote(name)}")


def drop_foreign_key(
    runner: Runner, pairs: Pairs, key: ForeignKey, django_names: dict[str, str]
) -> None:
    alter = f"ALTER TABLE {key.table}"
    runner.execute(f"{alter} DROP CONSTRAINT {quote(key.name)}")
    copied = pairs.copied(key.name)
    if not runner.catalog.constraint_exists(key.table_oid, copied)[0]:
        return
    final = key.name
    if key.table_oid == pairs.table.oid and len(key.columns) == 1:
        final = django_names.get(pairs.renames.get(key.columns[0], ""), key.name)
    runner.execute(f"{alter} RENAME CONSTRAINT {quote(copied)} TO {quote(final)}")
    if key.comment is not None:
        comment = literal(key.comment)
        runner.execute(f"COMMENT ON CONSTRAINT {quote(final)} ON {key.table} IS {comment}")


def drop_statements(
    pairs: Pairs,
    indexes: Sequence[Index],
    checks: Sequence[Check],
    names: dict[str, str],
    defaulted: set[str],
) -> list[str]:
    """Return the statements of the final transaction, in order.

    Args:
        pairs: the columns.
        indexes: indexes over the columns that go, whose copies take their names.
        checks: the same of CHECKs.
        names: names that change with the columns.
        defaulted: columns that stay and have a default already.
    """
    table = pairs.table
    alter = f"ALTER TABLE {table.qualified}"
    statements = pairs.trigger().drop()
    for source, target in pairs.columns:
        statements.append(f"{alter} DROP COLUMN {quote(source.name)}")
        if source.default is not None and target not in defaulted:
            both = pairs.conversions.get(source.name)
            default = both.there.default(source.default) if both else source.default
            statements.append(f"{alter} ALTER COLUMN {quote(target)} SET DEFAULT {default}")
    for index in indexes:
        statements += final_index(table, index, pairs.copied(index.name), names)
    for check in checks:
        copied, final = pairs.copied(check.name), names.get(check.name, check.name)
        statements.append(f"{alter} RENAME CONSTRAINT {quote(copied)} TO {quote(final)}")
        if check.comment is not None:
            comment = literal(check.comment)
            statements.append(
                f"COMMENT ON CONSTRAINT {quote(final)} ON {table.qualified} IS {comment}"
            )
    return statements


def final_index(table: Table, index: Index, copied: str, names: dict[str, str]) -> list[str]:
    """Return the statements that put the copy of an index in the place of the original."""
    alter = f"ALTER TABLE {table.qualified}"
    final = names.get(index.name, index.name)
    qualified = f"{quote(table.schema)}.{quote(final)}"
    if index.constraint_type == "u":
        deferrable = ""
        if index.deferrable:
            deferrable = " DEFERRABLE" + (" INITIALLY DEFERRED" if index.deferred else "")
        statements = [
            f"{alter} ADD CONSTRAINT {quote(final)} UNIQUE USING INDEX {quote(copied)}{deferrable}"
        ]
    else:
        there = f"{quote(table.schema)}.{quote(copied)}"
        statements = [f"ALTER INDEX {there} RENAME TO {quote(final)}"]
    if index.comment is not None:
        statements.append(f"COMMENT ON INDEX {qualified} IS {literal(index.comment)}")
    if index.constraint_comment is not None:
        comment = literal(index.constraint_comment)
        statements.append(f"COMMENT ON CONSTRAINT {quote(final)} ON {table.qualified} IS {comment}")
    if index.clustered:
        statements.append(f"{alter} CLUSTER ON {quote(final)}")
    if index.replica_identity:
        statements.append(f"{alter} REPLICA IDENTITY USING INDEX {quote(final)}")
    return statements
