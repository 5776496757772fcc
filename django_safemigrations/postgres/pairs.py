"""Two columns that stand for one: the second is added, kept in sync and given everything the first has.

The same steps serve both directions. Applying a rename adds the new column and later drops
the old one; reversing it adds the old one again and later drops the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from django_safemigrations.exceptions import DataDiffers, UnsupportedChange
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.builds import build_index, drop_index, drop_invalid
from django_safemigrations.postgres.catalog import (
    Catalog,
    Check,
    Column,
    ForeignKey,
    Index,
    Table,
    literal,
    quote,
)
from django_safemigrations.postgres.definitions import renamed_definitions
from django_safemigrations.postgres.names import copy_name, is_copy_name
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.triggers import TriggerFunction, distinct, sync_trigger


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)
ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


@dataclass(frozen=True)
class Pairs:
    """Columns that exist and the ones that take their places, all changed together.

    Columns that one run renames on one table share indexes, so they share the steps.

    Attributes:
        table: their table.
        columns: each column that goes, and the name of the one that stays.
    """

    table: Table
    columns: tuple[tuple[Column, str], ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the columns that go."""
        return tuple(source.name for source, _ in self.columns)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the columns that stay."""
        return tuple(target for _, target in self.columns)

    @property
    def renames(self) -> dict[str, str]:
        """The name of the column that stays, by that of the one that goes."""
        return dict(zip(self.sources, self.targets, strict=True))

    @property
    def where_different(self) -> str:
        """A condition that is true for rows in which a pair differs."""
        return " OR ".join(
            distinct(quote(target), quote(source.name), source) for source, target in self.columns
        )

    @property
    def title(self) -> str:
        """The columns, for messages."""
        listed = ", ".join(f"{quote(a)} to {quote(b)}" for a, b in self.renames.items())
        return f"{listed} of {self.table.qualified}"

    def trigger(self, indexes: Sequence[Index] = ()) -> TriggerFunction:
        """Return the trigger that keeps the pairs equal."""
        return sync_trigger(self.table, self.columns, [i for i in indexes if i.unique])

    def copied(self, name: str) -> str:
        """Return the name that the copy of an index or constraint has for now."""
        return copy_name(name, self.sources, self.targets)

    def is_copy(self, name: str, others: Iterable[str]) -> bool:
        """Whether a name is that of a copy made in the other direction."""
        return any(name == copy_name(other, self.targets, self.sources) for other in others)

    # Everything over several columns is found once.

    def indexes(self, catalog: Catalog) -> list[Index]:
        """Return the valid indexes over the columns that go, copies of the others left out."""
        others = [index.name for index in self._over(catalog.indexes, self.targets)]
        found = self._over(catalog.indexes, self.sources)
        return [index for index in found if index.valid and not self.is_copy(index.name, others)]

    def checks(self, catalog: Catalog) -> list[Check]:
        """Return the CHECKs over the columns that go, copies of the others left out."""
        others = [check.name for check in self._over(catalog.checks, self.targets)]
        own = {not_null.check_name(self.table.name, name) for name in self.sources}
        return [
            check
            for check in self._over(catalog.checks, self.sources)
            if check.name not in own and not self.is_copy(check.name, others)
        ]

    def foreign_keys(self, catalog: Catalog) -> list[ForeignKey]:
        """Return the foreign keys from and to the columns that go, copies left out."""
        others = [key.name for key in self._over(catalog.foreign_keys, self.targets)]
        found = self._over(catalog.foreign_keys, self.sources)
        return [key for key in found if not self.is_copy(key.name, others)]

    def _over(self, query: Callable[[Table, str], list[N]], columns: tuple[str, ...]) -> list[N]:
        found: dict[object, N] = {}
        for column in columns:
            for item in query(self.table, column):
                found.setdefault((item.name, getattr(item, "table_oid", 0)), item)
        return list(found.values())


def refuse_unsupported(runner: Runner, pairs: Pairs) -> None:
    """Raise before anything is done if a copy of a column could not be faithful.

    Raises:
        UnsupportedChange: names what is in the way.
    """
    table = pairs.table
    for source, _ in pairs.columns:
        where = f"{table.qualified}.{quote(source.name)}"
        way_out = (
            f'Keep the column and rename only the attribute: add db_column="{source.name}" to the '
            "field in the model, delete this migration, and run makemigrations again."
        )
        if table.kind != "r" or table.is_partition:
            raise UnsupportedChange(
                f"{table.qualified} is {_kind(table)}: no second column is added to it. {way_out}"
            )
        if source.identity or source.generated:
            what = "an identity" if source.identity else "a generated"
            raise UnsupportedChange(f"{where} is {what} column, which can't be copied. {way_out}")
        for index in runner.catalog.indexes(table, source.name):
            if index.primary:
                raise UnsupportedChange(f"{where} is in the primary key. {way_out}")
            if index.constraint_type == "x":
                raise UnsupportedChange(
                    f"{where} is in the exclusion constraint {quote(index.constraint or '')}, "
                    f"which PostgreSQL can't build concurrently. {way_out}"
                )
            if is_copy_name(index.name):
                raise UnsupportedChange(
                    f"{where} shares index {quote(index.name)} with another rename whose old "
                    "column is still there. Finish that one first: manage.py safemigrate "
                    "--phase contract."
                )
        if runner.catalog.sync_triggers(table, source.name):
            raise UnsupportedChange(
                f"{where} is itself the new column of a rename whose old column is still there. "
                "Finish that one first: manage.py safemigrate --phase contract."
            )
        dependents = runner.catalog.other_dependents(table, source.name)
        if dependents:
            raise UnsupportedChange(
                f"{where} is used by {', '.join(dependents)}, which would keep the old column from "
                f"being dropped. Drop it first and create it again afterwards, or: {way_out}"
            )


def _kind(table: Table) -> str:
    if table.is_partition:
        return "a partition"
    kinds = {"p": "partitioned", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
    return kinds.get(table.kind, "no ordinary table")


# -- expand ---------------------------------------------------------------------------


def add_columns(runner: Runner, pairs: Pairs) -> None:
    """Add the second columns and the trigger that keeps them in sync, in one transaction.

    Does nothing if all are there. The columns have no default, for with one on both
    columns a value written to the first would be lost.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """
    table, catalog = pairs.table, runner.catalog
    there = [name for name in pairs.targets if catalog.column(table, name) is not None]
    trigger = pairs.trigger(pairs.indexes(catalog))
    if there:
        if not all(catalog.trigger_exists(table, name) for name, _, _ in trigger.triggers):
            raise UnsupportedChange(
                f"{table.qualified} already has a column {quote(there[0])} that this migration did "
                "not add. Rename or drop it, then run the command again; its data was not touched."
            )
        # Which way the trigger looks depends on the direction of the change under way.
        runner.transaction(
            lambda: _execute(runner, trigger.create()), f"trigger on {table.qualified}"
        )
        return
    refuse_unsupported(runner, pairs)

    def work() -> None:
        for source, target in pairs.columns:
            _execute(runner, add_column_statements(table, source, target))
            for privilege, grantee, option in catalog.column_grants(table, source.name):
                runner.execute(
                    f"GRANT {privilege} ({quote(target)}) ON {table.qualified} TO {grantee}"
                    + (" WITH GRANT OPTION" if option else "")
                )
        _execute(runner, trigger.create())

    runner.transaction(work, f"adding columns for {pairs.title}")


def _execute(runner: Runner, statements: list[str]) -> None:
    for sql in statements:
        runner.execute(sql)


def add_column_statements(table: Table, source: Column, target: str) -> list[str]:
    """Return the statements that add a column with another one's properties."""
    name = quote(target)
    collation = f" COLLATE {source.collation}" if source.collation else ""
    statements = [f"ALTER TABLE {table.qualified} ADD COLUMN {name} {source.type}{collation}"]
    if source.comment is not None:
        comment = literal(source.comment)
        statements.append(f"COMMENT ON COLUMN {table.qualified}.{name} IS {comment}")
    alter = f"ALTER TABLE {table.qualified} ALTER COLUMN {name}"
    if source.statistics is not None:
        statements.append(f"{alter} SET STATISTICS {source.statistics}")
    if source.storage is not None:
        statements.append(f"{alter} SET STORAGE {source.storage}")
    if source.compression is not None:
        statements.append(f"{alter} SET COMPRESSION {source.compression}")
    if source.options:
        statements.append(f"{alter} SET ({', '.join(source.options)})")
    return statements


