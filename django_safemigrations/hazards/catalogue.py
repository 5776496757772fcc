"""All hazards by code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import (
    constraints,
    deploys,
    fields,
    history,
    indexes,
    keys,
    leftovers,
    not_null,
    python,
    python_rows,
    refused,
    relations,
    removals,
    renames,
    sql,
    sql_locks,
    sql_meaning,
    suppressions,
    table_renames,
    tables,
    transactions,
    types,
)
from django_safemigrations.hazards.hazard import Hazard

LISTED = "lintmigrations --list-rules lists them all"


class UnknownHazard(SafeMigrationsError):
    """There is no hazard of that code."""


GROUPS = (
    indexes,
    not_null,
    renames,
    deploys,
    fields,
    keys,
    refused,
    relations,
    removals,
    table_renames,
    tables,
    types,
    suppressions,
    constraints,
    history,
    transactions,
    leftovers,
    sql,
    sql_locks,
    sql_meaning,
    python,
    python_rows,
)

CATALOGUE: dict[str, Hazard] = {
    hazard.code: hazard
    for hazard in sorted((h for g in GROUPS for h in g.HAZARDS), key=lambda hazard: hazard.code)
}


def get(code: str, catalogue: Mapping[str, Hazard] = CATALOGUE) -> Hazard:
    """Return the hazard of a code (``DSM101``, in either case) or name (``index-blocks-writes``).

    Args:
        code: as somebody typed it.
        catalogue: hazards by code; with those of a project's own rules, if it has any.

    Raises:
        UnknownHazard: there is none; the message names the nearest ones.
    """
    wanted = code.strip()
    if (hazard := catalogue.get(wanted.upper())) is not None:
        return hazard
    by_name = {hazard.name: hazard for hazard in catalogue.values()}
    if (hazard := by_name.get(wanted.lower())) is not None:
        return hazard
    # A code has digits in it; a name is words.
    if any(character.isdigit() for character in wanted):
        raise UnknownHazard(f"There is no hazard {code!r}. {said_nearest(wanted, catalogue)}")
    near = get_close_matches(wanted.lower(), list(by_name), n=3, cutoff=0.5)
    raise UnknownHazard(f"There is no hazard {code!r}. {_meant(near)}")


LOOKALIKES = str.maketrans("OIL", "011")
SHOWN = 3


def said_nearest(code: str, known: Collection[str]) -> str:
    """Say which codes were probably meant by one that doesn't exist.

    Compared is place by place: to difflib DSM1O1 is as near to DSM411 as to DSM101.
    """
    written = code.strip().upper()
    # A letter O among the digits is a zero; one in the letters of a code is itself.
    letters = written.rstrip("0123456789OIL") or written[:3]
    plain = letters + written[len(letters) :].translate(LOOKALIKES)

    def alike(other: str) -> int:
        same = sum(mine == theirs for mine, theirs in zip(plain, other, strict=False))
        return same - abs(len(plain) - len(other))

    near = sorted((k for k in known if alike(k) >= len(k) - 2), key=lambda k: (-alike(k), k))
    return _meant(near[:SHOWN])


def _meant(near: Sequence[str]) -> str:
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else f"{LISTED}."
