"""Models that a test makes as migrations do, and operations run on their tables one by one."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.postgres.sessions import execute

LABEL = "shop"


class Shop:
    """An app that exists in a state and a database only.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: BaseDatabaseWrapper) -> None:
        self.connection = database
        self.state = ProjectState()

    def create(self, name: str, fields: dict[str, Any], **more: Any) -> None:
        """Make a model and its table."""
        self.do(CreateModel(name, list(fields.items()), **more))

    def do(self, operation: Operation, *, atomic: bool = False) -> None:
        """Run an operation as a migration would."""
        after = self.state.clone()
        operation.state_forwards(LABEL, after)
        with connection.schema_editor(atomic=atomic) as editor:
            operation.database_forwards(LABEL, editor, self.state, after)
        self.state = after

    def undo(self, operation: Operation) -> None:
        """Take back an operation that changed no state."""
        with connection.schema_editor(atomic=False) as editor:
            operation.database_backwards(LABEL, editor, self.state, self.state)

    def printed(self, operation: Operation, *, backwards: bool = False) -> list[str]:
        """Return what sqlmigrate prints for it."""
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            run = operation.database_backwards if backwards else operation.database_forwards
            run(LABEL, editor, self.state, self.state)
        return list(map(str, editor.collected_sql))

    def model(self, name: str) -> Any:
        """Return a historical model."""
        return self.state.apps.get_model(LABEL, name)

    def run(self, sql: str, params: Any = None) -> None:
        """Run one statement."""
        execute(self.connection, sql, params)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def value(self, sql: str) -> Any:
        """Return the first column of a query's first row, or None."""
        rows = self.rows(sql)
        return rows[0][0] if rows else None
