"""What a migration takes away from the data or writes over, read from its operations.

Nothing runs here. What can't be known without running it (the code of a RunPython, a DO
block) counts as writing over something unknown: a backup too many costs less than one too
few. What only adds (rows, columns, the filling of columns that were NULL) is no loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import ForeignKey

from django_safemigrations.operations import InsertRows, RunInBatches
from django_safemigrations.operations.keys import DropKeyColumns
from django_safemigrations.operations.removals import DropColumn
from django_safemigrations.operations.renames import DropSyncedColumns
from django_safemigrations.operations.table_removals import DropTable
from django_safemigrations.operations.types import DropReplacedColumn
from django_safemigrations.postgres.sqlwords import (
    Reader,
    SqlStatement,
    read_statements,
    split_list,
)
from django_safemigrations.postgres.type_changes import keeps_every_value

# How SQL that changes no row begins; CREATE TABLE … AS and SELECT … INTO make tables of their own.
_HARMLESS = (
    "CREATE COMMENT GRANT REVOKE SET RESET SHOW SELECT VALUES TABLE BEGIN START COMMIT END ROLLBACK "
    "ABORT SAVEPOINT RELEASE ANALYZE ANALYSE VACUUM REINDEX CLUSTER REFRESH LOCK LISTEN NOTIFY "
    "UNLISTEN DISCARD DEALLOCATE CHECKPOINT LOAD EXPLAIN FETCH CLOSE MOVE DECLARE REASSIGN SECURITY"
)
HARMLESS = _HARMLESS.split()
_DROPS_NO_DATA = (
    "INDEX VIEW FUNCTION PROCEDURE ROUTINE AGGREGATE TRIGGER RULE POLICY OPERATOR CAST COLLATION "
    "CONVERSION STATISTICS EVENT PUBLICATION LANGUAGE ROLE USER GROUP TEXT TRANSFORM DOMAIN TYPE"
)
DROPS_NO_DATA = _DROPS_NO_DATA.split()


class Effect(StrEnum):
    """What becomes of data."""

    DROPPED = "dropped"
    """It is gone."""
    OVERWRITTEN = "overwritten"
    """Other values, or none, stand in its place."""
    UNKNOWN = "may be overwritten"
    """Only running it would tell."""


@dataclass(frozen=True)
class Loss:
    """What one operation takes away.

    Attributes:
        app_label: app of the migration.
        migration: its name.
        index: the operation's, nested as ``"3.0"``.
        effect: what becomes of the data.
        table: as ``Meta.db_table`` or the SQL has it; empty if nobody can tell.
        columns: names of columns; empty for the whole table, or where nobody can tell.
        why: the operation, in words.
        operation: itself.
        elsewhere: where the same values are afterwards, in words; empty if nowhere.
    """

    app_label: str
    migration: str
    index: str
    effect: Effect
    table: str
    columns: tuple[str, ...]
    why: str
    operation: Operation
    elsewhere: str = ""


def losses(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper | None = None
) -> tuple[Loss, ...]:
    """Return what a migration takes away, in the order in which it does.

    Args:
        migration: the migration.
        state: the state before it; it is left as it is.
        connection: gives columns their types.
    """
    reading = _Reading(migration, connection or connections[DEFAULT_DB_ALIAS])
    return tuple(reading.read(_unrendered(state)))


def may_lose(migration: Migration) -> bool:
    """Whether there is anything in a migration that could be a loss: then its state is needed."""
    return any(_suspicious(operation) for operation in migration.operations)


def _suspicious(operation: Operation) -> bool:
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return any(_suspicious(nested) for nested in operation.database_operations)
    return not isinstance(
        operation,
        migrations.CreateModel | migrations.AddField | migrations.AddIndex | migrations.RemoveIndex,
    )


def column_of(field: Any, name: str) -> str:
    """Return the column of a field of a state, which knows no model."""
    if field.db_column:
        return str(field.db_column)
    return f"{name}_id" if field.many_to_one or field.one_to_one else name


def table_of(model: ModelState, longest: int = 63) -> str:
    """Return the table of a model of a state."""
    named = model.options.get("db_table")
    return str(named or truncate_name(f"{model.app_label}_{model.name_lower}", longest))


def own_table_of(model: ModelState, field: Any, name: str, longest: int = 63) -> str:
    """Return the table that Django makes for a many-to-many field."""
    if field.db_table:
        return str(field.db_table)
    return truncate_name(f"{strip_quotes(table_of(model))}_{name}", longest)


@dataclass(frozen=True)
class _Reading:
    migration: Migration
    connection: BaseDatabaseWrapper

    def read(self, state: ProjectState) -> Iterator[Loss]:
        app_label = self.migration.app_label
        for number, operation in enumerate(self.migration.operations):
            yield from self._of(operation, str(number), state)
            operation.state_forwards(app_label, state)

    def _of(self, operation: Operation, index: str, state: ProjectState) -> Iterator[Loss]:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            state = _unrendered(state)
            for number, nested in enumerate(operation.database_operations):
                yield from self._of(nested, f"{index}.{number}", state)
                nested.state_forwards(self.migration.app_label, state)
            return
        for effect, table, columns, elsewhere in self._found(operation, state):
            yield Loss(
                self.migration.app_label,
                self.migration.name,
                index,
                effect,
                table,
                columns,
                operation.describe(),
                operation,
                elsewhere,
            )

    def _model(self, state: ProjectState, name: str) -> ModelState | None:
        label, _, own = name.rpartition(".")
        return state.models.get((label or self.migration.app_label, own.lower()))

    def _found(
        self, operation: Operation, state: ProjectState
    ) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
        if isinstance(operation, DropTable):
            yield Effect.DROPPED, operation.whole_tables[0], (), ""
        elif isinstance(operation, DropColumn):
            model = self._model(state, operation.model_name)
            if model is not None and not getattr(operation.field, "generated", False):
                column = operation.field.db_column or operation.name
                yield Effect.DROPPED, table_of(model), (str(column),), ""
        elif isinstance(operation, DropSyncedColumns):
            model = self._model(state, operation.model_name)
            own = getattr(operation, "table", "")
            if own or model is not None:
                table = own or table_of(model)  # type: ignore[arg-type]
                there = ", ".join(operation.renames.values())
                columns = tuple(
                    _renamed(model, old, new, bool(own)) for old, new in operation.renames.items()
                )
                yield Effect.DROPPED, table, columns, there
        elif isinstance(operation, DropReplacedColumn):
            model = self._model(state, operation.model_name)
            if model is not None:
                name = next(iter(operation.columns), operation.name)
                there = f"{operation.name}, as far as its type holds them"
                yield Effect.DROPPED, table_of(model), (name,), there
        elif isinstance(operation, DropKeyColumns):
            model = self._model(state, operation.model_name)
            if model is not None:
                yield Effect.DROPPED, table_of(model), (operation.name,), "the wider column"
        elif isinstance(operation, RunInBatches):
            yield from self._in_batches(operation, state)
        elif isinstance(operation, migrations.RunPython):
            if operation.code is not migrations.RunPython.noop:
                yield Effect.UNKNOWN, "", (), ""
        elif isinstance(operation, migrations.RunSQL):
            yield from _of_sql(operation.sql)
        elif isinstance(operation, migrations.DeleteModel):
            model = self._model(state, operation.name)
            if model is not None and _has_table(model):
                yield Effect.DROPPED, table_of(model), (), ""
        elif isinstance(operation, migrations.RemoveField):
            yield from self._removed(operation, state)
        elif isinstance(operation, migrations.AlterField):
            yield from self._altered(operation, state)
        elif type(operation).database_forwards.__module__.partition(".")[0] not in (
            "django",
            "django_safemigrations",
        ):
            # An operation of the project's own, or of another package.
            yield Effect.UNKNOWN, "", (), ""

    def _in_batches(
        self, operation: RunInBatches, state: ProjectState
    ) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
        change = operation.change
        if change is None or isinstance(change, InsertRows):
            return
        model = self._model(state, operation.model_name)
        yield Effect.OVERWRITTEN, table_of(model) if model is not None else "", (), ""

    def _removed(
        self, operation: migrations.RemoveField, state: ProjectState
    ) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
        model = self._model(state, operation.model_name)
        field: Any = model.fields.get(operation.name) if model is not None else None
        if model is None or field is None or not _has_table(model):
            return
        if field.many_to_many:
            if getattr(field.remote_field, "through", None) is None:
                yield Effect.DROPPED, own_table_of(model, field, operation.name), (), ""
        elif not getattr(field, "generated", False) and self._has_column(field):
            yield Effect.DROPPED, table_of(model), (column_of(field, operation.name),), ""

    def _has_column(self, field: Any) -> bool:
        if field.remote_field:
            # A relation over several columns has none of its own.
            return isinstance(field, ForeignKey)
        return field.db_type(self.connection) is not None

    def _altered(
        self, operation: migrations.AlterField, state: ProjectState
    ) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
        model = self._model(state, operation.model_name)
        old: Any = model.fields.get(operation.name) if model is not None else None
        if model is None or old is None or not _has_table(model):
            return
        new: Any = operation.field
        if old.many_to_many or new.many_to_many or getattr(old, "generated", False):
            return
        table, columns = table_of(model), (column_of(old, operation.name),)
        if old.remote_field or new.remote_field:
            # Types of relations are those of their ends, which are altered elsewhere.
            if bool(old.remote_field) != bool(new.remote_field):
                yield Effect.OVERWRITTEN, table, columns, ""
            return
        was, is_ = old.db_type(self.connection), new.db_type(self.connection)
        if was and is_ and was != is_ and not keeps_every_value(was, is_):
            yield Effect.OVERWRITTEN, table, columns, ""


def _unrendered(state: ProjectState) -> ProjectState:
    """Return a copy without classes, which take long to be made and are not needed."""
    models = {key: model.clone() for key, model in state.models.items()}
    return ProjectState(models, real_apps=state.real_apps)


def _renamed(model: ModelState | None, old: str, new: str, relations: bool) -> str:
    """Return the column that a field had under its old name, which its model has forgotten."""
    field: Any = model.fields.get(new) if model is not None else None
    relations = relations or (field is not None and bool(field.many_to_one or field.one_to_one))
    return f"{old}_id" if relations else old


def _has_table(model: ModelState) -> bool:
    return bool(model.options.get("managed", True)) and not model.options.get("proxy", False)


def _of_sql(sql: Any) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
    for part in sql if isinstance(sql, list | tuple) else [sql]:
        text = part[0] if isinstance(part, list | tuple) else part
        for statement in read_statements(str(text)):
            yield from _of_statement(statement)


def _of_statement(
    statement: SqlStatement,
) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
    reader = Reader(statement.words)
    if any(word.is_("DELETE", "UPDATE", "MERGE") for word in statement.words) and (
        reader.accept("WITH") or reader.accept("EXPLAIN")
    ):
        yield Effect.UNKNOWN, "", (), ""
    elif reader.accept_any(*HARMLESS) or reader.accept("WITH"):
        return
    elif reader.accept("DROP"):
        yield from _of_drop(reader)
    elif reader.accept("TRUNCATE"):
        reader.accept("TABLE")
        for name in _names(reader):
            yield Effect.DROPPED, name, (), ""
    elif (
        reader.accept("DELETE", "FROM") or reader.accept("UPDATE") or reader.accept("MERGE", "INTO")
    ):
        reader.accept("ONLY")
        yield Effect.OVERWRITTEN, reader.name() or "", (), ""
    elif reader.accept("INSERT", "INTO"):
        name = reader.name() or ""
        if any(word.is_("UPDATE") for word in reader.rest):
            yield Effect.OVERWRITTEN, name, (), ""
    elif reader.accept("COPY"):
        return
    elif reader.accept("ALTER"):
        yield from _of_alter(reader)
    elif statement.words:
        # DO, CALL, EXECUTE, IMPORT and what is not known here may do anything.
        yield Effect.UNKNOWN, "", (), ""


def _of_drop(reader: Reader) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
    if reader.accept("TABLE") or reader.accept("FOREIGN", "TABLE"):
        reader.accept("IF", "EXISTS")
        for name in _names(reader):
            yield Effect.DROPPED, name, (), ""
        return
    cascades = any(word.is_("CASCADE") for word in reader.rest)
    reader.accept("MATERIALIZED")
    if cascades or reader.accept_any(*DROPS_NO_DATA) is None:
        # A schema, sequence, extension or type takes along what depends on it.
        yield Effect.UNKNOWN, "", (), ""


def _of_alter(reader: Reader) -> Iterator[tuple[Effect, str, tuple[str, ...], str]]:
    if not reader.accept("TABLE"):
        return
    reader.accept("IF", "EXISTS")
    reader.accept("ONLY")
    table = reader.name() or ""
    for action in split_list(reader.rest):
        one = Reader(action)
        if one.accept("DROP") and one.accept_any("CONSTRAINT", "IDENTITY", "EXPRESSION") is None:
            one.accept("COLUMN")
            one.accept("IF", "EXISTS")
            yield Effect.DROPPED, table, tuple(filter(None, [one.name()])), ""
        elif one.accept("ALTER"):
            one.accept("COLUMN")
            column = one.name()
            if one.accept("TYPE") or one.accept("SET", "DATA", "TYPE"):
                yield Effect.OVERWRITTEN, table, tuple(filter(None, [column])), ""


def _names(reader: Reader) -> Iterator[str]:
    while True:
        reader.accept("ONLY")
        name = reader.name()
        if name is None:
            return
        yield name
        if not reader.accept(","):
            return
