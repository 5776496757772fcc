"""Stages that make fields unique, alone or together, without blocking reads or writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from django_safemigrations.operations.base import FieldStage, Stage, public
from django_safemigrations.operations.field_indexes import (
    build_missing,
    drop_superfluous,
    field_of,
    is_unique,
    printed_missing,
    printed_superfluous,
)
from django_safemigrations.operations.not_null import printed_table
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.constraints import inline_name, printed_inline_name
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.uniques import (
    WantedUnique,
    add_unique,
    drop_unique,
    unique_names,
    wanted_unique,
)

BUILD = "CREATE UNIQUE INDEX CONCURRENTLY"


class _FieldUniqueStage(FieldStage):
    """A stage about ``unique=True`` of one field."""

    inline = False
    """Whether the constraint gets the name that PostgreSQL gives one which comes with its column."""

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
        return f"{self.model_name_lower}_{self.name.lower()}_unique"

    def _wanted(self, editor: Any, model: Any, name: str) -> WantedUnique:
        statement = editor._create_unique_sql(model, [model._meta.get_field(self.name)])
        return wanted_unique(editor, model, statement, name)

    def _excluded(self, without: Any, having: Any) -> list[str]:
        """Return the names of Meta.constraints, which are other operations' business."""
        models = (without, having)
        return [constraint.name for model in models for constraint in model._meta.constraints]

    def _is_inline(self, without: Any) -> bool:
        return self.inline or field_of(without, self.name) is None

    def _add(self, runner: Runner, without: Any, having: Any) -> None:
        """Make the field unique; then drop the index that is no longer needed."""
        field = field_of(having, self.name)
        if not is_unique(field):
            return
        table = runner.catalog.table(having._meta.db_table)
        if not unique_names(runner, table, [field.column], self._excluded(without, having)):
            inline = self._is_inline(without)
            name = column_key_name(runner, table, field.column) if inline else ""
            add_unique(runner, table, self._wanted(runner.editor, having, name))
        build_missing(runner, self.name, without, having)
        drop_superfluous(runner, self.name, without, having)

    def _drop(self, runner: Runner, having: Any, without: Any) -> None:
        """Build the index that the field keeps; then let it hold values twice."""
        field = field_of(having, self.name)
        table = runner.catalog.find_table(having._meta.db_table)
        if table is None or not is_unique(field):
            return
        build_missing(runner, self.name, having, without)
        excluded = self._excluded(without, having)
        for name in unique_names(runner, table, [field.column], excluded):
            drop_unique(runner, table, name)
        drop_superfluous(runner, self.name, having, without)

    def _collect_add(self, editor: Any, without: Any, having: Any) -> list[str]:
        field = field_of(having, self.name)
        if not is_unique(field):
            return []
        table = printed_table(editor, having)
        inline = self._is_inline(without)
        name = printed_inline_name(table.name, field.column, "key") if inline else ""
        return [
            *self._wanted(editor, having, name).steps(),
            *printed_missing(editor, self.name, without, having),
            *printed_superfluous(editor, self.name, without, having),
        ]

    def _collect_drop(self, editor: Any, having: Any, without: Any) -> list[str]:
        if not is_unique(field_of(having, self.name)):
            return []
        table, field = printed_table(editor, having), having._meta.get_field(self.name)
        inline = self._is_inline(without)
        name = printed_inline_name(table.name, field.column, "key") if inline else ""
        wanted = self._wanted(editor, having, name)
        return [
            *printed_missing(editor, self.name, having, without),
            f"ALTER TABLE {wanted.table} DROP CONSTRAINT {quote(wanted.name)}",
            *printed_superfluous(editor, self.name, having, without),
        ]


def column_key_name(runner: Runner, table: Table, column: str) -> str:
    """Return the name that PostgreSQL gives a unique constraint that comes with its column."""
    found = runner.catalog.column(table, column)
    ours = (
        f"c.oid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = {table.oid} AND "
        f"i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] = {found.attnum})"
        if found is not None
        else ""
    )
    return inline_name(runner, table, column, "key", ours)


