"""null → NOT NULL: a trigger fills what old code leaves NULL, batches fill what is there."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField
from django.db.models import NOT_PROVIDED

from django_safemigrations.operations import (
    BackfillNulls,
    Contract,
    Expand,
    FillNullsOnWrite,
    SetNotNull,
    StopFillingNulls,
)
from django_safemigrations.operations.values import is_sql_value
from django_safemigrations.rewrites.chain import Chain

WHY = "SET NOT NULL would read the whole table while every query waits, and old code writes NULLs"


def has_database_default(field: Any) -> bool:
    """Whether the column has a default of its own."""
    return getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED


def can_expand(field: Any) -> bool:
    """Whether PostgreSQL itself can fill the NULLs, so that NOT NULL can come in expand."""
    if field.default is NOT_PROVIDED:
        return has_database_default(field)
    return is_sql_value(field.default)


def set_not_null(app_label: str, operation: AlterField) -> Chain:
    """Stage an AlterField that does nothing but make a field NOT NULL."""
    model, name, field = operation.model_name, operation.name, operation.field
    title = f"NOT NULL on {app_label}.{model}.{name}"
    fragment = f"not_null_{model.lower()}_{name.lower()}"
    where: dict[str, Any] = {"model_name": model, "name": name}
    if field.default is NOT_PROVIDED and not has_database_default(field):
        return Chain(
            title=title,
            name=fragment,
            contract=(
                Contract(state_operations=[operation], database_operations=[SetNotNull(**where)]),
            ),
            after="without a default nothing fills the NULLs that old code may write",
        )
    value = dict(where) if field.default is NOT_PROVIDED else {**where, "value": field.default}
    if can_expand(field):
        return Chain(
            title=title,
            name=fragment,
            expand=(
                Expand(
                    state_operations=[operation],
                    database_operations=[
                        FillNullsOnWrite(**value),
                        BackfillNulls(**value),
                        SetNotNull(**where),
                    ],
                ),
            ),
            contract=(Contract(database_operations=[StopFillingNulls(**value)]),),
            why=WHY,
            after="when no old code writes NULLs any more, the trigger that fills them goes",
        )
    # A callable that only Python has: no trigger can call it.
    return Chain(
        title=title,
        name=fragment,
        expand=(Expand(database_operations=[BackfillNulls(**value)]),),
        contract=(
            Contract(
                state_operations=[operation],
                database_operations=[BackfillNulls(**value), SetNotNull(**where)],
            ),
        ),
        why=f"{WHY}; the default is a Python function, so NULLs are filled in batches",
        after="old code may have written NULLs until it was gone; they are filled first",
    )
