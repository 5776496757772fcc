"""One pass over a table that counts its rows and sums up what is in its columns.

The sums do not depend on the order of rows. Each value is hashed together with the key of
its row, so that two values which changed places are noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django_safemigrations.postgres.catalog import literal, quote

SEED = 20
"""Of the sampling: the same pages of the same table each time."""
RANGES = 32
ROWS_A_RANGE = 2_000
WHOLE = ""
"""The name under which a table is summed up as a whole."""


@dataclass(frozen=True)
class Range:
    """Keys from one up to another, as texts.

    Attributes:
        first: the lowest key.
        end: the key behind the highest one; None if there is no end.
    """

    first: tuple[str, ...]
    end: tuple[str, ...] | None


@dataclass(frozen=True)
class Sums:
    """What a pass gave.

    Attributes:
        rows: how many there are in the table.
        values: sum by name of the expression.
    """

    rows: int
    values: Mapping[str, str]


def sum_up(
    cursor: Any,
    table: str,
    expressions: Mapping[str, str],
    key: Sequence[str],
    ranges: Sequence[Range] = (),
) -> Sums:
    """Read a table once and return the sums.

    Args:
        cursor: of a session with fixed settings.
        table: quoted with its schema.
        expressions: SQL for the text of a value, by name.
        key: columns of the key, or none: then values are not tied to their rows.
        ranges: only these rows are summed up; all are counted.

    Locks: ACCESS SHARE.
    """
    tied = f"hashtextextended(concat_ws('|', {_texts(key)}), 0)" if key else "0::bigint"
    sums = [
        f"sum(coalesce(hashtextextended({expression}, k.h), k.h))::text"
        for expression in expressions.values()
    ]
    source = f"{table} t, LATERAL (SELECT {tied} AS h OFFSET 0) k"
    if not ranges:
        cursor.execute(f"SELECT {', '.join(['count(*)', *sums])} FROM {source}")
        rows, *values = cursor.fetchone()
        return Sums(rows, dict(zip(expressions, map(str, values), strict=True)))
    cursor.execute(f"SELECT count(*) FROM {table}")
    rows = cursor.fetchone()[0]
    where = " OR ".join(f"({_inside(key, one)})" for one in ranges)
    cursor.execute(f"SELECT {', '.join(sums) or '1'} FROM {source} WHERE {where}")
    return Sums(rows, dict(zip(expressions, map(str, cursor.fetchone()), strict=True)))


def choose_ranges(cursor: Any, table: str, key: Sequence[str], pages: int) -> tuple[Range, ...]:
    """Return some ranges of keys, spread over the table and the same for the same table."""
    names = ", ".join(map(quote, key))
    texts = ", ".join(f"{quote(name)}::text" for name in key)
    own = ", ".join(f"t.{quote(name)}" for name in key)
    share = min(100.0, 100.0 * RANGES / max(pages, 1))
    cursor.execute(
        f"SELECT {texts} FROM (SELECT DISTINCT ON (tableoid, (ctid::text::point)[0]) {names}"
        f" FROM {table} TABLESAMPLE SYSTEM ({share}) REPEATABLE ({SEED})) s"
        f" ORDER BY hashtextextended(concat_ws('|', {texts}), {SEED}) LIMIT {RANGES}"
    )
    found = []
    for first in cursor.fetchall():
        # Qualified, or ORDER BY would mean the text in the SELECT.
        cursor.execute(
            f"SELECT {_texts(key)} FROM {table} t WHERE ({own}) >= ({_literals(first)})"
            f" ORDER BY {own} OFFSET {ROWS_A_RANGE} LIMIT 1"
        )
        end = cursor.fetchone()
        found.append(Range(tuple(first), tuple(end) if end else None))
    return tuple(found)


def row_of(columns: Sequence[str]) -> str:
    """Return SQL for the text of some columns of a row."""
    return f"ROW({', '.join(f't.{quote(column)}' for column in columns)})::text"


def _texts(key: Sequence[str]) -> str:
    return ", ".join(f"t.{quote(name)}::text" for name in key)


def _inside(key: Sequence[str], one: Range) -> str:
    names = ", ".join(f"t.{quote(name)}" for name in key)
    first = f"({names}) >= ({_literals(one.first)})"
    return first if one.end is None else f"{first} AND ({names}) < ({_literals(one.end)})"


def _literals(values: Sequence[str]) -> str:
    return ", ".join(literal(value) for value in values)
