"""Stages about the constraint of a foreign key: added, validated and dropped without a scan under lock."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.report import report
from django_safemigrations.operations.base import FieldStage, public
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.foreign_keys import (
    add_key,
    drop_keys,
    has_constraint,
    keys_of,
    not_valid,
    orphans,
    replace_keys,
    statement_of,
    validate_key,
    wanted_key,
)
from django_safemigrations.postgres.runner import Runner


class _ForeignKeyStage(FieldStage):
    """A stage about the constraint of one foreign key.

    Args:
        model_name: the model.
        name: the field.
    """

    def models(
        self, app_label: str, from_state: ProjectState, to_state: ProjectState
    ) -> tuple[Any, Any]:
        """Return the model before and after; twice the same where the change adds or deletes it."""
        key = (app_label, self.model_name_lower)
        before = from_state if key in from_state.models else to_state
        after = to_state if key in to_state.models else from_state
        return super().models(app_label, before, after)

    @property
    def migration_name_fragment(self) -> str:
        """A part of the file's name."""
        return f"{self.model_name_lower}_{self.name.lower()}_fk"

    def _add(self, runner: Runner, model: Any) -> None:
        wanted = wanted_key(runner, model, self.name)
        if wanted is not None:
            add_key(runner, wanted)

    def _validate(self, runner: Runner, model: Any) -> None:
        wanted = wanted_key(runner, model, self.name)
        if wanted is None:
            return
        for key in keys_of(runner, wanted.table, wanted.column):
            if wanted.is_like(key):
                validate_key(runner, wanted, key)

    def _drop_all(self, runner: Runner, model: Any) -> None:
        field = model._meta.get_field(self.name)
        table = runner.catalog.find_table(model._meta.db_table)
        if table is not None and has_constraint(field):
            drop_keys(runner, table, keys_of(runner, table, field.column))

    def _restore(self, runner: Runner, model: Any) -> None:
        """Add the constraint again; what it forbids may have been written meanwhile."""
        self._add(runner, model)
        wanted = wanted_key(runner, model, self.name)
        found = orphans(runner, wanted) if wanted is not None else ""
        if found:
            report(f"{found}: the foreign key comes back NOT VALID. Correct them and validate it.")
        else:
            self._validate(runner, model)

    def _collect_add(self, editor: Any, model: Any) -> list[str]:
        field = model._meta.get_field(self.name)
        if not has_constraint(field):
            return []
        name, made = statement_of(editor, model, field)
        return [not_valid(made, name)]

    def _collect_validate(self, editor: Any, model: Any) -> list[str]:
        return self._collect(editor, model, "VALIDATE")

    def _collect_drop(self, editor: Any, model: Any) -> list[str]:
        return self._collect(editor, model, "DROP")

    def _collect(self, editor: Any, model: Any, verb: str) -> list[str]:
        field = model._meta.get_field(self.name)
        if not has_constraint(field):
            return []
        table = editor.quote_name(model._meta.db_table)
        name, _ = statement_of(editor, model, field)
        return [f"ALTER TABLE {table} {verb} CONSTRAINT {quote(name)}"]


@public
class AddForeignKey(_ForeignKeyStage):
    """ADD CONSTRAINT … FOREIGN KEY … NOT VALID, under Django's own name.

    New rows are checked from now on; `ValidateForeignKey` looks at the ones that are there.
    Does nothing for a field with ``db_constraint=False``.

    Before PostgreSQL 18 a partitioned table takes no foreign key NOT VALID: there each
    partition gets its own, which is validated, and then the whole, which reads nothing.

    Args:
        model_name: the model.
        name: the foreign key.

    Raises:
        UnsupportedChange: another constraint has the name.
        ViolatingRows: on a partitioned table before PostgreSQL 18, rows refer to nothing.

    Locks: SHARE ROW EXCLUSIVE on both tables for an instant (writes wait), no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it."""
        self._add(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop_all(runner, before)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_add(editor, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement that drops it."""
        return self._collect_drop(editor, before)

    def describe(self) -> str:
        """Say what it does."""
        return f"Add the foreign key of {self.model_name}.{self.name}, not validated"


@public
class ValidateForeignKey(_ForeignKeyStage):
    """VALIDATE CONSTRAINT of a foreign key; rows that refer to nothing are counted first.

    Args:
        model_name: the model.
        name: the foreign key.

    Raises:
        ViolatingRows: rows refer to nothing; counts them and names some.

    Locks: SHARE UPDATE EXCLUSIVE on the table, ROW SHARE on the referenced one: reads and
    writes go on.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    finishes = "AddForeignKey"

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Validate it."""
        self._validate(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_validate(editor, after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Validate the foreign key of {self.model_name}.{self.name}"


@public
class DropForeignKey(_ForeignKeyStage):
    """DROP CONSTRAINT of a foreign key, whatever its name; the column and its index stay.

    The way back adds it NOT VALID and validates it; if rows refer to nothing by then, it
    stays NOT VALID and they are reported.

    Args:
        model_name: the model.
        name: the foreign key, as in the state before the change.

    Locks: ACCESS EXCLUSIVE on both tables for an instant, no scan.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Drop it."""
        self._drop_all(runner, before)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Add it again."""
        self._restore(runner, after)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statement."""
        return self._collect_drop(editor, before)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that add it again."""
        return [*self._collect_add(editor, after), *self._collect_validate(editor, after)]

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop the foreign key of {self.model_name}.{self.name}"


@public
class ReplaceForeignKey(_ForeignKeyStage):
    """Puts a foreign key with another ON DELETE in the place of the one that is there.

    The new constraint is added NOT VALID under another name and validated while the old
    one stands; then one short transaction drops the old one and gives the new one its name.

    Args:
        model_name: the model.
        name: the foreign key.

    Raises:
        ViolatingRows: rows refer to nothing; counts them and names some.

    Locks: SHARE ROW EXCLUSIVE, then ACCESS EXCLUSIVE on both tables for an instant each, no
    scan; SHARE UPDATE EXCLUSIVE while validating.
    Source: https://www.postgresql.org/docs/current/sql-altertable.html
    """

    def forwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Replace it."""
        self._replace(runner, after)

    def backwards(self, runner: Runner, before: Any, after: Any) -> None:
        """Put the old one back."""
        self._replace(runner, after)

    def _replace(self, runner: Runner, model: Any) -> None:
        wanted = wanted_key(runner, model, self.name)
        if wanted is not None:
            replace_keys(runner, wanted)

    def collect_forwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements."""
        return self._collect_replacement(editor, after)

    def collect_backwards(
        self, editor: BaseDatabaseSchemaEditor, before: Any, after: Any
    ) -> list[str]:
        """Return the statements that put the old one back."""
        return self._collect_replacement(editor, after)

    def _collect_replacement(self, editor: Any, model: Any) -> list[str]:
        field = model._meta.get_field(self.name)
        if not has_constraint(field):
            return []
        table = editor.quote_name(model._meta.db_table)
        name, made = statement_of(editor, model, field)
        new = quote("dsm_fk_" + name)
        return [
            not_valid(made, "dsm_fk_" + name),
            f"ALTER TABLE {table} VALIDATE CONSTRAINT {new}",
            f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}",
            f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {quote(name)}",
        ]

    def describe(self) -> str:
        """Say what it does."""
        return f"Replace the foreign key of {self.model_name}.{self.name}"
