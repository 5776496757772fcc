"""What ALTER COLUMN TYPE does to a table, by the old and the new type.

Measured on PostgreSQL 15 and 18; what is not known to be free counts as a rewrite.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

from django_safemigrations.postgres.costs import Work

ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "decimal": "numeric",
    "float8": "double precision",
    "float4": "real",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "varbit": "bit varying",
}
PRECISE = (
    "timestamp with time zone",
    "timestamp without time zone",
    "time with time zone",
    "time without time zone",
    "interval",
)
# Binary coercible without a modifier on the new side: the rows stay as they are.
FREE = {
    ("character varying", "text"),
    ("text", "character varying"),
    ("cidr", "inet"),
}
# The rows stay, but equality differs: indexes on the column are built anew.
REBUILT = {("text", "citext"), ("character varying", "citext"), ("citext", "text")}


def parse_type(text: str) -> tuple[str, tuple[int, ...]]:
    """Split ``numeric(10,2)`` or ``timestamp(3) with time zone`` into name and modifiers."""
    head, opening, tail = text.strip().lower().partition("(")
    inside, _, after = tail.partition(")")
    base = " ".join(f"{head} {after}".replace("[", " [ ").replace("]", " ] ").split())
    numbers = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    return ALIASES.get(base, base), numbers if opening else ()


def type_change_work(old: str | None, new: str) -> Work:
    """Return what the change does to the table; `old` is None if it is not known."""
    if old is None:
        return Work.REWRITE
    (old_base, was), (new_base, now) = parse_type(old), parse_type(new)
    if (old_base, was) == (new_base, now):
        return Work.NONE
    if (old_base, new_base) in REBUILT and not now:
        return Work.BUILD
    if (old_base, new_base) in FREE and not now:
        return Work.NONE
    if old_base != new_base:
        return Work.REWRITE
    widened = not now or (bool(was) and now[0] >= was[0])
    if old_base in ("character varying", "bit varying", *PRECISE):
        return Work.NONE if widened else Work.REWRITE
    if old_base == "numeric":
        same_scale = (*was, 0)[1:2] == (*now, 0)[1:2]
        return Work.NONE if not now or (widened and same_scale) else Work.REWRITE
    return Work.REWRITE
