"""Stages that rename a column by adding a second one, kept in sync until no old code is left."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations import printed
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.names import cut
from django_safemigrations.postgres.pair_ends import drop_sources
from django_safemigrations.postgres.pairs import (
    Pairs,
    add_columns,
    copy_constraints,
    copy_indexes,
)
from django_safemigrations.postgres.runner import Runner


def column_of(model: Any, name: str, other: str) -> str:
    """Return the column that field `name` has, or would have: `model` may have it as `other`."""
    fields = {field.name: field for field in model._meta.local_fields}
    if name in fields:
        return str(fields[name].column)
    clone = fields[other].clone()
    clone.set_attributes_from_name(name)
    return str(clone.column)


def through_model(state: ProjectState, table: str) -> Any:
    """Return the model that Django makes for a ManyToManyField's table.

    Raises:
        UnsupportedChange: no ManyToManyField of the state has the table.
    """
    for model in state.apps.get_models(include_auto_created=True):
        if model._meta.auto_created and model._meta.db_table == table:
            return model
    raise UnsupportedChange(
        f"No ManyToManyField has the table {quote(table)}. The migration may run too early: let it "
        "depend on the one that creates the field."
    )


class _RenameStage(Stage):
    """A stage about fields of one model that are renamed together.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        names: names that indexes and constraints change with the fields, old to new.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.
    """

    def __init__(
        self,
        model_name: str,
        renames: dict[str, str],
        names: dict[str, str] | None = None,
        table: str = "",
    ) -> None:
        super().__init__(model_name)
        self.renames = renames
        self.names = names or {}
        self.table = table

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what there is none of."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "renames": self.renames}
        if self.names:
            kwargs["names"] = self.names
        if self.table:
            kwargs["table"] = self.table
        return self.__class__.__qualname__, [], kwargs

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model before and after, or those that Django makes for the table."""
        if not self.table:
            return super().models(app_label, from_state, to_state)
        return through_model(from_state, self.table), through_model(to_state, self.table)

    def db_table(self, app_label: str, state: ProjectState) -> str | None:
        """Return the table that must be empty for Django's own way."""
        return self.table or super().db_table(app_label, state)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        fields = "_".join(f"{old}_to_{new}" for old, new in self.renames.items())
        return f"{self.model_name}_{fields}".lower()

    @property
    def listed(self) -> str:
        """The renames, for descriptions."""
        where = self.table or self.model_name
        return ", ".join(f"{where}.{old} as {new}" for old, new in self.renames.items())

    def columns(self, model: Any) -> list[tuple[str, str]]:
        """Return the old and the new column of each field."""
        return [
            (column_of(model, old, new), column_of(model, new, old))
            for old, new in self.renames.items()
        ]

    def old_to_new(self, runner: Runner, model: Any) -> Pairs | None:
        """Return the pairs on the way forwards; None if the old columns are gone already."""
        return _pairs(runner, model, self.columns(model))

    def new_to_old(self, runner: Runner, model: Any) -> Pairs | None:
        """Return the pairs on the way back; None if the new columns are gone already."""
        return _pairs(runner, model, [(new, old) for old, new in self.columns(model)])

    def _backwards(self, model: Any) -> dict[str, str]:
        """Return the old column by the field's new name."""
        olds = (old for old, _ in self.columns(model))
        return dict(zip(self.renames.values(), olds, strict=True))

    def backfill(self, runner: Runner, pairs: Pairs) -> None:
        """Copy the first columns' values in batches."""
        table = pairs.table
        task = Fill(
            table=table,
            assignments={target: quote(source) for source, target in pairs.renames.items()},
            needed=pairs.where_different,
            title=f"copying {pairs.title}",
        )
        copied = ", ".join(f"{source} to {target}" for source, target in pairs.renames.items())
        key = cut(f"{table.schema}.{table.name}: {copied}", 255)
        fill(runner, task, progress_store(runner.connection, key, table.qualified))

    def drop(self, runner: Runner, pairs: Pairs, model: Any, *, backwards: bool) -> None:
        """Drop the first columns; `model` has the fields of the second."""
        names = {new: old for old, new in self.names.items()} if backwards else self.names
        staying = self.renames if backwards else self.renames.values()
        keys = {
            model._meta.get_field(name).column: key
            for name in staying
            if (key := printed.foreign_key_name(runner.editor, model, name)) is not None
        }
        drop_sources(runner, pairs, names, keys)


