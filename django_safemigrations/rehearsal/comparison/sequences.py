"""How far sequences have counted, so that one which was put back is noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEQUENCES = """
SELECT format('%I.%I', n.nspname, c.relname), pg_sequence_last_value(c.oid),
       CASE WHEN o.oid IS NOT NULL THEN format('%I.%I', m.nspname, o.relname) END,
       a.attname, s.seqincrement > 0
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
LEFT JOIN pg_class o ON o.oid = d.refobjid
LEFT JOIN pg_namespace m ON m.oid = o.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relkind = 'S' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND c.relname !~ '^django_(safemigrations_|migrations_)'
ORDER BY 1
"""


@dataclass(frozen=True)
class Counted:
    """A sequence.

    Attributes:
        name: quoted with its schema.
        last: the last number that it gave; None if it gave none, or may not be read.
        table: that it numbers the rows of, quoted; None if it belongs to none.
        column: of that table.
        upwards: whether it counts upwards.
    """

    name: str
    last: int | None
    table: str | None
    column: str | None
    upwards: bool

    def is_behind(self, earlier: Counted) -> bool:
        """Whether it would give numbers again that it gave before."""
        if earlier.last is None:
            return False
        if self.last is None:
            return True
        return self.last < earlier.last if self.upwards else self.last > earlier.last


def read_sequences(cursor: Any) -> tuple[Counted, ...]:
    """Return every sequence of the database."""
    cursor.execute(SEQUENCES)
    return tuple(
        Counted(name, last, table if column else None, column, upwards)
        for name, last, table, column, upwards in cursor.fetchall()
    )
