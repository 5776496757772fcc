"""Writes what was computed for rows of a batch, to those that are still what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_safemigrations.backfill.statements import ALIAS
from django_safemigrations.backfill.work import escaped
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner


class Delete:
    """What a row function returns to have the row deleted."""

    def __repr__(self) -> str:
        return "RunInBatches.DELETE"


DELETE = Delete()


@dataclass
class ReadRow:
    """A row as it was read.

    Attributes:
        key: as PostgreSQL prints it.
        version: its xmin.
        instance: what the function gets.
        values: the new values by field, DELETE, or None to leave it.
    """

    key: tuple[str, ...]
    version: str
    instance: Any
    values: dict[str, Any] | Delete | None = None


@dataclass(frozen=True)
class RowTarget:
    """A table that values are written to.

    Attributes:
        runner: the means to work with.
        sql: the table as it is put into SQL.
        table: what the catalog says of it.
        key: names and types of the columns by which its rows are found.
        columns: their names, quoted.
        link: the field whose value is the key, of a parent's table; None for the walked one.
    """

    runner: Runner
    sql: str
    table: Table
    key: Sequence[tuple[str, str]]
    columns: Sequence[str]
    link: Any

    def update(self, fields: Sequence[Any], rows: Sequence[ReadRow]) -> set[tuple[str, ...]]:
        """Set fields of the rows that are still what was read; return the keys of these."""
        types = [type_of(self.runner, self.table, field.column) for field in fields]
        assigned = ", ".join(
            f"{escaped(quote(field.column))} = dsm_new.v{number}"
            for number, field in enumerate(fields)
        )
        given = []
        for row in rows:
            assert isinstance(row.values, dict)
            given.append([row.values[field.name] for field in fields])
        begin = f"UPDATE {escaped(self.sql)} AS {ALIAS} SET {assigned} FROM"
        return self._run(begin, rows, types, given)

    def delete(self, rows: Sequence[ReadRow]) -> set[tuple[str, ...]]:
        """Delete the rows that are still what was read; return the keys of these."""
        begin = f"DELETE FROM {escaped(self.sql)} AS {ALIAS} USING"
        return self._run(begin, rows, [], [[] for _ in rows])

    def _run(
        self,
        begin: str,
        rows: Sequence[ReadRow],
        types: Sequence[str],
        given: Sequence[Sequence[Any]],
    ) -> set[tuple[str, ...]]:
        keys = [f"k{number}" for number in range(len(self.key))]
        names = ["n", "version", *keys, *(f"v{number}" for number in range(len(types)))]
        casts = ["int4", "xid", *(type_ for _, type_ in self.key), *types]
        line = f"({', '.join(f'%s::{escaped(type_)}' for type_ in casts)})"
        params: list[Any] = []
        for number, (row, values) in enumerate(zip(rows, given, strict=True)):
            params += [number, row.version, *self._key_of(row), *values]
        same = [
            f"{ALIAS}.{escaped(name)} = dsm_new.{key}"
            for name, key in zip(self.columns, keys, strict=True)
        ]
        if self.link is None:
            # Waiting for a row's lock, PostgreSQL looks at this again, in its newest version.
            same.append(f"{ALIAS}.xmin = dsm_new.version")
        with self.runner.connection.cursor() as cursor:
            cursor.execute(
                f"{begin} (VALUES {', '.join([line] * len(rows))}) AS dsm_new"
                f" ({', '.join(names)}) WHERE {' AND '.join(same)} RETURNING dsm_new.n",
                params,
            )
            return {rows[found[0]].key for found in cursor.fetchall()}

    def _key_of(self, row: ReadRow) -> Sequence[Any]:
        if self.link is None:
            return row.key
        value = getattr(row.instance, self.link.attname)
        return [self.link.get_db_prep_save(value, self.runner.connection)]


def type_of(runner: Runner, table: Table, column: str) -> str:
    found = runner.catalog.column(table, column)
    if found is None:
        raise UnsupportedChange(
            f"{table.qualified} has no column {quote(column)}: apply the migration that adds it "
            "first."
        )
    # Without its length: a cast to varchar(10) cuts, where an assignment raises.
    return str(runner.catalog.value("SELECT format_type(%s, -1)", [found.type_oid]))
