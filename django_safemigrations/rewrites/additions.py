"""New columns."""

from __future__ import annotations

from django_safemigrations.rewrites.context import Rule

RULES: dict[type, Rule] = {}
