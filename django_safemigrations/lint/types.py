"""Which changes of type PostgreSQL makes without touching rows or indexes, as rules ask for it."""

from __future__ import annotations

from django_safemigrations.postgres.costs import Work
from django_safemigrations.postgres.type_changes import type_change_work


def rewrites(old: str, new: str) -> bool:
    """Return whether ``ALTER COLUMN … TYPE`` from one type to the other rewrites the table.

    A change that only rebuilds indexes on the column (citext and text) is not a rewrite: see
    `rebuilds_indexes`.
    """
    return type_change_work(old, new) is Work.REWRITE


def rebuilds_indexes(old: str, new: str) -> bool:
    """Return whether the change keeps the rows but builds the indexes on the column anew."""
    return type_change_work(old, new) is Work.BUILD


def split(kind: str) -> tuple[str, tuple[int, ...]]:
    """Split ``numeric(10, 2)`` into ``("numeric", (10, 2))``; arrays keep their brackets."""
    name, _, rest = kind.partition("(")
    inside, _, after = rest.partition(")")
    sizes = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    return f"{name.strip()}{after}".strip(), sizes
