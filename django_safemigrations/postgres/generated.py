"""What of a generated column no ALTER TABLE of Django's can change."""

from __future__ import annotations

from typing import Any


def computed_by(field: Any) -> object:
    """Return how a column is computed, in a form that can be compared; None if it isn't.

    Where this differs, `BaseDatabaseSchemaEditor.alter_field` raises ValueError.
    """
    return (field.expression, field.db_persist) if getattr(field, "generated", False) else None
