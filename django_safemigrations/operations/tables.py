"""Stages that rename a table while old code goes on under the old name, by a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import split_identifier
from django.db.migrations import RenameModel
from django.db.migrations.state import ProjectState

from django_safemigrations.operations import printed
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.names import is_copy_name
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.view_statements import rename_statements, view_statements
from django_safemigrations.postgres.views import (
    TableRename,
    drop_view,
    make_view,
    rename_back,
    rename_behind_view,
)


class _RenameTableStage(Stage):
    """A stage about a table that gets another name.

    Args:
        model_name: the model that brings it about, by its name in new code.
        old_table: the table's name in old code, as in ``Meta.db_table``.
        new_table: its name in new code.
        columns: its columns, by their names in old code.
        renames: columns that change their names with it, old to new.
    """

    def __init__(
        self,
        model_name: str,
        old_table: str,
        new_table: str,
        columns: list[str],
        renames: dict[str, str] | None = None,
    ) -> None:
        super().__init__(model_name)
        self.old_table = old_table
        self.new_table = new_table
        self.columns = columns
        self.renames = renames or {}

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave the renamed columns out where there are none."""
        kwargs: dict[str, Any] = {
            "model_name": self.model_name,
            "old_table": self.old_table,
            "new_table": self.new_table,
            "columns": self.columns,
        }
        if self.renames:
            kwargs["renames"] = self.renames
        return self.__class__.__qualname__, [], kwargs

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model under its new name, twice: the tables are named."""
        key = (app_label, self.model_name_lower)
        state = to_state if key in to_state.models else from_state
        model = state.apps.get_model(*key)
        return model, model

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table that must be empty for Django's own way."""
        return self.old_table

    @property
    def runs_when_fresh(self) -> bool:
        """Whether Django can't do it: it writes RENAME TO with a schema, a syntax error."""
        return '"' in self.old_table or '"' in self.new_table

    @property
    def change(self) -> TableRename:
        """The names, as the database's layer takes them."""
        return TableRename(self.old_table, self.new_table, tuple(self.columns), self.renames)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return "_to_".join(
            str(split_identifier(table)[1]).lower() for table in (self.old_table, self.new_table)
        )

    def _quoted(self, editor: BaseDatabaseSchemaEditor) -> tuple[str, str]:
        return editor.quote_name(self.old_table), editor.quote_name(self.new_table)

    def _renaming(self, editor: BaseDatabaseSchemaEditor, *, backwards: bool) -> list[str]:
        old, new = self.old_table, self.new_table
        renames = self.renames
        if backwards:
            old, new = new, old
            renames = {after: before for before, after in renames.items()}
        (schema, bare), (to_schema, to_bare) = split_identifier(old), split_identifier(new)
        moves = to_schema if to_schema and to_schema != schema else None
        return rename_statements(editor.quote_name(old), bare, to_bare, renames, moves)

    def _viewing(self, editor: BaseDatabaseSchemaEditor) -> list[str]:
        old, new = self._quoted(editor)
        return [
            *view_statements(old, new, self.columns, self.renames, invoker=True),
            "-- And the table's grants, for the view.",
        ]


