"""Runs statements as one step of a plan under a tracer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.rehearsal.results import StatementTrace, StepKey, StepTrace
from django_safemigrations.rehearsal.trace import Limits, Tracer

KEY = StepKey("shop", "0002_parcels", "0", "expand", "a step")

PATIENT = Limits(long=60.0, slow=60.0)
"""Limits for machines that are busy with other tests: what is held for long there proves nothing."""


@contextmanager
def step(tracer: Tracer, key: StepKey = KEY) -> Iterator[None]:
    """One step, as `rehearsal.steps` tells of it."""
    tracer.step_begins(key)
    yield
    tracer.step_ends(key)
    transaction.on_commit(lambda: tracer.committed(key), using=tracer.connection.alias)


def execute(connection: BaseDatabaseWrapper, sql: Any, params: Any = None) -> None:
    """Run one statement through Django's cursor."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def traced(
    connection: BaseDatabaseWrapper,
    *statements: str | Callable[[], object],
    atomic: bool = False,
    **options: Any,
) -> StepTrace:
    """Run statements as one step, and return its trace.

    Args:
        connection: the database.
        statements: SQL, or what to call.
        atomic: whether they run in one transaction.
        options: of the tracer.
    """

    def run() -> None:
        with step(tracer):
            for statement in statements:
                if callable(statement):
                    statement()
                else:
                    execute(connection, statement)

    with Tracer(connection, **{"limits": PATIENT, **options}) as tracer:
        if atomic:
            with transaction.atomic(using=connection.alias):
                run()
        else:
            run()
    [found] = tracer.steps()
    return found


def modes(statement: StatementTrace) -> dict[str, set[str]]:
    """Return the modes of locks by the name of their relation, without schema and quotes."""
    found: dict[str, set[str]] = {}
    for lock in statement.locks:
        found.setdefault(plain(lock.relation), set()).add(lock.mode)
    return found


def plain(name: str) -> str:
    """Return a relation's name without schema and quotes."""
    return name.rpartition(".")[2].strip('"')


def codes(found: StepTrace) -> set[str]:
    """Return the codes of a step's hazards."""
    return {hazard.code for hazard in found.hazards}
