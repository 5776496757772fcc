"""Stages that make a column NOT NULL while old code may still write NULLs."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import NOT_PROVIDED, Model

from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.values import sql_value
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.triggers import TriggerFunction, fill_trigger


class _ValueStage(FieldStage):
    """A stage that writes a value into NULLs.

    Args:
        model_name: the model.
        name: the field.
        value: a constant or a callable; without one, the column's database default.
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

    def expression(self, runner: Runner, model: Any, table: Table) -> str | None:
        """Return the SQL of the value, or None if only Python can make it."""
        field = model._meta.get_field(self.name)
        if self.value is not NOT_PROVIDED:
            return sql_value(runner.connection, field, self.value)
        column = runner.catalog.column(table, field.column)
        if column is None or column.default is None:
            raise UnsupportedChange(
                f"{self.__class__.__name__} on {self.model_name}.{self.name} has no value, and "
                f"column {quote(field.column)} of {table.qualified} has no default. Give the "
                "operation a value."
            )
        return column.default

    def printed(self, editor: Any, model: Any) -> str:
        """Return the SQL of the value for sqlmigrate."""
        field = model._meta.get_field(self.name)
        if self.value is NOT_PROVIDED:
            return "DEFAULT"
        return sql_value(editor.connection, field, self.value) or f"/* {self.value!r} */ NULL"

    def trigger(self, runner: Runner, model: Any) -> tuple[Table, TriggerFunction]:
        """Return the table and the trigger that fills NULLs in it."""
        table = runner.catalog.table(model._meta.db_table)
        expression = self.expression(runner, model, table)
        if expression is None:
            raise UnsupportedChange(
                f"{self.value!r} can't be written as SQL, so no trigger can fill "
                f"{self.model_name}.{self.name}."
            )
        return table, fill_trigger(table, model._meta.get_field(self.name).column, expression)


def _install(runner: Runner, stage: _ValueStage, model: Any) -> None:
    table, trigger = stage.trigger(runner, model)

    def work() -> None:
        for sql in trigger.create():
            runner.execute(sql)

    runner.transaction(work, f"trigger on {table.qualified}")


def _remove(runner: Runner, stage: FieldStage, model: Any) -> None:
    table = runner.catalog.find_table(model._meta.db_table)
    if table is None:
        return
    trigger = fill_trigger(table, model._meta.get_field(stage.name).column, "NULL")
    names = [name for name, _, _ in trigger.triggers]
    function = runner.catalog.value("SELECT to_regproc(%s)", [trigger.qualified])
    if function is None and not any(runner.catalog.trigger_exists(table, name) for name in names):
        return

    def work() -> None:
        for sql in trigger.drop():
            runner.execute(sql)

    runner.transaction(work, f"trigger on {table.qualified}")


def _printed_trigger(editor: Any, stage: _ValueStage, model: Any) -> TriggerFunction:
    return fill_trigger(
        printed_table(editor, model),
        model._meta.get_field(stage.name).column,
        stage.printed(editor, model),
    )


def printed_table(editor: Any, model: Any) -> Table:
    """Return a table as far as the model tells it, for sqlmigrate."""
    quoted = editor.quote_name(model._meta.db_table)
    schema, _, name = quoted.rpartition('"."')
    bare = name.strip('"') if schema else quoted.strip('"')
    return Table(
        oid=0,
        schema=schema.strip('"') or "public",
        name=bare,
        kind="r",
        is_partition=False,
        qualified=quoted,
    )


