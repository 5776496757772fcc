"""Two columns that stand for one: the second is added, kept in sync and given everything the first has.

The same steps serve both directions. Applying a rename adds the new column and later drops
the old one; reversing it adds the old one again and later drops the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres import definitions, domains, not_null
from django_safemigrations.postgres.builds import build_index, drop_invalid
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
from django_safemigrations.postgres.conversions import Both
from django_safemigrations.postgres.definitions import renamed_definitions
from django_safemigrations.postgres.names import copy_name, is_copy_name
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.triggers import TriggerFunction, distinct, sync_trigger
from django_safemigrations.postgres.type_changes import base_type


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)
# The operators of an index for LIKE, by the type of its column.
LIKE_OPERATORS = {"character varying": "varchar_pattern_ops", "text": "text_pattern_ops"}


@dataclass(frozen=True)
class Pairs:
    """Columns that exist and the ones that take their places, all changed together.

    Columns that one run renames on one table share indexes, so they share the steps.

    Attributes:
        table: their table.
        columns: each column that goes, and the name of the one that stays.
        conversions: by the name of the one that goes, the ways to another type and back.
    """

    table: Table
    columns: tuple[tuple[Column, str], ...]
    conversions: Mapping[str, Both] = field(default_factory=dict)

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
        return " OR ".join(self._different(source, target) for source, target in self.columns)

    def _different(self, source: Column, target: str) -> str:
        a, b = quote(source.name), quote(target)
        both = self.conversions.get(source.name)
        if both is None:
            return distinct(b, a, source)
        # Either may hold what the other's type can't; then the other is what it converts to.
        there = distinct(b, both.there.of(a), both.target)
        if both.back.is_exact and both.there.is_exact:
            return there
        return f"({there} AND {distinct(a, both.back.of(b), source)})"

    @property
    def where_misfit(self) -> str:
        """A condition that is true for rows whose value has no place in the second column."""
        return (
            " OR ".join(
                f"({quote(source.name)} IS NOT NULL AND {quote(target)} IS NULL)"
                for source, target in self.columns
                if source.name in self.conversions
                and not self.conversions[source.name].there.is_exact
            )
            or "false"
        )

    @property
    def assignments(self) -> dict[str, str]:
        """What fills the second columns: SQL over the first, by the second's name."""
        return {
            target: self.conversions[source.name].there.of(quote(source.name))
            if source.name in self.conversions
            else quote(source.name)
            for source, target in self.columns
        }

    @property
    def title(self) -> str:
        """The columns, for messages."""
        listed = ", ".join(f"{quote(a)} to {quote(b)}" for a, b in self.renames.items())
        return f"{listed} of {self.table.qualified}"

    def trigger(self, indexes: Sequence[Index] = ()) -> TriggerFunction:
        """Return the trigger that keeps the pairs equal."""
        unique = [index for index in indexes if index.unique]
        return sync_trigger(self.table, self.columns, unique, self.conversions)

    def copied(self, name: str) -> str:
        """Return the name that the copy of an index or constraint has for now."""
        return copy_name(name, self.sources, self.targets)

    def is_copy(self, name: str, others: Iterable[str]) -> bool:
        """Whether a name is that of a copy made in the other direction.

        While a type changes, copies of other changes are left to those: they make them anew
        of what this one leaves.
        """
        if self.conversions and is_copy_name(name):
            return True
        return any(name == copy_name(other, self.targets, self.sources) for other in others)

    # Everything over several columns is found once.

    def indexes(self, catalog: Catalog) -> list[Index]:
        """Return the valid indexes over the columns that go, copies of the others left out."""
        others = self._copies(catalog.indexes)
        found = self._over(catalog.indexes, self.sources)
        return [
            index
            for index in found
            if index.valid and not self.is_copy(index.name, others) and self._has_copy(index)
        ]

    def _has_copy(self, index: Index) -> bool:
        """Whether the other columns get such an index: one for LIKE is only of use to a text."""
        return not self.conversions or not is_like_index(index) or bool(self.text_types)

    @property
    def text_types(self) -> set[str]:
        """The types of text among those that columns are converted to, without lengths."""
        bases = {base_type(both.there.new) for both in self.conversions.values()}
        return bases & set(LIKE_OPERATORS)

    def checks(self, catalog: Catalog) -> list[Check]:
        """Return the CHECKs over the columns that go, copies of the others left out."""
        others = self._copies(catalog.checks)
        own = {not_null.check_name(self.table.name, name) for name in self.sources}
        return [
            check
            for check in self._over(catalog.checks, self.sources)
            if check.name not in own and not self.is_copy(check.name, others)
        ]

    def foreign_keys(self, catalog: Catalog) -> list[ForeignKey]:
        """Return the foreign keys from and to the columns that go, copies left out."""
        others = self._copies(catalog.foreign_keys)
        found = self._over(catalog.foreign_keys, self.sources)
        return [key for key in found if not self.is_copy(key.name, others)]

    def _copies(self, query: Callable[[Table, str], list[N]]) -> list[str]:
        return [item.name for item in self._over(query, self.targets)]

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
        if source.name in pairs.conversions:
            way_out = (
                "Keep its type: take the change back in the model, delete this migration, and add "
                "a second field of the new type instead."
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
            if is_copy_name(index.name) and not pairs.conversions:
                raise UnsupportedChange(
                    f"{where} shares index {quote(index.name)} with another rename whose old "
                    "column is still there. Finish that one first: manage.py safemigrate "
                    "--phase contract."
                )
        if runner.catalog.sync_triggers(table, source.name):
            raise UnsupportedChange(
                f"{where} is itself the new column of a change whose old column is still there. "
                "Finish that one first: manage.py safemigrate --phase contract."
            )
        both = pairs.conversions.get(source.name)
        kind = (both.target if both else source).type
        domains.refuse_rewrite(runner, table, source.name, kind, way_out)
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
            lambda: execute_all(runner, trigger.create()), f"trigger on {table.qualified}"
        )
        return
    refuse_unsupported(runner, pairs)

    def work() -> None:
        for source, target in pairs.columns:
            both = pairs.conversions.get(source.name)
            like = both.target if both else source
            execute_all(runner, add_column_statements(table, like, target))
            for privilege, grantee, option in catalog.column_grants(table, source.name):
                runner.execute(
                    f"GRANT {privilege} ({quote(target)}) ON {table.qualified} TO {grantee}"
                    + (" WITH GRANT OPTION" if option else "")
                )
        execute_all(runner, trigger.create())

    runner.transaction(work, f"adding columns for {pairs.title}")


