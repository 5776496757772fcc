"""Rules for this package's own operations, in case their files were edited or taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_safemigrations.lint.context import Context, Key, flattened, our_name
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.indexes import NOT_ATOMIC, in_transaction
from django_safemigrations.lint.tables import table_name
from django_safemigrations.phases import Phase


def judge_stage(stage: Any, phase: Phase | None, context: Context) -> Iterator[Observation]:
    """Judge one stage inside an Expand or a Contract."""
    name = our_name(stage) or ""
    for half in _halves(name, stage, context):
        context.history.begun[half] = context.key
    in_transaction_here = context.is_atomic() and not context.migration.replaces
    if stage.concurrent and in_transaction_here:
        yield in_transaction(stage.concurrent)
    if stage.batched and in_transaction_here:
        yield Observation(
            "DSM402",
            f"{name} runs its batches in the transaction of this migration: rows stay locked until "
            "its end, and so does the table after a statement that needs ACCESS EXCLUSIVE.",
            NOT_ATOMIC,
        )
    if name == "SetNotNull" and phase is not Phase.CONTRACT:
        yield from _old_writers(stage, context)
    if name == "AddSyncedColumns":
        yield from _ambiguous_null(stage, context)
    if stage.finishes:
        yield from _missing_half(name, stage, context)
        for half in _halves(stage.finishes, stage, context):
            context.history.begun.pop(half, None)


def _halves(name: str, stage: Any, context: Context) -> Iterator[tuple[str, ...]]:
    """Yield what a stage sets up or undoes: one key a field."""
    start = (name, context.app_label, stage.model_name.lower())
    if hasattr(stage, "renames"):
        for old, new in stage.renames.items():
            yield (*start, old.lower(), new.lower())
    elif hasattr(stage, "name"):
        yield (*start, stage.name.lower())
    else:
        yield start


def _old_writers(stage: Any, context: Context) -> Iterator[Observation]:
    model = context.used_model(stage.model_name)
    if model is None:
        return
    if all(half in context.history.begun for half in _halves("FillNullsOnWrite", stage, context)):
        return
    names = f'model_name="{model.name_lower}", name="{stage.name}"'
    yield Observation(
        "DSM202",
        f"{table_name(model)}.{stage.name} becomes NOT NULL while old code runs and nothing fills "
        "in its NULLs: old code's writes of NULL fail.",
        f"Put FillNullsOnWrite({names}, value=...) and BackfillNulls({names}, value=...) before "
        "it, or move SetNotNull into a Contract.",
    )


def _ambiguous_null(stage: Any, context: Context) -> Iterator[Observation]:
    model = context.used_model(stage.model_name)
    if model is None:
        return
    for old, new in stage.renames.items():
        field: Any = model.fields.get(old)
        if field is None or not field.null or not field.has_db_default():
            continue
        yield Observation(
            "DSM304",
            f"{table_name(model)}.{old} is nullable and has a database default: while it is kept "
            f"equal to {new}, an INSERT of an explicit NULL can end as the default.",
            "If the application writes NULL here on purpose, drop the db_default in an earlier "
            f'release, or rename in Python only with db_column="{old}".',
        )


def _missing_half(name: str, stage: Any, context: Context) -> Iterator[Observation]:
    if (context.app_label, stage.model_name.lower()) in context.history.squashed:
        # The chain's first half may have been folded into the squash that creates the table.
        return
    first = stage.finishes
    ancestors = context.ancestors()
    for half in _halves(first, stage, context):
        key = context.history.begun.get(half)
        if key == context.key or key in ancestors:
            continue
        key = key or _file_with(half, context)
        if key is None:
            yield Observation(
                "DSM404",
                f"{name} undoes what no migration has set up: {first} for the same names is "
                "missing.",
                f"Restore the migration that holds {first}, with the dependency on it.",
            )
        else:
            yield Observation(
                "DSM404",
                f"{name} may run before {first}: the migration doesn't depend on its file.",
                f"dependencies = [{key!r}]",
            )
        return


def _file_with(half: tuple[str, ...], context: Context) -> Key | None:
    """Return the migration that sets a pair up, wherever it stands in the graph."""
    for key, migration in context.files.items():
        if key[0] != context.app_label:
            continue
        for operation in flattened(migration.operations):
            if our_name(operation) == half[0] and half in _halves(half[0], operation, context):
                return key
    return None
