"""Renamed fields get a second column, kept in sync until no old code is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations import (
    AddConstraint,
    AddIndex,
    RemoveConstraint,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.models import NOT_PROVIDED

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations import (
    AddSyncedColumns,
    BackfillSyncedColumns,
    Contract,
    CopyConstraints,
    CopyIndexes,
    DropSyncedColumns,
    Expand,
)
from django_safemigrations.rewrites.chain import Chain, Plain
from django_safemigrations.rewrites.models import column_of, is_generated
from django_safemigrations.rewrites.references import same_but_renamed

ADDED = (AddIndex, AddConstraint)
REMOVED = (RemoveIndex, RemoveConstraint)


def changes_column(model: ModelState, operation: RenameField) -> bool:
    """Whether the rename changes anything in the database."""
    field = model.fields[operation.old_name]
    old = column_of(field, operation.old_name)
    return old is not None and old != column_of(field, operation.new_name)


def why_not(model: ModelState, operation: RenameField) -> str:
    """Say why a rename can't be staged; an empty text if it can."""
    field = model.fields[operation.old_name]
    if field.primary_key:
        return "it is the primary key"
    if is_generated(field):
        return "PostgreSQL computes it, and a second column would rewrite the table"
    if _in_exclusion_constraint(model, operation.old_name):
        return "it is in an exclusion constraint, which PostgreSQL can't build concurrently"
    return ""


def _in_exclusion_constraint(model: ModelState, name: str) -> bool:
    for constraint in model.options.get("constraints", []):
        if constraint.__class__.__name__ == "ExclusionConstraint":
            # Expressions nest; a mention of the name is enough to step back.
            mentioned = repr(constraint.deconstruct())
            if repr(name) in mentioned or f"F({name})" in mentioned:
                return True
    return False


def doubts(model: ModelState, operation: RenameField) -> str:
    """Say what a staged rename can't tell apart; an empty text where there is nothing."""
    field: Any = model.fields[operation.old_name]
    if not field.null or getattr(field, "db_default", NOT_PROVIDED) is NOT_PROVIDED:
        return ""
    return (
        f"{model.app_label}.{model.name}.{operation.new_name} is nullable and has a db_default "
        "(DSM304): until the contract runs, an explicit NULL that new code inserts becomes the "
        f"default, for it can't be told from a column left out. If that matters, "
        f"{db_column_line(model, operation)}."
    )


def rename_in_place(model: ModelState, operation: RenameField) -> Plain:
    """Leave a rename as Django wrote it, and say what breaks if its column changes."""
    name = f"{model.app_label}.{model.name}.{operation.old_name}"
    note = ""
    if changes_column(model, operation):
        note = (
            f"{name} is renamed in place (DSM302): {why_not(model, operation)}. Old code fails "
            f"from then on; {db_column_line(model, operation)} to avoid it."
        )
    return Plain(operation, note)


def db_column_line(model: ModelState, operation: RenameField) -> str:
    """Return what the developer has to add so that the rename needs no database work."""
    column = column_of(model.fields[operation.old_name], operation.old_name)
    return (
        f'add db_column="{column}" to {model.app_label}.{model.name}.{operation.new_name} in the '
        "model and run makemigrations again"
    )


def refuse_by_setting(model: ModelState, operation: RenameField) -> None:
    """Raise because RENAME_FIELD is "db_column" and the model does not say the column.

    Raises:
        UnsupportedChange: names the line to add.
    """
    raise UnsupportedChange(
        f'SAFE_MIGRATIONS["RENAME_FIELD"] is "db_column", so {operation.old_name} is not renamed in '
        f"the database. Keep its column: {db_column_line(model, operation)}. Nothing was written."
    )


def follow_renames(
    model: ModelState, operations: Sequence[Operation], renames: dict[str, str]
) -> tuple[list[Operation], list[Operation], dict[str, str]]:
    """Find indexes and constraints that are removed and added only because a field is renamed.

    Returns:
        The removing operations, the adding ones, and the names that change.
    """
    removed: list[Operation] = []
    added: list[Operation] = []
    names: dict[str, str] = {}
    for removing in operations:
        if type(removing) not in REMOVED or not _is_about(removing, model):
            continue
        old = _old_item(model, removing)
        for adding in operations:
            if type(adding) not in ADDED or not _is_about(adding, model) or adding in added:
                continue
            new = _new_item(adding)
            if old is not None and same_but_renamed(old, new, renames):
                removed.append(removing)
                added.append(adding)
                if old.name != new.name:
                    names[old.name] = new.name
                break
    return removed, added, names


def _is_about(operation: Any, model: ModelState) -> bool:
    return bool(operation.model_name.lower() == model.name_lower)


def _old_item(model: ModelState, operation: Any) -> Any:
    option = "indexes" if isinstance(operation, RemoveIndex) else "constraints"
    items = model.options.get(option, [])
    return next((item for item in items if item.name == operation.name), None)


def _new_item(operation: Any) -> Any:
    return operation.index if isinstance(operation, AddIndex) else operation.constraint


def rename_fields(
    app_label: str,
    renaming: Sequence[RenameField],
    removed: Sequence[Operation],
    added: Sequence[Operation],
    names: dict[str, str],
    note: str,
) -> Chain:
    """Stage the renames of one model's fields, with the indexes that follow them."""
    model = renaming[0].model_name
    renames = {operation.old_name: operation.new_name for operation in renaming}
    where: dict[str, Any] = {"model_name": model, "renames": renames}
    named = {**where, "names": names} if names else where
    listed = ", ".join(f"{old} to {new}" for old, new in renames.items())
    fields = "_and_".join(f"{old}_to_{new}" for old, new in renames.items())
    return Chain(
        title=f"rename {app_label}.{model}: {listed}",
        name=f"rename_{model}_{fields}".lower(),
        expand=(
            Expand(
                state_operations=[*removed, *renaming, *added],
                database_operations=[
                    AddSyncedColumns(**named),
                    BackfillSyncedColumns(**where),
                    CopyIndexes(**where),
                    CopyConstraints(**where),
                ],
            ),
        ),
        contract=(Contract(database_operations=[DropSyncedColumns(**named)]),),
        why="RENAME COLUMN would break old code at once, so a second column is kept in sync",
        after="when no code uses the old column any more, it goes, and copies take final names",
        note=note,
    )
