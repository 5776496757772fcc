"""Names of what lives only while a change is under way: found again after a crash, never too long."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# NAMEDATALEN - 1; longer names are cut by PostgreSQL without an error.
LONGEST = 63


def short_hash(*parts: str) -> str:
    """Return ten hex digits that stand for some names."""
    return hashlib.sha1("\0".join(parts).encode(), usedforsecurity=False).hexdigest()[:10]


def cut(name: str, longest: int = LONGEST) -> str:
    """Cut a name to a number of bytes, as PostgreSQL counts them."""
    return name.encode()[:longest].decode(errors="ignore")


def copy_name(original: str, from_columns: Sequence[str], to_columns: Sequence[str]) -> str:
    """Return the name that the copy of an index or constraint has until the old columns go."""
    return cut(f"dsm_{short_hash(original, *from_columns, '', *to_columns)}_{original}")


def is_copy_name(name: str) -> bool:
    """Whether a name is one that `copy_name` makes."""
    prefix, hashed, rest = name[:4], name[4:14], name[14:15]
    return prefix == "dsm_" and rest == "_" and all(c in "0123456789abcdef" for c in hashed)


def sync_name(table: str, columns: Sequence[str]) -> str:
    """Return the name of the function that keeps columns equal, whichever are the older."""
    return f"dsm_sync_{short_hash(table, *sorted(columns))}"


def fill_name(table: str, column: str) -> str:
    """Return the name of the function that fills NULLs of a column."""
    return f"dsm_fill_{short_hash(table, column)}"


def trigger_name(function: str, event: str) -> str:
    """Return a trigger name that sorts after the application's own triggers.

    BEFORE triggers fire in the order of their names, and ours have to see what the
    others made of the row; filling comes before keeping in sync.
    """
    order = "zzy" if function.startswith("dsm_fill") else "zzz"
    return f"{order}_{function}_{event}"


def key_name(table: str, column: str) -> str:
    """Return the name of the column beside one that holds values of a key, before and after."""
    return f"dsm_key_{short_hash(table, column)}"


def is_key_name(name: str) -> bool:
    """Whether a name is one that `key_name` makes."""
    rest = name[8:]
    return name[:8] == "dsm_key_" and len(rest) == 10 and set(rest) <= set("0123456789abcdef")
