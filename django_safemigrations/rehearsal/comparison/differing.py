"""Two fingerprints side by side, in lines that people can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LIMIT = 50
"""Lines; what is more is only counted."""
WIDTH = 300
"""Characters of a definition; what is longer is cut, where the two differ."""
BEFORE_AND_AFTER = ("before", "after")
# Kinds whose names begin with that of the relation they belong to.
BELONGING = ("column", "constraint", "trigger", "policy", "rule", "statistics")


def differences(
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    names: tuple[str, str] = BEFORE_AND_AFTER,
    limit: int = LIMIT,
) -> tuple[str, ...]:
    """Return one line for each object that is missing, extra or different.

    Args:
        before: what is wanted.
        after: what there is.
        names: what the two are called in the lines.
        limit: how many lines at most; one more says how many there would be.
    """
    lines: list[str] = []
    for identity in sorted({*before, *after}):
        old, new = before.get(identity), after.get(identity)
        if old == new:
            continue
        if old is not None and new is not None:
            lines.append(_changed(identity, json.loads(old), json.loads(new), names))
            continue
        here, there = (before, after) if new is None else (after, before)
        if _goes_with_its_relation(identity, here, there):
            continue
        has, has_not = names if new is None else names[::-1]
        told = _told(here[identity])
        counted = _belongings(identity, here)
        lines.append(f"{identity}: there {has}, not {has_not}{told}{counted}")
    if len(lines) > limit:
        more = len(lines) - limit
        lines = [*lines[:limit], f"and {more} more difference{'s' if more > 1 else ''}"]
    return tuple(lines)


def _relation_of(identity: str, fingerprint: Mapping[str, str]) -> str | None:
    """Return the identity of the relation that an object belongs to, by its name."""
    kind, _, name = identity.partition(" ")
    if kind not in BELONGING:
        return None
    # A quoted name may hold dots: the relation is the longest beginning that is one.
    places = [place for place, letter in enumerate(name) if letter == "."]
    for place in reversed(places):
        if f"relation {name[:place]}" in fingerprint:
            return f"relation {name[:place]}"
    return None


def _goes_with_its_relation(
    identity: str, here: Mapping[str, str], there: Mapping[str, str]
) -> bool:
    relation = _relation_of(identity, here)
    return relation is not None and relation not in there


def _belongings(identity: str, fingerprint: Mapping[str, str]) -> str:
    if not identity.startswith("relation "):
        return ""
    name = identity.partition(" ")[2]
    prefixes = tuple(f"{kind} {name}." for kind in BELONGING)
    count = sum(other.startswith(prefixes) for other in fingerprint)
    return f" (with {count} columns, constraints and the like)" if count else ""


def _told(definition: str) -> str:
    """Return the main part of a definition, if it has one that is short to say."""
    parts = json.loads(definition)
    main = parts.get("definition") or parts.get("type")
    return f": {_cut(_text(main))}" if main else ""


def _changed(
    identity: str, old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str]
) -> str:
    told = []
    for part in sorted({*old, *new}):
        if old.get(part) != new.get(part):
            one, two = _cut_both(_text(old.get(part)), _text(new.get(part)))
            told.append(f"{part} was {one} {names[0]}, is {two} {names[1]}")
    return f"{identity}: {'; '.join(told)}"


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    if value is True:
        return "set"
    return " ".join(str(value).split())


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _cut_both(one: str, two: str) -> tuple[str, str]:
    """Cut two texts to a window that shows where they begin to differ."""
    same = next(
        (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
    start = max(0, same - WIDTH // 3) if max(len(one), len(two)) > WIDTH else 0
    lead = "…" if start else ""
    return lead + _cut(one[start:]), lead + _cut(two[start:])
