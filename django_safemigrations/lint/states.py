"""Brings a ProjectState behind an operation, and leaves the operations of the files as they are."""

from __future__ import annotations

from typing import Any

from django.db.migrations import RenameField, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


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
    if isinstance(operation, RenameField):
        _detach(state, operation.old_name)
    operation.state_forwards(app_label, state)


def _detach(state: ProjectState, name: str) -> None:
    for model in state.models.values():
        for key, field in model.fields.items():
            if name in _named_fields(field):
                model.fields[key] = field.clone()


def _named_fields(field: Any) -> list[str | None]:
    return [
        *(getattr(field, "to_fields", None) or ()),
        *(getattr(field, "from_fields", None) or ()),
        *(getattr(field, "field_names", None) or ()),
        getattr(field.remote_field, "field_name", None),
    ]
