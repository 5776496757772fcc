"""How many rows a filter can leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Constant,
    Extent,
    Listing,
    Part,
    Row,
    Rows,
    Tuple,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader

KEYS = ("pk", "id")
LOWER = ("gt", "gte")
UPPER = ("lt", "lte")


def bounded(reader: Reader, rows: Rows, conditions: Mapping[str, Value]) -> Rows:
    """Return rows after a filter.

    Bounded are: a key or unique fields (few rows), a set of keys (as many as it has), a range
    of keys, and a range of any other field whose ends change with the loop around it.
    """
    extent = rows.extent
    lower, upper = set(rows.lower), set(rows.upper)
    equal = set()
    chosen = False
    for lookup, value in conditions.items():
        name, _, kind = lookup.rpartition("__") if "__" in lookup else (lookup, "", "exact")
        if kind not in ("exact", "iexact", "in", "range", *LOWER, *UPPER):
            name, kind = lookup, "exact"
            if "__" in lookup:
                kind = "other"
        varies = not isinstance(value, Constant)
        # Keys tell rows apart, and not those that are done from those that aren't.
        chosen = chosen or name not in KEYS
        if kind in ("exact", "iexact"):
            if not (isinstance(value, Constant) and value.value is None):
                equal.add(name)
            if is_of_loop(value):
                extent = Extent.FEW
        elif kind == "in":
            extent = min(extent, _chosen(reader, rows, name, value))
        elif kind == "range" and (name in KEYS or (varies and reader.loops)):
            extent = min(extent, Extent.PART)
        elif kind in LOWER and (name in KEYS or varies):
            lower.add(name)
        elif kind in UPPER and (name in KEYS or varies):
            upper.add(name)
    if equal and extent > Extent.FEW and is_one(reader, rows, frozenset(equal)):
        extent = Extent.FEW
    both = lower & upper
    if any(name in KEYS or reader.loops for name in both):
        extent = min(extent, Extent.PART)
    return replace(
        rows,
        extent=extent,
        filtered=chosen or rows.filtered,
        lower=frozenset(lower),
        upper=frozenset(upper),
        manager=False,
        born=len(reader.loops),
    )


def is_one(reader: Reader, rows: Rows, names: frozenset[str]) -> bool:
    """Return whether these fields select one row at most."""
    return bool(names & set(KEYS)) or reader.facts.is_unique(rows.model, names)


def is_of_loop(value: Value) -> bool:
    """Return whether a value belongs to one row of many that a loop goes through."""
    if isinstance(value, Row):
        return value.looped
    return isinstance(value, Part) and value.looped


def _chosen(reader: Reader, rows: Rows, name: str, value: Value) -> Extent:
    """Return how many rows a set of values leaves."""
    one = is_one(reader, rows, frozenset({name}))
    if isinstance(value, Rows):
        return value.extent if one or value.extent is not Extent.FEW else Extent.WHOLE
    if isinstance(value, Listing):
        if value.turns:
            return Extent.PART
        return value.extent if one or value.extent is Extent.PART else Extent.WHOLE
    if isinstance(value, Constant | Tuple):
        return Extent.FEW if one else Extent.WHOLE
    if isinstance(value, Part | Unknown) or value == UNKNOWN:
        # Keys that come from where nobody knows are taken for a batch.
        return Extent.PART if one else Extent.WHOLE
    return Extent.WHOLE
