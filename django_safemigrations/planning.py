"""Builds the plan of a schedule: each operation with its SQL, locks, work, table and hazards."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.state import ProjectState

from django_safemigrations.lint import Finding, lint_migrations
from django_safemigrations.lint.sql.parser import is_installed
from django_safemigrations.operations import Stage
from django_safemigrations.phases import Phase
from django_safemigrations.plan import Plan, Statement, Step
from django_safemigrations.postgres.costs import Known, Waits
from django_safemigrations.postgres.lookup import Lookup, Size
from django_safemigrations.postgres.statements import classify
from django_safemigrations.schedule import Action, Entry, Key

PYTHON = "Python code: its SQL is known only when it runs"
STATE_ONLY = "changes Django's state only"


def build_plan(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    entries: Sequence[Entry],
    state: ProjectState,
    *,
    backwards: bool = False,
    findings: Iterable[Finding] | None = None,
) -> Plan:
    """Return the plan of a schedule's entries; nothing is executed.

    Args:
        connection: the database that would be migrated; only read, under a setting that
            makes PostgreSQL refuse every write.
        loader: the migrations.
        entries: what would run, in order.
        state: the state before; it is changed.
        backwards: the entries' migrations would be taken back, in the given order.
        findings: what lintmigrations says of them; found out if it is not given.
    """
    keys = [entry.key for entry in entries if entry.action is not Action.STEP_OVER]
    if findings is None:
        findings = lint_migrations(loader, keys)
    hazards = _by_operation(findings)
    builder = _Builder(connection, hazards, backwards=backwards)
    with _read_only(connection):
        for entry in entries:
            if entry.action is Action.STEP_OVER:
                state = entry.migration.mutate_state(state, preserve=False)
            elif entry.action is Action.RUN_PENDING or backwards:
                builder.add(entry, _state_before(connection, loader, entry.key))
            else:
                state = builder.add(entry, state)
    return Plan(tuple(builder.steps), connection.alias)


class _Builder:
    """Collects steps, remembering what earlier statements did."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        hazards: Mapping[tuple[Key, str], tuple[str, ...]],
        *,
        backwards: bool,
    ) -> None:
        self.connection = connection
        self.hazards = hazards
        self.backwards = backwards
        self.lookup = Lookup(connection)
        self.known = Known(self.lookup)
        self.steps: list[Step] = []

    def add(self, entry: Entry, state: ProjectState) -> ProjectState:
        """Add the steps of one migration and return the state after it."""
        steps: list[list[Step]] = []
        for index, operation in enumerate(entry.migration.operations):
            after = state.clone()
            operation.state_forwards(entry.migration.app_label, after)
            pieces = list(_pieces(operation, entry.migration.app_label, state, after, str(index)))
            steps.append([self._step(entry, *piece) for piece in pieces])
            state = after
        if self.backwards:
            steps = [found[::-1] for found in steps[::-1]]
        self.steps += [step for found in steps for step in found]
        return state

    def _step(
        self,
        entry: Entry,
        index: str,
        operation: Operation,
        described: Operation,
        before: ProjectState,
        after: ProjectState,
    ) -> Step:
        migration = entry.migration
        step = Step(
            app_label=migration.app_label,
            migration=migration.name,
            operation=index,
            phase=Phase(entry.phase),
            description=("Undo: " if self.backwards else "") + described.describe(),
            statements=(),
            table_rows=None,
            table_bytes=None,
            hazards=self._hazards(entry.key, index),
        )
        if isinstance(described, RunPython):
            return replace(step, note=PYTHON)
        if not described.reduces_to_sql:
            return replace(step, note="its SQL is known only when it runs")
        if _is_state_only(described):
            return replace(step, note=STATE_ONLY)
        try:
            sql = self._collect(migration, operation, before, after)
        except Exception as error:  # noqa: BLE001  introspection may miss what earlier steps make
            reason = str(error).strip().split("\n")[0]
            return replace(step, note=f"its SQL depends on the steps before it ({reason})")
        statements = []
        for text in sql:
            for classified in classify(text, self.known):
                cost = classified.cost
                statements.append(
                    Statement(classified.sql, cost.lock, cost.waits, cost.work, cost.table)
                )
        # Stages say in comments what their SQL alone does not.
        remarks = [remark for text in sql for remark in _remarks(text)]
        if any(s.blocks == Waits.UNKNOWN for s in statements) and self._is_harmless(
            described, step
        ):
            remarks.append(
                "its SQL was parsed: nothing in it blocks others for long or breaks them"
            )
        if not statements and not remarks:
            remarks = ["nothing that the models know of; what the catalog holds decides"]
        size = self._size(statement.table for statement in statements)
        return replace(
            step,
            statements=tuple(statements),
            note="; ".join(remarks),
            table_rows=size.rows if size else None,
            table_bytes=size.size if size else None,
        )

    def _is_harmless(self, operation: Operation, step: Step) -> bool:
        """Return whether lintmigrations has read the SQL of a step and found nothing in it."""
        read = isinstance(operation, RunSQL) and is_installed() and not self.backwards
        return read and not step.hazards

    def _hazards(self, key: Key, index: str) -> tuple[str, ...]:
        container, _, number = index.rpartition(".")
        # What is said of a container as a whole is shown with its first part.
        of_container = self.hazards.get((key, container), ()) if number == "0" else ()
        return of_container + self.hazards.get((key, index), ())

    def _collect(
        self, migration: Migration, operation: Operation, before: ProjectState, after: ProjectState
    ) -> list[str]:
        with self.connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
            if self.backwards:
                operation.database_backwards(migration.app_label, editor, after, before)
            else:
                operation.database_forwards(migration.app_label, editor, before, after)
        # What it defers to the end of the migration is shown with it.
        return list(map(str, editor.collected_sql))

    def _size(self, tables: Iterable[str | None]) -> Size | None:
        sizes = [self.lookup.size(table) for table in dict.fromkeys(tables) if table]
        return max((size for size in sizes if size), key=lambda size: size.size, default=None)


