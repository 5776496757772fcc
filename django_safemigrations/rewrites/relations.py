"""Foreign keys that point elsewhere or get another constraint, and a column's own default."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField

from django_safemigrations.phases import Phase
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context


def is_about(old: Any, new: Any) -> bool:
    """Whether both fields are foreign keys."""
    return bool(old.remote_field and new.remote_field)


def changes_kind(old: Any, new: Any) -> bool:
    """Whether a foreign key becomes a one-to-one, or the other way round."""
    return is_about(old, new) and bool(old.one_to_one) != bool(new.one_to_one)


def phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed relation changes."""
    return Phase.EXPAND


def change_relation(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that changes where a foreign key points, or how."""
    return [Plain(operation)]


def default_phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed ``db_default`` changes."""
    return Phase.EXPAND


def change_default(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but change ``db_default``."""
    return [Plain(operation)]