def execute_all(runner: Runner, statements: list[str]) -> None:
    """Execute statements one after the other."""
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


def copy_indexes(
    runner: Runner,
    pairs: Pairs,
    but: Callable[[Index], bool] = lambda index: False,
) -> None:
    """Build a copy of every index over the first columns, on the second; then ANALYZE.

    Args:
        runner: the means to work with.
        pairs: the columns.
        but: which indexes get no copy yet.

    Locks: SHARE UPDATE EXCLUSIVE (blocks no reads or writes).
    """
    table = pairs.table
    missing = [
        index
        for index in pairs.indexes(runner.catalog)
        if not but(index) and not drop_invalid(runner, table, pairs.copied(index.name))
    ]
    tails, _ = renamed_definitions(runner, table, pairs.renames, missing, [])
    tails = [
        _with_operators_of(pairs, index, tail) for index, tail in zip(missing, tails, strict=True)
    ]
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


def is_like_index(index: Index) -> bool:
    """Whether it is the second index that Django gives an indexed text, for LIKE."""
    return index.name.endswith("_like") and any(
        operators in index.tail for operators in LIKE_OPERATORS.values()
    )


def _with_operators_of(pairs: Pairs, index: Index, tail: str) -> str:
    """Return the definition of a copy with the operators that Django gives an index for LIKE."""
    if not is_like_index(index):
        return tail
    for kind in pairs.text_types:
        for operators in LIKE_OPERATORS.values():
            tail = tail.replace(f" {operators}", f" {LIKE_OPERATORS[kind]}")
    return tail


def _create_index(
    runner: Runner, table: Table, name: str, unique: bool, tail: str, *, concurrently: bool
) -> None:
    kind = "UNIQUE INDEX" if unique else "INDEX"
    how = " CONCURRENTLY" if concurrently else ""
    runner.execute(f"CREATE {kind}{how} {quote(name)} ON {table.qualified} USING {tail}")


def copy_constraints(runner: Runner, pairs: Pairs, *, nulls_too: bool = True) -> None:
    """Give the second columns the CHECKs, foreign keys and NOT NULL of the first, in stages.

    Args:
        runner: the means to work with.
        pairs: the columns.
        nulls_too: whether NOT NULL is among them.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, without a scan;
    SHARE UPDATE EXCLUSIVE while validating.
    """
    checks = pairs.checks(runner.catalog)
    _, definitions = renamed_definitions(runner, pairs.table, pairs.renames, [], checks)
    for check, definition in zip(checks, definitions, strict=True):
        plain = definition.removesuffix(" NOT VALID")
        constrain(
            runner,
            pairs.table.oid,
            pairs.table.qualified,
            pairs.copied(check.name),
            plain,
            check.validated,
        )
    for key in pairs.foreign_keys(runner.catalog):
        definition = foreign_key_definition(pairs, key)
        constrain(
            runner, key.table_oid, key.table, pairs.copied(key.name), definition, key.validated
        )
    for source, target in pairs.columns if nulls_too else ():
        if runner.catalog.not_null_is_proven(pairs.table, source.name):
            not_null.set_not_null(runner, pairs.table, target)


def constrain(
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

    def renamed(columns: tuple[str, ...], table_oid: int) -> tuple[str, ...]:
        renames = pairs.renames if table_oid == pairs.table.oid else {}
        return tuple(renames.get(column, column) for column in columns)

    return definitions.foreign_key_definition(
        replace(
            key,
            columns=renamed(key.columns, key.table_oid),
            to_columns=renamed(key.to_columns, key.to_table_oid),
            on_delete_columns=renamed(key.on_delete_columns, key.table_oid),
        )
    )
