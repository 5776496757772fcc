"""Stages about the CHECK that a field's own type brings along, as PositiveIntegerField's does."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.report import report
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.field_indexes import field_of
from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.constraints import (
    WantedCheck,
    add_check,
    column_checks,
    drop_constraint,
    inline_name,
    printed_inline_name,
    restore_check,
    validate_check,
)
from django_safemigrations.postgres.runner import Runner


class _FieldCheckStage(FieldStage):
    """A stage about the CHECK of one field's type.

    Args:
        model_name: the model.
        name: the field.
        inline: whether the constraint gets the name that PostgreSQL gives one which comes
            with its column, and not Django's own. It does, too, where the model before the
            change does not have the field.
    """

    def __init__(self, model_name: str, name: str, inline: bool = False) -> None:
        super().__init__(model_name, name)
        self.inline = inline

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what is the rule."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "name": self.name}
        if self.inline:
            kwargs["inline"] = True
        return self.__class__.__qualname__, [], kwargs

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model before and after; twice the same where the change deletes it."""
        key = (app_label, self.model_name_lower)
        before = from_state if key in from_state.models else to_state
        after = to_state if key in to_state.models else from_state
        return super().models(app_label, before, after)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_check"

    def _condition(self, editor: Any, model: Any) -> str | None:
        field = field_of(model, self.name)
        if field is None or field.column is None:
            return None
        found = field.db_parameters(connection=editor.connection)["check"]
        return str(found) if found else None

    def _wanted(self, editor: Any, model: Any, condition: str, name: str) -> WantedCheck:
        return WantedCheck(name, editor._create_check_sql(model, name, condition))

    def _usual_name(self, editor: Any, model: Any) -> str:
        column = model._meta.get_field(self.name).column
        return str(editor._create_index_name(model._meta.db_table, [column], suffix="_check"))

    def _found(self, runner: Runner, table: Table, model: Any) -> list[str]:
        excluded = [constraint.name for constraint in model._meta.constraints]
        return column_checks(runner, table, model._meta.get_field(self.name).column, excluded)

    def _name(self, runner: Runner, table: Table, without: Any, having: Any) -> str:
        """Return the name of what is there already, or the one that it gets."""
        column = having._meta.get_field(self.name).column
        usual = self._usual_name(runner.editor, having)
        if not (self.inline or field_of(without, self.name) is None):
            return usual
        found = runner.catalog.column(table, column)
        ours = (
            f"k.conrelid = {table.oid} AND k.contype = 'c' "
            f"AND k.conkey = ARRAY[{found.attnum}]::int2[]"
            if found is not None
            else ""
        )
        return inline_name(runner, table, column, "check", ours)

    def _add(self, runner: Runner, without: Any, having: Any) -> None:
        condition = self._condition(runner.editor, having)
        if condition is None:
            return
        table = runner.catalog.table(having._meta.db_table)
        name = self._name(runner, table, without, having)
        add_check(runner, table, self._wanted(runner.editor, having, condition, name))

    def _validate(self, runner: Runner, without: Any, having: Any) -> None:
        condition = self._condition(runner.editor, having)
        if condition is None:
            return
        table = runner.catalog.table(having._meta.db_table)
        name = self._name(runner, table, without, having)
        validate_check(runner, table, self._wanted(runner.editor, having, condition, name))

    def _restore(self, runner: Runner, without: Any, having: Any) -> None:
        condition = self._condition(runner.editor, having)
        if condition is None:
            return
        table = runner.catalog.table(having._meta.db_table)
        name = self._name(runner, table, without, having)
        found = restore_check(runner, table, self._wanted(runner.editor, having, condition, name))
        if found:
            report(f"{found}: it comes back NOT VALID. Correct these rows and validate it.")

    def _drop(self, runner: Runner, having: Any) -> None:
        table = runner.catalog.find_table(having._meta.db_table)
        if table is None or self._condition(runner.editor, having) is None:
            return
        for name in self._found(runner, table, having):
            drop_constraint(runner, table, name)

    def _printed(self, editor: Any, without: Any, having: Any) -> tuple[str, WantedCheck] | None:
        condition = self._condition(editor, having)
        if condition is None:
            return None
        table = printed_table(editor, having)
        column = having._meta.get_field(self.name).column
        inline = self.inline or field_of(without, self.name) is None
        name = (
            printed_inline_name(table.name, column, "check")
            if inline
            else self._usual_name(editor, having)
        )
        return editor.quote_name(having._meta.db_table), self._wanted(
            editor, having, condition, name
        )

    def _collect_add(self, editor: Any, without: Any, having: Any) -> list[str]:
        found = self._printed(editor, without, having)
        return [found[1].add_sql()] if found else []

    def _collect_validate(self, editor: Any, without: Any, having: Any) -> list[str]:
        found = self._printed(editor, without, having)
        return [found[1].validate_sql(found[0])] if found else []

    def _collect_drop(self, editor: Any, having: Any, without: Any) -> list[str]:
        found = self._printed(editor, without, having)
        if not found:
            return []
        return [f"ALTER TABLE {found[0]} DROP CONSTRAINT {quote(found[1].name)}"]


@public
class AddFieldCheck(_FieldCheckStage):
    """ADD CONSTRAINT … CHECK … NOT VALID for the CHECK that a field's type brings.

    Rows that violate it are counted first. `ValidateFieldCheck` follows. Does nothing for a
    type without a CHECK.

    Args:
        model_name: the model.
        name: the field, whose type has a CHECK in the state after the change.
        inline: give the constraint the name that PostgreSQL gives one which comes with its
            column (``table_column_check``), instead of the one that Django gives a constraint
            which it adds to a column; so it does by itself where the change adds the field.

    Raises:
        ViolatingRows: rows violate it; counts them and names some. Nothing was changed.
        UnsupportedChange: another constraint has the name.

    Locks: ACCESS EXCLUSIVE for an instant, no scan under it.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        self._add(runner, before, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_add(editor, before, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Add the CHECK of {self.model_name}.{self.name}, not validated"


@public
class ValidateFieldCheck(_FieldCheckStage):
    """VALIDATE CONSTRAINT of the CHECK that a field's type brings.

    Args:
        model_name: the model.
        name: the field.
        inline: as in `AddFieldCheck`.

    Raises:
        ViolatingRows: rows violate it; it is dropped again, for even NOT VALID it would
            refuse every update of them.

    Locks: SHARE UPDATE EXCLUSIVE for the scan: reads and writes go on.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    finishes = "AddFieldCheck"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Validate it."""
        self._validate(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_validate(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Validate the CHECK of {self.model_name}.{self.name}"


@public
class DropFieldCheck(_FieldCheckStage):
    """DROP CONSTRAINT of the CHECK that a field's type brings, whatever its name.

    The way back adds it NOT VALID and validates it; if rows violate it by then, it stays
    NOT VALID and they are reported.

    Args:
        model_name: the model.
        name: the field, whose type has a CHECK in the state before the change.
        inline: as in `AddFieldCheck`, for the way back.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again."""
        self._restore(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_drop(editor, before, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add it again."""
        return [
            *self._collect_add(editor, before, after),
            *self._collect_validate(editor, before, after),
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the CHECK of {self.model_name}.{self.name}"