@public
class RenameTableBehindView(_RenameTableStage):
    """ALTER TABLE … RENAME and CREATE VIEW under the old name, in one transaction.

    The view is simple, so PostgreSQL lets old code read, insert, update, delete, upsert and
    lock rows through it; it checks the rights of whoever uses it, and has the table's owner
    and grants. TRUNCATE and COPY FROM don't work through a view. On the way back the view is
    dropped and the table gets its old name.

    Args:
        model_name: the model that brings it about, by its name in new code.
        old_table: the table's name in old code, as in ``Meta.db_table``.
        new_table: its name in new code.
        columns: its columns, by their names in old code.
        renames: columns that change their names with it, old to new.

    Raises:
        UnsupportedChange: one of the names is taken, or something was built on the view.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-createview.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Rename it."""
        rename_behind_view(runner, self.change)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Give it its old name."""
        rename_back(runner, self.change)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the transaction."""
        return [*self._renaming(editor, backwards=False), *self._viewing(editor)]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that undo it."""
        old, _ = self._quoted(editor)
        return [f"DROP VIEW {old}", *self._renaming(editor, backwards=True)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Rename table {self.old_table} to {self.new_table} behind a view"


@public
class DropOldNameView(_RenameTableStage):
    """DROP VIEW of the old name of a renamed table; on the way back it is created again.

    Args:
        model_name: the model that brings it about, by its name in new code.
        old_table: the table's name in old code, as in ``Meta.db_table``.
        new_table: its name in new code.
        columns: its columns, by their names in old code.
        renames: columns that change their names with it, old to new.

    Raises:
        UnsupportedChange: something was built on the view.

    Locks: ACCESS EXCLUSIVE on the view alone.
    """

    finishes = "RenameTableBehindView"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        drop_view(runner, self.change)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Create it again."""
        make_view(runner, self.change)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return [f"DROP VIEW IF EXISTS {self._quoted(editor)[0]}"]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that create it."""
        return self._viewing(editor)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the view under the old name {self.old_table}"


@dataclass(frozen=True)
class _Key:
    """A foreign key that gets another name.

    Attributes:
        table: its table, by the name in new code.
        column: its column, likewise.
        old: the model and field that Django names it by in old code.
        new: the same in new code.
    """

    table: str
    column: str
    old: tuple[Any, Any]
    new: tuple[Any, Any]


@public
class RenameForeignKeys(Stage):
    """RENAME CONSTRAINT of foreign keys whose names Django makes from the model's table.

    Django drops them and adds them again, with validation of every row.

    Args:
        model_name: the model, by its name in new code.
        renamed: the models that are renamed, in order: their names in old and in new code.

    Locks: ACCESS EXCLUSIVE on each referencing table, one at a time, for an instant.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def __init__(self, model_name: str, renamed: list[tuple[str, str]]) -> None:
        super().__init__(model_name)
        self.renamed = renamed

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the keys, and the model under its new name."""
        is_old = (app_label, self.renamed[0][0].lower()) in from_state.models
        old, new = (from_state, to_state) if is_old else (to_state, from_state)
        keys = list(_keys(app_label, self.renamed, old, new))
        return keys, new.apps.get_model(app_label, self.model_name)

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return none: an empty table's keys get Django's names either way."""
        return None

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Rename them."""
        for key in before:
            _rename_key(runner, key, key.new)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Give them their old names."""
        for key in reversed(before):
            _rename_key(runner, key, key.old)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return [_statement(editor, key, key.old, key.new) for key in before]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that undo it."""
        return [_statement(editor, key, key.new, key.old) for key in reversed(before)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Rename the foreign keys to {', '.join(new for _, new in self.renamed)}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{'_'.join(new for _, new in self.renamed)}_foreign_keys".lower()


def _keys(
    app_label: str, renamed: Sequence[tuple[str, str]], old: ProjectState, new: ProjectState
) -> Iterator[_Key]:
    """Yield the foreign keys that plain Django would add anew under another name, in its order.

    Columns of ManyToManyFields that are kept twice for a while are left out: their keys get
    their names when the old column goes.
    """
    before = old
    final = {(app_label, a.lower()): (app_label, b.lower()) for a, b in renamed}
    for old_name, new_name in renamed:
        # Django names the keys right after each RenameModel, whatever becomes of db_table then.
        after = before.clone()
        RenameModel(old_name, new_name).state_forwards(app_label, after)
        own = {(app_label, old_name.lower()): (app_label, new_name.lower())}
        model = before.apps.get_model(app_label, old_name)
        for owner, old_field in _fields_about(model):
            key = (owner._meta.app_label, owner._meta.model_name)
            fields = [
                old_field,
                after.apps.get_model(*own.get(key, key))._meta.get_field(old_field.name),
                new.apps.get_model(*final.get(key, key))._meta.get_field(old_field.name),
            ]
            if not old_field.many_to_many:
                ends = [tuple(fields)]
            elif old_field.remote_field.through._meta.auto_created:
                ends = list(zip(*map(_ends, fields), strict=True))
            else:
                continue
            yield from (
                _Key(c.model._meta.db_table, c.column, (a.model, a), (b.model, b))
                for a, b, c in ends
                if _is_altered(a, b)
                and (a.column == c.column or a.model._meta.db_table != c.model._meta.db_table)
            )
        before = after


def _fields_about(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the relations that Django alters after a RenameModel, each with its model."""
    found = set()
    for relation in model._meta.related_objects:
        found.add(relation.field)
        yield relation.related_model, relation.field
    for field in model._meta.local_many_to_many:
        if field not in found:
            yield model, field


def _is_altered(old: Any, new: Any) -> bool:
    if not old.db_constraint:
        return False
    return bool(old.column != new.column or _target_table(old) != _target_table(new))


def _ends(field: Any) -> list[Any]:
    """Return the two foreign keys of a ManyToManyField's table."""
    through = field.remote_field.through
    names = (field.m2m_field_name(), field.m2m_reverse_field_name())
    return [through._meta.get_field(name) for name in names]


def _target_table(field: Any) -> str:
    return str(field.remote_field.model._meta.db_table)


def _named(editor: Any, of: tuple[Any, Any]) -> str:
    model, field = of
    return str(printed.foreign_key_name(editor, model, field.name))


def _rename_key(runner: Runner, key: _Key, of: tuple[Any, Any]) -> None:
    table = runner.catalog.find_table(key.table)
    if table is None:
        return
    name = _named(runner.editor, of)
    for found in runner.catalog.foreign_keys(table, key.column):
        if found.table_oid != table.oid or found.columns != (key.column,):
            continue
        if found.name == name or is_copy_name(found.name):
            continue
        if runner.catalog.constraint_exists(table.oid, name)[0]:
            continue
        sql = (
            f"ALTER TABLE {table.qualified} RENAME CONSTRAINT {quote(found.name)} TO {quote(name)}"
        )
        runner.transaction(partial(runner.execute, sql), f"foreign key {quote(found.name)}")


def _statement(editor: Any, key: _Key, before: tuple[Any, Any], after: tuple[Any, Any]) -> str:
    return (
        f"ALTER TABLE {editor.quote_name(key.table)} RENAME CONSTRAINT "
        f"{quote(_named(editor, before))} TO {quote(_named(editor, after))}"
    )
