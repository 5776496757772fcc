"""Indexes are built and dropped concurrently."""

from __future__ import annotations

from typing import Any

from django.db.migrations import (
    AddIndex,
    AlterField,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTableComment,
    RemoveField,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.operations.base import Operation

from django_safemigrations.operations import (
    Contract,
    CreateFieldIndexesConcurrently,
    CreateIndexConcurrently,
    DropFieldIndexesConcurrently,
    DropIndexConcurrently,
    Expand,
)
from django_safemigrations.rewrites.chain import Chain, Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.references import uses_field

STATE_ONLY = (AlterModelManagers, AlterModelOptions, AlterModelTableComment)
BUILD = "CREATE INDEX would make every write wait until it is built, so it is built concurrently"
DROP = "old code may still need it, and DROP INDEX would make every query wait"


def add_index(app_label: str, operation: AddIndex) -> Chain:
    """Build an index of Meta.indexes concurrently."""
    model, name = operation.model_name, operation.index.name
    return Chain(
        title=f"index {name} on {app_label}.{model}",
        name=operation.migration_name_fragment,
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[CreateIndexConcurrently(model_name=model, name=name)],
            ),
        ),
        why=BUILD,
    )


def remove_index(app_label: str, operation: RemoveIndex, *, at_once: bool) -> Chain:
    """Drop an index of Meta.indexes concurrently, in contract unless something needs it gone."""
    model, name = operation.model_name, operation.name
    stages: list[Operation] = [DropIndexConcurrently(model_name=model, name=name)]
    container = Expand if at_once else Contract
    dropped = container(state_operations=[operation], database_operations=stages)
    return Chain(
        title=f"drop index {name} of {app_label}.{model}",
        name=operation.migration_name_fragment,
        expand=(dropped,) if at_once else (),
        contract=() if at_once else (dropped,),
        why=DROP,
        after=DROP,
    )


def change_index(app_label: str, operation: AlterField) -> Chain:
    """Build or drop the indexes of a field that gets or loses db_index=True."""
    field: Any = operation.field
    return (index_field if field.db_index else unindex_field)(app_label, operation)


def index_field(app_label: str, operation: AlterField) -> Chain:
    """Build the indexes of db_index=True concurrently."""
    model, name = operation.model_name, operation.name
    return Chain(
        title=f"index on {app_label}.{model}.{name}",
        name=f"index_{model.lower()}_{name.lower()}",
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[CreateFieldIndexesConcurrently(model_name=model, name=name)],
            ),
        ),
        why=BUILD,
    )


def unindex_field(app_label: str, operation: AlterField) -> Chain:
    """Drop the indexes of a field that loses db_index=True, in contract."""
    model, name = operation.model_name, operation.name
    return Chain(
        title=f"drop index on {app_label}.{model}.{name}",
        name=f"unindex_{model.lower()}_{name.lower()}",
        contract=(
            Contract(
                state_operations=[operation],
                database_operations=[DropFieldIndexesConcurrently(model_name=model, name=name)],
            ),
        ),
        after=DROP,
    )


def _in_the_way(operation: RemoveIndex, context: Context) -> bool:
    """Whether a later operation of this run needs the index gone, in state or database."""
    model = context.model(operation.model_name)
    there = model.options.get("indexes", [])
    index = next((item for item in there if item.name == operation.name), None)
    for other in context.later:
        about = str(getattr(other, "model_name", ""))
        if not about:
            whole = str(getattr(other, "old_name", getattr(other, "name", "")))
            if whole.lower() == model.name_lower and not isinstance(other, STATE_ONLY):
                # The model is renamed or deleted, or gets another table.
                return True
        elif about.lower() != model.name_lower:
            continue
        elif type(other) is AddIndex and other.index.name == operation.name:
            return True
        elif isinstance(other, AlterField | RemoveField | RenameField):
            name = getattr(other, "old_name", getattr(other, "name", ""))
            if index is None or uses_field(index, name):
                return True
    return False


def _add(operation: AddIndex, context: Context) -> list[Step]:
    return [add_index(context.app_label, operation)]


def _remove(operation: RemoveIndex, context: Context) -> list[Step]:
    at_once = _in_the_way(operation, context)
    return [remove_index(context.app_label, operation, at_once=at_once)]


RULES: dict[type, Rule] = {AddIndex: _add, RemoveIndex: _remove}
