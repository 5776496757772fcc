"""Finds the rule for an operation and walks into containers."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import migrations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context, Rule, our_name
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules import (
    changes,
    code,
    constraints,
    fields,
    indexes,
    models,
    renames,
    stages,
)
from django_safemigrations.lint.states import move
from django_safemigrations.phases import Phase

RULES: dict[type, Rule] = {
    **indexes.RULES,
    **constraints.RULES,
    **models.RULES,
    **fields.RULES,
    **changes.RULES,
    **renames.RULES,
    **code.RULES,
}

Judged = tuple[str, Observation]
"""The position of an operation, nested as ``"3.0"``, and what was seen in it."""


def judge(
    operation: Operation, position: str, context: Context, phase: Phase | None = None
) -> Iterator[Judged]:
    """Judge an operation by the state before it, and what a container runs one by one.

    Operations that a container only applies to the state do nothing in the database and
    are not judged. The context's state is left as it was found.
    """
    nested = getattr(operation, "database_operations", None)
    if nested is None or all(inside.reversible for inside in nested):
        # Otherwise it is said of the operation inside.
        for observation in code.irreversible(operation):
            yield position, observation
    if nested is not None:
        own = getattr(operation, "phase", None)
        inner = Phase(own) if own is not None else phase
        yield from _judge_nested(nested, position, context, inner)
        return
    try:
        observations = list(_observe(operation, context, phase))
    except Exception as error:  # noqa: BLE001 - custom fields and operations run code of their own
        observations = [_not_judged(operation, error)]
    for observation in observations:
        yield position, observation


def _judge_nested(
    nested: list[Operation], position: str, context: Context, phase: Phase | None
) -> Iterator[Judged]:
    before = context.state
    try:
        for index, operation in enumerate(nested):
            yield from judge(operation, f"{position}.{index}", context, phase)
            if index < len(nested) - 1 and _changes_state(operation):
                if context.state is before:
                    context.state = before.clone()
                try:
                    move(operation, context.app_label, context.state)
                except Exception as error:  # noqa: BLE001 - see judge
                    yield f"{position}.{index}", _not_judged(operation, error)
                    return
    finally:
        context.state = before


def _changes_state(operation: Operation) -> bool:
    if isinstance(operation, migrations.RunSQL):
        return bool(operation.state_operations)
    return not isinstance(operation, migrations.RunPython) and our_name(operation) is None


def _observe(operation: Operation, context: Context, phase: Phase | None) -> Iterator[Observation]:
    if our_name(operation) is not None:
        yield from stages.judge_stage(operation, phase, context)
        return
    for cls in type(operation).__mro__:
        rule = RULES.get(cls)
        if rule is not None and _runs_as(operation, cls):
            yield from rule(operation, context)
            return
    if not type(operation).__module__.startswith("django."):
        yield code.unknown_operation(operation)


def _runs_as(operation: Operation, cls: type) -> bool:
    """Return whether a subclass does in the database what the class of the rule does."""
    own: object = type(operation).database_forwards
    return own is getattr(cls, "database_forwards", None)


def _not_judged(operation: Operation, error: Exception) -> Observation:
    return Observation(
        "DSM405",
        f"{type(operation).__name__} could not be judged: {type(error).__name__}: {error}",
        "Look at its SQL with sqlmigrate, and say what you found: "
        "# safemigrations: ignore DSM405 -- which lock it takes, and for how long",
    )