@public
class AddFieldUnique(_FieldUniqueStage):
    """CREATE UNIQUE INDEX CONCURRENTLY and ADD CONSTRAINT … USING INDEX for ``unique=True``.

    Values that occur more than once are counted first. On text the ``_like`` index follows;
    the index of ``db_index=True``, which is no longer needed, goes last.

    Args:
        model_name: the model.
        name: the field, unique in the state after the change.
        inline: give the constraint the name that PostgreSQL gives one which comes with its
            column (``table_column_key``), instead of the one that Django gives a constraint
            which it adds to a column; so it does by itself where the change adds the field.

    Raises:
        ViolatingRows: values occur more than once; counts and names some.
        InvalidIndex: an index of the name is there and another one, or the build did not
            end well.

    Locks: SHARE UPDATE EXCLUSIVE for the build: reads and writes go on; then ACCESS EXCLUSIVE
    for an instant.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = BUILD

    def __init__(self, model_name: str, name: str, inline: bool = False) -> None:
        super().__init__(model_name, name)
        self.inline = inline

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what is the rule."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "name": self.name}
        if self.inline:
            kwargs["inline"] = True
        return self.__class__.__qualname__, [], kwargs

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Make it unique."""
        self._add(runner, before, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop the constraint."""
        self._drop(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._collect_add(editor, before, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop it."""
        return self._collect_drop(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Make {self.model_name}.{self.name} unique by an index built concurrently"


@public
class DropFieldUnique(_FieldUniqueStage):
    """DROP CONSTRAINT of a field that loses ``unique=True``, whatever its name.

    If the field keeps ``db_index=True``, its index is built concurrently before; if not, the
    ``_like`` index of a text column goes, too.

    Args:
        model_name: the model.
        name: the field, unique in the state before the change.

    Raises:
        UnsupportedChange: foreign keys depend on the constraint.
        ViolatingRows: on the way back: values occur more than once by now.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = "CREATE INDEX CONCURRENTLY"
    # Most fields are unique from their beginning, so that is the name which comes back.
    inline = True

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Make the field unique again."""
        self._add(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._collect_drop(editor, before, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that make it unique again."""
        return self._collect_add(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the unique constraint of {self.model_name}.{self.name}"


class _TogetherStage(Stage):
    """A stage about one set of ``unique_together``.

    Args:
        model_name: the model.
        fields: the fields, in the order of the set.
    """

    def __init__(self, model_name: str, fields: Sequence[str]) -> None:
        super().__init__(model_name)
        self.fields = list(fields)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return "_".join([self.model_name_lower, *(name.lower() for name in self.fields), "unique"])

    def _wanted(self, editor: Any, model: Any) -> WantedUnique:
        fields = [model._meta.get_field(name) for name in self.fields]
        return wanted_unique(editor, model, editor._create_unique_sql(model, fields))

    def _there(self, runner: Runner, table: Table, model: Any) -> list[str]:
        """Return what there is over the columns; what bears Django's name is the one alone."""
        columns = [model._meta.get_field(name).column for name in self.fields]
        excluded = [constraint.name for constraint in model._meta.constraints]
        found = unique_names(runner, table, columns, excluded)
        usual = self._wanted(runner.editor, model).catalog_name
        return [usual] if usual in found else found

    def _add(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.table(model._meta.db_table)
        if not self._there(runner, table, model):
            add_unique(runner, table, self._wanted(runner.editor, model))

    def _drop(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.find_table(model._meta.db_table)
        if table is None:
            return
        for name in self._there(runner, table, model)[:1]:
            drop_unique(runner, table, name)

    def _collect_drop(self, editor: Any, model: Any) -> list[str]:
        wanted = self._wanted(editor, model)
        return [f"ALTER TABLE {wanted.table} DROP CONSTRAINT {quote(wanted.name)}"]


@public
class AddUniqueTogether(_TogetherStage):
    """CREATE UNIQUE INDEX CONCURRENTLY and ADD CONSTRAINT … USING INDEX for ``unique_together``.

    Values that occur more than once are counted first.

    Args:
        model_name: the model.
        fields: the fields of the set, in its order.

    Raises:
        ViolatingRows: values occur more than once; counts and names some.
        InvalidIndex: an index of the name is there and another one, or the build did not
            end well.

    Locks: SHARE UPDATE EXCLUSIVE for the build: reads and writes go on; then ACCESS EXCLUSIVE
    for an instant.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = BUILD

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        self._add(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._wanted(editor, after).steps()

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        listed = ", ".join(self.fields)
        return f"Make ({listed}) of {self.model_name} unique by an index built concurrently"


@public
class DropUniqueTogether(_TogetherStage):
    """DROP CONSTRAINT of a set that leaves ``unique_together``, whatever its name.

    Args:
        model_name: the model.
        fields: the fields of the set, in its order.

    Raises:
        ViolatingRows: on the way back: values occur more than once by now.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again."""
        self._add(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_drop(editor, before)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add it again."""
        return self._wanted(editor, after).steps()

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the unique constraint of ({', '.join(self.fields)}) of {self.model_name}"
