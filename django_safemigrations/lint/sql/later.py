"""What the SQL behind an operation does in the same transaction."""

from __future__ import annotations

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context, flattened
from django_safemigrations.lint.sql.parser import Statement, is_installed


def sets_default(operation: Operation, table: str, column: str, context: Context) -> bool:
    """Return whether a RunSQL gives a new column a default that stays.

    Django drops the default with which it adds a column; a RunSQL behind it in the same atomic
    migration sets one before anybody sees the column.

    Args:
        operation: that adds the column.
        table: of it.
        column: its name.
        context: of the operation.
    """
    if not context.is_atomic():
        return False
    behind = has_default = False
    for other in flattened(context.migration.operations):
        if other is operation:
            behind = True
        elif behind and isinstance(other, RunSQL) and is_installed():
            has_default = _last(other, table, column, context, before=has_default)
    return has_default


def _last(operation: RunSQL, table: str, column: str, context: Context, *, before: bool) -> bool:
    # The parser is imported only if there is SQL behind the operation.
    from django_safemigrations.lint.sql.judge import script_of
    from django_safemigrations.lint.sql.names import relation

    found = before
    for sent in script_of(operation, context):
        for statement in sent.statements:
            if not isinstance(statement, Statement) or not statement.node.is_a("AlterTableStmt"):
                continue
            if relation(statement.node.child("relation")) != table:
                continue
            for command in statement.node.children("cmds"):
                is_default = command.choice("subtype") == "AT_ColumnDefault"
                if is_default and command.text("name") == column:
                    found = command.has("def")
    return found
