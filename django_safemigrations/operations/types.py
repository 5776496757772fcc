"""Stages that let a column of another type take the place of the first."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.printed_types import (
    printed_columns,
    printed_drop,
    printed_swap,
)
from django_safemigrations.operations.shadows import UNKNOWN, AddShadowColumn, ShadowStage, type_of
from django_safemigrations.postgres import not_null
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.pair_ends import drop_sources, refuse_misfits
from django_safemigrations.postgres.pairs import (
    Pairs,
    copy_constraints,
    copy_indexes,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.swaps import (
    Type,
    drop_second,
    swap,
    typed_pairs,
)
from django_safemigrations.postgres.type_changes import same_type


@public
class SwapColumns(ShadowStage):
    """RENAME COLUMN of both: the second takes the name, indexes and constraints of the first.

    The first stays aside, kept in step, until it is dropped; what does not fit its type is
    NULL there. On the way back they are swapped again.

    Args:
        model_name: the model.
        name: the field.

    Raises:
        DataDiffers: the columns are not in step.
        ViolatingRows: values do not fit the other type, or would not be unique.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the table at its
    other end too.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Swap them."""
        table, column, shadow, aside = self.where(runner, before)
        self._swap(runner, after, table, column, shadow, aside)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Swap them again."""
        table, column, shadow, aside = self.where(runner, before)
        self._swap(runner, after, table, column, aside, shadow)
        self.build_like_index(runner, before, after)

    def _swap(
        self,
        runner: Runner,
        after: Any,
        table: Table,
        column: str,
        second: str,
        aside: str,
    ) -> None:
        catalog = runner.catalog
        wanted = type_of(runner.editor, after, self.name)
        if catalog.column(table, second) is None:
            if catalog.column(table, aside) is not None or self._is(runner, table, column, wanted):
                return
            # Changed plainly, on a database without migrations, or the expand was faked.
            self.fill(runner, self.add(runner, table, column, second, wanted))
        pairs = typed_pairs(runner, table, column, second, UNKNOWN)
        swap(runner, pairs, aside)

    def _is(self, runner: Runner, table: Table, column: str, wanted: Type) -> bool:
        found = runner.catalog.column(table, column)
        return found is not None and same_type(found.type, wanted.name)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements of the transaction, as far as the model tells them."""
        return printed_swap(editor, before, self.name, backwards=False)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the same the other way round."""
        return printed_swap(editor, before, self.name, backwards=True)

    def describe(self) -> str:
        """Say what it does."""
        return f"Swap the columns of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_swap"


@public
class WidenColumns(FieldStage):
    """ALTER COLUMN … TYPE of a column and of the foreign keys that point to it, one by one.

    For changes of which PostgreSQL writes nothing but the catalog, such as a longer varchar:
    it keeps the foreign keys and looks at no row, where Django drops them and validates
    them anew. On the way back PostgreSQL reads and writes the tables under the lock.

    Args:
        model_name: the model.
        name: the field that foreign keys point to (``to_field``).

    Locks: ACCESS EXCLUSIVE for an instant each, on the table and on the one at the other end
    of the foreign key; no scan.
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Change the types, the one that is pointed to first."""
        for sql in self._statements(runner.editor, after):
            runner.execute(sql)
        # As Django calls a foreign key that it makes anew.
        self._name_keys(runner, after, "_fk")

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Change them back, the ones that point first."""
        for sql in reversed(self._statements(runner.editor, after)):
            runner.execute(sql)
        self._name_keys(runner, after, "_fk_%(to_table)s_%(to_column)s")

    def _name_keys(self, runner: Runner, model: Any, suffix: str) -> None:
        editor: Any = runner.editor
        for field in pointing_to(model._meta.get_field(self.name))[1:]:
            quoted = str(editor._fk_constraint_name(field.model, field, suffix))
            table = runner.catalog.table(field.model._meta.db_table)
            for key in runner.catalog.foreign_keys(table, field.column):
                if key.columns != (field.column,) or key.table_oid != table.oid:
                    continue
                if quoted != quote(key.name):
                    alter = f"ALTER TABLE {key.table} RENAME CONSTRAINT {quote(key.name)}"
                    runner.execute(f"{alter} TO {quoted}")

    def _statements(self, editor: Any, model: Any) -> list[str]:
        return [
            f"ALTER TABLE {editor.quote_name(field.model._meta.db_table)} "
            f"ALTER COLUMN {editor.quote_name(field.column)} TYPE {field.db_type(editor.connection)}"
            for field in pointing_to(model._meta.get_field(self.name))
        ]

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._statements(editor, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._statements(editor, after)[::-1]

    def describe(self) -> str:
        """Say what it does."""
        return f"Widen {self.model_name}.{self.name} and the foreign keys that point to it"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_widen"


def pointing_to(field: Any) -> list[Any]:
    """Return a field and, at any distance, the foreign keys whose columns have its type."""
    found = [field]
    for relation in field.model._meta.related_objects:
        other = relation.field
        if not other.many_to_many and other.target_field == field and other not in found:
            found += [key for key in pointing_to(other) if key not in found]
    return found


@public
class DropReplacedColumn(AddShadowColumn):
    """DROP COLUMN of the column of the old type, and of its trigger.

    On the way back it is added again, kept in step and filled.

    Args:
        model_name: the model.
        name: the field.
        db_type: PostgreSQL's type of the old column, for the way back.
        collation: its collation, if it is not the type's own.
        columns: the old and the new column's name, if they differ.

    Raises:
        DataDiffers: the columns are not in step; nothing was dropped.
        ViolatingRows: old values do not fit the new type; nothing was dropped.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for a foreign key on the table at its
    other end too.
    """

    finishes = "AddShadowColumn"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        table, column, shadow, aside = self.where(runner, after)
        if self.columns:
            pairs = self.under_way(runner, after)
            if pairs is not None:
                refuse_misfits(runner, pairs)
                if not after._meta.get_field(self.name).null:
                    not_null.set_not_null(runner, table, shadow)
                drop_sources(runner, pairs, {}, self.foreign_key_names(runner, after))
        elif runner.catalog.column(table, aside) is not None:
            drop_second(runner, typed_pairs(runner, table, column, aside, UNKNOWN))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again, in step and filled."""
        table, column, shadow, aside = self.where(runner, after)
        second = self.second(runner.editor)
        if not self.columns:
            if runner.catalog.column(table, shadow) is None:
                self._again(runner, self.add(runner, table, column, aside, second))
            return
        if runner.catalog.column(table, shadow) is None:
            return
        pairs = self.add(runner, table, shadow, column, second)
        self._again(runner, pairs)
        copy_indexes(runner, pairs)
        exact = all(both.there.is_exact for both in pairs.conversions.values())
        copy_constraints(runner, pairs, nulls_too=exact)

    def _again(self, runner: Runner, pairs: Pairs) -> None:
        self.fill(runner, pairs)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop it."""
        return printed_drop(editor, after, self.name, self.columns, backwards=False)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add it again."""
        return printed_columns(
            editor, after, self.name, self.columns, self.second(editor), backwards=True
        )

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the column of type {self.db_type} of {self.model_name}.{self.name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_drop_replaced"
