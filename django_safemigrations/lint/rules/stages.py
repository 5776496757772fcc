"""Rules for this package's own operations, in case their files were edited or taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import AddField
from django.db.migrations.utils import resolve_relation
from django.db.models import NOT_PROVIDED

from django_safemigrations.lint.columns import column
from django_safemigrations.lint.context import Context, Key, flattened, our_name
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules import upserts
from django_safemigrations.lint.rules.indexes import NOT_ATOMIC, in_transaction
from django_safemigrations.lint.tables import is_foreign_key, table_name
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.type_changes import Serves, serves_both
from django_safemigrations.postgres.volatility import volatile_function

CONTENT_TYPES = ("contenttypes", "contenttype")
FOR_OLD_CODE = {
    "DropColumn": "still reads and writes",
    "DropTable": "still reads and writes",
    "DropSyncedColumns": "still reads and writes the old columns of",
    "DropReplacedColumn": "still relies on the two columns being kept equal of",
    "DropKeyColumns": "still relies on the two keys being kept equal of",
    "DropOldNameView": "still uses the old name of",
    "StopFillingNulls": "still writes NULL to",
    "MergeContentTypes": "still looks up the old content type of",
}
"""Stages that end what is there for old code alone, and what old code does with it."""


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
    if name in FOR_OLD_CODE and phase is not Phase.CONTRACT:
        yield _dropped_early(name, stage)
    if name == "AddColumn":
        yield from _new_column(stage, context)
    if name == "AddSyncedColumns":
        yield from _ambiguous_null(stage, context)
    if name == "RenameContentType":
        yield from _generic_relations(stage, context)
    if name == "AddShadowColumn":
        yield from _no_column_for_both(stage, context)
    yield from upserts.judge_stage(name, stage, phase, context)
    if stage.finishes:
        yield from _missing_half(name, stage, context)
        # Several tables of ManyToManyFields may have columns that are renamed alike.
        if not getattr(stage, "table", ""):
            for half in _halves(stage.finishes, stage, context):
                context.history.begun.pop(half, None)


def _halves(name: str, stage: Any, context: Context) -> Iterator[tuple[str, ...]]:
    """Yield what a stage sets up or undoes: one key a field."""
    start = (name, context.app_label, stage.model_name.lower())
    if hasattr(stage, "old_table"):
        yield (*start, stage.old_table, stage.new_table)
    elif hasattr(stage, "renames"):
        for old, new in stage.renames.items():
            yield (*start, old.lower(), new.lower())
    elif hasattr(stage, "name"):
        yield (*start, stage.name.lower())
    else:
        yield start


def _dropped_early(name: str, stage: Any) -> Observation:
    told = ".".join(filter(None, (stage.model_name, getattr(stage, "name", ""))))
    return Observation(
        "DSM520",
        f"{name} runs while old code {FOR_OLD_CODE[name]} {told}: its statements fail, or their "
        "values are lost.",
        f"Move {name} into a Contract, in a migration of its own.",
    )


def _old_writers(stage: Any, context: Context) -> Iterator[Observation]:
    model = context.used_model(stage.model_name)
    if model is None:
        return
    if all(half in context.history.begun for half in _halves("FillNullsOnWrite", stage, context)):
        return
    if _is_added_with_default(stage, context):
        # Old code does not name the column, so it writes no NULL there.
        return
    names = f'model_name="{model.name_lower}", name="{stage.name}"'
    yield Observation(
        "DSM202",
        f"{table_name(model)}.{stage.name} becomes NOT NULL while old code runs and nothing fills "
        "in its NULLs: old code's writes of NULL fail.",
        f"Put FillNullsOnWrite({names}, value=...) and BackfillNulls({names}, value=...) before "
        "it, or move SetNotNull into a Contract.",
    )


def _is_added_with_default(stage: Any, context: Context) -> bool:
    """Return whether the file adds the column, with a default for the INSERTs of old code."""
    wanted = list(_halves("AddColumn", stage, context))
    for operation in flattened(context.migration.operations):
        if our_name(operation) != "AddColumn":
            continue
        if list(_halves("AddColumn", operation, context)) == wanted:
            added: Any = operation
            field = _field_added(stage, context)
            return added.value is not NOT_PROVIDED or bool(field and field.has_db_default())
    return False


def _field_added(stage: Any, context: Context) -> Any:
    """Return the field that a container of this file adds to the state, None if there is none."""
    for container in context.migration.operations:
        for operation in getattr(container, "state_operations", ()):
            if (
                isinstance(operation, AddField)
                and operation.model_name_lower == stage.model_name.lower()
                and operation.name.lower() == stage.name.lower()
            ):
                return operation.field
    return None


def _new_column(stage: Any, context: Context) -> Iterator[Observation]:
    # Whoever has such a stage in a file has imported the operations; most runs never do.
    from django_safemigrations.operations.values import is_volatile_value

    model, field = context.used_model(stage.model_name), _field_added(stage, context)
    if model is None or field is None or stage.empty:
        return
    column = f"{table_name(model)}.{stage.name}"
    given = stage.value is not NOT_PROVIDED
    volatile = (
        is_volatile_value(stage.value)
        if given
        else field.has_db_default() and volatile_function(field.db_default) is not None
    )
    if volatile:
        yield Observation(
            "DSM510",
            f"{column} is added with a default that differs by row: the table and all its indexes "
            "are written anew under ACCESS EXCLUSIVE; every statement on it waits, reads included.",
            "AddColumn(..., empty=True), then BackfillNulls and SetNotNull.",
        )
    if not (given or field.null or field.has_db_default()):
        yield Observation(
            "DSM501",
            f"{column} is added NOT NULL without a default: every INSERT of old code, which does "
            "not know the column, fails.",
            "AddColumn(..., value=...), and DropColumnDefault with the same value in a Contract.",
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


def _no_column_for_both(stage: Any, context: Context) -> Iterator[Observation]:
    model = context.used_model(stage.model_name)
    field: Any = model.fields.get(stage.name) if model is not None else None
    if model is None or field is None or stage.columns:
        return
    found = column(context.state, model, stage.name, field)
    if found is None or found.type is None:
        return
    if serves_both(found.type, stage.db_type) is not Serves.NEITHER:
        return
    yield Observation(
        "DSM525",
        f"{table_name(model)}.{found.name} becomes {stage.db_type}: old code fails on a column of the "
        f"new type, and new code on one of the old ({found.type}).",
        "Give new code a column of its own: add db_column to the field in the model and run "
        "makemigrations again. Or stop old code before the contract runs, and start new code "
        "after it.",
    )


def _generic_relations(stage: Any, context: Context) -> Iterator[Observation]:
    """Yield a warning if a model may refer to rows of any model by their content type."""
    generic = sorted(
        f"{model.app_label}.{model.name}"
        for model in context.state.models.values()
        if model.app_label not in ("auth", "admin", "contenttypes")
        and any(
            is_foreign_key(field)
            and resolve_relation(field.remote_field.model, model.app_label, model.name_lower)
            == CONTENT_TYPES
            for field in model.fields.values()
        )
    )
    if generic:
        yield Observation(
            "DSM541",
            f"{', '.join(generic)} refer to rows by their content type: processes of old code that "
            f"start after this migration don't find the one of {stage.old_name}, and see no "
            "relations of before until new code is there.",
            "Don't restart old processes between expand and deploy, or keep the model's name.",
        )


def _missing_half(name: str, stage: Any, context: Context) -> Iterator[Observation]:
    if (context.app_label, stage.model_name.lower()) in context.history.squashed:
        # The chain's first half may have been folded into the squash that creates the table.
        return
    first = stage.finishes
    for half in _halves(first, stage, context):
        key = context.history.begun.get(half)
        if key is not None and (key == context.key or context.depends_on(key)):
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
