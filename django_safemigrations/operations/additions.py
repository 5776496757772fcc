"""Stages that add a column in an instant, and take away the default that old code needed."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import NOT_PROVIDED

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.values import sql_value
from django_safemigrations.postgres import new_columns
from django_safemigrations.postgres.runner import Runner


class _DefaultStage(FieldStage):
    """A stage about a column and the default that it has for a time.

    Args:
        model_name: the model.
        name: the field.
        value: a constant, or a callable that PostgreSQL has too.
    """

    def __init__(self, model_name: str, name: str, value: Any = NOT_PROVIDED) -> None:
        super().__init__(model_name, name)
        self.value = value

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave the value out where there is none."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "name": self.name}
        if self.value is not NOT_PROVIDED:
            kwargs["value"] = self.value
        return self.__class__.__qualname__, [], kwargs

    def default(self, editor: Any, model: Any) -> str | None:
        """Return the SQL of the default that the column is to have, None if it has none.

        Raises:
            UnsupportedChange: only Python can make the value.
        """
        field = model._meta.get_field(self.name)
        if self.value is NOT_PROVIDED:
            return new_columns.db_default(editor, field)
        found = sql_value(editor.connection, field, self.value)
        if found is None:
            raise UnsupportedChange(
                f"{self.value!r} can't be written as SQL, so it can't be the default of "
                f"{self.model_name}.{self.name}. Leave the value out of "
                f"{self.__class__.__name__} and fill the rows by BackfillNulls."
            )
        return found


@public
class AddColumn(_DefaultStage):
    """ADD COLUMN for a field, without the CHECK, UNIQUE, index or foreign key it may have.

    Args:
        model_name: the model.
        name: the field, as in the state after the change.
        value: the default that the column gets, for the INSERTs of old code, which do not
            name it: a constant, or a callable that PostgreSQL has too (``timezone.now``,
            ``uuid.uuid4``, …); without one, the field's ``db_default``.
        empty: leave the rows that are there NULL: the column is nullable at first, and its
            default is for new rows only, so that a volatile one writes no row anew.

    Raises:
        UnsupportedChange: there is a column of that name and another type.
        ViolatingRows: the value of a foreign key refers to nothing.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def __init__(
        self, model_name: str, name: str, value: Any = NOT_PROVIDED, empty: bool = False
    ) -> None:
        super().__init__(model_name, name, value)
        self.empty = empty

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what is not set."""
        name, args, kwargs = super().deconstruct()
        if self.empty:
            kwargs["empty"] = True
        return name, args, kwargs

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        field = after._meta.get_field(self.name)
        default = self.default(runner.editor, after)
        if default is not None and not self.empty:
            table = runner.catalog.table(after._meta.db_table)
            new_columns.refuse_missing_target(runner, table, after, field, default)
        new_columns.add(runner, after, field, default, empty=self.empty)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        new_columns.drop(runner, before, before._meta.get_field(self.name))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        field = after._meta.get_field(self.name)
        default = self.default(editor, after)
        return new_columns.add_statements(editor, after, field, default, empty=self.empty)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        column = before._meta.get_field(self.name).column
        return [new_columns.drop_statement(editor.quote_name(before._meta.db_table), column)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Add the column of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}"


@public
class DropColumnDefault(_DefaultStage):
    """DROP DEFAULT, when no old code is left whose INSERTs do not name the column.

    Args:
        model_name: the model.
        name: the field.
        value: as given to `AddColumn`, for the way back.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    finishes = "AddColumn"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        table = runner.catalog.table(after._meta.db_table)
        new_columns.drop_default(runner, table, after._meta.get_field(self.name).column)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Set it again: old code may come back, and its INSERTs do not name the column."""
        table = runner.catalog.find_table(before._meta.db_table)
        default = self.default(runner.editor, before)
        if table is not None and default is not None:
            column = before._meta.get_field(self.name).column
            new_columns.set_default(runner, table, column, default)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        column = after._meta.get_field(self.name).column
        table = editor.quote_name(after._meta.db_table)
        return [new_columns.drop_default_statement(table, column)]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that sets it again."""
        default = self.default(editor, before)
        column = before._meta.get_field(self.name).column
        table = editor.quote_name(before._meta.db_table)
        if default is None:
            return []
        return [new_columns.set_default_statement(table, column, default)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the default of {self.model_name}.{self.name} that old code needed"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_default"
