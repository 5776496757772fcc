"""A key and every column that holds its values, in whatever table: found anew before each step.

What a step has to do follows from the catalog alone: a column has the type that is wanted
or not, and a second column beside it or not. So a step that was killed is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Column, ForeignKey, Table, quote
from django_safemigrations.postgres.names import is_key_name, key_name
from django_safemigrations.postgres.pairs import Pairs
from django_safemigrations.postgres.trigger_functions import refuse_strange_functions

RANGES = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
UNCHANGED = "Nothing was changed; run the command again afterwards."
KEEP = (
    "Nothing was changed. Delete this migration and let the model name the class of key that it has, "
    "whatever DEFAULT_AUTO_FIELD says."
)


@dataclass(frozen=True)
class Place:
    """A column that holds values of a key, as the models know it.

    Attributes:
        db_table: as in ``Meta.db_table``.
        column: its name.
        type: the type it is to have.
        foreign_key: the name that its foreign key is to have; None for the key itself, and
            for a relation without a constraint.
    """

    db_table: str
    column: str
    type: str
    foreign_key: str | None = None


@dataclass(frozen=True)
class KeyColumn:
    """A column that holds values of a key, as the database has it.

    Attributes:
        live: the column that code knows.
        wanted: the type it is to have.
        beside: the name of the second column; before the swap it has the type that is
            wanted, afterwards the one that is replaced.
        second: that column, if it is there.
        foreign_key: the name that its foreign key is to have, if the models say.
    """

    live: Column
    wanted: str
    beside: str
    second: Column | None
    foreign_key: str | None

    @property
    def done(self) -> bool:
        """Whether the column has the type that is wanted."""
        return self.live.type == self.wanted


@dataclass(frozen=True)
class KeyTable:
    """A table with its columns that hold values of the key."""

    table: Table
    columns: tuple[KeyColumn, ...]

    @property
    def open(self) -> tuple[KeyColumn, ...]:
        """The columns whose type is not yet the one that is wanted."""
        return tuple(column for column in self.columns if not column.done)

    @property
    def pairs(self) -> Pairs:
        """The columns that are to be replaced, with the ones that take their places."""
        return Pairs(self.table, tuple((column.live, column.beside) for column in self.open))

    @property
    def where_different(self) -> str:
        """A condition that is true for rows in which a second column is not equal."""
        return " OR ".join(
            f"{quote(column.beside)} IS DISTINCT FROM {quote(column.live.name)}"
            for column in self.open
        )

    @property
    def title(self) -> str:
        """The table and its columns, for messages."""
        listed = ", ".join(f"{quote(c.live.name)} as {c.wanted}" for c in self.columns)
        return f"{self.table.qualified}: {listed}"


@dataclass(frozen=True)
class Family:
    """A key and all columns that refer to it, directly or through another key.

    Attributes:
        tables: the key's own table first, tables that refer to others after those.
    """

    tables: tuple[KeyTable, ...]

    @property
    def open(self) -> list[KeyTable]:
        """The tables with a column that is still to be replaced."""
        return [table for table in self.tables if table.open]

    @property
    def done(self) -> bool:
        """Whether every column has the type that is wanted."""
        return not self.open

    def replaced(self, key: ForeignKey) -> ForeignKey | None:
        """Return a foreign key over second columns instead of those to be replaced.

        Returns:
            None if it needs no copy: it names no such column, or is a copy itself.
        """
        beside = {
            (table.table.oid, column.live.name): column.beside
            for table in self.tables
            for column in table.open
        }
        if any(map(is_key_name, (*key.columns, *key.to_columns))):
            return None
        columns = tuple(beside.get((key.table_oid, name), name) for name in key.columns)
        to_columns = tuple(beside.get((key.to_table_oid, name), name) for name in key.to_columns)
        if (columns, to_columns) == (key.columns, key.to_columns):
            return None
        return replace(key, columns=columns, to_columns=to_columns)

    def foreign_keys(self, catalog: Catalog) -> list[tuple[ForeignKey, ForeignKey]]:
        """Return the foreign keys over columns to be replaced, each with its copy's columns."""
        found: dict[tuple[int, str], tuple[ForeignKey, ForeignKey]] = {}
        for table in self.open:
            for column in table.open:
                for key in catalog.foreign_keys(table.table, column.live.name):
                    copy = self.replaced(key)
                    if copy is not None:
                        found.setdefault((key.table_oid, key.name), (key, copy))
        return list(found.values())

    def final_name(self, key: ForeignKey) -> str:
        """Return the name of a foreign key after the change: Django's, if Django knows it."""
        for table in self.tables:
            for column in table.columns:
                if key.table_oid == table.table.oid and key.columns == (column.live.name,):
                    return column.foreign_key or key.name
        return key.name


