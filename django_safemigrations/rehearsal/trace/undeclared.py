"""Hazards that happened on the copy although the linter had not said so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django_safemigrations.conf import get_settings
from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.rehearsal.results import HazardSeen, StepKey, StepTrace
from django_safemigrations.rehearsal.trace.scales import Rows, Scales

Expected = Mapping[tuple[str, str, str], set[str]]
"""Codes that the linter gave, by app label, migration and operation ("3", or nested "3.0")."""

SMALL_BYTES = 10 * 1024**2
"""A table with its indexes up to this size is small if it has few rows, too."""

_INDEX = {"DSM101", "DSM502", "DSM506", "DSM507", "DSM508", "DSM516", "DSM533", "DSM534", "DSM544"}
_REWRITE = {"DSM506", "DSM510", "DSM521", "DSM533", "DSM534", "DSM544", "DSM606"}
_SCAN = {"DSM201", "DSM203", "DSM306", "DSM502", "DSM506", "DSM507", "DSM509", "DSM533", "DSM534"}
_DATA = {"DSM203", "DSM402", "DSM701", "DSM702", "DSM707", "DSM711"}
_RENAMES = {"DSM306", "DSM505"}
_MANY_TABLES = {"DSM406", "DSM502", "DSM506", "DSM509", "DSM533", "DSM534", "DSM707"}

SAID_BY: dict[str, set[str]] = {
    "DSM101": _INDEX | {"DSM607"},
    "DSM201": _SCAN,
    "DSM203": _SCAN,
    "DSM402": _DATA,
    "DSM406": _MANY_TABLES | _RENAMES | _DATA,
    "DSM502": _INDEX | _SCAN,
    "DSM506": _REWRITE,
    "DSM507": _INDEX | _SCAN | {"DSM544", "DSM613"},
    "DSM509": _SCAN | _RENAMES | {"DSM542"},
    "DSM510": _REWRITE,
    "DSM516": _INDEX,
    "DSM533": _INDEX | _REWRITE,
    "DSM606": _REWRITE | {"DSM604", "DSM609"},
    "DSM607": {"DSM101", "DSM606"},
    "DSM613": _SCAN,
    "DSM701": _DATA,
    "DSM707": _DATA | {"DSM406"},
    "DSM709": {"DSM406", "DSM610", "DSM707"},
}
"""The codes under which the linter says what a trace sees: of the field, of the constraint, of SQL.

A code that is not here is said by itself only. DSM405, that something was not inspected, says
nothing of what it does.
"""


def undeclared(
    steps: Sequence[StepTrace],
    expected: Expected,
    *,
    rows: Rows | None = None,
    lock_timeout: int | None = None,
) -> tuple[str, ...]:
    """Return one paragraph for each hazard that happened and that the linter had not named.

    Those on small tables are left out; `notes` tells of them.

    Args:
        steps: a pass forwards.
        expected: what the linter said, suppressed findings included.
        rows: rows copied and rows in production, of tables that were copied in part.
        lock_timeout: milliseconds; that of SAFE_MIGRATIONS if it isn't given.
    """
    scales = Scales(rows)
    return tuple(
        _paragraph(key, hazard, scales.of(hazard.relation))
        for key, hazard in _unsaid(steps, expected)
        if not is_small(hazard, rows=rows, lock_timeout=lock_timeout)
    )


def notes(
    steps: Sequence[StepTrace],
    *,
    rows: Rows | None = None,
    lock_timeout: int | None = None,
    everything: bool = False,
) -> tuple[str, ...]:
    """Return one line for each hazard that happened and is no problem.

    Args:
        steps: of a pass.
        rows: as for `undeclared`.
        lock_timeout: as for `undeclared`.
        everything: not only those on small tables: for the way back, which nobody has asked for
            yet when it is rehearsed.
    """
    return tuple(
        f"{step.key}: {hazard.code}, {hazard.message}."
        + ("" if everything else f" The table is small ({hazard.rows} rows).")
        for step in steps
        for hazard in step.hazards
        if everything or is_small(hazard, rows=rows, lock_timeout=lock_timeout)
    )


def is_small(
    hazard: HazardSeen, *, rows: Rows | None = None, lock_timeout: int | None = None
) -> bool:
    """Whether nobody would have noticed: few rows, few bytes, and held for less than LOCK_TIMEOUT.

    Args:
        hazard: with what was seen on the copy.
        rows: as for `undeclared`; figures are scaled with them.
        lock_timeout: as for `undeclared`.
    """
    settings = get_settings()
    seconds = (settings.lock_timeout if lock_timeout is None else lock_timeout) / 1000
    factor = Scales(rows).of(hazard.relation)
    return (
        hazard.rows * factor <= settings.lint_small_rows
        and hazard.bytes * factor <= SMALL_BYTES
        and hazard.held * factor < seconds
    )


def _unsaid(steps: Sequence[StepTrace], expected: Expected) -> Iterator[tuple[StepKey, HazardSeen]]:
    for step in steps:
        for hazard in step.hazards:
            if not said_codes(step.key, hazard, expected) & {
                hazard.code,
                *SAID_BY.get(hazard.code, ()),
            }:
                yield step.key, hazard


def said_codes(key: StepKey, hazard: HazardSeen, expected: Expected) -> set[str]:
    """Return the codes that the linter gave where a hazard belongs.

    Args:
        key: the step at which it was seen.
        hazard: what was seen; one of the whole migration belongs to all of its operations.
        expected: what the linter said.
    """
    return {
        code
        for (app_label, migration, operation), codes in expected.items()
        if (app_label, migration) == (key.app_label, key.migration)
        and (hazard.of_migration or _same_operation(operation, key.operation))
        for code in codes
    }


def _same_operation(said: str, ran: str) -> bool:
    """Whether one is the other, or a part of it."""
    return said == ran or ran.startswith(f"{said}.") or said.startswith(f"{ran}.")


def _paragraph(key: StepKey, hazard: HazardSeen, factor: float) -> str:
    entry = CATALOGUE[hazard.code]
    scaled = (
        f" Only a part of its rows was copied: in production it would be about "
        f"{hazard.held * factor:.1f} s."
        if factor > 1
        else ""
    )
    return (
        f"{key}: {hazard.code} ({entry.name}) happened on the copy, and lintmigrations had not "
        f"found it. {hazard.message}; the table has {hazard.rows} rows and "
        f"{hazard.bytes / 1e6:.1f} MB there.{scaled} The statement was: {hazard.statement}\n"
        f"Type `manage.py lintmigrations --explain {hazard.code}` for the way out, change the "
        "migration, and run rehearsemigrations again. If the wait is acceptable, run "
        'safemigrate with --waive no_downtime="REASON".'
    )
