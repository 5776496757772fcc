"""Rules for whole models: created, deleted, renamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations
from django.db.migrations.state import ModelState

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.later import sets_default
from django_safemigrations.lint.tables import (
    foreign_keys_to,
    many_to_many_to,
    options_are_migrated,
    table_name,
)


def create_model(operation: operations.CreateModel, context: Context) -> Iterator[Observation]:
    """Nobody uses a new table yet; remember that it is new."""
    if options_are_migrated(context.app_label, operation.name, operation.options):
        context.created.add((context.app_label, operation.name_lower))
        if context.migration.replaces:
            context.history.squashed.add((context.app_label, operation.name_lower))
    return
    yield


def delete_model(operation: operations.DeleteModel, context: Context) -> Iterator[Observation]:
    """Old code still uses the table."""
    model = context.used_model(operation.name)
    context.created.discard((context.app_label, operation.name_lower))
    if model is None:
        return
    table = table_name(model)
    yield Observation(
        "DSM504",
        f"DROP TABLE {table}: old code that still reads, joins or cascades into it fails at once.",
        "Let makemigrations write it in stages, or write Expand(state_operations=[<this operation>], "
        f'database_operations=[RelaxTable(model_name="{model.name}")]), and DropTable in a Contract.',
    )


def rename_model(operation: operations.RenameModel, context: Context) -> Iterator[Observation]:
    """The table gets a new name, and so do its relations' tables and columns."""
    old_key = (context.app_label, operation.old_name_lower)
    new_key = (context.app_label, operation.new_name_lower)
    context.history.rename_model(*old_key, operation.new_name_lower)
    if old_key in context.created:
        context.created.discard(old_key)
        context.created.add(new_key)
        return
    model = context.used_model(operation.old_name)
    if model is None:
        return
    heirs = sorted(
        f"{heir.app_label}.{heir.name}"
        for heir in context.state.models.values()
        if not heir.options.get("proxy")
        and f"{model.app_label}.{model.name_lower}"
        in {base.lower() for base in heir.bases if isinstance(base, str)}
    )
    if heirs:
        yield Observation(
            "DSM538",
            f"{model.app_label}.{model.name} is the parent of {', '.join(heirs)}: Django can't "
            "build what inherits from a renamed table, and migrate fails.",
            "Keep the name, or replace the inheritance by a OneToOneField in an earlier release.",
        )
        return
    renamed = ModelState(context.app_label, operation.new_name, [], _table_options(model))
    old, new = table_name(model), table_name(renamed)
    relations = many_to_many_to(context.state, model)
    if old != new:
        message = f"Renaming {old} to {new} makes every statement of old code on it fail."
        keys = foreign_keys_to(context.state, model)
        if keys:
            message += (
                f" {_listed(keys)}: the foreign keys are dropped and added again, with every row "
                "validated while both tables are locked (ACCESS EXCLUSIVE)."
            )
        yield Observation("DSM505", message, _keep_table(operation.new_name, old))
    elif relations and operation.old_name_lower != operation.new_name_lower:
        yield Observation(
            "DSM505",
            f"The table {old} stays, but the many-to-many tables of {_listed(relations)} get their "
            f"column {operation.old_name_lower}_id renamed: old code on them fails.",
            "Give these relations a `through` model whose columns have a db_column, or rename "
            "while nobody uses them.",
        )


def _table_options(model: ModelState) -> dict[str, Any]:
    explicit = model.options.get("db_table")
    return {"db_table": explicit} if explicit else {}


def _listed(fields: list[tuple[ModelState, str]]) -> str:
    return ", ".join(sorted(f"{model.app_label}.{model.name}.{name}" for model, name in fields))


def _keep_table(name: str, table: str) -> str:
    return (
        f'Keep the table: `db_table = "{table}"` in the Meta of {name}, and as one state-only step '
        "SeparateDatabaseAndState(state_operations=[<this operation>, "
        f'migrations.AlterModelTable("{name}", "{table}")]).'
    )


def alter_model_table(
    operation: operations.AlterModelTable, context: Context
) -> Iterator[Observation]:
    """The table gets a new name."""
    model = context.used_model(operation.name)
    if model is None:
        return
    options = {"db_table": operation.table} if operation.table else {}
    old = table_name(model)
    new = table_name(ModelState(context.app_label, model.name, [], options))
    if old != new:
        yield Observation(
            "DSM505",
            f"Renaming {old} to {new} makes every statement of old code on it fail.",
            f'Keep `db_table = "{old}"`, or put an updatable view under the old name in the same '
            "transaction.",
        )


def alter_order_with_respect_to(
    operation: operations.AlterOrderWithRespectTo, context: Context
) -> Iterator[Observation]:
    """Adds or removes the NOT NULL column _order."""
    model = context.used_model(operation.name)
    if model is None:
        return
    before = model.options.get("order_with_respect_to")
    after = operation.order_with_respect_to
    table = table_name(model)
    if after and not before and not sets_default(operation, table, "_order", context):
        yield Observation(
            "DSM501",
            f"The new column {table}._order is NOT NULL and Django drops its default: every INSERT "
            "of old code fails.",
            f"Set a default that stays, in the same file: RunSQL('ALTER TABLE {table} "
            "ALTER COLUMN _order SET DEFAULT 0').",
        )
    elif before and not after:
        yield Observation(
            "DSM503",
            f"{table}._order is dropped while old code still selects and inserts it.",
            "Let makemigrations write it in stages, or write Expand(state_operations=[<this "
            f'operation>], database_operations=[RelaxColumn(model_name="{model.name_lower}", '
            'name="_order")]), and DropColumn in a Contract.',
        )


RULES: dict[type, Rule] = {
    operations.CreateModel: create_model,
    operations.DeleteModel: delete_model,
    operations.RenameModel: rename_model,
    operations.AlterModelTable: alter_model_table,
    operations.AlterOrderWithRespectTo: alter_order_with_respect_to,
}
