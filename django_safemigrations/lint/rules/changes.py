"""Rules for AlterField: what Django's schema editor would do, judged by the field before "
"and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.columns import (
    Column,
    allows_null,
    changed_options,
    column,
    field_changes,
    is_text,
    same_target,
    type_check,
)
from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.expressions import field_names, proves_not_null
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.indexes import names_column
from django_safemigrations.lint.rules.keys import becomes_key, is_rewritten, key_type, loses_key
from django_safemigrations.lint.rules.renames import excludes, renamed_column
from django_safemigrations.lint.rules.upserts import lost_target
from django_safemigrations.lint.tables import (
    foreign_keys_to,
    has_own_table,
    is_foreign_key,
    many_to_many_table,
    related_model,
    table_name,
    through_table,
)
from django_safemigrations.lint.types import rebuilds_indexes, rewrites
from django_safemigrations.phases import Phase, operation_phase
from django_safemigrations.postgres.generated import computed_by

ALL_WAIT = "every statement on it waits, reads included"


def alter_field(operation: operations.AlterField, context: Context) -> Iterator[Observation]:
    """Compare the field that the state has with the one that the operation brings."""
    model = context.used_model(operation.model_name)
    old: Any = model.fields.get(operation.name) if model is not None else None
    new: Any = operation.field
    if model is None or old is None:
        return
    if not field_changes(context.state, model, operation.name, old, new):
        return
    if computed_by(old) != computed_by(new):
        yield _refused(
            f"how {model.name}.{operation.name} is computed",
            "Add a generated field with the new expression under another name, and remove this "
            "one in the next release.",
        )
        return
    if old.many_to_many and new.many_to_many:
        yield from _many_to_many(context, model, operation.name, old, new)
        return
    before = column(context.state, model, operation.name, old)
    after = column(context.state, model, operation.name, new)
    if before is None or after is None:
        return
    change = Change(context, model, operation.name, old, new, before, after)
    if before.name != after.name:
        yield from renamed_column(context, model, operation.name, old, before.name, after.name, new)
    yield from change.type()
    yield from change.not_null()
    yield from change.indexes()
    yield from change.check()
    yield from change.default()
    yield from change.comment()
    yield from change.foreign_key()
    yield from change.target()


class Change:
    """One AlterField that has work to do in the database."""

    def __init__(
        self,
        context: Context,
        model: ModelState,
        name: str,
        old: Any,
        new: Any,
        before: Column,
        after: Column,
    ) -> None:
        self.context = context
        self.model = model
        self.name = name
        self.old = old
        self.new = new
        self.before = before
        self.after = after
        self.table = table_name(model)
        self.column = f"{self.table}.{after.name}"

    def type(self) -> Iterator[Observation]:
        """Change of type or collation."""
        why = self._type_harm()
        if why is None:
            return
        if is_rewritten(self):
            yield key_type(self, why)
            return
        yield Observation(
            "DSM506",
            f"Changing {self.column} from {self.before.type} to {self.after.type} {why} under "
            f"ACCESS EXCLUSIVE: {ALL_WAIT}.",
            f"Add a second field of type {self.after.type} (null=True), fill it in batches, switch "
            f"the code over, and remove {self.name} in a later release.",
        )

    def _type_harm(self) -> str | None:
        old, new = self.before.type, self.after.type
        if old is None or new is None:
            return None
        indexed = self._is_indexed()
        if old == new:
            if self.before.collation != self.after.collation and indexed:
                return "with another collation builds its indexes anew"
            return None
        if rewrites(old, new):
            return "writes the table and all its indexes anew"
        if rebuilds_indexes(old, new) and indexed:
            return "builds its indexes anew"
        if self.before.collation != self.after.collation and indexed:
            return "with another collation builds its indexes anew"
        if self._is_checked():
            return "validates a CHECK that names it against every row"
        if self._is_in_special_index():
            return "builds an expression or partial index that names it anew"
        if self.old.unique and foreign_keys_to(self.context.state, self.model, self.name):
            return "drops the foreign keys that point to it and validates them again"
        return None

    def _is_indexed(self) -> bool:
        if self.old.db_index or self.old.unique:
            return True
        options = self.model.options
        together = [*options.get("unique_together", ()), *options.get("index_together", ())]
        if any(self.name in names for names in together):
            return True
        return any(
            names_column(index, self.name) or self._mentions(index)
            for index in [*options.get("indexes", ()), *self._unique_constraints()]
        )

    def _is_checked(self) -> bool:
        if self.before.check is not None:
            return True
        return any(
            self.name in field_names(constraint.condition)
            for constraint in self.model.options.get("constraints", ())
            if isinstance(constraint, models.CheckConstraint)
        )

    def _is_in_special_index(self) -> bool:
        options = self.model.options
        if any(
            self._mentions(i) for i in [*options.get("indexes", ()), *self._unique_constraints()]
        ):
            return True
        return any(
            isinstance(constraint, ExclusionConstraint) and excludes(constraint, self.name)
            for constraint in options.get("constraints", ())
        )

    def _mentions(self, index: Any) -> bool:
        """Return whether an index's expressions or its condition name the column."""
        mentioned = field_names(index.condition) if index.condition else set()
        for expression in index.expressions:
            mentioned |= field_names(expression)
        return self.name in mentioned

    def _unique_constraints(self) -> list[models.UniqueConstraint]:
        return [
            constraint
            for constraint in self.model.options.get("constraints", ())
            if isinstance(constraint, models.UniqueConstraint)
        ]

    def not_null(self) -> Iterator[Observation]:
        """Null to NOT NULL: exactly one finding, DSM203 if rows are updated, else DSM201."""
        if not allows_null(self.old) or allows_null(self.new):
            return
        stage = f'SetNotNull(model_name="{self.model.name_lower}", name="{self.name}")'
        if self.new.has_default() or self.new.has_db_default():
            value = self.new.default if self.new.has_default() else self.new.db_default
            callable_note = (
                " The default is computed once: every row gets the same value."
                if callable(value)
                else ""
            )
            names = f'model_name="{self.model.name_lower}", name="{self.name}"'
            yield Observation(
                "DSM203",
                f"Every NULL in {self.column} is updated and the table is read once more, in one "
                f"transaction that holds ACCESS EXCLUSIVE on {self.table}: {ALL_WAIT}. After it, "
                f"old code's writes of NULL fail.{callable_note}",
                "Write instead, in a migration with `atomic = False` (makemigrations does it for "
                "you):\n"
                "Expand(state_operations=[<this operation>], database_operations=["
                f"FillNullsOnWrite({names}, value=...), BackfillNulls({names}, value=...), "
                f"{stage}])",
            )
        elif not self._is_proven_not_null():
            yield Observation(
                "DSM201",
                f"SET NOT NULL reads all of {self.table} under ACCESS EXCLUSIVE to look for NULLs "
                f"in {self.after.name}: {ALL_WAIT}. After it, old code's writes of NULL fail.",
                "Write instead, in a migration with `atomic = False` (makemigrations does it for "
                "you):\n"
                f"Contract(state_operations=[<this operation>], database_operations=[{stage}])",
            )

    def _is_proven_not_null(self) -> bool:
        """Return whether a validated CHECK spares PostgreSQL the scan."""
        for constraint in self.model.options.get("constraints", ()):
            if not isinstance(constraint, models.CheckConstraint):
                continue
            key = (self.context.app_label, self.model.name_lower, constraint.name)
            if key in self.context.history.not_valid:
                continue
            if proves_not_null(constraint.condition, self.name):
                return True
        return False

    def indexes(self) -> Iterator[Observation]:
        """Unique, db_index and primary_key switched on or off."""
        old, new = self.old, self.new
        names = f'model_name="{self.model.name_lower}", name="{self.name}"'
        # Under another name of the column, no statement of old code works, upsert or not.
        renamed = self.before.name != self.after.name
        if old.unique and not old.primary_key and not new.unique and not renamed:
            yield from lost_target([self.name], self.model, self.context)
        if old.primary_key and not new.primary_key:
            yield loses_key(self)
        if new.primary_key and not old.primary_key:
            yield becomes_key(self)
        elif new.unique and not new.primary_key and (not old.unique or old.primary_key):
            yield Observation(
                "DSM101",
                f"Adding UNIQUE to {self.column} builds its index under ACCESS EXCLUSIVE: "
                f"{ALL_WAIT}; one duplicate makes it fail.",
                "Write instead, in a migration with `atomic = False` (makemigrations does it for "
                "you):\n"
                "Expand(state_operations=[<this operation>], database_operations="
                f"[AddFieldUnique({names})])",
            )
        elif (not old.db_index or old.unique) and new.db_index and not new.unique:
            second = " A second (_like) index follows." if is_text(self.after.type) else ""
            yield Observation(
                "DSM101",
                f"The index on {self.column} is built under SHARE: every INSERT, UPDATE and DELETE "
                f"on {self.table} waits until it is built and the migration is committed.{second}",
                "Write instead, in a migration with `atomic = False` (makemigrations does it for "
                "you):\n"
                "Expand(state_operations=[<this operation>], database_operations="
                f"[CreateFieldIndexesConcurrently({names})])",
            )
        elif self._like_index_is_rebuilt():
            yield Observation(
                "DSM101",
                f"Django drops the _like index on {self.column} and builds it anew under SHARE, "
                f"because the type is no longer {self.before.type}: writes to {self.table} wait.",
                "Change the type alone by a SeparateDatabaseAndState with ALTER COLUMN … TYPE in a "
                "RunSQL; the old _like index keeps serving.",
            )
        elif old.db_index and not old.unique and not new.db_index:
            yield Observation(
                "DSM102",
                f"Dropping the index on {self.column} needs ACCESS EXCLUSIVE on {self.table}: it "
                "waits for every running query, and every other query waits behind it.",
                "Write instead, in a migration with `atomic = False` (makemigrations does it for "
                "you):\n"
                "Contract(state_operations=[<this operation>], database_operations="
                f"[DropFieldIndexesConcurrently({names})])",
            )

    def _like_index_is_rebuilt(self) -> bool:
        old, new = self.before.type or "", self.after.type or ""
        had_one = self.old.db_index or self.old.unique
        if not had_one or not (self.new.db_index or self.new.unique) or not is_text(new):
            return False
        return any(
            old.startswith(kind) and not new.startswith(kind)
            for kind in ("varchar", "text", "citext")
        )

    def check(self) -> Iterator[Observation]:
        """The CHECK that a field type brings, such as PositiveIntegerField's."""
        check = type_check(self.new)
        if check is not None and check != type_check(self.old):
            yield Observation(
                "DSM507",
                f"The CHECK that {type(self.new).__name__} brings is validated against all of "
                f"{self.table} under ACCESS EXCLUSIVE: {ALL_WAIT}.",
                "Change the field in the state alone, add the check by AddConstraintNotValid and "
                "validate it in the next migration.",
            )

    def default(self) -> Iterator[Observation]:
        """A database default that goes while old code relies on it."""
        if not self.old.has_db_default() or self.new.has_db_default() or self.old.has_default():
            return
        if any(operation_phase(o) is Phase.CONTRACT for o in self.context.migration.operations):
            return
        harm = "store NULL" if allows_null(self.new) else "fail"
        names = f'model_name="{self.model.name_lower}", name="{self.name}"'
        yield Observation(
            "DSM543",
            f"{self.column} loses its default, which old code's INSERTs ask for: they {harm}.",
            "Write instead (makemigrations does it for you):\n"
            "Contract(state_operations=[<this operation>], database_operations="
            f"[AlterColumnDefault({names})])",
        )

    def comment(self) -> Iterator[Observation]:
        """A comment, with which Django sets the type anew."""
        if self.old.db_comment == self.new.db_comment or self.before.type != self.after.type:
            return
        checked = self._is_checked()
        if not checked and not self._is_in_special_index():
            return
        what = (
            "a CHECK that names it is validated against every row"
            if checked
            else "expression and partial indexes that name it are built anew"
        )
        names = f'model_name="{self.model.name_lower}", name="{self.name}"'
        yield Observation(
            "DSM544",
            f"Django sets the type of {self.column} anew along with its comment, for which {what} "
            f"under ACCESS EXCLUSIVE: {ALL_WAIT}.",
            "Write instead (makemigrations does it for you):\n"
            "Expand(state_operations=[<this operation>], database_operations="
            f"[SetColumnComment({names})])",
        )

    def target(self) -> Iterator[Observation]:
        """A foreign key that points to another table."""
        if not is_foreign_key(self.old) or not is_foreign_key(self.new):
            return
        if same_target(self.context.state, self.model, self.old, self.new):
            return
        before = related_model(self.context.state, self.model, self.old)
        old_table = table_name(before) if before is not None else "another table"
        yield Observation(
            "DSM542",
            f"Old code takes the values of {self.column} for keys of {old_table} and new code "
            "doesn't, while both read and write it.",
            "Add a second foreign key, fill it in batches, switch the code over, and remove this "
            "one in a later release.",
        )

    def foreign_key(self) -> Iterator[Observation]:
        """A constraint that is new, or dropped and added again."""
        if not is_foreign_key(self.new) or not self.new.db_constraint:
            return
        had_one = is_foreign_key(self.old) and self.old.db_constraint
        options = changed_options(self.context.state, self.model, self.old, self.new)
        renamed = self.before.name != self.after.name
        if had_one and (renamed or options <= {"db_comment"}):
            # A rename is reported as DSM306; a comment leaves the constraint alone.
            return
        target = related_model(self.context.state, self.model, self.new)
        other = table_name(target) if target is not None else str(self.new.remote_field.model)
        name = f"FOREIGN KEY ({self.after.name}) REFERENCES {other}"
        names = f'model_name="{self.model.name_lower}", name="{self.name}"'
        hint = (
            "Write instead, in a migration with `atomic = False` (makemigrations does it for "
            "you):\n"
            "Contract(state_operations=[<this operation>], database_operations="
            f"[AddForeignKey({names}), ValidateForeignKey({names})])"
        )
        if not had_one:
            yield Observation(
                "DSM509",
                f"Adding {name} looks every row of {self.table} up in {other} under SHARE ROW "
                "EXCLUSIVE on both tables: every INSERT, UPDATE and DELETE on both waits.",
                hint,
            )
            return
        if same_target(self.context.state, self.model, self.old, self.new):
            changed = ", ".join(sorted(options))
            hint = (
                f"The change of {changed} doesn't need that: makemigrations writes it as an "
                "Expand or Contract with this operation among its state_operations."
            )
        yield Observation(
            "DSM509",
            f"Django drops the foreign key of {self.column} and adds it again: ACCESS EXCLUSIVE on "
            f"{self.table} and {other} while every row is validated; every statement on both "
            "waits, reads included.",
            hint,
        )


