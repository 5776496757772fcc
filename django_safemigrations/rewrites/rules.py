"""Decides, operation by operation, what is left plain and what becomes a chain."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.migrations import CreateModel, RemoveField, RenameField, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.rewrites import (
    additions,
    alterations,
    constraints,
    endings,
    followers,
    indexes,
    lookalikes,
    removals,
    replacements,
    tables,
)
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context, Rule

RULES: dict[type, Rule] = {
    **additions.RULES,
    **alterations.RULES,
    **constraints.RULES,
    **indexes.RULES,
    **removals.RULES,
    **tables.RULES,
}


def rewrite(
    app_label: str,
    operations: Sequence[Operation],
    state: ProjectState,
    settings: Settings,
    created: set[tuple[str, str]],
) -> list[Step]:
    """Rewrite the operations of one migration.

    Args:
        app_label: the app they belong to.
        operations: what the autodetector found, in its order.
        state: the state before them; it is moved past them.
        settings: the settings in force.
        created: models created in this run, by app label and lower-case name; models
            that these operations create are added to it.

    Raises:
        UnsupportedChange: the settings forbid what is asked for.
    """
    context = Context(app_label, operations, state, settings, created)
    renaming = followers.find_renaming(context)
    removals.find_deletions(context)
    context.operations = operations = replacements.in_order(context)
    steps: list[Step] = []
    for position, operation in enumerate(operations):
        if id(operation) in context.taken:
            continue
        context.position = position
        found = _steps(operation, context, renaming)
        for step in found:
            for done in (step.operation,) if isinstance(step, Plain) else step.operations:
                endings.apply(done, app_label, state)
        steps += found
    return steps


def _steps(
    operation: Operation, context: Context, renaming: dict[str, followers.Renaming]
) -> list[Step]:
    # Exact types: a subclass is somebody else's operation, with reasons of its own.
    kind = type(operation)
    if kind is CreateModel:
        context.created.add((context.app_label, operation.name_lower))  # type: ignore[attr-defined]
    if isinstance(operation, RenameModel) and not context.may_hold_rows(operation.old_name):
        if (context.app_label, operation.old_name_lower) in context.created:
            context.created.add((context.app_label, operation.new_name_lower))
        return [Plain(operation)]
    name = _model_of(operation)
    if name is None or not context.may_hold_rows(name):
        return [Plain(operation)]
    if isinstance(operation, RenameField) and kind is RenameField:
        return followers.rename_field(operation, context, renaming)
    rule = RULES.get(kind)
    steps: list[Step] = [Plain(operation)] if rule is None else rule(operation, context)
    if isinstance(operation, RemoveField) and steps:
        return lookalikes.with_warning(steps, operation, context)
    return steps


def _model_of(operation: Operation) -> str | None:
    """Return the name that an operation's model has before it."""
    for attribute in ("model_name", "old_name", "name"):
        name = getattr(operation, attribute, None)
        if isinstance(name, str):
            return name
    return None
