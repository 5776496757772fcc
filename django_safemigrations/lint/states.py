"""Brings a ProjectState behind an operation, and leaves the operations of the files as they are."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField, RenameField, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED


def move(operation: Operation, app_label: str, state: ProjectState) -> None:
    """Apply an operation to a state.

    Django's ``ProjectState.rename_field`` changes fields that refer to the renamed one in place,
    and a state's fields are the very objects that the operations hold: whoever runs the
    migrations afterwards would find another ``to_field`` in them. So these are copied first.
    """
    runs_as = type(operation).state_forwards
    if runs_as in (SeparateDatabaseAndState.state_forwards, RunSQL.state_forwards):
        for nested in getattr(operation, "state_operations", ()):
            move(nested, app_label, state)
        return
    if runs_as is AlterField.state_forwards and "apps" not in vars(state):
        _alter_field(operation, app_label, state)
        return
    if isinstance(operation, RenameField):
        _detach(state, operation.old_name)
    operation.state_forwards(app_label, state)


def _alter_field(operation: Any, app_label: str, state: ProjectState) -> None:
    """Do as `ProjectState.alter_field`, but for what it looks up for states that are rendered.

    Django walks the fields of all models to find those that refer to this one.
    """
    fields = state.models[app_label, operation.model_name_lower].fields
    if operation.name not in fields or state._relations is not None:  # type: ignore[attr-defined]
        operation.state_forwards(app_label, state)
        return
    field = operation.field
    if not operation.preserve_default:
        field = field.clone()
        field.default = NOT_PROVIDED
    fields[operation.name] = field


def _detach(state: ProjectState, name: str) -> None:
    for model in state.models.values():
        for key, field in model.fields.items():
            # Only relations and composite keys name other fields.
            named: Any = field
            if named.remote_field is None and not hasattr(named, "field_names"):
                continue
            if name in _named_fields(field):
                model.fields[key] = field.clone()


def _named_fields(field: Any) -> list[str | None]:
    return [
        *(getattr(field, "to_fields", None) or ()),
        *(getattr(field, "from_fields", None) or ()),
        *(getattr(field, "field_names", None) or ()),
        getattr(field.remote_field, "field_name", None),
    ]
