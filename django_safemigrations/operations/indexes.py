"""Stages that build and drop indexes without blocking reads or writes."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import Index

from django_safemigrations.exceptions import InvalidIndex
from django_safemigrations.operations.base import FieldStage, Stage, public
from django_safemigrations.postgres.builds import build_index, drop_index
from django_safemigrations.postgres.catalog import Index as PostgresIndex
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.definitions import definition_on_clone
from django_safemigrations.postgres.runner import Runner


def unquoted(name: str) -> str:
    """Return an identifier as the catalog has it."""
    if name.startswith('"') and name.endswith('"'):
        return name[1:-1].replace('""', '"')
    return name


def refuse_another(runner: Runner, table: Table, name: str, statement: Statement) -> None:
    """Raise if a valid index of that name is there and is not the one that is wanted.

    Raises:
        InvalidIndex: both definitions.
    """
    there = runner.catalog.index(table, name)
    if there is None or not (there.valid or there.partitioned):
        return

    def create(clone: str, index: str) -> str:
        return str(
            Statement(statement.template, **{**statement.parts, "table": clone, "name": index})
        )

    wanted = definition_on_clone(runner, table, create)
    if there.tail != wanted:
        raise InvalidIndex(
            f"Index {quote(name)} on {table.qualified} is there with another definition: "
            f"{there.tail} instead of {wanted}. Nothing was changed. Rename or drop it (DROP INDEX "
            f"CONCURRENTLY {there.qualified}) and run the command again."
        )


def _index_of(model: Any, name: str) -> Index:
    for index in model._meta.indexes:
        if index.name == name:
            assert isinstance(index, Index)
            return index
    raise ValueError(f"{model.__name__} has no index {name!r} in Meta.indexes.")


class _IndexStage(Stage):
    """A stage about one index of Meta.indexes.

    Args:
        model_name: the model.
        name: the index's name.
    """

    def __init__(self, model_name: str, name: str) -> None:
        super().__init__(model_name)
        self.name = name

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}"

    def _build(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.table(model._meta.db_table)
        index = _index_of(model, self.name)
        editor: Any = runner.editor
        refuse_another(runner, table, self.name, index.create_sql(model, editor))
        build_index(
            runner,
            table,
            self.name,
            partial(editor.add_index, model, index),
        )

    def _drop(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.find_table(model._meta.db_table)
        found = runner.catalog.index(table, self.name) if table is not None else None
        if found is not None:
            drop_index(runner, found)

    def _collect_build(self, editor: Any, model: Any) -> list[str]:
        return [str(_index_of(model, self.name).create_sql(model, editor, concurrently=True))]

    def _collect_drop(self, editor: Any, model: Any) -> list[str]:
        return [f"DROP INDEX CONCURRENTLY IF EXISTS {quote(self.name)}"]


@public
class CreateIndexConcurrently(_IndexStage):
    """CREATE INDEX CONCURRENTLY for an index of Meta.indexes.

    An INVALID leftover of an earlier build is dropped first; a valid one is kept.

    Args:
        model_name: the model.
        name: the index's name, as in the state after the change.

    Raises:
        InvalidIndex: the build ended with an index that is not valid.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    Source: https://www.postgresql.org/docs/current/sql-createindex.html
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build it."""
        self._build(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_build(editor, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        return f"Build index {self.name} on {self.model_name} concurrently"


@public
class DropIndexConcurrently(_IndexStage):
    """DROP INDEX CONCURRENTLY for an index of Meta.indexes.

    Args:
        model_name: the model.
        name: the index's name, as in the state before the change.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on. On a partitioned table ACCESS
    EXCLUSIVE on it and its partitions, for an instant: PostgreSQL drops it in no other way.
    Source: https://www.postgresql.org/docs/current/sql-dropindex.html
    """

    concurrent = "DROP INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build it again."""
        self._build(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_drop(editor, before)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that builds it again."""
        return self._collect_build(editor, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop index {self.name} of {self.model_name} concurrently"


def field_index_statements(editor: Any, model: Any, name: str) -> dict[str, list[Statement]]:
    """Return plain and concurrent statement of the indexes that db_index=True gives a field.

    Keyed by index name; a text column has a second one for LIKE.
    """
    field = model._meta.get_field(name)
    found: dict[str, list[Statement]] = {}
    plain = editor._create_index_sql(model, fields=[field])
    concurrent = editor._create_index_sql(model, fields=[field], concurrently=True)
    found[unquoted(str(plain.parts["name"]))] = [plain, concurrent]
    like = editor._create_like_index_sql(model, field)
    if like is not None:
        # _create_like_index_sql takes no `concurrently`: the template is all that differs.
        concurrent = editor._create_like_index_sql(model, field)
        concurrent.template = editor.sql_create_index_concurrently
        found[unquoted(str(like.parts["name"]))] = [like, concurrent]
    return found


def indexes_of_field(runner: Runner, table: Table, model: Any, name: str) -> list[PostgresIndex]:
    """Return the indexes that Django takes for those of db_index=True, whatever their names.

    A column that was called otherwise when they were built has kept them.
    """
    column = model._meta.get_field(name).column
    declared = {index.name for index in model._meta.indexes}
    return [
        index
        for index in runner.catalog.indexes(table, column)
        if index.keys in ((column,), (quote(column),))
        and index.predicate is None
        and not index.unique
        and index.name not in declared
        and index.tail.startswith("btree ")
        and " INCLUDE " not in index.tail
    ]


class _FieldIndexStage(FieldStage):
    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_index"

    def _build(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.table(model._meta.db_table)
        for name, (plain, concurrent) in field_index_statements(
            runner.editor, model, self.name
        ).items():
            refuse_another(runner, table, name, plain)

            def build(
                *, concurrently: bool, plain: Statement = plain, concurrent: Statement = concurrent
            ) -> None:
                runner.execute(str(concurrent if concurrently else plain))

            build_index(runner, table, name, build)

    def _drop(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.find_table(model._meta.db_table)
        if table is None:
            return
        names = field_index_statements(runner.editor, model, self.name)
        usual = [i for name in names if (i := runner.catalog.index(table, name)) is not None]
        for index in usual or indexes_of_field(runner, table, model, self.name):
            drop_index(runner, index)

    def _collect_build(self, editor: Any, model: Any) -> list[str]:
        statements = field_index_statements(editor, model, self.name)
        return [str(concurrent) for _, concurrent in statements.values()]

    def _collect_drop(self, editor: Any, model: Any) -> list[str]:
        names = field_index_statements(editor, model, self.name)
        return [f"DROP INDEX CONCURRENTLY IF EXISTS {quote(name)}" for name in names]


@public
class CreateFieldIndexesConcurrently(_FieldIndexStage):
    """CREATE INDEX CONCURRENTLY for the indexes of ``db_index=True``: the plain one and, on text, ``_like``.

    Args:
        model_name: the model.
        name: the field, indexed in the state after the change.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    """

    concurrent = "CREATE INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build them."""
        self._build(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop them."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._collect_build(editor, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that drop them."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        return f"Build the index of {self.model_name}.{self.name} concurrently"


@public
class DropFieldIndexesConcurrently(_FieldIndexStage):
    """DROP INDEX CONCURRENTLY for the indexes of a field that loses ``db_index=True``.

    Args:
        model_name: the model.
        name: the field, indexed in the state before the change.

    Locks: SHARE UPDATE EXCLUSIVE: reads and writes go on.
    """

    concurrent = "DROP INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop them."""
        self._drop(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Build them again."""
        self._build(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._collect_drop(editor, before)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that build them again."""
        return self._collect_build(editor, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the index of {self.model_name}.{self.name} concurrently"
