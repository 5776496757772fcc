"""Index and constraint operations that Django writes only because a field is renamed."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.migrations import AlterField, AlterUniqueTogether, RenameField, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from django_safemigrations.rewrites import constraints, renames, tables
from django_safemigrations.rewrites.chain import Step
from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.models import find_model, has_own_table


@dataclass
class Renaming:
    """The renames of one model that are staged together, with what follows them.

    Attributes:
        operations: the renames.
        removed: operations that remove what is over the old fields.
        added: operations that add the same over the new fields.
        names: names that change with them, old to new.
    """

    operations: list[RenameField] = field(default_factory=list)
    removed: list[Operation] = field(default_factory=list)
    added: list[Operation] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def find_renaming(context: Context) -> dict[str, Renaming]:
    """Return what is renamed, by model, and take its followers out of the context.

    They stand before and after the rename in Django's order, so they are looked for
    before anything is rewritten; the rename puts them back into its own state.

    Raises:
        UnsupportedChange: the settings forbid a rename.
    """
    found: dict[str, Renaming] = {}
    if not any(type(operation) is RenameField for operation in context.operations):
        return found
    # A renamed model comes first, and a db_column that keeps a column's name before its
    # rename; indexes and constraints are still those of old code.
    state = context.state.clone()
    for operation in context.operations:
        if type(operation) is RenameModel:
            operation.state_forwards(context.app_label, state)
        if type(operation) is AlterField:
            model = find_model(state, context.app_label, operation.model_name)
            if model is not None and operation.name in model.fields:
                operation.state_forwards(context.app_label, state)
        if type(operation) is not RenameField:
            continue
        model = find_model(state, context.app_label, operation.model_name)
        is_new = (context.app_label, operation.model_name.lower()) in context.created
        if model is None or not has_own_table(model) or is_new:
            continue
        if not renames.changes_column(model, operation):
            continue
        if context.settings.rename_field == "db_column":
            renames.refuse_by_setting(model, operation)
        if not renames.why_not(model, operation):
            found.setdefault(model.name_lower, Renaming()).operations.append(operation)
    for name, renaming in found.items():
        model = state.models[context.app_label, name]
        changed = {operation.old_name: operation.new_name for operation in renaming.operations}
        renaming.removed, renaming.added, renaming.names = renames.follow_renames(
            model, context.operations, changed
        )
        context.take([*renaming.removed, *renaming.added])
    return found


def rename_field(
    operation: RenameField, context: Context, found: dict[str, Renaming]
) -> list[Step]:
    """Stage all renames of the operation's model at once, or say why it is renamed in place."""
    model = context.model(operation.model_name)
    renaming = found.get(operation.model_name.lower(), Renaming())
    if model.fields[operation.old_name].many_to_many:
        return tables.rename_many_to_many(operation, context)
    if operation not in renaming.operations:
        return [renames.rename_in_place(model, operation)]
    context.take(renaming.operations)
    return [
        *_free_of_rules(model, renaming, context),
        renames.rename_fields(
            context.app_label,
            renaming.operations,
            renaming.removed,
            renaming.added,
            renaming.names,
            " ".join(filter(None, (renames.doubts(model, other) for other in renaming.operations))),
        ),
    ]


def _free_of_rules(model: ModelState, renaming: Renaming, context: Context) -> list[Step]:
    """Drop the sets of unique_together that name a renamed field and go in this run.

    Django drops them after the rename. By then they are there twice, over the old column and
    over the new one, and new code may write what either forbids.
    """
    changed = {operation.old_name: operation.new_name for operation in renaming.operations}
    for operation in context.operations:
        if type(operation) is not AlterUniqueTogether or operation.name_lower != model.name_lower:
            continue
        stays = {tuple(names) for names in operation.option_value or ()}
        there = {tuple(names) for names in model.options.get("unique_together") or ()}
        going = {
            names
            for names in there
            if not changed.keys().isdisjoint(names)
            and tuple(changed.get(name, name) for name in names) not in stays
        }
        if going:
            freed = AlterUniqueTogether(name=operation.name, unique_together=there - going)
            return constraints.alter_unique_together(freed, context)
    return []
