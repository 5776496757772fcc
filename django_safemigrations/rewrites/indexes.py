"""Indexes are built and dropped concurrently."""

from __future__ import annotations

from django.db.migrations import AddIndex, AlterField, RemoveIndex
from django.db.migrations.operations.base import Operation

from django_safemigrations.operations import (
    Contract,
    CreateFieldIndexesConcurrently,
    CreateIndexConcurrently,
    DropFieldIndexesConcurrently,
    DropIndexConcurrently,
    Expand,
)
from django_safemigrations.rewrites.chain import Chain

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
