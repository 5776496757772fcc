"""Stages that widen a primary key, with its foreign keys, by a second column in every table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Field

from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.operations import printed_keys
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.relations_to import relations_to
from django_safemigrations.postgres.key_copies import (
    add_columns,
    copy_all_constraints,
    copy_all_indexes,
    fitting,
)
from django_safemigrations.postgres.key_swaps import drop_seconds, swap
from django_safemigrations.postgres.keys import Family, Place, find_family
from django_safemigrations.postgres.names import cut
from django_safemigrations.postgres.runner import Runner

# Django names a foreign key like this that it makes anew because its target changes …
MADE_ANEW = "_fk"
# … and like this that it makes with its field.
MADE_WITH_FIELD = "_fk_%(to_table)s_%(to_column)s"


def places(
    editor: BaseDatabaseSchemaEditor, model: Any, name: str, type_of: Any, suffix: str
) -> list[Place]:
    """Return the key and everything that refers to it.

    Args:
        editor: the schema editor.
        model: the model of the key, among all others of its state.
        name: the key's field.
        type_of: a field with the type that the key is to have.
        suffix: how foreign keys are to be named.
    """
    connection = editor.connection
    key = model._meta.get_field(name)
    found = [Place(model._meta.db_table, key.column, type_of.db_type(connection))]
    for related in relations_to(key):
        constraint = None
        if related.db_constraint:
            quoted = str(editor._fk_constraint_name(related.model, related, suffix))  # type: ignore[attr-defined]
            constraint = quoted.strip('"').replace('""', '"')
        found.append(
            Place(
                related.model._meta.db_table,
                related.column,
                type_of.rel_db_type(connection),
                constraint,
            )
        )
    return found


class _KeyStage(FieldStage):
    """A stage about a primary key and everything that refers to it.

    Args:
        model_name: the model.
        name: the primary key's field.
    """

    and_relations: ClassVar[bool] = True
    """That it works on the tables of all relations to the key, too (see `footprints`)."""

    def family(
        self,
        runner: Runner,
        model: Any,
        suffix: str,
        type_of: Any = None,
        *,
        complete: bool = True,
    ) -> Family:
        """Find the columns, which are to have the types of `model`, or of `type_of`."""
        wanted = type_of or model._meta.get_field(self.name)
        found = places(runner.editor, model, self.name, wanted, suffix)
        return find_family(runner.catalog, found, complete=complete)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"widen_{self.model_name}_{self.name}".lower()

    @property
    def listed(self) -> str:
        """The key, for descriptions."""
        return f"{self.model_name}.{self.name} and what refers to it"


def _backfill(runner: Runner, family: Family) -> None:
    for table in family.open:
        found = table.table
        task = Fill(
            table=found,
            assignments={column.beside: fitting(column) for column in table.open},
            needed=table.where_different,
            title=f"copying the keys of {table.title}",
        )
        copied = ", ".join(f"{c.live.name} to {c.beside} {c.wanted}" for c in table.open)
        key = cut(f"{found.schema}.{found.name}: {copied}", 255)
        fill(runner, task, progress_store(runner.connection, key, found.qualified))


@public
class AddKeyColumns(_KeyStage):
    """ADD COLUMN of the wider type beside the key and every column that refers to it.

    A trigger on each table keeps the second columns equal. Tables are those of the
    models' relations, of other apps too, as far as they are in this database. On the way
    back the second columns are dropped.

    Args:
        model_name: the model.
        name: the primary key's field.

    Raises:
        UnsupportedChange: a column can't be replaced faithfully; names what is in the way.

    Locks: ACCESS EXCLUSIVE for an instant, on one table at a time, no scan.

    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add them."""
        add_columns(runner, self.family(runner, after, MADE_ANEW))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop them."""
        drop_seconds(runner, self.family(runner, after, MADE_WITH_FIELD))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the models tell them."""
        return printed_keys.add_columns(editor, before, after, self.name)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop them."""
        return printed_keys.drop_columns(
            editor, before, self.name, after._meta.get_field(self.name)
        )

    def describe(self) -> str:
        """Say what it does."""
        return f"Add wider columns for {self.listed}"


