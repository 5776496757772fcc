"""What becomes of a ManyToManyField that is altered: its table's name, its target, its through model."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField
from django.db.migrations.utils import resolve_relation

from django_safemigrations.rewrites import tables
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.table_names import many_to_many_tables, table_of


def alter_many_to_many(operation: AlterField, context: Context) -> list[Step]:
    """Stage a table's new name; say what Django refuses, or does to rows that nobody expects."""
    model = context.model(operation.model_name)
    old, new = model.fields[operation.name], operation.field
    title = f"{context.app_label}.{operation.model_name}.{operation.name}"
    if not (old.many_to_many and new.many_to_many):
        return [Plain(operation)]
    through, other = (_through(field) for field in (old, new))
    if bool(through) != bool(other):
        return [Plain(operation, _refused(operation, context, title))]
    if through:
        return [Plain(operation, _other_table(operation, context, title))]
    before, after = (_target(context, operation, field) for field in (old, new))
    if before != after:
        note = (
            f"{title} points to {'.'.join(after)} instead of {'.'.join(before)} (DSM509): a column "
            "of its table is renamed and its foreign key validated again under ACCESS EXCLUSIVE, "
            "old code on it fails, and the rows refer to another table. Add a second "
            "ManyToManyField instead, copy the rows in batches, and remove this one in a later "
            "release."
        )
        return [Plain(operation, note)]
    return tables.rename_table_of_field(operation, context)


def _through(field: Any) -> Any:
    return getattr(field.remote_field, "through", None)


def _target(context: Context, operation: AlterField, field: Any) -> tuple[str, str]:
    key: tuple[str, str] = resolve_relation(
        field.remote_field.model, context.app_label, operation.model_name_lower
    )
    return key


def _refused(operation: AlterField, context: Context, title: str) -> str:
    after = context.state.clone()
    operation.state_forwards(context.app_label, after)
    place = ((context.app_label, operation.model_name_lower), operation.name)
    names = [
        t.table for s in (context.state, after) for t in many_to_many_tables(s) if t.field == place
    ]
    return (
        f"{title}: Django can't add a through model to a ManyToManyField, or take it away; migrate "
        "ends with ValueError (DSM545). If the through model is the table that is there, give it "
        f'db_table = "{names[0]}" and that table\'s columns, and let the state alone change: put '
        "its CreateModel and this AlterField into the state_operations of one "
        "SeparateDatabaseAndState. Otherwise add a second ManyToManyField and copy the rows."
    )


def _other_table(operation: AlterField, context: Context, title: str) -> str:
    after = context.state.clone()
    operation.state_forwards(context.app_label, after)
    names = []
    for state in (context.state, after):
        field = state.models[context.app_label, operation.model_name_lower].fields[operation.name]
        key = resolve_relation(_through(field), context.app_label, operation.model_name_lower)
        names.append(table_of(state.models[key]) if key in state.models else "")
    if names[0] == names[1]:
        return ""
    return (
        f"{title} is read from {names[1]} from now on, and the rows of {names[0]} stay behind "
        "(DSM546): new code does not see them, nor what old code goes on writing there. Add a "
        "second ManyToManyField instead, copy the rows in batches, and remove this one in a later "
        "release."
    )
