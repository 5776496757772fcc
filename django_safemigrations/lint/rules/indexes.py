"""Rules for indexes of Meta.indexes and index_together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import models
from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import table_name

NOT_ATOMIC = "Give the migration `atomic = False` and leave nothing in it that needs a transaction."


def add_index(operation: operations.AddIndex, context: Context) -> Iterator[Observation]:
    """AddIndex builds under SHARE."""
    model = context.used_model(operation.model_name)
    if model is None:
        return
    name = operation.index.name
    yield Observation(
        "DSM101",
        f"CREATE INDEX {name} reads all of {table_name(model)} under a SHARE lock: every INSERT, "
        "UPDATE and DELETE on the table waits until it is built and the migration is committed.",
        concurrent_index(model, name),
    )


def concurrent_index(model: ModelState, name: str) -> str:
    """Return the hint for an index that should be built concurrently."""
    return (
        "Write instead, in a migration with `atomic = False` (makemigrations does it for you):\n"
        "Expand(state_operations=[<this operation>], database_operations="
        f'[CreateIndexConcurrently(model_name="{model.name_lower}", name="{name}")])'
    )


def add_index_concurrently(
    operation: AddIndexConcurrently, context: Context
) -> Iterator[Observation]:
    """Django's own concurrent build: not in a transaction, and not twice."""
    model = context.find_model(operation.model_name)
    if model is None:
        return
    name = operation.index.name
    if context.is_atomic():
        yield in_transaction(f"CREATE INDEX CONCURRENTLY {name}")
    elif context.used_model(operation.model_name) is not None:
        yield Observation(
            "DSM104",
            f"If building {name} on {table_name(model)} fails, an INVALID index of that name stays "
            "behind, and every further run of this migration fails because the name is taken.",
            concurrent_index(model, name).replace("<this operation>", "migrations.AddIndex(...)"),
        )


def remove_index(operation: operations.RemoveIndex, context: Context) -> Iterator[Observation]:
    """RemoveIndex needs ACCESS EXCLUSIVE on the table."""
    model = context.used_model(operation.model_name)
    if model is None:
        return
    yield Observation(
        "DSM102",
        f"DROP INDEX {operation.name} needs ACCESS EXCLUSIVE on {table_name(model)}: it waits for "
        "every query that is running, and every other query waits behind it, reads included.",
        "Write instead, in a migration with `atomic = False` (makemigrations does it for you):\n"
        "Contract(state_operations=[<this operation>], database_operations="
        f'[DropIndexConcurrently(model_name="{model.name_lower}", name="{operation.name}")])',
    )


def remove_index_concurrently(
    operation: RemoveIndexConcurrently, context: Context
) -> Iterator[Observation]:
    """Django's own concurrent drop can't run in a transaction."""
    if context.is_atomic() and context.find_model(operation.model_name) is not None:
        yield in_transaction(f"DROP INDEX CONCURRENTLY {operation.name}")


def in_transaction(statement: str) -> Observation:
    """Return the observation that a concurrent statement stands in an atomic migration."""
    return Observation(
        "DSM103",
        f"{statement} can't run inside a transaction, and this migration is one: it fails.",
        NOT_ATOMIC,
    )


def alter_index_together(
    operation: operations.AlterIndexTogether, context: Context
) -> Iterator[Observation]:
    """AlterIndexTogether, kept for historical migrations, builds and drops plain indexes."""
    model = context.used_model(operation.name)
    if model is None:
        return
    before = together(model.options.get("index_together"))
    after = together(operation.option_value)
    for names in sorted(after - before):
        yield Observation(
            "DSM101",
            f"CREATE INDEX on {table_name(model)} ({', '.join(names)}) reads the whole table under "
            "a SHARE lock: every INSERT, UPDATE and DELETE waits until it is built.",
            "Use Meta.indexes and build the index concurrently: "
            f"models.Index(fields={list(names)!r}, name=...)",
        )
    for names in sorted(before - after):
        yield Observation(
            "DSM102",
            f"DROP INDEX on {table_name(model)} ({', '.join(names)}) needs ACCESS EXCLUSIVE: it "
            "waits for every running query, and every other query waits behind it.",
            "Rename it into Meta.indexes by RenameIndex(old_fields=...) and drop it by "
            "DropIndexConcurrently in a contract migration.",
        )


def together(value: Any) -> set[tuple[str, ...]]:
    """Normalise a unique_together or index_together value."""
    if not value:
        return set()
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return {tuple(value)}
    return {tuple(names) for names in value}


def names_column(index: models.Index | models.UniqueConstraint, name: str) -> bool:
    """Return whether an index lists a field among its columns."""
    return name in [field.lstrip("-") for field in index.fields]


RULES: dict[type, Rule] = {
    operations.AddIndex: add_index,
    operations.RemoveIndex: remove_index,
    operations.AlterIndexTogether: alter_index_together,
    AddIndexConcurrently: add_index_concurrently,
    RemoveIndexConcurrently: remove_index_concurrently,
}
