"""Which changes of type PostgreSQL makes without touching rows or indexes.

Measured on PostgreSQL 15 and 18; see "ALTER TABLE" in PostgreSQL's documentation on when the
table or its indexes are rewritten.
"""

from __future__ import annotations

UNLIMITED_TEXT = ("varchar", "text", "character varying")
LENGTH_ONLY = ("varchar", "varbit", "character varying", "bit varying")
PRECISION = ("timestamp with time zone", "timestamp", "time", "interval")


def rewrites(old: str, new: str) -> bool:
    """Return whether ``ALTER COLUMN … TYPE`` from one type to the other rewrites the table.

    A change that only rebuilds indexes on the column (citext and text) is not a rewrite: see
    `rebuilds_indexes`.
    """
    if old == new or rebuilds_indexes(old, new):
        return False
    old_name, old_sizes = split(old)
    new_name, new_sizes = split(new)
    if new_name in UNLIMITED_TEXT and not new_sizes:
        return old_name not in UNLIMITED_TEXT
    if old_name != new_name:
        return (old_name, new_name) != ("cidr", "inet")
    if old_name in LENGTH_ONLY:
        return bool(new_sizes) and (not old_sizes or new_sizes[0] < old_sizes[0])
    if old_name in ("numeric", "decimal"):
        if not new_sizes:
            return not old_sizes
        if not old_sizes:
            return True
        return new_sizes[0] < old_sizes[0] or _scale(new_sizes) != _scale(old_sizes)
    if old_name in PRECISION:
        return bool(new_sizes) and (not old_sizes or new_sizes[0] < old_sizes[0])
    return True


def rebuilds_indexes(old: str, new: str) -> bool:
    """Return whether the change keeps the rows but builds the indexes on the column anew."""
    old_name, _ = split(old)
    new_name, new_sizes = split(new)
    return (old_name in UNLIMITED_TEXT and new_name == "citext") or (
        old_name == "citext" and new_name in UNLIMITED_TEXT and not new_sizes
    )


def split(kind: str) -> tuple[str, tuple[int, ...]]:
    """Split ``numeric(10, 2)`` into ``("numeric", (10, 2))``; arrays keep their brackets."""
    name, _, rest = kind.partition("(")
    inside, _, after = rest.partition(")")
    sizes = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    return f"{name.strip()}{after}".strip(), sizes


def _scale(sizes: tuple[int, ...]) -> int:
    return sizes[1] if len(sizes) > 1 else 0