def copy_indexes(runner: Runner, pairs: Pairs) -> None:
    """Build a copy of every index over the first columns, on the second; then ANALYZE.

    Locks: SHARE UPDATE EXCLUSIVE (blocks no reads or writes).
    """
    table = pairs.table
    missing = [
        index
        for index in pairs.indexes(runner.catalog)
        if not drop_invalid(runner, table, pairs.copied(index.name))
    ]
    tails, _ = renamed_definitions(runner, table, pairs.renames, missing, [])
    for index, tail in zip(missing, tails, strict=True):
        name = pairs.copied(index.name)
        build_index(
            runner,
            table,
            name,
            partial(_create_index, runner, table, name, index.unique, tail),
            tablespace=index.tablespace,
        )
    if missing:
        # The planner knows nothing of a new column, nor of an expression over it.
        runner.execute(f"ANALYZE {table.qualified}")


def _create_index(
    runner: Runner, table: Table, name: str, unique: bool, tail: str, *, concurrently: bool
) -> None:
    kind = "UNIQUE INDEX" if unique else "INDEX"
    how = " CONCURRENTLY" if concurrently else ""
    runner.execute(f"CREATE {kind}{how} {quote(name)} ON {table.qualified} USING {tail}")


def copy_constraints(runner: Runner, pairs: Pairs) -> None:
    """Give the second columns the CHECKs, foreign keys and NOT NULL of the first, in stages.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, without a scan;
    SHARE UPDATE EXCLUSIVE while validating.
    """
    checks = pairs.checks(runner.catalog)
    _, definitions = renamed_definitions(runner, pairs.table, pairs.renames, [], checks)
    for check, definition in zip(checks, definitions, strict=True):
        plain = definition.removesuffix(" NOT VALID")
        _constrain(
            runner,
            pairs.table.oid,
            pairs.table.qualified,
            pairs.copied(check.name),
            plain,
            check.validated,
        )
    for key in pairs.foreign_keys(runner.catalog):
        definition = foreign_key_definition(pairs, key)
        _constrain(
            runner, key.table_oid, key.table, pairs.copied(key.name), definition, key.validated
        )
    for source, target in pairs.columns:
        if runner.catalog.not_null_is_proven(pairs.table, source.name):
            not_null.set_not_null(runner, pairs.table, target)


