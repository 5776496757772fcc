"""Rules for fields that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.columns import column, is_text, type_check
from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.expressions import field_names
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.keys import composite_key
from django_safemigrations.lint.sql.later import sets_default
from django_safemigrations.lint.tables import (
    has_own_table,
    is_foreign_key,
    many_to_many_table,
    related_model,
    table_name,
)
from django_safemigrations.lookalikes import twin
from django_safemigrations.postgres.volatility import volatile_function


def add_field(operation: operations.AddField, context: Context) -> Iterator[Observation]:
    """A bare nullable column is instant; everything else is judged."""
    model = context.used_model(operation.model_name)
    field: Any = operation.field
    if model is None or field.many_to_many:
        return
    if field.primary_key and getattr(field, "field_names", ()):
        yield composite_key(table_name(model), field)
        return
    new = column(context.state, model, operation.name, field)
    if new is None:
        return
    table = table_name(model)
    yield from _rewriting(table, new.name, field)
    if _needs_value(field) and not sets_default(operation, table, new.name, context):
        yield _not_null(table, new.name, field)
    reasons = list(_brought_along(context, model, field, new.type))
    if reasons:
        yield Observation(
            "DSM502",
            f"The new column {table}.{new.name} brings more with it: {'; '.join(reasons)}.",
            _bare_first(operation, field),
        )


def _needs_value(field: Any) -> bool:
    """Return whether an INSERT that leaves the column out fails."""
    filled_by_database = (
        field.generated or field.has_db_default() or isinstance(field, models.AutoField)
    )
    return not field.null and not filled_by_database


def _rewriting(table: str, name: str, field: Any) -> Iterator[Observation]:
    reason = None
    if field.generated:
        if field.db_persist:
            reason = "a stored generated column"
    elif isinstance(field, models.AutoField):
        reason = "an identity column"
    elif field.has_db_default() and (function := volatile_function(field.db_default)):
        reason = f"a default that calls {function} for each row"
    if reason is not None:
        yield Observation(
            "DSM510",
            f"{table}.{name} is {reason}: the table and all its indexes are written anew under "
            "ACCESS EXCLUSIVE; every statement on it waits, reads included.",
            "On PostgreSQL 18 use db_persist=False; before, a column kept by a trigger."
            if field.generated
            else "Add the column nullable and without default, set the default by AlterField in "
            "the same or the next migration, fill the old rows in batches, then set NOT NULL.",
        )


def _not_null(table: str, name: str, field: Any) -> Observation:
    message = (
        f"The new column {table}.{name} is NOT NULL and Django drops its default after adding it: "
        "every INSERT of old code, which does not know the column, fails."
    )
    if field.has_default() and callable(field.default):
        message += " The default is computed once: all rows that exist get the same value."
    value = _constant(field)
    hint = f"Give the field a database default, which stays: db_default={value}"
    if field.primary_key or is_foreign_key(field):
        hint = "Make the field null=True in this release, fill it, and make it NOT NULL later."
    elif field.unique:
        hint = "Make the field null=True in this release: one default can't be unique."
    return Observation("DSM501", message, hint)


def _constant(field: Any) -> str:
    if field.has_default() and not callable(field.default):
        value = field.default
        return repr(value.value if isinstance(value, Enum) else value)
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return "Now()"
    if field.empty_strings_allowed:
        return '""'
    return "..."


def _brought_along(
    context: Context, model: ModelState, field: Any, kind: str | None
) -> Iterator[str]:
    table = table_name(model)
    if type_check(field) is not None:
        yield f"its CHECK reads all of {table} under ACCESS EXCLUSIVE"
    if field.primary_key:
        yield "the primary key's index is built under ACCESS EXCLUSIVE"
    elif field.unique:
        yield "its unique index is built under ACCESS EXCLUSIVE"
    if is_foreign_key(field) and field.db_constraint:
        target = related_model(context.state, model, field)
        referenced = table_name(target) if target is not None else "the referenced table"
        validated = not field.null or field.has_db_default() or field.has_default()
        yield (
            f"its foreign key blocks writes to {referenced} until the migration is committed"
            + (", and every row is validated" if validated else "")
        )
    if field.db_index and not field.unique:
        yield f"its index is built {_under(context)} {table}"
    if (field.db_index or field.unique) and is_text(kind):
        yield f"a second (_like) index is built {_under(context)} {table}"


def _under(context: Context) -> str:
    """Return which lock an index is built under that comes with a new column."""
    if context.is_atomic():
        # ADD COLUMN took ACCESS EXCLUSIVE, and the transaction keeps it.
        return "while ADD COLUMN still holds ACCESS EXCLUSIVE, which blocks reads of and writes to"
    return "under SHARE, which blocks writes to"


def _bare_first(operation: operations.AddField, field: Any) -> str:
    if is_foreign_key(field):
        bare = "null=True, db_index=False, db_constraint=False"
        return (
            f"Add {operation.name} with {bare} first; then its index concurrently, and the foreign "
            "key NOT VALID, validated in a migration of its own."
        )
    return (
        f"Add {operation.name} as a bare nullable column first (AddColumn); then build its index "
        "concurrently (CreateFieldIndexesConcurrently, AddFieldUnique), and add its check by "
        "AddFieldCheck and ValidateFieldCheck. makemigrations writes it so."
    )


def remove_field(operation: operations.RemoveField, context: Context) -> Iterator[Observation]:
    """Old code still names the column; if another of its type comes, its data was meant to stay."""
    model = context.used_model(operation.model_name)
    field: Any = model.fields.get(operation.name) if model is not None else None
    if model is None or field is None:
        return
    table = table_name(model)
    if field.many_to_many:
        if not has_own_table(field):
            return
        what = many_to_many_table(model, operation.name, field)
        relax, drop = "RelaxTable", "DropTable"
        sentence = f"DROP TABLE {what}: old code that uses {model.name}.{operation.name} fails."
    else:
        old = column(context.state, model, operation.name, field)
        if old is None:
            return
        what = f"{table}.{old.name}"
        relax, drop = "RelaxColumn", "DropColumn"
        sentence = f"{what} is dropped while old code still selects and inserts it: it fails."
        if is_foreign_key(field) and field.db_constraint:
            target = related_model(context.state, model, field)
            if target is not None:
                sentence += f" The drop takes ACCESS EXCLUSIVE on {table_name(target)}, too."
    for name, other in model.fields.items():
        if name != operation.name and other.generated and operation.name in _mentioned(other):
            yield Observation(
                "DSM552",
                f"{table}.{_column_of(other, name)} is generated from {what}: PostgreSQL refuses "
                "to drop the column, and the migration fails.",
                f"Remove {model.name}.{name} first, or give it another expression.",
            )
    if any(_takes_place(model, operation.name, field, *added) for added in _added(context, model)):
        yield Observation(
            "DSM521",
            f"{what} is dropped and added anew under the same name: its values are lost, and old "
            "code's are refused or misread from then on.",
            "Give the new field another name, with another db_column or db_table, or add it in a "
            "later release.",
        )
        return
    heir = twin(operation.name, field, _added(context, model), context.app_label)
    if heir is not None:
        yield Observation(
            "DSM305",
            f"{what} is dropped with its data, and {heir}, which looks like it, is added: if this "
            "is a rename, the data is lost. Old code fails, too.",
            f'If it is one: migrations.RenameField("{model.name_lower}", "{operation.name}", '
            f'"{heir}"), and any other change of it after that. If not, move the removal into a '
            "migration of a later release.",
        )
        return
    yield Observation(
        "DSM503",
        sentence,
        "Let makemigrations write it in stages, or write Expand(state_operations=[<this operation>], "
        f'database_operations=[{relax}(model_name="{model.name_lower}", '
        f'name="{operation.name}")]), and {drop} in a Contract.',
    )


def _mentioned(generated: Any) -> set[str]:
    expression = generated.expression
    return {expression} if isinstance(expression, str) else field_names(expression)


def _added(context: Context, model: ModelState) -> Iterator[tuple[str, Any]]:
    return context.fields_added(model.name_lower)


def _takes_place(model: ModelState, old_name: str, old: Any, name: str, new: Any) -> bool:
    """Return whether a field gets the column, or the own table, that another one had."""
    if bool(old.many_to_many) != bool(new.many_to_many):
        return False
    if old.many_to_many:
        if not has_own_table(old) or not has_own_table(new):
            return False
        tables = many_to_many_table(model, old_name, old), many_to_many_table(model, name, new)
        return tables[0] == tables[1]
    columns = {_column_of(old, old_name), _column_of(new, name)}
    return len(columns) == 1


def _column_of(field: Any, name: str) -> str:
    clone = field.clone()
    clone.set_attributes_from_name(name)
    return str(clone.column)


RULES: dict[type, Rule] = {
    operations.AddField: add_field,
    operations.RemoveField: remove_field,
}
