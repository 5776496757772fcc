"""A second column of another type, kept in step with the first until it takes its place."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement

from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.indexes import field_index_statements, indexes_of_field
from django_safemigrations.operations.printed import foreign_key_name
from django_safemigrations.operations.printed_types import (
    printed_backfill,
    printed_columns,
    printed_drop,
)
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.builds import build_index
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.names import cut
from django_safemigrations.postgres.pair_ends import drop_sources, refuse_misfits
from django_safemigrations.postgres.pairs import (
    LIKE_OPERATORS,
    Pairs,
    add_columns,
    copy_constraints,
    copy_indexes,
    is_like_index,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.swaps import (
    Type,
    aside_name,
    drop_second,
    keeps_unique,
    refuse_unswappable,
    refuse_without_cast,
    shadow_name,
    typed_pairs,
)
from django_safemigrations.postgres.type_changes import base_type

UNKNOWN = Type("")
"""The type of a column that is there: the catalog has it."""


def type_of(editor: Any, model: Any, name: str) -> Type:
    """Return the type and collation that a model's field gives its column."""
    parameters = model._meta.get_field(name).db_parameters(editor.connection)
    collation = parameters.get("collation")
    return Type(parameters["type"], editor.quote_name(collation) if collation else None)


class ShadowStage(FieldStage):
    """A stage about one field whose column changes its type.

    Args:
        model_name: the model.
        name: the field.
        columns: the old column's name and the new one's, if they differ: then both code
            generations have a column of their own, and the second stays what it is called.
    """

    def __init__(self, model_name: str, name: str, columns: dict[str, str] | None = None) -> None:
        super().__init__(model_name, name)
        self.columns = columns or {}

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave the columns out where their names are the same."""
        kwargs: dict[str, Any] = {"model_name": self.model_name, "name": self.name}
        if self.columns:
            kwargs["columns"] = self.columns
        return self.__class__.__qualname__, [], kwargs

    def where(self, runner: Runner, model: Any) -> tuple[Table, str, str, str]:
        """Return the table, the column that code uses, and what its second is called before and after.

        With a column for either generation: the old one's, the new one's, and nothing.
        """
        table = runner.catalog.table(model._meta.db_table)
        for old, new in self.columns.items():
            return table, old, new, ""
        column = model._meta.get_field(self.name).column
        return table, column, shadow_name(table.name, column), aside_name(table.name, column)

    def under_way(self, runner: Runner, model: Any) -> Pairs | None:
        """Return the columns on the way forwards; None if the new one has taken its place already."""
        table, column, shadow, _ = self.where(runner, model)
        catalog = runner.catalog
        if catalog.column(table, shadow) is None or catalog.column(table, column) is None:
            return None
        return typed_pairs(runner, table, column, shadow, UNKNOWN)

    def fill(self, runner: Runner, pairs: Pairs) -> None:
        """Convert the first column's values in batches.

        Raises:
            ViolatingRows: values that do not fit the second column's type.
        """
        table = pairs.table
        task = Fill(
            table=table,
            assignments=pairs.assignments,
            needed=pairs.where_different,
            title=f"converting {pairs.title}",
        )
        types = ", ".join(both.target.type for both in pairs.conversions.values())
        copied = ", ".join(f"{source} to {target}" for source, target in pairs.renames.items())
        key = cut(f"{table.schema}.{table.name}: {copied} as {types}", 255)
        fill(runner, task, progress_store(runner.connection, key, table.qualified))
        refuse_misfits(runner, pairs)

    def add(self, runner: Runner, table: Table, column: str, second: str, type_: Type) -> Pairs:
        """Add a second column, kept in step."""
        pairs = typed_pairs(runner, table, column, second, type_)
        refuse_without_cast(runner, pairs)
        if not self.columns:
            refuse_unswappable(runner, table)
        add_columns(runner, pairs)
        return pairs

    def foreign_key_names(self, runner: Runner, model: Any) -> dict[str, str]:
        """Return the name that Django gives the foreign key of the model's column, if it makes one."""
        name = foreign_key_name(runner.editor, model, self.name)
        return {} if name is None else {model._meta.get_field(self.name).column: name}

    def build_like_index(self, runner: Runner, before: Any, after: Any) -> None:
        """Build the index for LIKE of a column that is a text again, and had no use for it."""
        was, is_ = (
            base_type(type_of(runner.editor, model, self.name).name) for model in (before, after)
        )
        field = after._meta.get_field(self.name)
        if was in LIKE_OPERATORS or is_ not in LIKE_OPERATORS:
            return
        if not (field.db_index or field.unique):
            return
        table = runner.catalog.table(after._meta.db_table)
        _, *likes = field_index_statements(runner.editor, after, self.name).items()
        for name, (plain, concurrent) in likes:

            def build(
                *, concurrently: bool, plain: Statement = plain, concurrent: Statement = concurrent
            ) -> None:
                runner.execute(str(concurrent if concurrently else plain))

            build_index(runner, table, name, build)


