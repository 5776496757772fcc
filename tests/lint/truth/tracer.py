"""Runs the operations of a case as plain Django would, on tables with rows, and observes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import DatabaseError, NotSupportedError, connection, models, transaction
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.kit.locks import observe_locks
from tests.lint.truth.cases import APP, Case
from tests.lint.truth.facts import SCHEMA, STOPS_WRITES, Facts, Snapshot, locks_held
from tests.lint.truth.rows import Rows
from tests.lint.truth.statements import Code


class CantTraceError(Exception):
    """The tables of a case can't be made, or one of its operations can't be run, by Django."""


@dataclass(frozen=True)
class Traced:
    """One operation that ran on the database, with what it did.

    Attributes:
        index: position in the migration of the operation, or of its container.
        operation: the operation itself.
        facts: what it did.
        before: the models before it.
    """

    index: int
    operation: Operation
    facts: Facts
    before: ProjectState


def trace(case: Case) -> list[Traced]:
    """Run a case and return what each of its operations did.

    Raises:
        CantTraceError: Django or PostgreSQL refuse something, whatever the rows are.
    """
    with _schema():
        return list(_Tracer(case).run())


@contextmanager
def _schema() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        cursor.execute(f"SET search_path = {SCHEMA}, public")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            cursor.execute("RESET search_path")


class _Tracer:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.state = case.build_state()
        self.operations = case.build_operations()
        self.rows = Rows(set())
        self.held: dict[int, frozenset[str]] = {}
        self.used: frozenset[int] = frozenset()
        self.sizes: dict[int, int] = {}
        self.asked: list[tuple[Facts, Code]] = []
        self.rendered: ProjectState | None = None

    def run(self) -> Iterator[Traced]:
        try:
            old = self.case.build_state().apps.get_models(include_auto_created=True)
        except (FieldError, FieldDoesNotExist, ValueError, LookupError, TypeError) as error:
            raise CantTraceError(f"{type(error).__name__}: {error}") from error
        self.rows = Rows(_with_nulls(old, self.case.build_operations()))
        self._create(old)
        tables = Snapshot.take(connection).tables
        given = {model._meta.db_table: self.rows.count(model) for model in old}
        self.used = frozenset(tables)
        self.sizes = {oid: given.get(table.name, 0) for oid, table in tables.items()}
        found = []
        for index, operation in enumerate(self.operations):
            found += list(self._operation(index, operation))
        for facts, code in self.asked:
            with transaction.atomic():
                failing = code.failures()
            facts.still_broken = {
                statement: state
                for statement, state in facts.broken.items()
                if statement in failing
            }
        yield from found

    def _create(self, old: list[type[models.Model]]) -> None:
        try:
            # Not the editor's own transaction: it stays open when a deferred statement fails.
            with transaction.atomic(), connection.schema_editor(atomic=False) as editor:
                for model in old:
                    if model._meta.auto_created or not model._meta.managed or model._meta.proxy:
                        continue
                    editor.create_model(model)
            with transaction.atomic():
                for model in old:
                    self.rows.fill(connection, model)
        except (DatabaseError, FieldError, FieldDoesNotExist, AssertionError) as error:
            raise CantTraceError(f"{type(error).__name__}: {error}") from error

    def _operation(self, index: int, operation: Operation) -> Iterator[Traced]:
        nested = getattr(operation, "database_operations", None)
        if nested is not None:
            whole = self.state.clone()
            operation.state_forwards(APP, whole)
            for inside in nested:
                yield from self._operation(index, inside)
            self.state, self.rendered = whole, None
            return
        before = self.state
        facts = self._observe(operation, before)
        facts.reversible = operation.reversible
        for table, modes in facts.locks.items():
            if self.case.atomic:
                self.held[table] = self.held.get(table, frozenset()) | modes
        yield Traced(index, operation, facts, before)

    def _observe(self, operation: Operation, before: ProjectState) -> Facts:
        try:
            self.state = before.clone()
            operation.state_forwards(APP, self.state)
            # Rendered apart: changing a rendered state renders it once more for each change.
            earlier = self.rendered or _rendered(before)
            later = self.rendered = _rendered(self.state)
        except (FieldError, FieldDoesNotExist, ValueError, LookupError) as error:
            raise CantTraceError(f"{type(error).__name__}: {error}") from error
        if not self.case.atomic and type(operation).__name__.endswith("Concurrently"):
            return self._observe_concurrent(operation, earlier, later)
        return self._observe_in_transaction(operation, earlier, later)

    def _facts(self, **more: Any) -> Facts:
        return Facts(used=self.used, sizes=self.sizes, held=dict(self.held), **more)

    def _observe_in_transaction(
        self, operation: Operation, before: ProjectState, after: ProjectState
    ) -> Facts:
        error = ""
        for attempt in range(2):
            try:
                with transaction.atomic():
                    facts = self._attempt(operation, before, after)
            except ValueError as failure:
                raise CantTraceError(str(failure)) from failure
            except NotSupportedError:
                # CONCURRENTLY in a transaction: nothing can make it run.
                snapshot = Snapshot.take(connection)
                return self._facts(before=snapshot, after=snapshot, error="25001")
            except (DatabaseError, FieldError) as failure:
                if attempt:
                    raise CantTraceError(f"{type(failure).__name__}: {failure}") from failure
                error = str(getattr(failure.__cause__, "sqlstate", "")) or type(failure).__name__
                if isinstance(failure, FieldError) and not isinstance(
                    operation, operations.RenameModel
                ):
                    raise CantTraceError(str(failure)) from failure
                if isinstance(failure, FieldError):
                    snapshot = Snapshot.take(connection)
                    return self._facts(before=snapshot, after=snapshot, error=error)
                # The rows were in its way; what it does without them is a fact as well.
                self._empty(before, operation)
            else:
                facts.error = error
                if error:
                    self._fill_again(after, operation)
                return facts
        raise AssertionError("not reached")

    def _attempt(self, operation: Operation, before: ProjectState, after: ProjectState) -> Facts:
        code = Code(connection, before.apps.get_models(include_auto_created=True), self.rows)
        first = Snapshot.take(connection)
        sent: list[str] = []
        try:
            with transaction.atomic():
                with connection.execute_wrapper(_recorder(sent)):
                    self._run(operation, before, after)
                locks = locks_held(connection)
                facts = self._facts(before=first, after=Snapshot.take(connection), locks=locks)
                facts.updates = any(sql.lstrip().upper().startswith("UPDATE") for sql in sent)
                if first.shape() == facts.after.shape():
                    return facts
                failing = code.failures()
                if not failing:
                    return facts
                raise _AgainError
        except _AgainError:
            # Whether they failed before as well is asked only if they fail at all.
            earlier = code.failures()
            self._run(operation, before, after)
        facts.broken = {
            statement: state for statement, state in failing.items() if statement not in earlier
        }
        facts.failed_before = any(kind == "insert" for _, kind in earlier)
        if facts.broken:
            self.asked.append((facts, code))
        return facts

    def _run(self, operation: Operation, before: ProjectState, after: ProjectState) -> None:
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards(APP, editor, before, after)

    def _observe_concurrent(
        self, operation: Operation, before: ProjectState, after: ProjectState
    ) -> Facts:
        first = Snapshot.take(connection)
        pid = connection.connection.info.backend_pid
        with observe_locks(pid, str(connection.settings_dict["NAME"])) as observed:
            self._run(operation, before, after)
        facts = self._facts(before=first, after=Snapshot.take(connection))
        names = {table.name for table in first.tables.values()}
        facts.concurrent = not any(
            held.mode in STOPS_WRITES and held.relation.rpartition(".")[2] in names
            for held in observed.held
        )
        if isinstance(operation, AddIndexConcurrently):
            try:
                self._run(operation, before, after)
            except DatabaseError as error:
                facts.again = str(getattr(error.__cause__, "sqlstate", ""))
        return facts

    def _empty(self, before: ProjectState, operation: Operation) -> None:
        name = getattr(operation, "model_name", None) or getattr(operation, "name", "")
        model = before.apps.get_model(APP, str(name))
        with transaction.atomic(), connection.cursor() as cursor:
            # As a replica would: what points to the rows is not asked.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")

    def _fill_again(self, after: ProjectState, operation: Operation) -> None:
        """Give the operations after it rows to read."""
        name = getattr(operation, "model_name", None) or getattr(operation, "name", "")
        try:
            model = after.apps.get_model(APP, str(name))
            with transaction.atomic():
                self.rows.fill(connection, model)
        except (LookupError, DatabaseError):
            # They find an empty table, then.
            return


class _AgainError(Exception):
    """Rolls an operation back that is to be run once more."""


def _recorder(sent: list[str]) -> Any:
    def record(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        sent.append(str(sql))
        return execute(sql, params, many, context)

    return record


def _rendered(state: ProjectState) -> ProjectState:
    copy = state.clone()
    assert copy.apps is not None
    return copy


def _with_nulls(known: list[type[models.Model]], given: list[Operation]) -> set[tuple[str, str]]:
    """Return the nullable columns, but for those that would only make an operation fail."""
    found = {
        (model._meta.db_table, field.name)
        for model in known
        for field in model._meta.local_concrete_fields
        if field.null
    }
    for operation in given:
        for inside in [operation, *(getattr(operation, "database_operations", None) or ())]:
            if isinstance(inside, operations.AlterField) and not (
                inside.field.null or inside.field.has_default() or inside.field.has_db_default()
            ):
                found -= {pair for pair in found if pair[1] == inside.name}
    return found
