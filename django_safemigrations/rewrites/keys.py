"""Primary keys that change their type, with everything that refers to them."""

from __future__ import annotations

from django.db.migrations import AlterField

from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.context import Context


def alter_key(operation: AlterField, context: Context) -> list[Step]:
    """Stage an AlterField of a field that is the primary key, or becomes it."""
    return [Plain(operation)]