def _pieces(
    operation: Operation, app_label: str, before: ProjectState, after: ProjectState, index: str
) -> Iterator[tuple[str, Operation, Operation, ProjectState, ProjectState]]:
    """Yield what a container holds, one by one, as something that can be run by itself.

    Each comes with its index, itself, and the states that it would get.
    """
    nested = getattr(operation, "database_operations", None)
    if not isinstance(operation, SeparateDatabaseAndState) or not nested:
        yield index, operation, operation, before, after
        return
    staged = all(isinstance(part, Stage) for part in nested)
    running = before
    for number, part in enumerate(nested):
        alone = copy.copy(operation)
        alone.database_operations = [part]
        if staged:
            # Stages get the states around the whole change from their container.
            yield f"{index}.{number}", alone, part, before, after
            continue
        reached = running.clone()
        part.state_forwards(app_label, reached)
        yield f"{index}.{number}", part, part, running, reached
        running = reached


def _remarks(text: str) -> Iterator[str]:
    """Yield the comments with which a piece of SQL begins."""
    for line in text.split("\n"):
        if not line.startswith("--"):
            return
        remark = line.lstrip("-").strip().rstrip(".:")
        if remark:
            yield remark


def _is_state_only(operation: Operation) -> bool:
    return isinstance(operation, SeparateDatabaseAndState) and not operation.database_operations


def _by_operation(findings: Iterable[Finding]) -> dict[tuple[Key, str], tuple[str, ...]]:
    found: dict[tuple[Key, str], list[str]] = {}
    for finding in findings:
        key = (finding.app_label, finding.migration)
        codes = found.setdefault((key, finding.operation or "0"), [])
        if finding.code not in codes:
            codes.append(finding.code)
    return {place: tuple(codes) for place, codes in found.items()}


def _state_before(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, key: Key
) -> ProjectState:
    if key not in loader.graph.nodes:
        loader = MigrationLoader(connection, replace_migrations=False)
    return loader.project_state(key, at_end=False)


@contextlib.contextmanager
def _read_only(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let PostgreSQL refuse every write meanwhile: collecting SQL must never execute it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('default_transaction_read_only')")
        earlier = cursor.fetchone()[0]
        cursor.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
    try:
        yield
    finally:
        # A connection that is gone has no settings left to restore.
        with contextlib.suppress(Error), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('default_transaction_read_only', %s, false)", [earlier]
            )