@public
class AddShadowColumn(ShadowStage):
    """ADD COLUMN of another type, with the trigger that keeps it in step with the first.

    What does not fit the other type is NULL there; writers are never refused for it. Comment,
    statistics target and grants are copied; the default is not, until the columns are swapped.
    On the way back the second column is dropped.

    Args:
        model_name: the model.
        name: the field.
        db_type: PostgreSQL's type of the second column.
        collation: its collation, if it is not the type's own.
        columns: the old and the new column's name, if they differ.

    Raises:
        UnsupportedChange: the column can't be copied faithfully, or there is no cast; names
            what is in the way.

    Locks: ACCESS EXCLUSIVE for an instant, no scan.
    """

    def __init__(
        self,
        model_name: str,
        name: str,
        db_type: str,
        collation: str | None = None,
        columns: dict[str, str] | None = None,
    ) -> None:
        super().__init__(model_name, name, columns)
        self.db_type = db_type
        self.collation = collation

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Leave out what is not given."""
        name, args, kwargs = super().deconstruct()
        columns = kwargs.pop("columns", None)
        kwargs["db_type"] = self.db_type
        if self.collation is not None:
            kwargs["collation"] = self.collation
        if columns:
            kwargs["columns"] = columns
        return name, args, kwargs

    def second(self, editor: BaseDatabaseSchemaEditor) -> Type:
        """Return the second column's type."""
        return Type(self.db_type, editor.quote_name(self.collation) if self.collation else None)

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        table, column, shadow, aside = self.where(runner, before)
        catalog = runner.catalog
        if catalog.column(table, aside) is not None:
            return
        if self.columns and catalog.column(table, column) is None:
            return
        self.add(runner, table, column, shadow, self.second(runner.editor))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        if self.columns:
            self._back_to_the_old_one(runner, before, after)
            return
        table, column, shadow, _ = self.where(runner, after)
        if runner.catalog.column(table, shadow) is not None:
            drop_second(runner, typed_pairs(runner, table, column, shadow, UNKNOWN))

    def _back_to_the_old_one(self, runner: Runner, before: Any, after: Any) -> None:
        table, old, new, _ = self.where(runner, after)
        # Without the new column an earlier run has come this far, and perhaps not to its end.
        if runner.catalog.column(table, new) is not None:
            self._drop_the_new_one(runner, table, old, new, after)
        self.build_like_index(runner, before, after)
        self._name_index(runner, table, after)

    def _drop_the_new_one(
        self, runner: Runner, table: Table, old: str, new: str, after: Any
    ) -> None:
        if runner.catalog.column(table, old) is None:
            # Changed plainly, on a database without migrations: the way back adds first.
            wanted = type_of(runner.editor, after, self.name)
            self.fill(runner, self.add(runner, table, new, old, wanted))
        pairs = typed_pairs(runner, table, new, old, UNKNOWN)
        if not after._meta.get_field(self.name).null:
            refuse_misfits(runner, pairs)
            not_null.set_not_null(runner, table, old)
        drop_sources(runner, pairs, {}, self.foreign_key_names(runner, after))

    def _name_index(self, runner: Runner, table: Table, model: Any) -> None:
        """Give the field's own index the name that Django makes of the old column's."""
        field = model._meta.get_field(self.name)
        if not field.db_index or field.unique:
            return
        usual, *_ = field_index_statements(runner.editor, model, self.name)
        found = [
            index
            for index in indexes_of_field(runner, table, model, self.name)
            if not is_like_index(index)
        ]
        if found and all(index.name != usual for index in found):
            runner.execute(f"ALTER INDEX {found[0].qualified} RENAME TO {quote(usual)}")

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements as far as the model tells them."""
        return printed_columns(editor, before, self.name, self.columns, self.second(editor))

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop it."""
        return printed_drop(editor, before, self.name, self.columns, backwards=True)

    def describe(self) -> str:
        """Say what it does."""
        return f"Add a column of type {self.db_type} in step with {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_shadow"


