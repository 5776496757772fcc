"""Stages that remove a table: first its foreign keys let go, then it is dropped."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from django.db.models import CASCADE, Field

from django_safemigrations.operations.bare import bare_model
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.postgres import loosening, not_null
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.dropping import (
    drop_table,
    outgoing_keys,
    refuse_dependents,
    table_dependents,
)
from django_safemigrations.postgres.foreign_keys import keys_of, not_valid, statement_of
from django_safemigrations.postgres.runner import Runner


class _TableStage(Stage):
    """A stage about the table of a model, or of one of its many-to-many fields.

    Args:
        model_name: the model.
        name: a many-to-many field, whose own table is meant; without it, the model's.
    """

    def __init__(self, model_name: str, name: str = "") -> None:
        super().__init__(model_name)
        self.name = name

    @property
    def told(self) -> str:
        """The model or field, for descriptions."""
        return f"{self.model_name}.{self.name}" if self.name else self.model_name

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return "_".join(filter(None, (self.model_name_lower, self.name.lower(), "table")))


@public
class RelaxTable(_TableStage):
    """Makes the foreign keys of a table let go, so that new code can delete what they refer to.

    New code knows nothing of the table's rows. What its foreign keys did in Django
    (``on_delete=CASCADE``) PostgreSQL does from now on (ON DELETE CASCADE); any other key
    becomes ON DELETE SET NULL. Old code goes on using the table.

    Args:
        model_name: the model, as in the state before the change.
        name: a many-to-many field, whose own table is meant; without it, the model's.

    Raises:
        UnsupportedChange: a view or the like depends on the table; it is named, and nothing
            was changed.
        ViolatingRows: on the way back, rows refer to nothing, or to NULL where the field
            forbids it.

    Locks: ACCESS EXCLUSIVE for an instant on the table and on each that it refers to, no
    scan.
    Source: https://www.postgresql.org/docs/current/ddl-constraints.html
    """

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model whose table it is, twice, from the state that has it."""
        for state in (from_state, to_state):
            model = self._find(app_label, state)
            if model is not None:
                return model, model
        raise LookupError(f"{app_label}.{self.told} is in neither state.")

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table, None where the state does not have it."""
        model = self._find(app_label, state)
        return str(model._meta.db_table) if model is not None else None

    def _find(self, app_label: str, state: ProjectState) -> Any:
        if (app_label, self.model_name_lower) not in state.models:
            return None
        model = state.apps.get_model(app_label, self.model_name)
        if not self.name:
            return model
        fields = {field.name: field for field in model._meta.local_many_to_many}
        field: Any = fields.get(self.name)
        return field.remote_field.through if field is not None else None

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Make them let go."""
        table = runner.catalog.find_table(before._meta.db_table)
        if table is None:
            return
        refuse_dependents(
            table_dependents(runner, table), f"Table {table.qualified}", "Nothing was changed."
        )
        cascading = {f.column for f in _related(before) if _cascades(f)}
        for key in outgoing_keys(runner, table):
            if key.to_table_oid == table.oid:
                # New code knows neither end.
                continue
            if set(key.columns) <= cascading:
                loosening.loosen(runner, table, key, loosening.CASCADE)
                continue
            for column in key.columns:
                not_null.drop_not_null(runner, table, column)
            loosening.loosen(runner, table, key, loosening.SET_NULL)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Make them hold again."""
        table = runner.catalog.table(after._meta.db_table)
        for field in _related(after):
            keys = keys_of(runner, table, field.column)
            loosening.tighten(runner, after, field.name, keys)
            if not field.null and not field.primary_key:
                not_null.set_not_null(runner, table, field.column)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the model tells them."""
        table = editor.quote_name(before._meta.db_table)
        printed = []
        for field in _related(before):
            if not field.db_constraint or field.target_field.model is before:
                continue
            name, _ = statement_of(editor, before, field)
            action = loosening.CASCADE if _cascades(field) else loosening.SET_NULL
            if action == loosening.SET_NULL and not field.null:
                column = quote(field.column)
                printed.append(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
            printed += [
                f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}",
                loosening.loose_statement(
                    table, loosening.printed_key(editor, before, field), action
                ),
            ]
        return printed

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that make them hold again."""
        table = editor.quote_name(after._meta.db_table)
        printed = []
        for field in _related(after):
            if field.db_constraint and field.target_field.model is not after:
                name, statement = statement_of(editor, after, field)
                printed += [
                    f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}",
                    not_valid(statement, name),
                    f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(name)}",
                ]
        return printed

    def describe(self) -> str:
        """Say what it does."""
        return f"Let rows be deleted that {self.told} refers to"


def _related(model: Any) -> list[Any]:
    return [field for field in model._meta.local_fields if field.remote_field]


def _cascades(field: Any) -> bool:
    """Whether a row goes with the one that it refers to, in Django or in the database."""
    on_delete = field.remote_field.on_delete
    return on_delete is CASCADE or getattr(on_delete, "__name__", "") == "DB_CASCADE"


@public
class DropTable(_TableStage):
    """DROP TABLE of a deleted model, or of a removed many-to-many field, with its foreign keys.

    The way back creates the table again, empty, with its indexes and constraints; its
    foreign keys come back with `RelaxTable`.

    Args:
        model_name: the model.
        fields: its columns as fields without relations: what the way back creates.
        options: of its Meta, with ``db_table``.
        name: a many-to-many field, whose own table is meant; without it, the model's.

    Raises:
        UnsupportedChange: a view, a foreign key or the like depends on the table; it is
            named, and nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant; for each foreign key on the referenced table
    too, in a transaction of its own.
    Source: https://www.postgresql.org/docs/current/sql-droptable.html
    """

    finishes = "RelaxTable"
    serialization_expand_args = ["fields", "options"]

    def __init__(
        self,
        model_name: str,
        fields: list[tuple[str, Field[Any, Any]]],
        options: dict[str, Any],
        name: str = "",
    ) -> None:
        super().__init__(model_name, name)
        self.fields = fields
        self.options = options

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave the field out where there is none."""
        kwargs: dict[str, Any] = {"model_name": self.model_name}
        if self.name:
            kwargs["name"] = self.name
        kwargs.update(fields=self.fields, options=self.options)
        return self.__class__.__qualname__, [], kwargs

    @property
    def whole_tables(self) -> tuple[str, ...]:
        """The tables that come or go as a whole."""
        return (str(self.options["db_table"]),)

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the table as a model without relations, twice."""
        name = f"{self.model_name}_{self.name}" if self.name else self.model_name
        model = bare_model(app_label, name, self.fields, self.options)
        return model, model

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table."""
        return self.whole_tables[0]

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        table = runner.catalog.find_table(before._meta.db_table)
        if table is not None:
            drop_table(runner, table)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Create it again, empty."""
        if runner.catalog.find_table(after._meta.db_table) is not None:
            return
        editor: Any = runner.editor
        kept = list(editor.deferred_sql)

        def create() -> None:
            editor.deferred_sql[:] = []
            try:
                editor.create_model(after)
                for statement in editor.deferred_sql:
                    editor.execute(statement, None)
            finally:
                editor.deferred_sql[:] = kept

        runner.transaction(create, f"table {quote(after._meta.db_table)}")

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return [f"DROP TABLE {editor.quote_name(before._meta.db_table)}"]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that creates the table."""
        sql, params = editor.table_sql(after)
        return [str(sql % tuple(map(editor.quote_value, params)) if params else sql)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the table of {self.told}"
