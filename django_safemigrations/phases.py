"""The two phases of a change: what runs while old code serves, and what waits until it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from django_safemigrations.exceptions import MixedPhases

if TYPE_CHECKING:
    from django.db.migrations import Migration
    from django.db.migrations.operations.base import Operation


class Phase(StrEnum):
    """When an operation may run in a rolling deploy."""

    EXPAND = "expand"
    """Only old code serves while it runs; old and new code both work afterwards."""
    CONTRACT = "contract"
    """No old code is left when it runs."""


PHASES = tuple(Phase)


def operation_phase(operation: Operation) -> Phase | None:
    """Return the phase an operation carries, or None for an operation that carries none.

    Django's own operations carry none and run with the expand phase; a
    ``SeparateDatabaseAndState`` has the phase of what it holds.

    Raises:
        MixedPhases: a container holds operations of both phases.
    """
    phases = set(_phases(operation))
    if len(phases) > 1:
        raise MixedPhases(f"{operation.__class__.__name__} holds operations of both phases.")
    return phases.pop() if phases else None


def _phases(operation: Operation) -> Iterator[Phase]:
    own = getattr(operation, "phase", None)
    if own in PHASES:
        yield Phase(own)
        return
    for nested in getattr(operation, "database_operations", ()):
        yield from _phases(nested)


def migration_phase(migration: Migration) -> Phase:
    """Return the phase in which a migration runs.

    A squashed migration holds whole chains and only ever runs where its tables
    do not exist yet, so it belongs to the expand phase.

    Raises:
        MixedPhases: the migration holds operations of both phases.
    """
    if migration.replaces:
        return Phase.EXPAND
    phases = {operation_phase(operation) or Phase.EXPAND for operation in migration.operations}
    if len(phases) > 1:
        raise MixedPhases(
            f"{migration.app_label}.{migration.name} mixes expand and contract operations. "
            "Move the Contract operations into a migration of their own that depends on it."
        )
    return phases.pop() if phases else Phase.EXPAND
