"""What a statement with ON CONFLICT needs: a unique index over just its fields, checked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from django_safemigrations.lint.context import Context
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import table_name
from django_safemigrations.phases import Phase


def is_target(constraint: Any) -> bool:
    """Whether ``ON CONFLICT`` with a list of columns, as Django writes it, can mean a constraint."""
    return (
        isinstance(constraint, models.UniqueConstraint)
        and bool(constraint.fields)
        and constraint.condition is None
        and constraint.deferrable is None
    )


def lost_target(
    fields: Sequence[str], model: ModelState, context: Context
) -> Iterator[Observation]:
    """Report fields that were unique, unless they are so by another rule when the file is done."""
    if frozenset(fields) in _targets_after(model, context):
        return
    table, listed = table_name(model), ", ".join(fields)
    yield Observation(
        "DSM515",
        f"({listed}) of {table} is no longer unique: old code's bulk_create(…, "
        f"update_conflicts=True, unique_fields=[…]) with these fields fails from then on, for "
        "PostgreSQL finds no index for its ON CONFLICT.",
        "If old code does that, release code that does without it first, and run this migration "
        "in the release after that. If it doesn't, say so: # safemigrations: ignore DSM515 -- "
        "nothing upserts on these fields",
    )


def _targets_after(model: ModelState, context: Context) -> set[frozenset[str]]:
    """Return the sets of fields that upserts can name when the file has run."""
    alone = {n for n, field in model.fields.items() if field.unique or field.primary_key}
    together = {frozenset(names) for names in model.options.get("unique_together") or ()}
    named = {c.name: c for c in model.options.get("constraints") or ()}
    for operation in _with_states(context.migration.operations):
        about = getattr(operation, "model_name", None) or getattr(operation, "name", "")
        if str(about).lower() != model.name_lower:
            continue
        if isinstance(operation, operations.AddConstraint):
            named[operation.constraint.name] = operation.constraint
        elif isinstance(operation, operations.RemoveConstraint):
            named.pop(operation.name, None)
        elif isinstance(operation, operations.AlterUniqueTogether):
            together = {frozenset(names) for names in operation.option_value or ()}
        elif isinstance(operation, operations.AlterField):
            alone.discard(operation.name)
            if operation.field.unique:
                alone.add(operation.name)
    found = {frozenset([name]) for name in alone} | together
    return found | {frozenset(c.fields) for c in named.values() if is_target(c)}


def _with_states(given: Sequence[Operation]) -> Iterator[Operation]:
    """Yield operations and what containers apply to the state."""
    for operation in given:
        yield operation
        yield from _with_states(getattr(operation, "state_operations", None) or ())


def is_deferrable(constraint: Any) -> bool:
    """Whether PostgreSQL may check a constraint at the end of a transaction."""
    return getattr(constraint, "deferrable", None) is not None


def deferrable(constraint: Any, model: ModelState) -> Iterator[Observation]:
    """Report a deferrable constraint, which every ON CONFLICT without a target stumbles on."""
    named = model.options.get("constraints") or ()
    if not is_deferrable(constraint) or any(map(is_deferrable, named)):
        return
    table = table_name(model)
    yield Observation(
        "DSM517",
        f"{constraint.name} is deferrable: bulk_create(…, ignore_conflicts=True) on {table} fails "
        "from then on, whatever rows it inserts, in old code too.",
        "If old code does that, put this into a Contract, which runs when no old code is left "
        "(makemigrations does, where it takes nothing's place), and let new code do without it.",
    )


def judge_stage(
    name: str, stage: Any, phase: Phase | None, context: Context
) -> Iterator[Observation]:
    """Judge a stage that adds or drops a unique rule while old code runs."""
    model = context.used_model(stage.model_name)
    if model is None or phase is Phase.CONTRACT:
        return
    if name == "DropFieldUnique":
        yield from lost_target([stage.name], model, context)
    elif name == "DropUniqueTogether":
        yield from lost_target(stage.fields, model, context)
    elif name in ("DropConstraint", "ReplaceUniqueConstraint"):
        yield from lost_constraint(stage.name, model, context)
    if name in ("AddUniqueConstraint", "ReplaceUniqueConstraint"):
        for operation in _with_states(context.migration.operations):
            if isinstance(operation, operations.AddConstraint) and (
                operation.constraint.name == stage.name
            ):
                yield from deferrable(operation.constraint, model)


def lost_constraint(name: str, model: ModelState, context: Context) -> Iterator[Observation]:
    """Report a constraint of a model that goes, if upserts could name it."""
    for constraint in model.options.get("constraints") or ():
        if constraint.name == name and is_target(constraint):
            yield from lost_target(constraint.fields, model, context)