def find_family(catalog: Catalog, places: Iterable[Place], *, complete: bool = True) -> Family:
    """Find the columns in the database.

    Args:
        catalog: reads the catalog.
        places: the key first. Tables of relations that are not in this database are left out.
        complete: whether every column of the other tables must be there.

    Raises:
        UnsupportedChange: a table or column is missing, or is nothing that can be changed.
    """
    tables: dict[int, tuple[Table, dict[str, KeyColumn]]] = {}
    for number, place in enumerate(places):
        table = catalog.find_table(place.db_table) if number else catalog.table(place.db_table)
        if table is None or (number and table.kind not in "rp"):
            continue
        columns = tables.setdefault(table.oid, (table, {}))[1]
        if place.column in columns:
            continue
        live = catalog.column(table, place.column)
        if live is None:
            if number and not complete:
                continue
            raise UnsupportedChange(
                f"{table.qualified} has no column {quote(place.column)}. "
                "The database does not match the migrations before this one."
            )
        beside = key_name(table.name, place.column)
        second = catalog.column(table, beside)
        columns[place.column] = KeyColumn(live, place.type, beside, second, place.foreign_key)
    return Family(
        tuple(KeyTable(table, tuple(found.values())) for table, found in tables.values() if found)
    )


def refuse_unsupported(catalog: Catalog, table: KeyTable) -> None:
    """Raise before anything is done to a table whose columns can't be replaced faithfully.

    Raises:
        UnsupportedChange: names what is in the way.
    """
    found = table.table
    if found.kind != "r" or found.is_partition or _inherits(catalog, found):
        raise UnsupportedChange(
            f"{found.qualified} is partitioned, a partition, or inherits: no second column for the "
            f"key is added to it. {KEEP}"
        )
    for column in table.open:
        _refuse_column(catalog, found, column)
    refuse_strange_functions(catalog, found, UNCHANGED)


def _refuse_column(catalog: Catalog, table: Table, column: KeyColumn) -> None:
    where = f"{table.qualified}.{quote(column.live.name)}"
    if column.live.type not in RANGES or column.wanted not in RANGES:
        raise UnsupportedChange(
            f"{where} is {column.live.type}, not the integer type that the migrations before this "
            f"one gave it. Correct the one or the other. {UNCHANGED}"
        )
    if column.live.generated:
        raise UnsupportedChange(f"{where} is a generated column. {KEEP}")
    ours = set(catalog.sync_triggers(table, column.beside))
    other = column.second is not None and column.second.type != column.wanted
    if other or set(catalog.sync_triggers(table, column.live.name)) - ours:
        raise UnsupportedChange(
            f"{where} takes part in another change whose old column is still there. Finish that "
            "one first: manage.py safemigrate --phase contract."
        )
    for index in catalog.indexes(table, column.live.name):
        if index.constraint_type == "x":
            raise UnsupportedChange(
                f"{where} is in the exclusion constraint {quote(index.constraint or '')}, which "
                f"PostgreSQL can't build concurrently. Drop it before, add it again after. {UNCHANGED}"
            )
    dependents = set(catalog.other_dependents(table, column.live.name))
    dependents -= _descriptions_of_sequences(catalog, table, column.live)
    if dependents:
        raise UnsupportedChange(
            f"{where} is used by {', '.join(sorted(dependents))}, which PostgreSQL would leave on "
            "the replaced column (and ALTER COLUMN TYPE refuses, too). Drop it before, create it "
            f"again after the migration. {UNCHANGED}"
        )
    for key in catalog.foreign_keys(table, column.live.name):
        for name, oid in ((key.table, key.table_oid), (key.to_table, key.to_table_oid)):
            kind = catalog.value("SELECT relkind::text FROM pg_class WHERE oid = %s", [oid])
            if kind != "r":
                raise UnsupportedChange(
                    f"{name}, which foreign key {quote(key.name)} joins to {where}, is partitioned: "
                    f"its foreign key can't be added again without blocking. {KEEP}"
                )


def _inherits(catalog: Catalog, table: Table) -> bool:
    return bool(
        catalog.value(
            "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = %s OR inhparent = %s)",
            [table.oid, table.oid],
        )
    )


def _descriptions_of_sequences(catalog: Catalog, table: Table, column: Column) -> set[str]:
    rows = catalog.rows(
        """
        SELECT pg_describe_object('pg_class'::regclass, d.objid, 0)
        FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.refobjid = %s AND d.refobjsubid = %s
        """,
        [table.oid, column.attnum],
    )
    return {row[0] for row in rows}
