"""The two containers of a staged change, and what its stages have in common.

``Expand`` and ``Contract`` are Django's SeparateDatabaseAndState with a phase: what the
models become in ``state_operations``, how the database gets there in
``database_operations``. Where nobody is served (a database that had no migration applied
when the run began, and an empty table), and on other databases than PostgreSQL, the
state operations run in the database as Django wrote them and the stages do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.state import ProjectState

from django_safemigrations.phases import Phase
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.fresh import is_fresh, may_hold_rows
from django_safemigrations.postgres.runner import Runner, runner

PUBLIC_MODULE = "django_safemigrations.operations"
C = TypeVar("C", bound=type)


def public(cls: C) -> C:
    """Pin the module that users' migration files import the class from."""
    cls.__module__ = PUBLIC_MODULE
    return cls


class Stage(Operation):
    """One step of a staged change; changes no state and can be killed and run again.

    Stages belong inside `Expand` or `Contract`, which give each of them the states
    before and after the whole change.

    Args:
        model_name: the model whose table is worked on.
    """

    reduces_to_sql = True
    reversible = True
    category = OperationCategory.ALTERATION

    # What the linter has to know of a stage.
    concurrent: ClassVar[str] = ""
    """The statement that can't run in a transaction, if there is one."""
    batched: ClassVar[bool] = False
    """Whether it works in batches, each of which must be able to commit."""
    finishes: ClassVar[str] = ""
    """The stage, by class name, without which this one has nothing to do."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    @property
    def model_name_lower(self) -> str:
        """The model's key in a state."""
        return self.model_name.lower()

    @property
    def runs_when_fresh(self) -> bool:
        """Whether it also runs on a fresh database, because Django's own way fails there."""
        return False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: the container's state operations do."""

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model before and after the change; override it where one is missing."""
        return (
            from_state.apps.get_model(app_label, self.model_name),
            to_state.apps.get_model(app_label, self.model_name),
        )

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table that must be empty for Django's own way, None if there is none."""
        return str(state.apps.get_model(app_label, self.model_name)._meta.db_table)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Do the step, or print it under sqlmigrate."""
        self._do(
            self.forwards, self.collect_forwards, app_label, schema_editor, from_state, to_state
        )

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Undo the step, or print that under sqlmigrate; `from_state` is the state after it."""
        self._do(
            self.backwards, self.collect_backwards, app_label, schema_editor, from_state, to_state
        )

    def _do(
        self,
        work: Callable[[Runner, Any, Any], None],
        collect: Callable[[BaseDatabaseSchemaEditor, Any, Any], list[str]],
        app_label: str,
        editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        before, after = self.models(app_label, from_state, to_state)
        if not self.allow_migrate_model(editor.connection.alias, after):
            return
        if editor.collect_sql:
            for sql in collect(editor, before, after):
                editor.collected_sql.append(sql if sql.startswith("--") else f"{sql};")
            return
        with runner(editor) as means:
            work(means, before, after)

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Do the step; `before` and `after` are the model before and after the change."""
        raise NotImplementedError

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Undo the step; `before` is the model that has the change, `after` has it undone."""

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the step's SQL as far as the models tell it; reads and writes nothing."""
        raise NotImplementedError

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the SQL that undoes the step."""
        return []


class FieldStage(Stage):
    """A stage about one field.

    Args:
        model_name: the model.
        name: the field.
    """

    def __init__(self, model_name: str, name: str) -> None:
        super().__init__(model_name)
        self.name = name


class _Staged(SeparateDatabaseAndState):
    """A change whose database part is done in stages, in one phase of a deploy."""

    phase: Phase
    category = OperationCategory.ALTERATION

    def __init__(
        self,
        database_operations: list[Operation] | None = None,
        state_operations: list[Operation] | None = None,
    ) -> None:
        super().__init__(database_operations=database_operations, state_operations=state_operations)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Put what changes before how: the file reads from the top."""
        kwargs: dict[str, Any] = {}
        if self.state_operations:
            kwargs["state_operations"] = self.state_operations
        if self.database_operations:
            kwargs["database_operations"] = self.database_operations
        return self.__class__.__qualname__, [], kwargs

    @property
    def reversible(self) -> bool:  # type: ignore[override]
        """Whether everything it holds can be undone."""
        return all(operation.reversible for operation in self.database_operations)

    def _as_django_would(
        self, app_label: str, editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> bool:
        """Whether the state operations are to run in the database, instead of the stages."""
        stages = [stage for stage in self.database_operations if isinstance(stage, Stage)]
        if len(stages) < len(self.database_operations):
            # Something written by hand, which the state operations can't stand for.
            return False
        connection = editor.connection
        if connection.vendor != "postgresql":
            return True
        if editor.collect_sql or not is_fresh(connection.alias):
            return False
        if any(stage.runs_when_fresh for stage in stages):
            return False
        named = {stage.db_table(app_label, state) for stage in stages}
        tables = [table for table in named if table is not None]
        if any('"' in table for table in tables):
            # Django finds no constraint or index of a table whose schema is named: its statements
            # would leave them, and say nothing.
            return False
        if not may_hold_rows(connection.alias):
            return True
        catalog = Catalog(connection)
        return all(_is_empty(catalog, table) for table in tables)

    def _plainly(
        self,
        app_label: str,
        editor: BaseDatabaseSchemaEditor,
        state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the state operations in the database, as Django would."""
        for number, operation in enumerate(self.state_operations, start=1):
            after = to_state
            if number < len(self.state_operations):
                # Rendering models anew is what costs time here; the last state is there already.
                after = state.clone()
                operation.state_forwards(app_label, after)
            operation.database_forwards(app_label, editor, state, after)
            state = after

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the stages, each with the states before and after the change."""
        _run_deferred(schema_editor)
        if self._as_django_would(app_label, schema_editor, from_state):
            self._plainly(app_label, schema_editor, from_state, to_state)
            return
        # Between stages, which get the states around the whole change, other operations get
        # states of their own, as in Django's SeparateDatabaseAndState.
        state = from_state
        for operation in self.database_operations:
            if isinstance(operation, Stage):
                operation.database_forwards(app_label, schema_editor, from_state, to_state)
                continue
            after = state.clone()
            operation.state_forwards(app_label, after)
            operation.database_forwards(app_label, schema_editor, state, after)
            state = after

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Undo the stages, the last one first."""
        _run_deferred(schema_editor)
        if self._as_django_would(app_label, schema_editor, from_state):
            plain = SeparateDatabaseAndState(database_operations=self.state_operations)
            plain.database_backwards(app_label, schema_editor, from_state, to_state)
            return
        befores: list[ProjectState] = []
        state = to_state
        for operation in self.database_operations:
            befores.append(state)
            if not isinstance(operation, Stage):
                state = state.clone()
                operation.state_forwards(app_label, state)
        for operation, before in reversed(
            list(zip(self.database_operations, befores, strict=True))
        ):
            if isinstance(operation, Stage):
                operation.database_backwards(app_label, schema_editor, from_state, to_state)
                continue
            operation.database_backwards(app_label, schema_editor, state, before)
            state = before

    def describe(self) -> str:
        """Say what changes, and in which phase."""
        told = self.state_operations or self.database_operations
        return f"{self.phase.capitalize()}: {'; '.join(o.describe() for o in told) or 'nothing'}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        told = self.state_operations or self.database_operations
        fragments = [operation.migration_name_fragment for operation in told]
        return "_".join(fragment for fragment in fragments if fragment)


def _run_deferred(editor: BaseDatabaseSchemaEditor) -> None:
    """Run what Django has put off to the end of the migration.

    A squash makes a table and changes it in one migration, and the change has to find the
    indexes and foreign keys that the table was made with.
    """
    if editor.connection.vendor != "postgresql" or editor.collect_sql:
        return
    while editor.deferred_sql:
        editor.execute(editor.deferred_sql.pop(0), None)


def _is_empty(catalog: Catalog, name: str) -> bool:
    if not catalog.has_pages(name):
        # Usual for most tables of a test database, and worth a query less.
        return True
    table = catalog.find_table(name)
    return table is None or (table.kind == "r" and catalog.is_empty(table))


@public
class Expand(_Staged):
    """A change, or its first part, that runs while only old code serves.

    Afterwards old and new code both work.

    Args:
        database_operations: how the database changes: stages, or any operations.
        state_operations: how the models change, in Django's own operations.
    """

    phase = Phase.EXPAND


@public
class Contract(_Staged):
    """The part of a change that runs when no old code is left.

    Args:
        database_operations: how the database changes: stages, or any operations.
        state_operations: how the models change, in Django's own operations.
    """

    phase = Phase.CONTRACT
