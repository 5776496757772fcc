"""Takes containers of operations apart, with the places by which plans, rehearsals and lint call them."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState


def leaves(migration: Migration) -> Iterator[tuple[str, Operation]]:
    """Yield what a migration runs in the database: its place, nested as "3.0", and the operation."""
    for index, operation in enumerate(migration.operations):
        yield from leaves_of(operation, str(index))


def leaves_of(operation: Operation, place: str) -> Iterator[tuple[str, Operation]]:
    """Yield what one operation runs in the database: itself, or what it holds."""
    if not isinstance(operation, SeparateDatabaseAndState):
        yield place, operation
        return
    for number, part in enumerate(operation.database_operations):
        yield from leaves_of(part, f"{place}.{number}")
