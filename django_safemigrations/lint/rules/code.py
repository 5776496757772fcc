"""Rules for what a migration runs besides Django's schema operations."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import operations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.finding import Observation


def irreversible(operation: Operation) -> Iterator[Observation]:
    """Django refuses to go back past it."""
    if operation.reversible:
        return
    if isinstance(operation, operations.RunSQL):
        hint = "Give it reverse_sql; if nothing has to be undone, reverse_sql=RunSQL.noop."
    elif isinstance(operation, operations.RunPython):
        hint = "Give it reverse_code; if nothing has to be undone, RunPython.noop."
    elif hasattr(operation, "backwards_given"):
        hint = "Give it backwards; if nothing has to be undone, RunInBatches.noop."
    else:
        hint = "Use an operation that can be reversed."
    yield Observation(
        "DSM401",
        f"{type(operation).__name__} can't be reversed: a rollback stops at this migration.",
        hint,
    )


def unknown_operation(operation: Operation) -> Observation:
    """Return the observation on an operation that neither Django nor this package ships."""
    cls = type(operation)
    return Observation(
        "DSM405",
        f"{cls.__module__}.{cls.__qualname__} is not an operation of Django or of "
        "django_safemigrations: what it does to the database is not known here.",
        "Look at its SQL with sqlmigrate, and say what you found: "
        "# safemigrations: ignore DSM405 -- which lock it takes, and for how long",
    )
