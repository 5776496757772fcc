"""Rules for what a migration runs besides Django's schema operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation


def run_sql(operation: operations.RunSQL, _context: Context) -> Iterator[Observation]:
    """Raw SQL is not read here."""
    text = _first_words(operation.sql)
    if text:
        yield Observation(
            "DSM405",
            f"This SQL is not inspected: {text}",
            "Look up its locks, and say what you found: "
            "# safemigrations: ignore DSM405 -- which lock it takes, and for how long",
        )


def _first_words(sql: Any) -> str:
    """Return the start of the first statement; empty if there is nothing to run."""
    if isinstance(sql, list | tuple):
        return next((text for part in sql if (text := _first_words(_statement(part)))), "")
    words = str(sql).split()
    text = " ".join(words)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _statement(part: Any) -> Any:
    return part[0] if isinstance(part, list | tuple) and part else part


def run_python(operation: operations.RunPython, context: Context) -> Iterator[Observation]:
    """A function is not read here."""
    if operation.code is operations.RunPython.noop:
        return
    name = getattr(operation.code, "__name__", repr(operation.code))
    where = "in one transaction" if context.is_atomic() else "in a migration without a transaction"
    yield Observation(
        "DSM402",
        f"{name}() runs {where} and is not known to work in batches: rows that it changes stay "
        "locked until its transaction ends.",
        "Work through the primary key in short transactions (`atomic = False`), and say so: "
        "# safemigrations: ignore DSM402 -- batches of 1000 by primary key",
    )


def irreversible(operation: Operation) -> Iterator[Observation]:
    """Django refuses to go back past it."""
    if operation.reversible:
        return
    if isinstance(operation, operations.RunSQL):
        hint = "Give it reverse_sql; if nothing has to be undone, reverse_sql=RunSQL.noop."
    elif isinstance(operation, operations.RunPython):
        hint = "Give it reverse_code; if nothing has to be undone, RunPython.noop."
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


RULES: dict[type, Rule] = {
    operations.RunSQL: run_sql,
    operations.RunPython: run_python,
}
