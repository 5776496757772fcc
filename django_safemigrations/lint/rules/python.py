"""The rule for RunPython: its function is read, and judged by what it does to which rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import router
from django.db.migrations import operations

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.loader import migration_path
from django_safemigrations.lint.rules.mixed import data_with_schema
from django_safemigrations.lint.rules.sql import run_sql
from django_safemigrations.lint.source import read_source

if TYPE_CHECKING:
    from django_safemigrations.lint.python import Reading


def run_python(operation: operations.RunPython, context: Context) -> Iterator[Observation]:
    """Read the function that runs forwards, and say which harm it does."""
    if operation.code is operations.RunPython.noop:
        return
    # Imported when the first function is met: most runs that are asked about few files need none.
    from django_safemigrations.lint.python import Unreadable, read
    from django_safemigrations.lint.python.state_facts import StateFacts
    from django_safemigrations.lint.python.verdicts import Place, judge

    path = migration_path(context.migration)
    facts = StateFacts(context)
    try:
        reading = read(operation.code, facts, path)
    except Unreadable as error:
        yield _not_readable(operation, error)
        return
    # Parsed already; the places of its lines are asked for when the findings are placed.
    read_source(path)
    one, why = _transaction(operation, context)
    place = Place(
        app_label=context.app_label,
        one_transaction=one,
        why_one=why,
        facts=facts,
        table=facts.table,
        databases=_databases(context),
    )
    seen = set()
    for observation in judge(reading, place):
        seen.add(observation.code)
        yield observation
    for observation in _sql(reading, context):
        if observation.code not in seen:
            seen.add(observation.code)
            yield observation
    yield from data_with_schema(operation, context, reading, place)


def _sql(reading: Reading, context: Context) -> Iterator[Observation]:
    """Yield what is found in the SQL that a function sends by itself."""
    from django_safemigrations.lint.python import Kind

    for event in reading.of(Kind.SQL):
        if event.sql is None:
            yield Observation(
                "DSM405",
                f"{reading.name}() puts SQL together while it runs ({event.text}): it is not "
                "inspected.",
                "Write it as a constant where that can be, or say what it does: "
                "# safemigrations: ignore DSM405 -- which lock it takes, and for how long",
                line=event.line or None,
            )
            continue
        # Parameters are values: any stands for them.
        counted = event.sql.count("%s") if event.parameters else 0
        given: Any = [(event.sql, [None] * counted)] if counted else event.sql
        for observation in run_sql(operations.RunSQL(given), context):
            yield replace(
                observation,
                message=f"{reading.name}(): {observation.message}",
                line=event.line or None,
            )


def _transaction(operation: operations.RunPython, context: Context) -> tuple[bool, str]:
    """Return whether the function runs in one transaction, and what makes it so."""
    if context.is_atomic():
        return True, "the migration is atomic"
    if operation.atomic:
        return True, "RunPython(atomic=True)"
    return False, ""


def _databases(context: Context) -> int:
    """Return on how many databases Django would run the migration."""
    if len(settings.DATABASES) < 2:
        return 1
    return sum(
        not (database.get("TEST") or {}).get("MIRROR")
        and router.allow_migrate(alias, context.app_label)
        for alias, database in settings.DATABASES.items()
    )


def _not_readable(operation: operations.RunPython, error: Exception) -> Observation:
    name = getattr(operation.code, "__qualname__", None) or repr(operation.code)
    return Observation(
        "DSM405",
        f"{name} {error}: what it does was not inspected.",
        "Define the function with def in the migration's file. Or say what it does: "
        "# safemigrations: ignore DSM405 -- which rows it changes, and in what transactions",
    )


RULES: dict[type, Rule] = {operations.RunPython: run_python}