@public
class BackfillShadowColumn(ShadowStage):
    """UPDATE in batches that converts the first column's values into the second.

    Progress is stored with each batch; the end is proven by counting.

    Args:
        model_name: the model.
        name: the field.
        columns: the old and the new column's name, if they differ.

    Raises:
        ViolatingRows: values that do not fit the other type: how many, and the keys of a few.

    Locks: ROW EXCLUSIVE; the batch's rows for about BATCH_TIME milliseconds.
    """

    batched = True

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Convert the values."""
        pairs = self.under_way(runner, before)
        if pairs is not None:
            self.fill(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return one batch's statement."""
        return printed_backfill(editor, before, self.name, self.columns)

    def describe(self) -> str:
        """Say what it does."""
        return f"Convert {self.model_name}.{self.name} in batches"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_convert"


@public
class CopyShadowIndexes(ShadowStage):
    """CREATE INDEX CONCURRENTLY of a copy of every index over the first column, on the second.

    Unique ones wait for the swap where the other type may make different values equal.

    Args:
        model_name: the model.
        name: the field.
        columns: the old and the new column's name, if they differ.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build the copies."""
        pairs = self.under_way(runner, before)
        if pairs is not None:
            # New code with a column of its own upserts by it as soon as it comes.
            now = keeps_unique(pairs) or bool(self.columns)
            copy_indexes(runner, pairs, lambda index: index.unique and not now)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Say that the originals are read from the catalog."""
        return [
            "-- CREATE INDEX CONCURRENTLY of a copy of every index over the column that the "
            "table has"
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy the indexes of {self.model_name}.{self.name} concurrently"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_indexes"


@public
class CopyShadowConstraints(ShadowStage):
    """CHECKs, foreign keys and NOT NULL of the first column, for the second, in stages.

    NOT NULL waits for the swap where a value may not fit the other type.

    Args:
        model_name: the model.
        name: the field.
        columns: the old and the new column's name, if they differ.

    Locks: ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE for an instant each, no scan;
    SHARE UPDATE EXCLUSIVE while validating.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add the copies."""
        pairs = self.under_way(runner, before)
        if pairs is None:
            return
        ((source, target),) = pairs.columns
        both = pairs.conversions[source.name]
        copy_constraints(runner, pairs, nulls_too=both.there.is_exact)
        if not self.columns:
            return
        if both.there.is_exact and not before._meta.get_field(self.name).null:
            not_null.set_not_null(runner, pairs.table, target)
        if not both.back.is_exact:
            # New code may write what the old type can't hold: it is NULL there.
            not_null.drop_not_null(runner, pairs.table, source.name)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Say that the originals are read from the catalog."""
        return [
            "-- ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT, of a copy of every CHECK, "
            "foreign key and NOT NULL of the column"
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Copy the constraints of {self.model_name}.{self.name} in stages"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_constraints"
