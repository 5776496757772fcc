"""Models and tables that are renamed."""

from __future__ import annotations

from django_safemigrations.rewrites.context import Rule

RULES: dict[type, Rule] = {}
