"""The rule for a key that got another type while the columns that refer to it did not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations import AlterField, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from django_safemigrations.lint.columns import column
from django_safemigrations.lint.context import Context, flattened, our_name
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import foreign_keys_to, table_name
from django_safemigrations.postgres.sqlwords import read_statements


def judge_container(operation: Operation, context: Context) -> Iterator[Observation]:
    """Compare what a container does to the state of a key with what it runs on the database.

    Django's own AlterField changes the columns of all foreign keys with their target. When
    only the state is altered, whoever wrote the SQL has to think of them.
    """
    altered = getattr(operation, "state_operations", None)
    if not altered:
        return
    runs = list(flattened([operation]))
    if any(our_name(inside) is not None for inside in runs):
        return
    for inside in altered:
        if not isinstance(inside, AlterField) or _runs_too(inside, runs):
            continue
        model = context.find_model(inside.model_name)
        old: Any = model.fields.get(inside.name) if model is not None else None
        if model is None or old is None or not old.unique:
            continue
        before = column(context.state, model, inside.name, old)
        after = column(context.state, model, inside.name, inside.field)
        if before is None or after is None or before.type in (after.type, None):
            continue
        left = [
            f"{table_name(other)}.{found.name}"
            for other, name in foreign_keys_to(context.state, model, inside.name)
            if (found := column(context.state, other, name, other.fields[name])) is not None
            and not _is_altered(other, found.name, context)
        ]
        if left:
            yield Observation(
                "DSM409",
                f"{table_name(model)}.{after.name} becomes {after.type} in the state alone, and no "
                f"SQL changes {', '.join(sorted(left))}: they refer to it and stay {before.type}, "
                "so values that only fit the new type can't be stored there, and comparing the two "
                "may not use an index.",
                "Leave the change to makemigrations, which widens the key and all columns that "
                "refer to it in stages, or change those columns in the same way.",
            )


def _runs_too(altered: AlterField, runs: Iterable[Operation]) -> bool:
    return any(
        isinstance(other, AlterField)
        and (other.model_name_lower, other.name_lower)
        == (altered.model_name_lower, altered.name_lower)
        for other in runs
    )


def _is_altered(model: ModelState, name: str, context: Context) -> bool:
    """Return whether any SQL of the project names the column and its table in one statement."""
    wanted = {table_name(model).lower(), name.lower()}
    for migration in context.files.values():
        for operation in flattened(migration.operations):
            if not isinstance(operation, RunSQL):
                continue
            for text in _texts(operation.sql):
                for statement in read_statements(text):
                    words = {word.name.lower() for word in statement.words if word.is_identifier}
                    if wanted <= words:
                        return True
    return False


def _texts(sql: Any) -> Iterator[str]:
    for part in sql if isinstance(sql, list | tuple) else [sql]:
        yield str(part[0] if isinstance(part, list | tuple) and part else part)