def _constrain(
    runner: Runner, table_oid: int, table: str, name: str, definition: str, validated: bool
) -> None:
    """Add a constraint NOT VALID, then validate it if it shall be valid."""
    exists, valid = runner.catalog.constraint_exists(table_oid, name)
    if not exists:
        runner.execute(f"ALTER TABLE {table} ADD CONSTRAINT {quote(name)} {definition} NOT VALID")
    if not valid and validated:
        runner.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(name)}")


def foreign_key_definition(pairs: Pairs, key: ForeignKey) -> str:
    """Return the definition of a foreign key with the second columns in the places of the first."""

    def listed(columns: tuple[str, ...], table_oid: int) -> str:
        renames = pairs.renames if table_oid == pairs.table.oid else {}
        return f"({', '.join(quote(renames.get(column, column)) for column in columns)})"

    definition = (
        f"FOREIGN KEY {listed(key.columns, key.table_oid)} "
        f"REFERENCES {key.to_table} {listed(key.to_columns, key.to_table_oid)}"
    )
    if key.match == "f":
        definition += " MATCH FULL"
    if key.on_update != "a":
        definition += f" ON UPDATE {ACTIONS[key.on_update]}"
    if key.on_delete != "a":
        definition += f" ON DELETE {ACTIONS[key.on_delete]}"
        if key.on_delete_columns:
            definition += f" {listed(key.on_delete_columns, key.table_oid)}"
    if key.deferrable:
        definition += " DEFERRABLE" + (" INITIALLY DEFERRED" if key.deferred else "")
    return definition


# -- contract -------------------------------------------------------------------------


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
    copy_indexes(runner, pairs)
    copy_constraints(runner, pairs)
    drop_orphans(runner, pairs)
    catalog = runner.catalog
    # Copies that the way back leaves behind are among them: they go with the columns.
    for column in pairs.sources:
        for key in catalog.foreign_keys(pairs.table, column):
            runner.transaction(
                partial(_drop_foreign_key, runner, pairs, key, foreign_key_names),
                f"foreign key {quote(key.name)} on {key.table}",
            )
    indexes, checks = pairs.indexes(catalog), pairs.checks(catalog)
    defaulted = {
        target
        for target in pairs.targets
        if (found := catalog.column(pairs.table, target)) and found.default is not None
    }
    statements = drop_statements(pairs, indexes, checks, names, defaulted)
    runner.transaction(
        lambda: _execute(runner, statements), f"dropping the old side of {pairs.title}"
    )


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


def _drop_foreign_key(
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
            statements.append(f"{alter} ALTER COLUMN {quote(target)} SET DEFAULT {source.default}")
    for index in indexes:
        statements += _final_index(table, index, pairs.copied(index.name), names)
    for check in checks:
        copied, final = pairs.copied(check.name), names.get(check.name, check.name)
        statements.append(f"{alter} RENAME CONSTRAINT {quote(copied)} TO {quote(final)}")
        if check.comment is not None:
            comment = literal(check.comment)
            statements.append(
                f"COMMENT ON CONSTRAINT {quote(final)} ON {table.qualified} IS {comment}"
            )
    return statements


def _final_index(table: Table, index: Index, copied: str, names: dict[str, str]) -> list[str]:
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