def _pairs(runner: Runner, model: Any, columns: list[tuple[str, str]]) -> Pairs | None:
    table = runner.catalog.table(model._meta.db_table)
    found = [(runner.catalog.column(table, source), target) for source, target in columns]
    present = [(source, target) for source, target in found if source is not None]
    if len(present) == len(columns):
        return Pairs(table, tuple(present))
    for (source, target), (column, _) in zip(columns, found, strict=True):
        if column is None and runner.catalog.column(table, target) is None:
            raise UnsupportedChange(
                f"{table.qualified} has neither column {quote(source)} nor {quote(target)}. "
                "The database does not match the migrations before this one."
            )
    if present:
        raise UnsupportedChange(
            f"{table.qualified} has {quote(present[0][0].name)} but not every column that is "
            "renamed with it. The database does not match the migrations before this one."
        )
    return None


@public
class AddSyncedColumns(_RenameStage):
    """ADD COLUMN under the new name, with the trigger that keeps both columns equal.

    Type, collation, comment, storage, statistics target and grants are copied; the
    default is not, until the old column is dropped. On the way back the new column is
    dropped.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        names: names that indexes and constraints change with the fields, old to new.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.

    Raises:
        UnsupportedChange: the column can't be copied faithfully; names what is in the way.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        pairs = self.old_to_new(runner, before)
        if pairs is not None:
            add_columns(runner, pairs)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop the new columns."""
        pairs = self.new_to_old(runner, before)
        if pairs is None:
            return
        if not any(runner.catalog.column(pairs.table, name) for name in pairs.targets):
            # Renamed plainly, on a database without migrations: the way back adds first.
            add_columns(runner, pairs)
            self.backfill(runner, pairs)
        self.drop(runner, pairs, after, backwards=True)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the model tells them."""
        renames = dict(zip(self.renames, (new for _, new in self.columns(before)), strict=True))
        return printed.add_columns(editor, before, renames)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop the new column."""
        return printed.drop_columns(editor, before, self._backwards(before))

    def describe(self) -> str:
        """Say what it does."""
        return f"Add columns kept in sync: {self.listed}"


@public
class BackfillSyncedColumns(_RenameStage):
    """UPDATE in batches that copies the old column's values into the new one.

    Progress is stored with each batch; the end is proven by counting.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched = True

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Copy the values."""
        pairs = self.old_to_new(runner, before)
        if pairs is not None:
            self.backfill(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return one batch's statement."""
        return printed.backfill(editor, before, dict(self.columns(before)))

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy values in batches: {self.listed}"


@public
class CopyIndexes(_RenameStage):
    """CREATE INDEX CONCURRENTLY of a copy of every index over the old column, on the new one.

    The copies are read from the catalog: expressions, operator classes, order, INCLUDE,
    WHERE, storage parameters and tablespace are those of the originals, also of indexes
    that no model declares.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build the copies."""
        pairs = self.old_to_new(runner, before)
        if pairs is not None:
            copy_indexes(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the indexes that the models declare."""
        return printed.copy_indexes(editor, before, after, self.renames)

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy indexes concurrently: {self.listed}"


@public
class CopyConstraints(_RenameStage):
    """CHECKs, foreign keys from and to the column, and NOT NULL, for the new column, in stages.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, no scan;
    SHARE UPDATE EXCLUSIVE while validating.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add the copies."""
        pairs = self.old_to_new(runner, before)
        if pairs is not None:
            copy_constraints(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the constraints that the models declare."""
        return printed.copy_constraints(editor, before, after, self.renames)

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy constraints in stages: {self.listed}"


@public
class DropSyncedColumns(_RenameStage):
    """DROP COLUMN of the old column and its trigger; the copies get their final names.

    Both columns are proven equal first. On the way back the old column is added again,
    kept in sync and filled.

    Args:
        model_name: the model.
        renames: each field's name in old code, and in new code.
        names: names that indexes and constraints change with the fields, old to new.
        table: the table of a ManyToManyField whose fields these are, instead of the model's.

    Raises:
        DataDiffers: the columns are not equal; nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the referenced
    table too.
    """

    finishes = "AddSyncedColumns"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        pairs = self.old_to_new(runner, after)
        if pairs is not None:
            self.drop(runner, pairs, after, backwards=False)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add the old column again, in sync and filled."""
        pairs = self.new_to_old(runner, after)
        if pairs is None:
            return
        add_columns(runner, pairs)
        self.backfill(runner, pairs)
        copy_indexes(runner, pairs)
        copy_constraints(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the final transaction."""
        return printed.drop_columns(editor, after, self._backwards(after), self.names)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add the old column again."""
        return [
            *printed.add_columns(editor, after, self._backwards(after)),
            *printed.backfill(editor, after, {new: old for old, new in self.columns(after)}),
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the old columns: {self.listed}"
