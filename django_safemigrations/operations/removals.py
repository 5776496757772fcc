"""Stages that remove a column: first INSERTs can leave it out, then it is dropped."""

from __future__ import annotations

import copy
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, Field

from django_safemigrations.exceptions import ViolatingRows
from django_safemigrations.operations.bare import bare_model, own_value, own_value_sql
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.checks import AddFieldCheck, ValidateFieldCheck
from django_safemigrations.operations.indexes import CreateFieldIndexesConcurrently
from django_safemigrations.operations.not_null import BackfillNulls
from django_safemigrations.operations.uniques import AddFieldUnique
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.dropping import drop_column
from django_safemigrations.postgres.foreign_keys import keys_of, not_valid, statement_of
from django_safemigrations.postgres.loosening import (
    SET_NULL,
    loose_statement,
    loosen,
    printed_key,
    tighten,
)
from django_safemigrations.postgres.relaxing import (
    relax_column,
    relaxed_statements,
    restore_default,
    stop_relaxing,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.volatility import volatile_function


@public
class RelaxColumn(FieldStage):
    """Makes a column one that new code can leave out of its INSERTs, until it is dropped.

    A NOT NULL column without a default gets the default that Django itself would put
    there, so that old code reads rows of new code as its own: the field's ``default``, the
    present time for ``auto_now`` and ``auto_now_add``, the empty string. Without such a
    value, and where the column is unique and the value would be the same for all rows,
    NOT NULL is dropped. A foreign key lets the rows that it refers to be deleted
    (ON DELETE SET NULL).

    On the way back rows without a value get the field's default in batches.

    Args:
        model_name: the model.
        name: the field, as in the state before the change.

    Raises:
        UnsupportedChange: a view, generated column, trigger, policy, publication, CHECK or
            index stands against dropping the column or leaving it out; it is named, and
            nothing was changed.
        ViolatingRows: on the way back, rows have no value and the field has no default.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the referenced
    table too.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Relax it."""
        field = before._meta.get_field(self.name)
        table = runner.catalog.table(before._meta.db_table)
        staying = {field.name for field in after._meta.local_fields}
        leaving = [f.column for f in before._meta.local_fields if f.name not in staying]
        value = own_value_sql(runner.connection, field)
        relax_column(runner, table, field.column, value, leaving)
        for key in keys_of(runner, table, field.column):
            loosen(runner, table, key, SET_NULL)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Make it as it was."""
        field = after._meta.get_field(self.name)
        table = runner.catalog.table(after._meta.db_table)
        if runner.catalog.column(table, field.column) is None:
            add_column(runner, after, field)
        if getattr(field, "generated", False):
            return
        if not field.null:
            self._fill(runner, table, after, field)
            not_null.set_not_null(runner, table, field.column)
        default = _database_default(runner.editor, field)
        if default is None:
            value = own_value_sql(runner.connection, field)
            stop_relaxing(runner, table, field.column, value)
        else:
            restore_default(runner, table, field.column, default)
        if field.remote_field:
            tighten(runner, after, self.name, keys_of(runner, table, field.column))

    def _fill(self, runner: Runner, table: Table, model: Any, field: Any) -> None:
        """Fill what new code left out, or say that it has to be done by hand.

        Raises:
            ViolatingRows: counts the rows, names some and says what to type.
        """
        column = quote(field.column)
        where = f"FROM {table.qualified} WHERE {column} IS NULL"
        with runner.guard.as_long_as_it_takes():
            if not runner.catalog.value(f"SELECT EXISTS (SELECT {where})"):
                return
        value = own_value(field)
        if value is not NOT_PROVIDED and (callable(value) or not field.unique):
            BackfillNulls(self.model_name, self.name, value).forwards(runner, model, model)
            return
        with runner.guard.as_long_as_it_takes():
            count = runner.catalog.value(f"SELECT count(*) {where}")
            named = runner.catalog.some_keys(table, f"{column} IS NULL")
        rows, have = ("row", "has") if count == 1 else ("rows", "have")
        raise ViolatingRows(
            f"{count} {rows} of {table.qualified} {have} no value in {column}{named}, which is NOT "
            "NULL again on the way back: code that did not know the column wrote them, or it was "
            f"dropped meanwhile. Fill it (UPDATE {table.qualified} SET {column} = … WHERE {column} "
            "IS NULL) and run the command again."
        )

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the model tells them."""
        field = before._meta.get_field(self.name)
        table = editor.quote_name(before._meta.db_table)
        printed = []
        has_default = field.has_db_default() or getattr(field, "generated", False)
        if not field.null and not has_default:
            value = None if field.unique else own_value_sql(editor.connection, field)
            printed += relaxed_statements(table, field.column, value)
        if field.remote_field and field.db_constraint:
            name, _ = statement_of(editor, before, field)
            printed += [
                f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}",
                loose_statement(table, printed_key(editor, before, field), SET_NULL),
            ]
        return printed

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that make it as it was."""
        field = after._meta.get_field(self.name)
        table = editor.quote_name(after._meta.db_table)
        column = quote(field.column)
        printed = []
        has_default = field.has_db_default() or getattr(field, "generated", False)
        if not field.null and not has_default:
            value = None if field.unique else own_value_sql(editor.connection, field)
            how = "DROP DEFAULT" if value is not None else "SET NOT NULL"
            printed.append(f"ALTER TABLE {table} ALTER COLUMN {column} {how}")
        if field.remote_field and field.db_constraint:
            name, statement = statement_of(editor, after, field)
            printed += [
                f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}",
                not_valid(statement, name),
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(name)}",
            ]
        return printed

    def describe(self) -> str:
        """Say what it does."""
        return f"Let INSERTs leave out {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_relax"


@public
class DropColumn(FieldStage):
    """DROP COLUMN of a removed field, with its indexes, constraints and sequence.

    The way back adds the column, with what the field's own ``unique``, ``db_index`` and
    checks bring, so that old code works again; its values are gone. Rows get the field's
    default; NOT NULL and the foreign key come back with `RelaxColumn`.

    Args:
        model_name: the model.
        name: the field, which no model has any more.
        field: its column as a field without relation: what the way back adds.
        sources: for a generated column, the columns that its expression names, likewise.

    Raises:
        UnsupportedChange: a view, generated column, trigger, policy, publication or foreign
            key depends on the column; it is named, and nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the referenced
    table too, in a transaction of its own. On the way back the table is rewritten if the
    column is a stored generated one.
    Source: https://www.postgresql.org/docs/current/ddl-depend.html
    """

    finishes = "RelaxColumn"

    def __init__(
        self,
        model_name: str,
        name: str,
        field: Field[Any, Any],
        sources: list[tuple[str, Field[Any, Any]]] | None = None,
    ) -> None:
        super().__init__(model_name, name)
        self.field = field
        self.sources = sources or []

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave the sources out where there are none."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "name": self.name}
        kwargs["field"] = self.field
        if self.sources:
            kwargs["sources"] = self.sources
        return self.__class__.__qualname__, [], kwargs

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model with nothing but the column, twice."""
        meta = to_state.apps.get_model(app_label, self.model_name)._meta
        model = bare_model(
            app_label,
            meta.object_name or self.model_name,
            [*self.sources, (self.name, self.field)],
            {"db_table": meta.db_table, "db_tablespace": meta.db_tablespace},
        )
        return model, model

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        table = runner.catalog.find_table(after._meta.db_table)
        if table is not None:
            drop_column(runner, table, after._meta.get_field(self.name).column)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again."""
        add_column(runner, after, after._meta.get_field(self.name))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        table = editor.quote_name(after._meta.db_table)
        column = quote(after._meta.get_field(self.name).column)
        return [f"ALTER TABLE {table} DROP COLUMN {column}"]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that adds the column."""
        return [_add_statement(editor, after, after._meta.get_field(self.name))]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the column of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_drop"


