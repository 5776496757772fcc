"""Rules for columns that get another name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.columns import column_name
from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.expressions import field_names
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import (
    has_own_table,
    is_foreign_key,
    many_to_many_table,
    related_model,
    table_name,
)


def rename_field(operation: operations.RenameField, context: Context) -> Iterator[Observation]:
    """A rename in Python alone is free; a column's rename breaks old code."""
    model = context.used_model(operation.model_name)
    field: Any = model.fields.get(operation.old_name) if model is not None else None
    if model is None or field is None:
        return
    if field.many_to_many:
        yield from _many_to_many(model, operation, field)
        return
    old = column_name(operation.old_name, field)
    new = column_name(operation.new_name, field)
    if old is not None and new is not None and old != new:
        yield from renamed_column(context, model, operation.old_name, field, old, new)


def renamed_column(
    context: Context,
    model: ModelState,
    name: str,
    field: Any,
    old: str,
    new: str,
    new_field: Any = None,
) -> Iterator[Observation]:
    """Yield what a column's rename does, whichever operation brings it about.

    Args:
        context: of the operation.
        model: before the operation.
        name: of the field before it.
        field: before it.
        old: column before it.
        new: column after it.
        new_field: the field after it, if more than its name changes.
    """
    table = table_name(model)
    harm = (
        f"Renaming {table}.{old} to {new} makes every statement of old code that names it fail, "
        "until the last old process is gone."
    )
    keep = f'keep the column: add db_column="{old}" to the field, which needs no database work.'
    obstacle = _obstacle(model, name, field)
    if obstacle is not None:
        yield Observation(
            "DSM302",
            f"{harm} It is {obstacle}, which can't be kept in two columns for a while.",
            f"Rename in Python only and {keep}",
        )
        return
    yield Observation(
        "DSM301",
        harm,
        "Run makemigrations with django_safemigrations installed: it stages the rename by "
        f"a second column that is kept equal, and a contract. Or {keep}",
    )
    stays = new_field is None or (is_foreign_key(new_field) and new_field.db_constraint)
    if is_foreign_key(field) and field.db_constraint and stays:
        target = related_model(context.state, model, field)
        other = table_name(target) if target is not None else "the referenced table"
        yield Observation(
            "DSM306",
            f"Django also drops the foreign key of {table}.{old} and adds it again: ACCESS "
            f"EXCLUSIVE on {table} and {other} while every row is validated; every statement on "
            "both waits, reads included.",
            f"The staged rename adds it NOT VALID and validates it without blocking. Or {keep}",
        )


def _obstacle(model: ModelState, name: str, field: Any) -> str | None:
    """Return why a column can't be doubled, or None if it can."""
    if getattr(field.remote_field, "parent_link", False):
        return "a link to a parent model"
    if field.primary_key:
        return "a primary key"
    if field.generated:
        return "a generated column"
    for other in model.fields.values():
        if name in (getattr(other, "field_names", None) or ()):
            return "part of the primary key"
    for constraint in model.options.get("constraints", ()):
        if isinstance(constraint, ExclusionConstraint) and excludes(constraint, name):
            return f"in the exclusion constraint {constraint.name}"
    return None


def excludes(constraint: ExclusionConstraint, name: str) -> bool:
    """Return whether an exclusion constraint names a field."""
    mentioned = field_names(constraint.condition) if constraint.condition else set()
    for expression, _ in constraint.expressions:
        mentioned |= {expression} if isinstance(expression, str) else field_names(expression)
    return name in mentioned


def _many_to_many(
    model: ModelState, operation: operations.RenameField, field: Any
) -> Iterator[Observation]:
    if not has_own_table(field):
        return
    old = many_to_many_table(model, operation.old_name, field)
    new = many_to_many_table(model, operation.new_name, field)
    if old != new:
        yield Observation(
            "DSM302",
            f"Renaming the ManyToManyField {model.name}.{operation.old_name} renames its table "
            f"{old} to {new}: every statement of old code on it fails.",
            f'Keep the table: add db_table="{old}" to the field, which needs no database work.',
        )


RULES: dict[type, Rule] = {operations.RenameField: rename_field}
