"""All hazards by code."""

from __future__ import annotations

from django_safemigrations.conf import nearest
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import (
    constraints,
    deploys,
    fields,
    indexes,
    keys,
    not_null,
    refused,
    relations,
    removals,
    renames,
    suppressions,
    table_renames,
    tables,
    types,
)
from django_safemigrations.hazards.hazard import Hazard


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
)

CATALOGUE: dict[str, Hazard] = {
    hazard.code: hazard
    for hazard in sorted((h for g in GROUPS for h in g.HAZARDS), key=lambda hazard: hazard.code)
}


def get(code: str) -> Hazard:
    """Return the hazard of a code (``DSM101``, in either case) or name (``index-blocks-writes``).

    Raises:
        UnknownHazard: there is none; the message names the nearest one.
    """
    wanted = code.strip()
    if (hazard := CATALOGUE.get(wanted.upper())) is not None:
        return hazard
    by_name = {hazard.name: hazard for hazard in CATALOGUE.values()}
    if (hazard := by_name.get(wanted.lower())) is not None:
        return hazard
    choices = list(CATALOGUE) if wanted.upper().startswith("D") else list(by_name)
    close = nearest(wanted.upper() if choices[0] in CATALOGUE else wanted.lower(), choices)
    raise UnknownHazard(f"There is no hazard {code!r}. {close}")
