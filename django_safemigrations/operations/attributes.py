"""Stages about what a column has besides its type: default, comment, the right to be NULL."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import literal, quote
from django_safemigrations.postgres.runner import Runner


class _ColumnStage(FieldStage):
    """A stage of one instant statement, which is repeated without harm.

    Args:
        model_name: the model.
        name: the field.
    """

    def statement(self, editor: Any, model: Any) -> str:
        """Return the statement that gives the column what the model's field has."""
        raise NotImplementedError

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Execute it."""
        runner.execute(self.statement(runner.editor, after))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Execute that of the field before the change."""
        runner.execute(self.statement(runner.editor, after))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return [self.statement(editor, after)]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return that of the field before the change."""
        return [self.statement(editor, after)]


@public
class AlterColumnDefault(_ColumnStage):
    """SET DEFAULT or DROP DEFAULT: the column gets the field's ``db_default``, or none.

    Unlike Django's AlterField it leaves a foreign key of the column alone.

    Args:
        model_name: the model.
        name: the field.

    Locks: ACCESS EXCLUSIVE for an instant, no scan, whatever the default.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def statement(self, editor: Any, model: Any) -> str:
        """Return the ALTER COLUMN."""
        field = model._meta.get_field(self.name)
        change = "DROP DEFAULT"
        if field.has_db_default():
            sql, params = editor.db_default_sql(field)
            change = f"SET DEFAULT {editor.connection.ops.compose_sql(sql, params)}"
        table = editor.quote_name(model._meta.db_table)
        return f"ALTER TABLE {table} ALTER COLUMN {quote(field.column)} {change}"

    def describe(self) -> str:
        """Say what it does."""
        return f"Alter the database default of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_db_default"


@public
class SetColumnComment(_ColumnStage):
    """COMMENT ON COLUMN, and nothing else.

    Django's AlterField sets the column's type anew along with it, which fails if a view
    uses the column, reads the table if a CHECK names it, and builds expression and partial
    indexes anew, all under ACCESS EXCLUSIVE.

    Args:
        model_name: the model.
        name: the field.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    Source: https://www.postgresql.org/docs/current/sql-comment.html
    """

    def statement(self, editor: Any, model: Any) -> str:
        """Return the COMMENT."""
        field = model._meta.get_field(self.name)
        comment = literal(field.db_comment) if field.db_comment else "NULL"
        table = editor.quote_name(model._meta.db_table)
        return f"COMMENT ON COLUMN {table}.{quote(field.column)} IS {comment}"

    def describe(self) -> str:
        """Say what it does."""
        return f"Set the comment of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_comment"


@public
class DropNotNull(FieldStage):
    """DROP NOT NULL, and nothing else: Django's AlterField makes a foreign key anew.

    The way back sets it in stages, as `SetNotNull` does.

    Args:
        model_name: the model.
        name: the field.

    Raises:
        ViolatingRows: on the way back, the column holds NULLs; counts them and names some.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        table = runner.catalog.find_table(after._meta.db_table)
        if table is not None:
            not_null.drop_not_null(runner, table, after._meta.get_field(self.name).column)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Set it again."""
        table = runner.catalog.table(after._meta.db_table)
        not_null.set_not_null(runner, table, after._meta.get_field(self.name).column)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        table = editor.quote_name(after._meta.db_table)
        column = quote(after._meta.get_field(self.name).column)
        return [f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that set it again."""
        table = printed_table(editor, after)
        connection: Any = editor.connection
        column = after._meta.get_field(self.name).column
        major = connection.pg_version // 10000
        return not_null.statements(table.qualified, table.name, column, major)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop NOT NULL of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_nullable"
