"""Finds the rule for an operation and walks into containers."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import migrations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context, Rule, our_name
from django_safemigrations.lint.finding import Observation, on_table
from django_safemigrations.lint.rules import (
    changes,
    code,
    constraints,
    fields,
    history_transactions,
    indexes,
    models,
    python,
    renames,
    sql,
    stages,
)
from django_safemigrations.lint.states import move
from django_safemigrations.lint.tables import table_name
from django_safemigrations.phases import PHASES, Phase

RULES: dict[type, Rule] = {
    **indexes.RULES,
    **constraints.RULES,
    **models.RULES,
    **fields.RULES,
    **changes.RULES,
    **renames.RULES,
    **python.RULES,
    **sql.RULES,
}

NAMING_FIELDS = (migrations.AlterField, migrations.RemoveField, migrations.RenameField)
NAMING = (*NAMING_FIELDS, migrations.DeleteModel, migrations.RenameModel)

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
        inner = Phase(own) if own in PHASES else phase
        yield from _judge_nested(nested, position, context, inner)
        return
    try:
        observations = list(_observe(operation, context, phase))
        history_transactions.note(operation, position, context, observations)
    except Exception as error:  # noqa: BLE001 - custom fields and operations run code of their own
        observations = [_not_judged(operation, error)]
    table = _table(operation, context) if observations else ""
    for observation in observations:
        yield position, on_table(observation, table)


def _table(operation: Operation, context: Context) -> str:
    """Return the table of the model that an operation names; empty if it names none."""
    for attribute in ("model_name", "old_name", "name"):
        name = getattr(operation, attribute, None)
        if isinstance(name, str) and (model := context.find_model(name)) is not None:
            return table_name(model)
    return ""


def _judge_nested(
    nested: list[Operation], position: str, context: Context, phase: Phase | None
) -> Iterator[Judged]:
    before = context.state
    try:
        for index, operation in enumerate(nested):
            if (missing := _missing(operation, context)) is not None:
                yield f"{position}.{index}", missing
                return
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


def _missing(operation: Operation, context: Context) -> Observation | None:
    """Return that an operation inside a container names what the state doesn't have.

    Operations of the file's own list are applied to the state, where that shows.
    """
    if not isinstance(operation, NAMING) or not context.complete:
        return None
    attribute = next(a for a in ("model_name", "old_name", "name") if hasattr(operation, a))
    model_name = str(getattr(operation, attribute))
    model = context.state.models.get((context.app_label, model_name.lower()))
    what = f"{context.app_label}.{model_name}"
    if model is not None:
        if not isinstance(operation, NAMING_FIELDS):
            return None
        field = getattr(operation, "old_name", getattr(operation, "name", ""))
        if field in model.fields:
            return None
        what = f"{what}.{field}"
    return Observation(
        "DSM904",
        f"{type(operation).__name__} names {what}, which the state before it doesn't have: migrate "
        "fails.",
        "If an earlier operation took it out of the state, drop what is left in the database by "
        "DropColumn or DropTable, or by RunSQL.",
    )


def _changes_state(operation: Operation) -> bool:
    if isinstance(operation, migrations.RunSQL):
        return bool(operation.state_operations)
    return not isinstance(operation, migrations.RunPython) and our_name(operation) is None


def _observe(operation: Operation, context: Context, phase: Phase | None) -> Iterator[Observation]:
    if our_name(operation) is not None:
        yield from stages.judge_stage(operation, phase, context)
        return
    context.phase = phase
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