def _many_to_many(
    context: Context, model: ModelState, name: str, old: Any, new: Any
) -> Iterator[Observation]:
    if has_own_table(old) != has_own_table(new):
        table = many_to_many_table(model, name, old if has_own_table(old) else new)
        yield _refused(
            f"the through model of {model.name}.{name}",
            f'Give the through model db_table = "{table}" and that table\'s columns, and change '
            "the state alone: SeparateDatabaseAndState(state_operations=[CreateModel(…), <this "
            "operation>]).",
        )
        return
    if not has_own_table(old):
        yield from _other_through(context, model, name, old, new)
        return
    before, after = many_to_many_table(model, name, old), many_to_many_table(model, name, new)
    if before != after:
        yield Observation(
            "DSM505",
            f"Renaming {before} to {after} makes every statement of old code on it fail.",
            f'Keep db_table="{before}" on {model.name}.{name}.',
        )
    if not same_target(context.state, model, old, new):
        yield Observation(
            "DSM509",
            f"{after} gets another target: a column is renamed and its foreign key is validated "
            "again under ACCESS EXCLUSIVE; old code on it fails.",
            "Add a second ManyToManyField, copy the rows in batches, and remove the old one later.",
        )


def _other_through(
    context: Context, model: ModelState, name: str, old: Any, new: Any
) -> Iterator[Observation]:
    before, after = (through_table(context.state, model, field) for field in (old, new))
    if before != after:
        yield Observation(
            "DSM546",
            f"{model.name}.{name} is read from {after} from now on; the rows of {before}, and what "
            "old code goes on writing there, are not seen by new code. No error is raised.",
            "Add a second ManyToManyField for the new through model, copy the rows in batches, "
            "and remove this one in a later release.",
        )


def _refused(what: str, hint: str) -> Observation:
    return Observation("DSM545", f"Django can't alter {what}: migrate ends with ValueError.", hint)


RULES: dict[type, Rule] = {operations.AlterField: alter_field}
