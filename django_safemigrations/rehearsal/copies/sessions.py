"""Plain psycopg sessions beside Django's connections, which are left alone while a copy is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from django_safemigrations.exceptions import CopyRefused
from django_safemigrations.postgres.programs import connection_parameters, without_service
from django_safemigrations.rehearsal_settings import ENVIRONMENT

APPLICATION = "django_safemigrations copy"
MAINTENANCE = "postgres"

Session = psycopg.Connection[tuple[Any, ...]]
Parameters = Mapping[str, Any]


def connect(parameters: Parameters, dbname: str | None = None, **more: Any) -> Session:
    """Open a session in autocommit.

    Args:
        parameters: libpq's.
        dbname: the database, if not theirs.
        more: for psycopg.connect().
    """
    given = {**parameters, "application_name": APPLICATION, "autocommit": True, **more}
    if dbname is not None:
        given["dbname"] = dbname
    return psycopg.connect(**given)


def value(session: Session, query: Any, arguments: Any = None) -> Any:
    """Return the first column of a query's only row; None without one."""
    row = session.execute(query, arguments).fetchone()
    return None if row is None else row[0]


def column(session: Session, query: Any, arguments: Any = None) -> list[Any]:
    """Return the first column of a query's rows."""
    return [row[0] for row in session.execute(query, arguments)]


def parameters_of(address: str, setting: str) -> dict[str, Any]:
    """Return libpq's parameters for an alias of DATABASES, or for "env:NAME".

    Args:
        address: the setting's value.
        setting: its name, for messages.

    Raises:
        CopyRefused: there is no such alias or variable, or it can't be read.
        psycopg.OperationalError: it names a service, and can't be connected to.
    """
    where = f"SAFE_MIGRATIONS['REHEARSAL']['{setting}']"
    if not address.startswith(ENVIRONMENT):
        try:
            return connection_parameters(connections[address])
        except ConnectionDoesNotExist:
            raise CopyRefused(
                f"{where} is {address!r}, but DATABASES has no such alias. Add it there, or set "
                f'{where} to "env:NAME" for an environment variable with a connection string.'
            ) from None
    name = address.removeprefix(ENVIRONMENT)
    try:
        text = os.environ[name]
        given = {key: text for key, text in conninfo_to_dict(text).items() if text is not None}
    except KeyError:
        raise CopyRefused(
            f"{where} is {address!r}, but there is no environment variable {name}. Set it to a "
            "connection string: postgresql://user:password@host/database"
        ) from None
    except psycopg.ProgrammingError:
        # What libpq says about it would quote it, and it may hold a password.
        raise CopyRefused(
            f"The environment variable {name}, named by {where}, holds no connection string that "
            "libpq can read: postgresql://user:password@host/database"
        ) from None
    return without_service(given)


def place_of(parameters: Parameters) -> str:
    """Return where parameters lead to, for people; never a password."""
    host = parameters.get("host") or parameters.get("hostaddr")
    if not host:
        service = parameters.get("service")
        return f"service {service}" if service else "the local server"
    port = parameters.get("port")
    return f"{host}:{port}" if port else str(host)


def identifier(*names: str) -> sql.Identifier:
    """Return a quoted identifier."""
    return sql.Identifier(*names)
