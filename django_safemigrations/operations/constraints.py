"""Stages about Meta.constraints: added without a scan under a blocking lock, dropped in an instant."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CheckConstraint, UniqueConstraint

from django_safemigrations.backfill.report import report
from django_safemigrations.operations.base import Stage, public
from django_safemigrations.operations.uniques import (
    BUILD,
)
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.constraints import (
    WantedCheck,
    add_check,
    drop_constraint,
    restore_check,
    validate_check,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.uniques import (
    WantedUnique,
    add_unique,
    drop_unique,
    replace_unique,
    wanted_unique,
)


def constraint_of(model: Any, name: str) -> Any:
    """Return a constraint of a model.

    Raises:
        ValueError: the model has none of that name.
    """
    for constraint in model._meta.constraints:
        if constraint.name == name:
            return constraint
    raise ValueError(f"{model.__name__} has no constraint {name!r} in Meta.constraints.")


class _ConstraintStage(Stage):
    """A stage about one constraint of Meta.constraints.

    Args:
        model_name: the model.
        name: the constraint's name.
    """

    def __init__(self, model_name: str, name: str) -> None:
        super().__init__(model_name)
        self.name = name

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}"

    def _unique(self, editor: Any, model: Any) -> WantedUnique:
        statement = constraint_of(model, self.name).create_sql(model, editor)
        return wanted_unique(editor, model, statement, self.name)

    def _check(self, editor: Any, model: Any) -> WantedCheck:
        return WantedCheck(self.name, constraint_of(model, self.name).create_sql(model, editor))

    def _add_unique(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.table(model._meta.db_table)
        add_unique(runner, table, self._unique(runner.editor, model))

    def _drop(self, runner: Runner, model: Any) -> None:
        table = runner.catalog.find_table(model._meta.db_table)
        if table is None:
            return
        if isinstance(constraint_of(model, self.name), UniqueConstraint):
            drop_unique(runner, table, self.name)
        else:
            drop_constraint(runner, table, self.name)

    def _collect_drop(self, editor: Any, model: Any) -> list[str]:
        constraint = constraint_of(model, self.name)
        table = editor.quote_name(model._meta.db_table)
        is_index = (
            isinstance(constraint, UniqueConstraint)
            and not self._unique(editor, model).is_constraint
        )
        if is_index:
            return [f"DROP INDEX CONCURRENTLY IF EXISTS {quote(self.name)}"]
        return [f"ALTER TABLE {table} DROP CONSTRAINT {quote(self.name)}"]


@public
class AddUniqueConstraint(_ConstraintStage):
    """CREATE UNIQUE INDEX CONCURRENTLY for a UniqueConstraint, and ADD CONSTRAINT … USING INDEX.

    Values that occur more than once are counted first. One with a condition, expressions,
    opclasses or included columns stays an index, as Django makes it.

    Args:
        model_name: the model.
        name: the constraint's name, as in the state after the change.

    Raises:
        ViolatingRows: values occur more than once; counts and names some.
        InvalidIndex: an index of the name is there and another one, or the build did not
            end well.

    Locks: SHARE UPDATE EXCLUSIVE for the build: reads and writes go on; then, for a
    constraint, ACCESS EXCLUSIVE for an instant.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = BUILD

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        self._add_unique(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._unique(editor, after).steps()

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        return f"Add unique constraint {self.name} to {self.model_name} by a concurrent build"


@public
class ReplaceUniqueConstraint(_ConstraintStage):
    """Puts a UniqueConstraint in the place of one with the same name and another definition.

    The new index is built concurrently under another name while the old one stands; then
    one short transaction drops the old one and gives the new one its name.

    Args:
        model_name: the model.
        name: the constraint's name, in the states before and after the change.

    Raises:
        ViolatingRows: values occur more than once; counts and names some.
        UnsupportedChange: foreign keys depend on the old one, or the table is partitioned.

    Locks: SHARE UPDATE EXCLUSIVE for the build: reads and writes go on; then ACCESS EXCLUSIVE
    for an instant.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = BUILD

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Replace it."""
        table = runner.catalog.table(after._meta.db_table)
        replace_unique(runner, table, self._unique(runner.editor, after), [self.name])

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Put the old one back, in the same way."""
        self.forwards(runner, before, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        wanted = self._unique(editor, after)
        temporary = wanted.temporary_name
        last = (
            wanted.constraint_sql(temporary)
            if wanted.is_constraint
            else f"ALTER INDEX {quote(temporary)} RENAME TO {quote(self.name)}"
        )
        [drop] = self._collect_drop(editor, before)
        return [
            wanted.index_sql(concurrently=True, name=temporary),
            drop.replace(" CONCURRENTLY", ""),
            last,
        ]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that put the old one back."""
        return self.collect_forwards(editor, before, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Replace unique constraint {self.name} of {self.model_name}"


@public
class AddCheckNotValid(_ConstraintStage):
    """ADD CONSTRAINT … CHECK … NOT VALID; rows that violate it are counted first.

    New rows are checked from now on; `ValidateCheck` looks at the ones that are there.

    Args:
        model_name: the model.
        name: the constraint's name, as in the state after the change.

    Raises:
        ViolatingRows: rows violate it; counts them and names some. Nothing was changed.
        UnsupportedChange: another constraint has the name.

    Locks: ACCESS EXCLUSIVE for an instant, no scan under it.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        table = runner.catalog.table(after._meta.db_table)
        add_check(runner, table, self._check(runner.editor, after))

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return [self._check(editor, after).add_sql()]

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        return f"Add check {self.name} to {self.model_name}, not validated"


@public
class ValidateCheck(_ConstraintStage):
    """VALIDATE CONSTRAINT of a check that `AddCheckNotValid` has added.

    Args:
        model_name: the model.
        name: the constraint's name.

    Raises:
        ViolatingRows: rows violate it; it is dropped again, for even NOT VALID it would
            refuse every update of them.

    Locks: SHARE UPDATE EXCLUSIVE for the scan: reads and writes go on.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    finishes = "AddCheckNotValid"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Validate it."""
        table = runner.catalog.table(after._meta.db_table)
        validate_check(runner, table, self._check(runner.editor, after))

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return [self._check(editor, after).validate_sql(editor.quote_name(after._meta.db_table))]

    def describe(self) -> str:
        """Say what it does."""
        return f"Validate check {self.name} of {self.model_name}"


@public
class DropConstraint(_ConstraintStage):
    """DROP CONSTRAINT of a unique constraint or check; DROP INDEX CONCURRENTLY of a unique index.

    The way back adds a unique one by a concurrent build, and a check NOT VALID, then
    validated; if rows violate the check by then, it stays NOT VALID and they are reported.

    Args:
        model_name: the model.
        name: the constraint's name, as in the state before the change.

    Raises:
        UnsupportedChange: foreign keys depend on it.
        ViolatingRows: on the way back: values occur more than once by now.

    Locks: ACCESS EXCLUSIVE for an instant, no scan; for an index SHARE UPDATE EXCLUSIVE.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    concurrent = "DROP INDEX CONCURRENTLY"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again; what it forbids may have been written meanwhile."""
        if isinstance(constraint_of(after, self.name), CheckConstraint):
            table = runner.catalog.table(after._meta.db_table)
            found = restore_check(runner, table, self._check(runner.editor, after))
            if found:
                report(f"{found}: it comes back NOT VALID. Correct these rows and validate it.")
        else:
            self._add_unique(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_drop(editor, before)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add it again."""
        if isinstance(constraint_of(after, self.name), CheckConstraint):
            wanted = self._check(editor, after)
            table = editor.quote_name(after._meta.db_table)
            return [wanted.add_sql(), wanted.validate_sql(table)]
        return self._unique(editor, after).steps()

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop constraint {self.name} of {self.model_name}"