def add_column(runner: Runner, model: Any, field: Any) -> None:
    """Add a column, nullable, with what the field itself brings but a foreign key.

    Goes on where it was stopped. Rows get the field's default, in batches if it differs
    by row.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; SHARE UPDATE EXCLUSIVE while indexes are
    built and a check is validated.
    """
    table = runner.catalog.table(model._meta.db_table)
    value = own_value(field)
    if runner.catalog.column(table, field.column) is None:
        runner.transaction(
            lambda: _add(runner, table, model, field), f"column {quote(field.column)}"
        )
    if getattr(field, "generated", False):
        return
    if value is not NOT_PROVIDED and callable(value):
        BackfillNulls(model.__name__, field.name, value).forwards(runner, model, model)
    elif field.has_db_default() and not _is_constant(field):
        BackfillNulls(model.__name__, field.name).forwards(runner, model, model)
    where: dict[str, Any] = {"model_name": model.__name__, "name": field.name}
    meta = model._meta
    without = bare_model(meta.app_label, model.__name__, [], {"db_table": meta.db_table})
    if field.unique:
        AddFieldUnique(**where).forwards(runner, without, model)
    elif field.db_index:
        CreateFieldIndexesConcurrently(**where).forwards(runner, model, model)
    if field.db_parameters(runner.connection)["check"]:
        AddFieldCheck(**where).forwards(runner, without, model)
        ValidateFieldCheck(**where).forwards(runner, without, model)


