"""Entries of Django's DATABASES for copies: production's, but for the way to connect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.rehearsal.copies.sessions import Parameters

# What Django and psycopg make of a connection, wherever it leads. A pool would keep sessions of
# the copy open, and roles to assume are production's.
KEPT = (
    "isolation_level",
    "server_side_binding",
    "prepare_threshold",
    "cursor_factory",
    "client_encoding",
    "options",
)
PLACES = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def entry_for(connection: BaseDatabaseWrapper, parameters: Parameters) -> dict[str, Any]:
    """Return an entry that leads to a copy.

    Args:
        connection: to the database that was copied.
        parameters: libpq's, with the copy's name.
    """
    original: Mapping[str, Any] = connection.settings_dict
    options = {key: given for key, given in original.get("OPTIONS", {}).items() if key in KEPT}
    options |= {key: given for key, given in parameters.items() if key not in (*PLACES, "dbname")}
    return {
        "ENGINE": original["ENGINE"],
        "NAME": parameters.get("dbname", ""),
        **{entry: str(parameters.get(key, "")) for key, entry in PLACES.items()},
        "CONN_MAX_AGE": 0,
        "OPTIONS": options,
    }
