"""What plain Django would have made of a database: the yardstick of a plan's end."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.state import ProjectState

from django_safemigrations.operations.base import Contract, Expand, Stage
from django_safemigrations.rehearsal.comparison.beginnings import is_begun
from django_safemigrations.rehearsal.comparison.differing import differences
from django_safemigrations.rehearsal.comparison.fingerprints import Fingerprint, fingerprint

NAMES = ("with plain Django", "with this plan")


@dataclass(frozen=True)
class PlainSchema:
    """What plain Django makes of an empty copy.

    Attributes:
        fingerprint: the catalog at the end; None if it did not get there.
        not_run: the project's own operations that failed without rows, and why.
        error: why there is no fingerprint.
    """

    fingerprint: Fingerprint | None
    not_run: tuple[str, ...] = ()
    error: str = ""

    def against(self, rehearsed: Fingerprint) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return how what was rehearsed differs, and what could not be compared.

        Where an own operation failed for want of rows, a difference may be what it would
        have made: then it is told as not compared.
        """
        if self.fingerprint is None:
            return (), (f"the end with what plain Django would make: {self.error}",)
        lines = differences(self.fingerprint, rehearsed, names=NAMES)
        if not self.not_run:
            return lines, ()
        doubtful = (f"{line} (perhaps because of the operation that did not run)" for line in lines)
        return (), (*self.not_run, *doubtful)


def plain_fingerprint(
    connection: BaseDatabaseWrapper,
    migrations: Sequence[Migration],
    state: ProjectState,
    *,
    stepped_over: frozenset[tuple[str, str]] = frozenset(),
) -> PlainSchema:
    """Run a plan as plain Django would, on a schema-only copy of the start.

    Of Expand and Contract only the state operations run, the way Django runs them. Own
    operations (RunSQL, RunPython, …) run as they are, but without rows. A Contract whose
    Expand is not in the plan runs as it is: the copy holds what it has to take away.

    Args:
        connection: a database with the schema of the start and no rows; it is changed. Its
            alias must lead nowhere else while this runs: RunPython goes by the alias.
        migrations: those of the plan, in order.
        state: the models at the start.
        stepped_over: (app label, name) of contracts in the plan whose state is in `state`
            already, since they were stepped over by an earlier run.
    """
    state = state.clone()
    not_run: list[str] = []
    expanded: list[tuple[str, Stage]] = []
    with _names_of_schemas(connection, state):
        for migration in migrations:
            mutates = (migration.app_label, migration.name) not in stepped_over
            try:
                state = _run(connection, migration, state, expanded, not_run, mutates=mutates)
            except Exception as error:  # noqa: BLE001 - said where the comparison is missing
                return PlainSchema(
                    None,
                    tuple(not_run),
                    f"{migration} fails there: {type(error).__name__}: {_one_line(error)}",
                )
    return PlainSchema(fingerprint(connection), tuple(not_run))


def _run(
    connection: BaseDatabaseWrapper,
    migration: Migration,
    state: ProjectState,
    expanded: list[tuple[str, Stage]],
    not_run: list[str],
    *,
    mutates: bool,
) -> ProjectState:
    start = state
    with connection.schema_editor(atomic=migration.atomic) as editor:
        for index, written in enumerate(migration.operations):
            for operation in plain_operations(written, migration.app_label, expanded):
                part = Migration(migration.name, migration.app_label)
                # Django declares both on the class, and sets them on instances of a squash, too.
                vars(part).update(operations=[operation], atomic=migration.atomic)
                before = state.clone()
                # A savepoint, so that what fails takes only itself along.
                own = transaction.atomic(connection.alias) if migration.atomic else nullcontext()
                try:
                    with own:
                        state = part.apply(state, editor)
                except Exception as error:
                    if not _is_own(operation):
                        raise
                    not_run.append(
                        f"{migration} operation {index} ({operation.describe()}): it fails on a "
                        f"copy without rows: {type(error).__name__}: {_one_line(error)}"
                    )
                    state = before
                    operation.state_forwards(migration.app_label, state)
            if isinstance(written, Expand | Contract):
                stages = (o for o in written.database_operations if isinstance(o, Stage))
                expanded.extend((migration.app_label, stage) for stage in stages)
    return state if mutates else start


def plain_operations(
    operation: Operation, app_label: str, expanded: Sequence[tuple[str, Stage]]
) -> Iterator[Operation]:
    """Yield what plain Django would run in place of an operation.

    Args:
        operation: one of a migration.
        app_label: of its migration.
        expanded: app label and stage of all that came before it in the plan.
    """
    if not isinstance(operation, Expand | Contract):
        yield operation
        return
    inner = operation.database_operations
    stages = [one for one in inner if isinstance(one, Stage)]
    if operation.state_operations and inner and not stages:
        # By hand: like Django's SeparateDatabaseAndState, the database part is meant.
        yield operation
        return
    if isinstance(operation, Contract) and not is_begun(operation, stages, app_label, expanded):
        yield operation
        return
    own = [one for one in inner if not isinstance(one, Stage)]
    yield from operation.state_operations
    for one in own:
        yield SeparateDatabaseAndState(database_operations=[one])


def _is_own(operation: Operation) -> bool:
    """Whether an operation is the project's own, of which nobody knows what it needs."""
    if isinstance(operation, SeparateDatabaseAndState):
        return any(_is_own(one) for one in operation.database_operations)
    module = type(operation).__module__
    return not module.startswith("django.db.migrations.operations.") or module.endswith(".special")


@contextmanager
def _names_of_schemas(connection: BaseDatabaseWrapper, state: ProjectState) -> Iterator[None]:
    """Help Django with tables like `crm"."order`, whose constraints and indexes it does not find.

    It drops what it does not find without a word, and would be no yardstick.
    """
    introspection: Any = connection.introspection
    original = introspection.get_constraints
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        path = cursor.fetchone()[0]
        cursor.execute(
            "SELECT string_agg(quote_ident(nspname), ', ') FROM pg_namespace"
            " WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND nspname <> 'public'"
        )
        others = cursor.fetchone()[0]
    needed = others and any(
        '"' in str(model.options.get("db_table", "")) for model in state.models.values()
    )
    if not needed:
        yield
        return

    def get_constraints(cursor: Any, table_name: str) -> Any:
        return original(cursor, table_name.rpartition('"."')[2].strip('"'))

    introspection.get_constraints = get_constraints
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [f"{path}, {others}"])
        yield
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [path])
    finally:
        del introspection.get_constraints


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or traceback.format_exception_only(error)[-1].strip()
