"""Columns that change their type, collation or name."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField

from django_safemigrations.phases import Phase
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context


def phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed type changes."""
    return Phase.EXPAND


def change_type(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that changes a column's type, collation, name, comment or checks."""
    return [Plain(operation)]
