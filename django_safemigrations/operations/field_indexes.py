"""Indexes that a field has of its own: with db_index, and on text beside a unique constraint."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement

from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.operations.indexes import field_index_statements, refuse_another
from django_safemigrations.postgres.builds import build_index, drop_index
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.runner import Runner


def field_of(model: Any, name: str) -> Any:
    """Return a field of a model, None if the model has none of that name."""
    return next((field for field in model._meta.local_fields if field.name == name), None)


def is_unique(field: Any) -> bool:
    """Whether a field has a unique constraint of its own."""
    return field is not None and field.unique and not field.primary_key


def field_indexes(editor: Any, model: Any, name: str) -> dict[str, list[Statement]]:
    """Return the statements of a field's own indexes by name, without that of its constraint.

    ``db_index=True`` makes a plain one unless the field is unique, too; text has a ``_like``
    index with either.
    """
    field = field_of(model, name)
    if field is None or field.primary_key or not (field.db_index or field.unique):
        return {}
    plain, *like = field_index_statements(editor, model, name).items()
    return dict(like if field.unique else [plain, *like])


def build_missing(runner: Runner, name: str, before: Any, after: Any) -> None:
    """Build the indexes that a field has after a change and not before."""
    had = field_indexes(runner.editor, before, name)
    table = runner.catalog.table(after._meta.db_table)
    for index, (plain, concurrent) in field_indexes(runner.editor, after, name).items():
        if index in had:
            continue
        refuse_another(runner, table, index, plain)

        def build(
            *, concurrently: bool, plain: Statement = plain, concurrent: Statement = concurrent
        ) -> None:
            runner.execute(str(concurrent if concurrently else plain))

        build_index(runner, table, index, build)


def drop_superfluous(runner: Runner, name: str, before: Any, after: Any) -> None:
    """Drop the indexes that a field has before a change and not after."""
    if field_of(after, name) is None:
        # They go with their column.
        return
    kept = field_indexes(runner.editor, after, name)
    table = runner.catalog.table(before._meta.db_table)
    for index in field_indexes(runner.editor, before, name):
        found = runner.catalog.index(table, index)
        if index not in kept and found is not None:
            drop_index(runner, found)


def printed_missing(editor: Any, name: str, before: Any, after: Any) -> list[str]:
    """Return the statements of `build_missing`."""
    had = field_indexes(editor, before, name)
    found = field_indexes(editor, after, name)
    return [str(concurrent) for index, (_, concurrent) in found.items() if index not in had]


def printed_superfluous(editor: Any, name: str, before: Any, after: Any) -> list[str]:
    """Return the statements of `drop_superfluous`."""
    if field_of(after, name) is None:
        return []
    kept = field_indexes(editor, after, name)
    return [
        f"DROP INDEX CONCURRENTLY IF EXISTS {quote(index)}"
        for index in field_indexes(editor, before, name)
        if index not in kept
    ]


@public
class AlterFieldIndexesConcurrently(FieldStage):
    """Builds and drops a field's own indexes where its ``unique`` changes but no constraint does.

    That of ``db_index=True`` serves while the field is not unique; text has a ``_like``
    index in either case.

    Args:
        model_name: the model.
        name: the field.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build what is missing, then drop what is left."""
        build_missing(runner, self.name, before, after)
        drop_superfluous(runner, self.name, before, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """The same the other way round."""
        self.forwards(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return [
            *printed_missing(editor, self.name, before, after),
            *printed_superfluous(editor, self.name, before, after),
        ]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self.collect_forwards(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Build and drop indexes of {self.model_name}.{self.name} concurrently"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_index"
