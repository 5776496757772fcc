"""A default of Django's as SQL that PostgreSQL can evaluate for each row."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import NOT_PROVIDED
from django.utils import timezone
from psycopg import sql

# What each call gives in Python, PostgreSQL gives for each row; a default of Django's is
# evaluated once for all rows. CURRENT_DATE is in the session's TimeZone, which Django sets.
CALLABLES: dict[Callable[..., Any], str] = {
    timezone.now: "pg_catalog.statement_timestamp()",
    dt.datetime.now: "pg_catalog.statement_timestamp()",
    dt.datetime.today: "pg_catalog.statement_timestamp()",
    dt.date.today: "CURRENT_DATE",
    timezone.localdate: "CURRENT_DATE",
    uuid.uuid4: "pg_catalog.gen_random_uuid()",
    # Empty containers are made anew by each call, and are always the same.
    dict: "",
    list: "",
    str: "",
}

# These PostgreSQL evaluates for each row, so a column can't be added with one in an instant.
VOLATILE = frozenset({uuid.uuid4})


def is_volatile_value(value: Any) -> bool:
    """Whether PostgreSQL would make a value of its own for each row."""
    return callable(value) and is_sql_value(value) and value in VOLATILE


def is_sql_value(value: Any) -> bool:
    """Whether a default can be written as SQL: a constant, or a callable that PostgreSQL has too."""
    if not callable(value):
        return True
    try:
        return value in CALLABLES
    except TypeError:
        return False


def sql_value(connection: BaseDatabaseWrapper, field: Any, value: Any) -> str | None:
    """Return the SQL of a value for a column, or None for a callable that only Python knows.

    Args:
        connection: an open connection; its encoding decides how text is quoted.
        field: the field whose column gets the value.
        value: a constant or a callable, or NOT_PROVIDED for none.
    """
    if value is NOT_PROVIDED or not is_sql_value(value):
        return None
    if callable(value):
        expression = CALLABLES[value]
        if expression:
            return expression
        value = value()
    connection.ensure_connection()
    prepared = field.get_db_prep_save(value, connection)
    return sql.Literal(prepared).as_string(connection.connection)