def _add(runner: Runner, table: Table, model: Any, field: Any) -> None:
    editor: Any = runner.editor
    runner.execute(_add_statement(editor, model, field))
    column = f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(field.column)}"
    if getattr(field, "generated", False):
        return
    default = _database_default(editor, field)
    if default is not None:
        if not _is_constant(field):
            runner.execute(f"{column} SET DEFAULT {default}")
        # Two rows of new code can't both have the default of a unique column.
    elif _fills_at_once(field):
        if field.null:
            runner.execute(f"{column} DROP DEFAULT")
    elif not field.null and not field.unique:
        value = own_value_sql(runner.connection, field)
        if value is not None:
            runner.execute(f"{column} SET DEFAULT {value}")
    if field.db_comment:
        kind = field.db_parameters(runner.connection)["type"]
        editor.execute(*editor._alter_column_comment_sql(model, field, kind, field.db_comment))


def _add_statement(editor: Any, model: Any, field: Any) -> str:
    bound = copy.copy(field)
    bound.null, bound._unique, bound.db_index = True, False, False
    bound.db_default = NOT_PROVIDED
    definition, params = editor.column_sql(model, bound, include_default=False)
    # Generated columns have constants in their expression.
    definition = definition % tuple(map(editor.quote_value, params)) if params else definition
    table = editor.quote_name(model._meta.db_table)
    sql = f"ALTER TABLE {table} ADD COLUMN {quote(field.column)} {definition}"
    default = _database_default(editor, field)
    if default is not None and _is_constant(field) and not field.unique:
        return f"{sql} DEFAULT {default}"
    if default is None and _fills_at_once(field):
        return f"{sql} DEFAULT {own_value_sql(editor.connection, field)}"
    return str(sql)


def _fills_at_once(field: Any) -> bool:
    """Whether ADD COLUMN itself can give all rows the field's value: one that is the same for all."""
    value = own_value(field)
    return value is not NOT_PROVIDED and not callable(value) and not field.unique


def _database_default(editor: Any, field: Any) -> str | None:
    if getattr(field, "generated", False) or not field.has_db_default():
        return None
    sql, params = editor.db_default_sql(field)
    return str(sql % tuple(map(editor.quote_value, params)) if params else sql)


def _is_constant(field: Any) -> bool:
    return volatile_function(field.db_default) is None