@public
class FillNullsOnWrite(_ValueStage):
    """CREATE TRIGGER that puts a value where old code writes NULL.

    Args:
        model_name: the model.
        name: the field that becomes NOT NULL.
        value: a constant, or a callable that PostgreSQL has too (``timezone.now``,
            ``uuid.uuid4``, …); without one, the column's database default.

    Locks: SHARE ROW EXCLUSIVE for an instant (writes wait), no scan.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Install the trigger."""
        _install(runner, self, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Remove it."""
        _remove(runner, self, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return its statements."""
        return _printed_trigger(editor, self, after).create()

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that remove it."""
        return _printed_trigger(editor, self, after).drop()

    def describe(self) -> str:
        """Say what it does."""
        return f"Fill NULLs written to {self.model_name}.{self.name} by a trigger"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_fill"


@public
class StopFillingNulls(_ValueStage):
    """DROP TRIGGER of `FillNullsOnWrite`, when no old code writes NULLs any more.

    Args:
        model_name: the model.
        name: the field.
        value: as given to `FillNullsOnWrite`, for the way back.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """

    finishes = "FillNullsOnWrite"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Remove the trigger."""
        _remove(runner, self, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Install it again: old code may come back and write NULLs."""
        _install(runner, self, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that remove it."""
        return _printed_trigger(editor, self, after).drop()

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return its statements."""
        return _printed_trigger(editor, self, before).create()

    def describe(self) -> str:
        """Say what it does."""
        return f"Stop filling NULLs written to {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_stop_fill"


@public
class BackfillNulls(_ValueStage):
    """UPDATE in batches of the rows whose column is NULL.

    Progress is stored with each batch; the end is proven by counting.

    Args:
        model_name: the model.
        name: the field.
        value: a constant or any callable, called once a row; without one, the column's
            database default.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched = True

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Fill the NULLs."""
        field = after._meta.get_field(self.name)
        table = runner.catalog.table(after._meta.db_table)
        expression = self.expression(runner, after, table)

        def values(count: int) -> list[object]:
            if field.is_relation:
                # Such a default looks its row up; once a batch is often enough.
                return [self._related(field, runner)] * count
            return [field.get_db_prep_save(self.value(), runner.connection) for _ in range(count)]

        task = Fill(
            table=table,
            assignments={field.column: expression},
            needed=f"{quote(field.column)} IS NULL",
            title=f"{table.qualified}: filling NULLs of {quote(field.column)}",
            values=None if expression is not None else values,
        )
        key = f"{table.schema}.{table.name}: {field.column} is null"
        fill(runner, task, progress_store(runner.connection, key[:255], table.qualified))

    def _related(self, field: Any, runner: Runner) -> object:
        found = self.value()
        # Django takes an object for its key.
        key = getattr(found, field.target_field.attname) if isinstance(found, Model) else found
        return field.get_db_prep_save(key, runner.connection)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return one batch's statement."""
        table = editor.quote_name(after._meta.db_table)
        column = quote(after._meta.get_field(self.name).column)
        return [
            "-- In batches by key, each in its own transaction:",
            f"UPDATE {table} SET {column} = {self.printed(editor, after)} WHERE {column} IS NULL",
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Fill NULLs of {self.model_name}.{self.name} in batches"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_backfill"


@public
class SetNotNull(FieldStage):
    """SET NOT NULL in stages, so that no statement reads the table under a blocking lock.

    Args:
        model_name: the model.
        name: the field.

    Raises:
        ViolatingRows: the column holds NULLs; counts them and names some rows.

    Locks: ACCESS EXCLUSIVE for an instant each, SHARE UPDATE EXCLUSIVE for the scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Set it."""
        table = runner.catalog.table(after._meta.db_table)
        not_null.set_not_null(runner, table, after._meta.get_field(self.name).column)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        # Where the column came with the change, only the model that has the change knows it.
        table = runner.catalog.find_table(before._meta.db_table)
        if table is not None:
            not_null.drop_not_null(runner, table, before._meta.get_field(self.name).column)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements for this server's version."""
        table = printed_table(editor, after)
        connection: Any = editor.connection
        return not_null.statements(
            table.qualified,
            table.name,
            after._meta.get_field(self.name).column,
            connection.pg_version // 10000,
        )

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        table = editor.quote_name(before._meta.db_table)
        column = quote(before._meta.get_field(self.name).column)
        return [f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"]

    def describe(self) -> str:
        """Say what it does."""
        return f"Set NOT NULL on {self.model_name}.{self.name} in stages"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_not_null"
