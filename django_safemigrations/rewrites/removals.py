"""Fields and models that go: first from the code, then from the database."""

from __future__ import annotations

from django_safemigrations.rewrites.context import Rule

RULES: dict[type, Rule] = {}
