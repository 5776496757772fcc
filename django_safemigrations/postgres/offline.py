"""A PostgreSQL connection object that is never opened: what types Django gives to fields."""

from __future__ import annotations

from functools import cache

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@cache
def postgres() -> BaseDatabaseWrapper:
    """Return a PostgreSQL connection object to ask for types; it is never opened."""
    for alias in connections:
        if connections[alias].vendor == "postgresql":
            return connections[alias]
    from django.db.backends.postgresql.base import DatabaseWrapper

    default = {**connections.settings["default"], "ENGINE": "django.db.backends.postgresql"}
    return DatabaseWrapper(default, "default")
