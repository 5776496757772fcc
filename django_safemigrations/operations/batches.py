"""Users' own data migrations: one operation that changes rows in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import OperationCategory
from django.db.migrations.operations.special import RunPython
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.row_writes import DELETE
from django_safemigrations.backfill.rows import RowWork
from django_safemigrations.backfill.statements import BatchStatement, StatementWork
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations import batching
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.operations.positions import position_of
from django_safemigrations.operations.row_changes import Change
from django_safemigrations.operations.row_functions import RowChange
from django_safemigrations.operations.row_statements import (
    BatchSQL,
    DeleteRows,
    InsertRows,
    UpdateRows,
)
from django_safemigrations.postgres.catalog import Catalog, Table
from django_safemigrations.postgres.fresh import is_fresh, may_hold_rows
from django_safemigrations.postgres.offline import postgres
from django_safemigrations.postgres.runner import runner


def _change(given: Any, argument: str) -> Change | None:
    """Return what to do, None for nothing.

    Raises:
        TypeError: it is nothing that can be done in batches.
    """
    if given is None or given is RunPython.noop:
        return None
    if isinstance(given, UpdateRows | DeleteRows | InsertRows | BatchSQL):
        return given
    if callable(given) and hasattr(given, "row_function"):
        return RowChange(given)
    if callable(given):
        name = getattr(given, "__name__", repr(given))
        raise TypeError(
            f"RunInBatches({argument}={name}): a function has to say what it writes. Make it a "
            f"function of one row and put @row_function(writes=[…]) above it; a function of apps "
            "and schema_editor is for migrations.RunPython."
        )
    raise TypeError(
        f"RunInBatches({argument}=…) takes UpdateRows, DeleteRows, InsertRows, BatchSQL, a "
        f"function with @row_function, or RunInBatches.noop, not {type(given).__name__}."
    )


@public
class RunInBatches(Stage):
    """Change the rows of a model in short transactions, throttled and resumable.

    For migrations with `atomic = False`, by itself or inside Expand or Contract.

    Args:
        model_name: the model whose rows are walked, of the same app, or "app_label.Model".
        forwards: what to do: `UpdateRows`, `DeleteRows`, `InsertRows`, `BatchSQL`, or a
            function with `row_function`.
        backwards: how to undo it, likewise; `RunInBatches.noop` if nothing has to be undone;
            without it the migration is irreversible.
        hints: given to the database routers' `allow_migrate`.
        elidable: whether squashing may leave it out.

    Raises:
        UnsupportedChange: a transaction is open and the table has rows.
        BackfillFailed: some rows could not be changed; names them. All others are changed.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched: ClassVar[bool] = True
    category = OperationCategory.PYTHON

    noop = staticmethod(RunPython.noop)
    DELETE = DELETE

    def __init__(
        self,
        model_name: str,
        forwards: Any,
        backwards: Any = None,
        hints: Mapping[str, Any] | None = None,
        elidable: bool = False,
    ) -> None:
        super().__init__(model_name)
        self.forwards_given, self.backwards_given = forwards, backwards
        self.change = _change(forwards, "forwards")
        self.undo = _change(backwards, "backwards")
        if forwards is None:
            raise TypeError("RunInBatches(forwards=None): say what to do with the rows.")
        self.hints = dict(hints or {})
        self.elidable = elidable  # type: ignore[misc]

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what is not set."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "forwards": self.forwards_given}
        if self.backwards_given is not None:
            kwargs["backwards"] = self.backwards_given
        if self.hints:
            kwargs["hints"] = self.hints
        if self.elidable:
            kwargs["elidable"] = True
        return self.__class__.__qualname__, [], kwargs

    @property
    def reversible(self) -> bool:  # type: ignore[override]
        """Whether there is a way back."""
        return self.backwards_given is not None

    def label(self, app_label: str) -> tuple[str, str]:
        """Return app label and name of the model, given the migration's app."""
        label, _, name = self.model_name.rpartition(".")
        return label or app_label, name

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table that is walked, None if there is no such model yet."""
        label, name = self.label(app_label)
        if (label, name.lower()) not in state.models:
            return None
        return str(state.apps.get_model(label, name)._meta.db_table)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Change the rows, or print how under sqlmigrate."""
        self._work(app_label, schema_editor, (to_state, from_state), self.change, backwards=False)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Undo it, or print how under sqlmigrate.

        Raises:
            NotImplementedError: there is no way back.
        """
        if not self.reversible:
            raise NotImplementedError("You cannot reverse this operation")
        self._work(app_label, schema_editor, (from_state, to_state), self.undo, backwards=True)

    def _work(
        self,
        app_label: str,
        editor: BaseDatabaseSchemaEditor,
        states: tuple[ProjectState, ProjectState],
        change: Change | None,
        *,
        backwards: bool,
    ) -> None:
        connection = editor.connection
        alias = connection.alias
        if change is None:
            if not editor.collect_sql:
                batching.forget(connection, position_of(self, app_label), backwards=not backwards)
            return
        if not editor.collect_sql and is_fresh(alias) and not may_hold_rows(alias):
            # Most test databases: there is no row, so nothing is even rendered.
            return
        apps, model = self._model(app_label, states)
        hints = {"model_name": model._meta.model_name, "model": model, **self.hints}
        if not router.allow_migrate(alias, model._meta.app_label, **hints):
            return
        if connection.vendor != "postgresql":
            if editor.collect_sql or not model._base_manager.using(alias).exists():
                return
            raise UnsupportedChange(
                f"RunInBatches on {model._meta.label} needs PostgreSQL, and database {alias!r} is "
                f"{connection.vendor}. Keep it from there by a router's allow_migrate."
            )
        if editor.collect_sql:
            told = change.statement(connection, apps, model)
            editor.collected_sql.extend(_printed(told, model))
            return
        with runner(editor) as means:
            table = means.catalog.table(model._meta.db_table)
            if means.catalog.is_empty(table):
                return
            at_once = means.in_transaction and is_fresh(alias)
            if not at_once:
                means.refuse_in_transaction(table, self.describe())
            work = change.work(connection, apps, model, _finder(connection))
            if at_once:
                # A squash has lost `atomic = False`, and made the rows itself.
                batching.run_at_once(means, work)
                return
            spec = self.backwards_given if backwards else self.forwards_given
            batching.run(means, work, position_of(self, app_label), spec, backwards=backwards)

    def _model(self, app_label: str, states: tuple[ProjectState, ProjectState]) -> tuple[Any, Any]:
        """Return historical apps and model: with the change, with a new column or an old one."""
        label, name = self.label(app_label)
        state = states[0] if (label, name.lower()) in states[0].models else states[1]
        state.clear_delayed_apps_cache()
        return state.apps, state.apps.get_model(label, name)

    def work_with(
        self,
        connection: BaseDatabaseWrapper,
        app_label: str,
        states: tuple[ProjectState, ProjectState],
        *,
        backwards: bool,
    ) -> StatementWork | RowWork:
        """Return what the engine runs, for a process that only has the ledger."""
        change = self.undo if backwards else self.change
        if change is None:
            raise UnsupportedChange(f"{self.describe()}: there is nothing to do.")
        apps, model = self._model(app_label, states)
        return change.work(connection, apps, model, _finder(connection))

    def describe(self) -> str:
        """Say what it does."""
        if self.change is None:
            return f"Do nothing with rows of {self.model_name}"
        return self.change.describe(self.model_name)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        model = self.model_name.rpartition(".")[2].lower()
        return f"{model}_{self.change.fragment}" if self.change is not None else model


def _finder(connection: BaseDatabaseWrapper) -> Callable[[Any], Table]:
    catalog = Catalog(connection)
    return lambda model: catalog.table(model._meta.db_table)


def _printed(told: BatchStatement | str, model: Any) -> list[str]:
    """Return what sqlmigrate prints: the statement of a batch, without the bounds that it gets."""
    if isinstance(told, str):
        return [f"-- {told}, in batches by key, each in its own transaction."]
    table = quote_table(model)
    return ["-- In batches by key, each in its own transaction:", f"{told.printed(table)};"]


def quote_table(model: Any) -> str:
    """Return the name of a model's table, quoted."""
    return postgres().ops.quote_name(model._meta.db_table)
