"""The stage that lets a rule have another name, and be kept by another option of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import UniqueConstraint

from django_safemigrations.operations.base import Stage, public
from django_safemigrations.operations.field_indexes import field_of, is_unique
from django_safemigrations.operations.uniques import column_key_name
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.constraints import rename_constraint
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.uniques import unique_names, wanted_unique

Reference = str | Sequence[str]


@public
class RenameConstraint(Stage):
    """RENAME CONSTRAINT, or ALTER INDEX … RENAME: the same rule under another name.

    So nothing is built, and at no time is the rule not enforced.

    Args:
        model_name: the model.
        old: the name of a constraint of Meta.constraints in the state before the change; or
            a list of fields, whose ``unique=True`` or ``unique_together`` it was.
        new: the same of the state after it.

    Raises:
        UnsupportedChange: there is no such constraint.

    Locks: ACCESS EXCLUSIVE (SHARE UPDATE EXCLUSIVE for an index) for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def __init__(self, model_name: str, old: Reference, new: Reference) -> None:
        super().__init__(model_name)
        self.old = old if isinstance(old, str) else list(old)
        self.new = new if isinstance(new, str) else list(new)

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Rename it."""
        self._rename(runner, before, self.old, after, self.new)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Give it its old name, or the one that Django gives it."""
        self._rename(runner, before, self.new, after, self.old, back=True)

    def _rename(
        self,
        runner: Runner,
        before: Any,
        old: Reference,
        after: Any,
        new: Reference,
        *,
        back: bool = False,
    ) -> None:
        table = runner.catalog.table(before._meta.db_table)
        if isinstance(new, str):
            name = new
        elif back and len(new) == 1 and is_unique(field_of(after, new[0])):
            # Most fields are unique from their beginning.
            name = column_key_name(runner, table, after._meta.get_field(new[0]).column)
        else:
            name = self._usual_name(runner.editor, after, new)
        there = old if isinstance(old, str) else self._found(runner, table, before, old, name)
        rename_constraint(runner, table, there, name)

    def _usual_name(self, editor: Any, model: Any, fields: Sequence[str]) -> str:
        columns = [model._meta.get_field(name).column for name in fields]
        name = editor._unique_constraint_name(model._meta.db_table, columns, quote=False)
        return str(name)

    def _found(
        self, runner: Runner, table: Table, model: Any, fields: Sequence[str], new: str
    ) -> str:
        """Return what fields' constraint is called, whoever named it."""
        usual = self._usual_name(runner.editor, model, fields)
        columns = [model._meta.get_field(name).column for name in fields]
        excluded = [new, *(constraint.name for constraint in model._meta.constraints)]
        found = unique_names(runner, table, columns, excluded)
        return found[0] if found and usual not in found else usual

    def _collect(
        self, editor: Any, before: Any, old: Reference, after: Any, new: Reference
    ) -> list[str]:
        names = [
            name if isinstance(name, str) else self._usual_name(editor, model, name)
            for model, name in ((before, old), (after, new))
        ]
        if names[0] == names[1]:
            return []
        table = editor.quote_name(before._meta.db_table)
        constraint: Any = next((c for c in before._meta.constraints if c.name == old), None)
        if isinstance(constraint, UniqueConstraint):
            statement: Any = constraint.create_sql(before, editor)
            if not wanted_unique(editor, before, statement).is_constraint:
                return [f"ALTER INDEX {quote(names[0])} RENAME TO {quote(names[1])}"]
        return [f"ALTER TABLE {table} RENAME CONSTRAINT {quote(names[0])} TO {quote(names[1])}"]

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect(editor, before, self.old, after, self.new)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that gives it its old name."""
        return self._collect(editor, before, self.new, after, self.old)

    def describe(self) -> str:
        """Say what it does."""
        old, new = (
            name if isinstance(name, str) else f"that of ({', '.join(name)})"
            for name in (self.old, self.new)
        )
        return f"Rename constraint {old} of {self.model_name} to {new}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        new = self.new if isinstance(self.new, str) else "_".join(self.new)
        return f"{self.model_name_lower}_rename_{new.lower()}"
