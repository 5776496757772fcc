"""Constraints and unique_together: made without a scan under lock, and removed before new code runs."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterUniqueTogether,
    RemoveConstraint,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.models import CheckConstraint, UniqueConstraint

from django_safemigrations.operations import (
    AddCheckNotValid,
    Contract,
    DropConstraint,
    Expand,
    RenameConstraint,
    ValidateCheck,
)
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.references import uses_field
from django_safemigrations.rewrites.replacements import definition, is_django_s
from django_safemigrations.rewrites.uniques import DROP, RENAME, change_rules

CHECK = "ADD CONSTRAINT would read the whole table while every query waits"
CHECK_LATER = "until then old code may write what it forbids"


def add_constraint(operation: AddConstraint, context: Context) -> list[Step]:
    """Stage an AddConstraint, whatever its kind."""
    constraint: Any = operation.constraint
    model = context.model(operation.model_name)
    if is_django_s(constraint, UniqueConstraint):
        return change_rules(context, operation)
    if is_django_s(constraint, CheckConstraint):
        return [_add_check(context, model, operation)]
    name = f"{constraint.name} of {context.app_label}.{model.name}"
    if isinstance(constraint, ExclusionConstraint):
        return [
            Plain(
                operation,
                f"{name} is an exclusion constraint (DSM516), which PostgreSQL can't build online: "
                "every statement on the table waits while its index is built. Run this migration "
                "while the table is small or nobody is served; or put the constraint on a new "
                "table and move the rows there in batches.",
            )
        ]
    return [
        Plain(
            operation,
            f"{name} is a {type(constraint).__name__} (DSM507), of which is not known how it could "
            "be added without blocking, so it is left as Django wrote it.",
        )
    ]


def _add_check(context: Context, model: ModelState, operation: AddConstraint) -> Chain:
    """Stage a check: at once where old code knows none of its fields, else when it is gone."""
    name = str(operation.constraint.name)
    where = {"model_name": operation.model_name, "name": name}
    stages: list[Operation] = [AddCheckNotValid(**where), ValidateCheck(**where)]
    early = _is_over_new_fields(context, model, operation)
    change: Any = Expand if early else Contract
    made = change(state_operations=[operation], database_operations=stages)
    return Chain(
        title=f"check {name} on {context.app_label}.{operation.model_name}",
        name=operation.migration_name_fragment,
        expand=(made,) if early else (),
        contract=() if early else (made,),
        why=CHECK if early else "",
        after="" if early else CHECK_LATER,
    )


def _is_over_new_fields(context: Context, model: ModelState, operation: AddConstraint) -> bool:
    used = {name for name in model.fields if uses_field(operation.constraint, name)}
    added = {
        other.name
        for other in context.operations[: context.position]
        if isinstance(other, AddField) and other.model_name_lower == model.name_lower
    }
    return bool(used) and used <= added


def remove_constraint(operation: RemoveConstraint, context: Context) -> list[Step]:
    """Stage a RemoveConstraint, or rename the constraint if it is added again by another name."""
    model = context.model(operation.model_name)
    constraints = model.options.get("constraints", [])
    constraint = next((item for item in constraints if item.name == operation.name), None)
    if is_django_s(constraint, UniqueConstraint):
        return change_rules(context, operation)
    renamed = _the_same_again(context, constraint, operation)
    if renamed is not None:
        return [_rename(context, operation, renamed)]
    if not is_django_s(constraint, CheckConstraint):
        # Its drop is instant, too, but the way back is not ours.
        return [Plain(operation)]
    where = {"model_name": operation.model_name, "name": operation.name}
    return [
        Chain(
            title=f"drop check {operation.name} of {context.app_label}.{operation.model_name}",
            name=operation.migration_name_fragment,
            expand=(
                Expand(
                    state_operations=[operation],
                    database_operations=[DropConstraint(**where)],
                ),
            ),
            why=DROP,
        )
    ]


def _the_same_again(
    context: Context, constraint: Any, operation: RemoveConstraint
) -> AddConstraint | None:
    """Return a later operation that adds the same constraint under a name that is free."""
    if not is_django_s(constraint, CheckConstraint) and not is_django_s(
        constraint, ExclusionConstraint
    ):
        return None
    model = context.model(operation.model_name)
    others = {item.name for item in model.options.get("constraints", [])} - {operation.name}
    for other in context.later:
        name = getattr(other, "model_name", None) or getattr(other, "name", "")
        if str(name).lower() != model.name_lower or id(other) in context.taken:
            continue
        if type(other) is not AddConstraint:
            if type(other) not in (RemoveConstraint, AlterUniqueTogether):
                # What it is about may mean another column by then.
                return None
            continue
        added: Any = other.constraint
        if added.name not in others and definition(added) == definition(constraint):
            return other
    return None


def _rename(context: Context, operation: RemoveConstraint, added: AddConstraint) -> Step:
    context.take([added])
    old, new = operation.name, str(added.constraint.name)
    if old == new:
        # Nothing but a message differs.
        return Plain(SeparateDatabaseAndState(state_operations=[operation, added]))
    return Chain(
        title=f"rename constraint {old} of {context.app_label}.{operation.model_name} to {new}",
        name=f"rename_{operation.model_name.lower()}_{new.lower()}",
        expand=(
            Expand(
                state_operations=[operation, added],
                database_operations=[RenameConstraint(operation.model_name, old, new)],
            ),
        ),
        why=RENAME,
    )


def alter_unique_together(operation: AlterUniqueTogether, context: Context) -> list[Step]:
    """Stage an AlterUniqueTogether."""
    return change_rules(context, operation)


RULES: dict[type, Rule] = {
    AddConstraint: add_constraint,
    RemoveConstraint: remove_constraint,
    AlterUniqueTogether: alter_unique_together,
}
