"""Which models a rewrite leaves alone, and what a state says of a field's column."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.postgres.offline import postgres


def has_own_table(model: ModelState) -> bool:
    """Whether Django creates a table for the model: it is managed, no proxy and not swapped."""
    options = model.options
    if options.get("proxy") or not options.get("managed", True):
        return False
    swappable = options.get("swappable")
    if swappable:
        chosen = getattr(settings, swappable, None)
        return chosen is None or chosen.lower() == f"{model.app_label}.{model.name_lower}"
    return True


def find_model(state: ProjectState, app_label: str, name: str) -> ModelState | None:
    """Return a model's state, or None."""
    return state.models.get((app_label, name.lower()))


def column_of(field: Any, name: str) -> str | None:
    """Return the column that a field has under a name; None if it has no column."""
    clone = field.clone()
    clone.set_attributes_from_name(name)
    column = clone.get_attname_column()[1]
    return None if field.many_to_many or column is None else str(column)


def is_generated(field: Any) -> bool:
    """Whether PostgreSQL computes the column."""
    return bool(getattr(field, "generated", False))


def has_type_check(field: Any, name: str) -> bool:
    """Whether the field's type brings a CHECK of its own, as PositiveIntegerField's does."""
    clone = field.clone()
    clone.set_attributes_from_name(name)
    return clone.db_check(postgres()) is not None
