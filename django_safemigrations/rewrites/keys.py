"""Primary keys that change their type, with everything that refers to them."""

from __future__ import annotations

import sys
from typing import Any

from django.db.migrations import AlterField
from django.db.models import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    CharField,
    IntegerField,
    PositiveBigIntegerField,
    PositiveIntegerField,
    PositiveSmallIntegerField,
    SmallAutoField,
    SmallIntegerField,
    TextField,
)

from django_safemigrations.operations import (
    AddKeyColumns,
    BackfillKeyColumns,
    Contract,
    CopyKeyConstraints,
    CopyKeyIndexes,
    DropKeyColumns,
    Expand,
    SwapKeyColumns,
)
from django_safemigrations.rewrites import attributes, relations
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context

# Fields that hold the same values and whose columns differ in their width alone, narrow first.
WIDTHS = (
    (SmallAutoField, AutoField, BigAutoField),
    (SmallIntegerField, IntegerField, BigIntegerField),
    (PositiveSmallIntegerField, PositiveIntegerField, PositiveBigIntegerField),
)

# What a key's options put into its column; of a relation, where it points.
IN_DATABASE = (
    "max_length",
    "db_column",
    "db_collation",
    "max_digits",
    "decimal_places",
    "to",
    "to_field",
)
WAY_OUT = (
    "Add the new key as a unique, filled column of its own beside it, let the relations move to it "
    "one by one, and make it the primary key when the old one has no reader left."
)


def alter_key(operation: AlterField, context: Context) -> list[Step]:
    """Stage an AlterField of a field that is the primary key, or becomes it."""
    old: Any = context.model(operation.model_name).fields[operation.name]
    new = operation.field
    if _widens(old, new):
        if old.db_comment == new.db_comment:
            return [widen(context.app_label, operation, old)]
        between = old.clone()
        between.db_comment = new.db_comment
        first = AlterField(operation.model_name, operation.name, between)
        return [
            *attributes.change_comment(context, first, old),
            widen(context.app_label, operation, between),
        ]
    if old.primary_key and new.primary_key and _same_target(old, new):
        if _constraint(old) != _constraint(new):
            return relations.change_relation(context, operation, old)
        return attributes.touches_nothing(context, operation, old)
    name = f"{context.app_label}.{context.model(operation.model_name).name}.{operation.name}"
    return [Plain(operation, _note(name, old, new))]


def _widens(old: Any, new: Any) -> bool:
    """Whether a key stays a key and gets a wider integer type, and nothing else of it changes."""
    if not (old.primary_key and new.primary_key) or old.db_column != new.db_column:
        return False
    if old.db_default != new.db_default:
        return False
    for family in WIDTHS:
        if type(old) in family and type(new) in family:
            return family.index(type(old)) < family.index(type(new))
    return False


def _note(name: str, old: Any, new: Any) -> str:
    """Say what an AlterField of a key breaks that is left as it is; nothing if it is harmless."""
    if old.primary_key != new.primary_key:
        what = "becomes the primary key" if new.primary_key else "is the primary key no more"
    elif _kind(old) == _kind(new):
        return ""
    elif _same_text(old, new):
        if (new.max_length or sys.maxsize) >= (old.max_length or sys.maxsize):
            return (
                f"{name} gets longer (DSM506): that is done in an instant, but if foreign keys "
                "point to it, Django drops them and validates them again while nobody can use the "
                "tables. Run it when they are small, or make them NOT VALID first."
            )
        what = "gets shorter"
    else:
        what = f"changes from {type(old).__name__} to {type(new).__name__}"
    return (
        f"{name} {what} (DSM533), which is left as Django wrote it: old and new code would need "
        f"different keys for the same row. {WAY_OUT}"
    )


def _same_target(old: Any, new: Any) -> bool:
    """Whether a key that is a relation goes on pointing where it did."""
    return bool(old.remote_field and new.remote_field) and _kind(old) == _kind(new)


def _constraint(field: Any) -> tuple[bool, str]:
    """Return what of a relation is PostgreSQL's business: its constraint, and ON DELETE."""
    on_delete = field.remote_field.on_delete
    return field.db_constraint, str(getattr(on_delete, "operation", ""))


def _kind(field: Any) -> tuple[Any, ...]:
    """Return what of a key's column Django would have to change."""
    _, path, args, kwargs = field.deconstruct()
    return path, args, {k: v for k, v in kwargs.items() if k in IN_DATABASE}


def _same_text(old: Any, new: Any) -> bool:
    return all(isinstance(field, CharField | TextField) for field in (old, new))


def widen(app_label: str, operation: AlterField, old: Any) -> Chain:
    """Stage a key that gets a wider integer type."""
    model, name = operation.model_name, operation.name
    where: dict[str, Any] = {"model_name": model, "name": name}
    return Chain(
        title=(
            f"widen the primary key {app_label}.{model}.{name} from {type(old).__name__} to "
            f"{type(operation.field).__name__}, with all foreign keys to it"
        ),
        name=f"widen_{model}_{name}".lower(),
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[
                    AddKeyColumns(**where),
                    BackfillKeyColumns(**where),
                    CopyKeyIndexes(**where),
                    CopyKeyConstraints(**where),
                    SwapKeyColumns(**where),
                ],
            ),
        ),
        contract=(Contract(database_operations=[DropKeyColumns(**where, old_field=old.clone())]),),
        why=(
            "ALTER COLUMN TYPE would rewrite the table and every table that refers to it while "
            "nobody can use them, so second columns are filled and swapped in"
        ),
        after="when the new type has proven itself, the replaced columns and their triggers go",
    )
