"""Scratch databases: made from a template in a moment, used as `default`, dropped afterwards."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

PROBE_ALIAS = "kit_probe"
"""Alias of the second session; not in settings.DATABASES, so no command ever sees it."""

_numbers = itertools.count(1)
_admin: dict[int, psycopg.Connection[Any]] = {}


def connection_parameters(name: str | None = None) -> dict[str, Any]:
    """Return psycopg's parameters for the server that `default` points to."""
    parameters: dict[str, Any] = connections[DEFAULT_DB_ALIAS].get_connection_params()
    for key in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(key, None)
    if name is not None:
        parameters["dbname"] = name
    return parameters


def connect(name: str | None = None, **more: Any) -> psycopg.Connection[Any]:
    """Open a plain psycopg session in autocommit; `name` is the database, else `default`'s."""
    return psycopg.connect(**{**connection_parameters(name), "autocommit": True, **more})


def admin() -> psycopg.Connection[Any]:
    """Return this process's session on the maintenance database."""
    pid = os.getpid()
    if pid not in _admin or _admin[pid].closed:
        _admin[pid] = connect("postgres")
    return _admin[pid]


def create_database(template: str | None = None, prefix: str = "kit") -> str:
    """Create a database, as a copy of `template` if given, and return its name."""
    name = f"{prefix}_{os.getpid()}_{next(_numbers)}"
    admin().execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
    )
    return name


def drop_database(name: str) -> None:
    """Drop a database together with the sessions that are left in it."""
    admin().execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def sessions_in(name: str) -> list[str]:
    """Return the state and query of every client session in a database."""
    rows = admin().execute(
        "SELECT pid || ' ' || coalesce(state, '') || ' ' || query FROM pg_stat_activity"
        " WHERE datname = %s AND backend_type = 'client backend'",
        [name],
    )
    return [row[0] for row in rows]


@contextmanager
def use_database(name: str) -> Iterator[BaseDatabaseWrapper]:
    """Make `default` (and the probe alias) point to another database.

    Both aliases get new connection objects, so wrappers, transactions and session settings
    of one test never reach the next one.
    """
    settings = connections.settings[DEFAULT_DB_ALIAS]
    earlier_name, earlier = settings["NAME"], connections[DEFAULT_DB_ALIAS]
    earlier_probe = getattr(connections._connections, PROBE_ALIAS, None)  # type: ignore[attr-defined]
    settings["NAME"] = name
    connection = connections.create_connection(DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS] = connection
    probing = connection.copy(PROBE_ALIAS)
    # A probe runs in the migrator's own thread: a lock it waits for would never be released.
    probing.settings_dict["OPTIONS"] = {
        **probing.settings_dict["OPTIONS"],
        "options": "-c lock_timeout=5s",
    }
    connections[PROBE_ALIAS] = probing
    try:
        yield connection
    finally:
        for alias in (DEFAULT_DB_ALIAS, PROBE_ALIAS):
            _close(connections[alias])
        del connections[PROBE_ALIAS]
        if earlier_probe is not None:
            connections[PROBE_ALIAS] = earlier_probe
        settings["NAME"] = earlier_name
        connections[DEFAULT_DB_ALIAS] = earlier


@contextmanager
def scratch_database(template: str | None = None) -> Iterator[BaseDatabaseWrapper]:
    """Use a new database as `default` inside the block; it is dropped at the end."""
    name = create_database(template)
    try:
        with use_database(name) as connection:
            yield connection
    finally:
        drop_database(name)


def forget_inherited_connections() -> None:
    """In a forked child: replace the parent's connection objects without touching its sockets.

    The old objects are kept alive on purpose: closing one would send Terminate to the
    parent's server session.
    """
    for alias in (DEFAULT_DB_ALIAS, PROBE_ALIAS):
        inherited = getattr(connections._connections, alias, None)  # type: ignore[attr-defined]
        if inherited is not None:
            _inherited.append(inherited)
            connections[alias] = inherited.copy()
    _inherited.extend(_admin.values())
    _admin.clear()


_inherited: list[Any] = []


def _close(connection: BaseDatabaseWrapper) -> None:
    # Not connection.close(): inside a broken atomic block that only marks it for later.
    if connection.connection is not None:
        connection.connection.close()
        connection.connection = None