@public
class BackfillKeyColumns(_KeyStage):
    """UPDATE in batches that copies keys into the second columns, one table after the other.

    Progress is stored with each batch; the end is proven by counting.

    Args:
        model_name: the model.
        name: the primary key's field.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched = True

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Copy the values."""
        _backfill(runner, self.family(runner, after, MADE_ANEW))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return one batch's statement for each table."""
        return printed_keys.backfill(editor, before, after, self.name)

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy keys in batches: {self.listed}"


@public
class CopyKeyIndexes(_KeyStage):
    """CREATE INDEX CONCURRENTLY of a copy of every index over the columns, on the second ones.

    The primary key's index among them. Copies are read from the catalog, also those of
    indexes that no model declares.

    Args:
        model_name: the model.
        name: the primary key's field.

    Locks: SHARE UPDATE EXCLUSIVE on one table at a time: reads and writes go on.
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build the copies."""
        copy_all_indexes(runner, self.family(runner, after, MADE_ANEW))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the indexes that the models imply."""
        return printed_keys.copy_indexes(editor, before, after, self.name)

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy indexes concurrently: {self.listed}"


@public
class CopyKeyConstraints(_KeyStage):
    """NOT NULL, CHECKs and foreign keys for the second columns, in stages.

    Args:
        model_name: the model.
        name: the primary key's field.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, no scan; for a
    foreign key on both its tables. SHARE UPDATE EXCLUSIVE while validating.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add the copies."""
        copy_all_constraints(runner, self.family(runner, after, MADE_ANEW))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the constraints that the models imply."""
        return printed_keys.copy_constraints(editor, before, after, self.name)

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy constraints in stages: {self.listed}"


@public
class SwapKeyColumns(_KeyStage):
    """The second columns take the names, the primary key, the sequence and the constraints.

    One short transaction a foreign key, then one a table. The replaced columns stay beside,
    kept up to date, until they are dropped. The way back makes copies of the old type if
    there are none, and swaps again.

    Args:
        model_name: the model.
        name: the primary key's field.

    Raises:
        DataDiffers: the columns are not equal; nothing was swapped.
        ViolatingRows: on the way back: keys are too large for the old type; how many.
        UnsupportedChange: on the way back: the sequence is past the old type.

    Locks: ACCESS EXCLUSIVE for an instant, on one table at a time, no scan; while a foreign
    key changes over, on its two tables.

    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Swap."""
        family = self.family(runner, after, MADE_ANEW)
        if not family.done:
            swap(runner, family, key_first=False)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Swap back."""
        family = self.family(runner, after, MADE_WITH_FIELD)
        if family.done:
            return
        add_columns(runner, family)
        _backfill(runner, family)
        swap(runner, family, key_first=True)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the models tell them."""
        return printed_keys.swap(editor, before, after, self.name)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that swap back."""
        return printed_keys.swap(editor, before, after, self.name)

    def describe(self) -> str:
        """Say what it does."""
        return f"Swap in the wider columns: {self.listed}"


@public
class DropKeyColumns(_KeyStage):
    """DROP COLUMN of the columns that a wider key has replaced, with their triggers.

    On the way back they are added again, kept in step and filled.

    Args:
        model_name: the model.
        name: the primary key's field.
        old_field: the field before the change.

    Raises:
        ViolatingRows: on the way back: keys are too large for the old type; how many.

    Locks: ACCESS EXCLUSIVE for an instant, on one table at a time, no scan.
    """

    finishes = "AddKeyColumns"

    def __init__(self, model_name: str, name: str, old_field: Field[Any, Any]) -> None:
        super().__init__(model_name, name)
        self.old_field = old_field

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop them."""
        # Something may have become of the relations since.
        drop_seconds(runner, self.family(runner, after, MADE_ANEW, complete=False))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add them again, in step and filled."""
        family = self.family(runner, after, MADE_WITH_FIELD, self.old_field)
        add_columns(runner, family)
        _backfill(runner, family)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop them."""
        return printed_keys.drop_columns(editor, after, self.name, self.old_field)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add them again."""
        return printed_keys.add_columns(editor, after, after, self.name, self.old_field)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the replaced columns of {self.listed}"
