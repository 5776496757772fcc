"""Stages that take a renamed model's content type and permissions along."""

from __future__ import annotations

from typing import Any

import django
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.report import report
from django_safemigrations.exceptions import BackfillFailed, ViolatingRows
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.postgres.catalog import ForeignKey, Table, literal, quote
from django_safemigrations.postgres.content_types import (
    Names,
    content_type_id,
    copy_permissions,
    delete_permissions,
    find_table,
    move_permissions,
    references,
    rename_content_type,
)
from django_safemigrations.postgres.runner import Runner

# Since then Django renames the permissions of a renamed model; before, those of the old
# name stay, and code may go on asking for them.
RENAMES_PERMISSIONS = (6, 1)


class _ContentTypeStage(Stage):
    """A stage about the content type of a renamed model.

    Args:
        model_name: the model, by its name in new code.
        old_name: its name in old code.
    """

    def __init__(self, model_name: str, old_name: str) -> None:
        super().__init__(model_name)
        self.old_name = old_name

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the names, and the model under its new one."""
        key = (app_label, self.model_name_lower)
        model = (to_state if key in to_state.models else from_state).apps.get_model(*key)
        options = model._meta
        names = Names(
            app_label,
            self.old_name.lower(),
            self.model_name_lower,
            tuple(options.default_permissions),
            str(options.verbose_name_raw),
        )
        return names, model

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return none: nobody has asked for a content type of an empty database yet."""
        return None

    def _update(
        self, editor: BaseDatabaseSchemaEditor, names: Names, old: str, new: str
    ) -> list[str]:
        return [
            "-- Where django.contrib.contenttypes is installed:",
            f"UPDATE {editor.quote_name('django_content_type')} SET model = {literal(new)} "
            f"WHERE app_label = {literal(names.app_label)} AND model = {literal(old)}",
        ]

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.old_name}_{self.model_name}_content_type".lower()


@public
class RenameContentType(_ContentTypeStage):
    """UPDATE of the model's row in django_content_type, and new permissions beside the old ones.

    What Django does after a RenameModel at the top level of a migration, except that the
    permissions of the old name stay until no old code is left; whoever has one gets the new
    one too. Does nothing where django.contrib.contenttypes is not installed.

    Args:
        model_name: the model, by its name in new code.
        old_name: its name in old code.

    Locks: ROW EXCLUSIVE; one row.
    Source: https://docs.djangoproject.com/en/stable/ref/contrib/contenttypes/
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Rename it."""
        _rename(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Give it its old name, and take away the permissions of the new one."""
        _rename(runner, before.backwards, delete=True)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._update(editor, before, before.old, before.new)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that undoes it."""
        return self._update(editor, before, before.new, before.old)

    def describe(self) -> str:
        """Say what it does."""
        return f"Rename the content type {self.old_name} to {self.model_name}"


@public
class MergeContentTypes(_ContentTypeStage):
    """DELETE of a second content type that old code made under the old name, after its rows moved.

    Rows of every table with a foreign key to django_content_type follow in batches,
    permissions with their grants. From Django 6.1 on, which renames permissions, those of
    the old name go; before, they stay as Django leaves them.

    Args:
        model_name: the model, by its name in new code.
        old_name: its name in old code.

    Raises:
        ViolatingRows: a row would be there twice.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched = True
    finishes = "RenameContentType"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Merge them."""
        table = find_table(runner, "contenttypes", "ContentType")
        if table is None:
            return
        second = content_type_id(runner, table, before.app_label, before.old)
        kept = content_type_id(runner, table, before.app_label, before.new)
        if second is not None and kept is not None:
            _merge(runner, table, second, kept)
        _rename(runner, before, delete=django.VERSION >= RENAMES_PERMISSIONS)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Bring the permissions of the old name back."""
        table = find_table(runner, "contenttypes", "ContentType")
        if table is None:
            return
        kind = content_type_id(runner, table, before.app_label, before.new)
        if kind is not None:
            runner.transaction(
                lambda: copy_permissions(runner, kind, before.backwards), "permissions"
            )

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement, without the rows of other tables, which the catalog names."""
        return [
            "-- Where old code has made it again; rows that refer to it are moved first:",
            f"DELETE FROM {editor.quote_name('django_content_type')} "
            f"WHERE app_label = {literal(before.app_label)} AND model = {literal(before.old)}",
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Merge the content type {self.old_name} into {self.model_name}"


def _rename(runner: Runner, names: Names, *, delete: bool = False) -> None:
    table = find_table(runner, "contenttypes", "ContentType")
    if table is None:
        return

    def work() -> None:
        rename_content_type(runner, table, names)
        kind = content_type_id(runner, table, names.app_label, names.new)
        if kind is None:
            return
        copy_permissions(runner, kind, names)
        if delete:
            delete_permissions(runner, kind, names)

    runner.transaction(work, f"content type {names.app_label}.{names.old}")
    if content_type_id(runner, table, names.app_label, names.old) is not None:
        report(
            f"There are two content types, {names.app_label}.{names.old} and "
            f"{names.app_label}.{names.new}: the contract merges them."
        )


def _merge(runner: Runner, table: Table, second: int, kept: int) -> None:
    permissions = find_table(runner, "auth", "Permission")
    for key in references(runner, table):
        if permissions is None or key.table_oid != permissions.oid:
            _move(runner, key, second, kept)

    def work() -> None:
        move_permissions(runner, second, kept)
        runner.execute_with_params(f"DELETE FROM {table.qualified} WHERE id = %s", [second])

    runner.transaction(work, f"content type {second}")


def _move(runner: Runner, key: ForeignKey, second: int, kept: int) -> None:
    schema, name = runner.catalog.rows(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = %s",
        [key.table_oid],
    )[0]
    owner = Table(key.table_oid, schema, name, "r", is_partition=False, qualified=key.table)
    column = quote(key.columns[0])
    task = Fill(
        table=owner,
        assignments={key.columns[0]: str(kept)},
        needed=f"{column} = {second}",
        title=f"content type {second} of {key.table}.{column} to {kept}",
    )
    if not task.left(runner):
        return
    try:
        fill(runner, task, MemoryProgress())
    except BackfillFailed as error:
        raise ViolatingRows(
            f"{key.table} has rows of content type {second}, which old code made, that are there "
            f"for {kept} too: {error}".rstrip()
            + f"\nDelete one of each pair (WHERE {column} = {second}), then run the command again."
        ) from error
