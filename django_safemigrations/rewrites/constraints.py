"""Constraints and unique_together: made without a scan under lock, and removed before new code runs."""

from __future__ import annotations

from django_safemigrations.rewrites.context import Rule

RULES: dict[type, Rule] = {}
