"""What ALTER COLUMN TYPE does to a table, by the old and the new type.

Measured on PostgreSQL 15 and 18; what is not known to be free counts as a rewrite.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

from enum import StrEnum

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
    # PostgreSQL knows no size of an array: integer[3] is integer[].
    base = " ".join(f"{head} {after}".replace("[", " [ ").replace("]", " ] ").split())
    base = " ".join(part for part in base.split() if not part.isdigit())
    numbers = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    plain, bracket, brackets = base.partition(" [")
    return ALIASES.get(plain, plain) + bracket + brackets, numbers if opening else ()


def base_type(text: str) -> str:
    """Return a type without its modifiers: ``varchar(20)[]`` is ``character varying[]``."""
    if '"' in text:
        # A type of somebody's own, whose name is written as it has to be.
        return text
    return parse_type(text)[0].replace(" [ ]", "[]")


def same_type(one: str, other: str) -> bool:
    """Whether two spellings name the same type with the same modifiers."""
    (a, was), (b, now) = parse_type(one), parse_type(other)
    if a == b == "numeric":
        return (*was, 0)[:2] == (*now, 0)[:2] if was and now else was == now
    return (a, was) == (b, now)


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


class Serves(StrEnum):
    """Which column old and new code can both use while they run side by side."""

    NEW = "new"
    """One of the new type: the change is a widening, and is swapped before new code comes."""
    OLD = "old"
    """One of the old type: the change is a narrowing, and is swapped when old code is gone."""
    NEITHER = "neither"
    """None: statements or values of one of them fail on the other's column."""


WHOLE_NUMBERS = ("smallint", "integer", "bigint")
TEXTS = ("character varying", "text", "citext")


def serves_both(old: str, new: str) -> Serves:
    """Return which column serves the statements of both code generations.

    `bulk_create` sends arrays of explicit types, comparisons need operators, and what is
    read has to have the Python type that the code was written for. Tested with the calls
    of both generations on both columns, pair by pair.

    Args:
        old: the type that old code was written for.
        new: the type that new code is written for.
    """
    (old_base, was), (new_base, now) = parse_type(old), parse_type(new)
    if old_base in WHOLE_NUMBERS and new_base in WHOLE_NUMBERS:
        wider = WHOLE_NUMBERS.index(new_base) >= WHOLE_NUMBERS.index(old_base)
        return Serves.NEW if wider else Serves.OLD
    if old_base in TEXTS and new_base in TEXTS:
        if "citext" in (old_base, new_base) and old_base != new_base:
            # Case begins to matter less: what was two values may become one.
            return Serves.NEW if new_base == "text" else Serves.OLD
        return Serves.NEW if _has_room(was, now) else Serves.OLD
    if old_base == new_base == "numeric":
        return _numeric(was, now)
    if old_base == new_base and old_base.partition(" [")[0] in (
        "character varying",
        "bit varying",
        *PRECISE,
    ):
        return Serves.NEW if _has_room(was, now) else Serves.OLD
    if old_base == new_base and was == now:
        return Serves.NEW
    if (old_base, new_base) == ("json", "jsonb"):
        return Serves.NEW
    if (old_base, new_base) == ("jsonb", "json"):
        return Serves.OLD
    return Serves.NEITHER


def _has_room(was: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return not now or (bool(was) and now[0] >= was[0])


def _numeric(was: tuple[int, ...], now: tuple[int, ...]) -> Serves:
    if not now:
        return Serves.NEW
    if not was:
        return Serves.OLD
    (digits, scale), (new_digits, new_scale) = (*was, 0)[:2], (*now, 0)[:2]
    if new_scale >= scale and new_digits - new_scale >= digits - scale:
        return Serves.NEW
    if new_scale <= scale and new_digits - new_scale <= digits - scale:
        return Serves.OLD
    return Serves.NEITHER


def keeps_every_value(old: str, new: str) -> bool:
    """Whether every value of the old type has its own in the new one, and the cast can't fail."""
    return parse_type(old)[0] != "json" and (
        serves_both(old, new) is Serves.NEW
        or (parse_type(old)[0] in WHOLE_NUMBERS and parse_type(new) == ("numeric", ()))
    )


def is_narrowing(old: str, new: str) -> bool:
    """Whether the change keeps the kind of value, so that a value which changes does not fit.

    A text that is cut and a number that is rounded don't fit. A time that becomes a date,
    or a float that becomes a number, is what was asked for.
    """
    kinds = [_kind(parse_type(text)[0]) for text in (old, new)]
    return kinds[0] == kinds[1]


def _kind(base: str) -> str:
    for kind, members in (("number", (*WHOLE_NUMBERS, "numeric")), ("text", TEXTS)):
        if base in members:
            return kind
    return base
