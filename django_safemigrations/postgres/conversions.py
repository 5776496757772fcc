"""SQL that turns the values of one column into those of another type, in triggers and batches alike.

Where a value may not fit, a function says NULL instead of raising: writers are never
refused, and what did not fit is counted and named before anything is dropped.
https://www.postgresql.org/docs/current/plpgsql-control-structures.html#PLPGSQL-ERROR-TRAPPING
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django_safemigrations.postgres.catalog import Column, Table, literal, quote
from django_safemigrations.postgres.names import short_hash
from django_safemigrations.postgres.type_changes import (
    WHOLE_NUMBERS,
    base_type,
    is_narrowing,
    keeps_every_value,
    same_type,
)

TIMED = ("timestamp with time zone", "time with time zone")


@dataclass(frozen=True)
class Conversion:
    """The way from one column's type to another's.

    Attributes:
        schema: the schema of the table, where the function lives.
        old: the type of the values that come in, with modifiers.
        new: the type of those that come out.
        name: of the function, empty if the cast can't fail and none is needed.
        time_zone: the TimeZone that dates and times are read in, whoever writes them.
    """

    schema: str
    old: str
    new: str
    name: str
    time_zone: str

    @property
    def qualified(self) -> str:
        """Schema and name of the function, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def is_exact(self) -> bool:
        """Whether every value has its own, so that nothing is ever lost on this way."""
        return not self.name

    @property
    def is_distinct(self) -> bool:
        """Whether different values stay different (or become NULL), so that unique stays unique."""
        return self.is_exact or is_narrowing(self.old, self.new)

    def of(self, value: str) -> str:
        """Return the converted value of an SQL expression."""
        if same_type(self.old, self.new):
            return value
        if self.name:
            return f"{self.qualified}({value})"
        return f"({value})::{self.new}"

    def _cast(self, value: str) -> str:
        """Return the cast, to the type without modifiers: those are checked when it is assigned."""
        old, new = base_type(self.old), base_type(self.new)
        if new == "boolean" and old in (*WHOLE_NUMBERS, "numeric", "double precision"):
            return f"({value} <> 0)"
        if old == "boolean" and new in ("smallint", "bigint", "numeric", "double precision"):
            return f"({value}::integer)::{new}"
        zone = literal(self.time_zone)
        if (old in TIMED) != (new in TIMED):
            if old == "timestamp with time zone" and new != "text" and "character" not in new:
                return f"({value} AT TIME ZONE {zone})::{new}"
            if new == "timestamp with time zone" and old in ("date", "timestamp without time zone"):
                return f"({value}::timestamp AT TIME ZONE {zone})"
        return f"({value})::{new}"

    def create(self) -> list[str]:
        """Return the statement that creates the function, or replaces it; it locks no table."""
        if not self.name:
            return []
        lost = ""
        if is_narrowing(self.old, self.new):
            back = f"(result)::{base_type(self.old)}"
            lost = f"  IF {back} IS DISTINCT FROM value THEN RETURN NULL; END IF;\n"
        # CALLED ON NULL INPUT would be the same and slower; not IMMUTABLE, for text may be a time.
        return [
            f"CREATE OR REPLACE FUNCTION {self.qualified}(value {base_type(self.old)}) "
            f"RETURNS {base_type(self.new)} LANGUAGE plpgsql STABLE STRICT AS $dsm$\n"
            "-- A value that does not fit becomes NULL; it is counted before anything is dropped.\n"
            f"DECLARE\n  result {self.new};\n"
            f"BEGIN\n  result := {self._cast('value')};\n{lost}  RETURN result;\n"
            "EXCEPTION WHEN data_exception THEN RETURN NULL;\nEND\n$dsm$"
        ]

    def drop(self) -> list[str]:
        """Return the statement that drops the function, if there is one."""
        if not self.name:
            return []
        return [f"DROP FUNCTION IF EXISTS {self.qualified}({base_type(self.old)})"]

    def default(self, expression: str) -> str:
        """Return a column's default for the other type."""
        if self.is_exact or is_narrowing(self.old, self.new):
            # As ALTER COLUMN TYPE does it; what does not fit fails here, and not in a later INSERT.
            return expression
        return self._cast(expression)

    def probe(self) -> str:
        """Return a query that fails if PostgreSQL has no such cast, and reads nothing."""
        return f"SELECT {self._cast(f'NULL::{base_type(self.old)}')}"


def conversion(
    table: Table, columns: tuple[str, str], old: str, new: str, time_zone: str
) -> Conversion:
    """Return the way from one type to another, for the values of one column.

    Args:
        table: the table of both columns.
        columns: the one that values come from and the one that they go to.
        old: the type that comes in.
        new: the type that comes out.
        time_zone: the TimeZone that dates and times are read in.
    """
    exact = same_type(old, new) or keeps_every_value(old, new)
    name = "" if exact else f"dsm_cast_{short_hash(table.name, *columns)}"
    return Conversion(table.schema, old, new, name, time_zone)


@dataclass(frozen=True)
class Both:
    """A column of another type beside one, and the ways there and back.

    Attributes:
        target: the other column, as far as it is known before it is added.
        there: from the one to the other.
        back: from the other to the one.
    """

    target: Column
    there: Conversion
    back: Conversion


def both_ways(
    table: Table, source: Column, target: str, type_: str, collation: str | None, time_zone: str
) -> Both:
    """Return the second column of another type and the conversions between it and the first."""
    other = replace(
        source,
        name=target,
        type=type_,
        type_schema="pg_catalog",
        collation=collation,
        # What a collation finds equal is looked up nowhere: images are compared instead.
        deterministic=collation is None,
        # As ALTER COLUMN TYPE leaves them.
        storage=None,
        compression=None,
    )
    return Both(
        target=other,
        there=conversion(table, (source.name, target), source.type, type_, time_zone),
        back=conversion(table, (target, source.name), type_, source.type, time_zone),
    )
