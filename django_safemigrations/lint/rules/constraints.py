"""Rules for constraints of Meta.constraints and unique_together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import models
from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.indexes import together
from django_safemigrations.lint.rules.upserts import deferrable, lost_constraint, lost_target
from django_safemigrations.lint.tables import table_name
from django_safemigrations.phases import Phase, operation_phase

ALL_WAIT = "every statement on the table waits, reads included"


def add_constraint(operation: operations.AddConstraint, context: Context) -> Iterator[Observation]:
    """AddConstraint validates every row, or builds an index."""
    model = context.used_model(operation.model_name)
    if model is None:
        return
    constraint: Any = operation.constraint
    name, table = constraint.name, table_name(model)
    if isinstance(constraint, models.CheckConstraint):
        yield Observation(
            "DSM507",
            f"Adding CHECK {name} reads all of {table} under ACCESS EXCLUSIVE: {ALL_WAIT}.",
            staged("Contract", model, ("AddCheckNotValid", "ValidateCheck"), name),
        )
    elif isinstance(constraint, models.UniqueConstraint) and is_plain_index(constraint):
        yield Observation(
            "DSM507",
            f"CREATE UNIQUE INDEX {name} reads all of {table} under a SHARE lock: every INSERT, "
            "UPDATE and DELETE waits until it is built; one duplicate makes it fail.",
            staged("Expand", model, ("AddUniqueConstraint",), name),
        )
    elif isinstance(constraint, models.UniqueConstraint):
        phase = "Contract" if constraint.deferrable else "Expand"
        yield Observation(
            "DSM507",
            f"Adding UNIQUE {name} builds its index on {table} under ACCESS EXCLUSIVE: {ALL_WAIT}; "
            "one duplicate makes it fail.",
            staged(phase, model, ("AddUniqueConstraint",), name),
        )
        if operation_phase(operation) is not Phase.CONTRACT:
            yield from deferrable(constraint, model)
    elif isinstance(constraint, ExclusionConstraint):
        yield Observation(
            "DSM516",
            f"Adding EXCLUDE {name} builds its index on {table} under ACCESS EXCLUSIVE: "
            f"{ALL_WAIT}. PostgreSQL has no other way for an exclusion constraint.",
            "Add it while the table is small, in a maintenance window, or to a new table into "
            "which the rows are moved in batches.",
        )
        if operation_phase(operation) is not Phase.CONTRACT:
            yield from deferrable(constraint, model)
    else:
        yield Observation(
            "DSM507",
            f"Adding {type(constraint).__name__} {name} to {table} validates or indexes every row "
            f"under a lock: {ALL_WAIT}.",
            "Add it NOT VALID and validate it in the next migration, if its kind allows that.",
        )


def staged(container: str, model: ModelState, stages: tuple[str, ...], name: str) -> str:
    """Return the hint with the stages to write instead."""
    listed = ", ".join(f'{stage}("{model.name_lower}", "{name}")' for stage in stages)
    return (
        "Write instead, in a migration with `atomic = False` (makemigrations does it for you):\n"
        f"{container}(state_operations=[<this operation>], database_operations=[{listed}])"
    )


def is_plain_index(constraint: Any) -> bool:
    """Return whether Django makes a unique index, not a constraint, of a UniqueConstraint."""
    return bool(
        constraint.condition or constraint.include or constraint.opclasses or constraint.expressions
    )


def add_constraint_not_valid(
    operation: AddConstraintNotValid, context: Context
) -> Iterator[Observation]:
    """NOT VALID is instant; remember that the constraint proves nothing yet."""
    key = (context.app_label, operation.model_name.lower(), operation.constraint.name)
    context.history.not_valid[key] = context.key
    return
    yield


def validate_constraint(operation: ValidateConstraint, context: Context) -> Iterator[Observation]:
    """Validation doesn't block, unless the transaction has taken a stronger lock before."""
    key = (context.app_label, operation.model_name.lower(), operation.name)
    added_by = context.history.not_valid.pop(key, None)
    model = context.used_model(operation.model_name)
    if model is not None and added_by == context.key and context.is_atomic():
        table = table_name(model)
        yield Observation(
            "DSM507",
            f"{operation.name} is validated in the transaction that added it, which still holds "
            f"ACCESS EXCLUSIVE on {table}: while all rows are read, {ALL_WAIT}.",
            "Move ValidateConstraint into a migration of its own.",
        )


def remove_constraint(
    operation: operations.RemoveConstraint, context: Context
) -> Iterator[Observation]:
    """Dropping a constraint is instant, but upserts may need it; forget what was known of it."""
    key = (context.app_label, operation.model_name.lower(), operation.name)
    context.history.not_valid.pop(key, None)
    model = context.used_model(operation.model_name)
    if model is not None:
        yield from lost_constraint(operation.name, model, context)


def alter_unique_together(
    operation: operations.AlterUniqueTogether, context: Context
) -> Iterator[Observation]:
    """A new set builds a unique index; a dropped one is instant."""
    model = context.used_model(operation.name)
    if model is None:
        return
    before = together(model.options.get("unique_together"))
    after = together(operation.option_value)
    for names in sorted(after - before):
        yield Observation(
            "DSM508",
            f"unique_together on ({', '.join(names)}) builds its index on {table_name(model)} "
            f"under "
            f"ACCESS EXCLUSIVE: {ALL_WAIT}; one duplicate makes it fail.",
            "Write instead, in a migration with `atomic = False` (makemigrations does it for "
            "you):\n"
            "Expand(state_operations=[<this operation>], database_operations="
            f'[AddUniqueTogether("{model.name_lower}", {list(names)})])',
        )
    for names in sorted(before - after):
        yield from lost_target(names, model, context)


RULES: dict[type, Rule] = {
    operations.AddConstraint: add_constraint,
    operations.RemoveConstraint: remove_constraint,
    operations.AlterUniqueTogether: alter_unique_together,
    AddConstraintNotValid: add_constraint_not_valid,
    ValidateConstraint: validate_constraint,
}
