"""Settings of a session under which the server prints the same thing always in the same words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

# With an empty search_path every name is printed with its schema.
FIXED = {
    "search_path": "",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "row_security": "off",
    # Compiling a statement over a catalog takes longer than running it.
    "jit": "off",
}


class Session(Protocol):
    """Anything with a DB-API cursor: a Django or a psycopg connection."""

    def cursor(self) -> Any: ...


@contextmanager
def fixed_settings(session: Session) -> Iterator[Any]:
    """Give a cursor of a session that prints values the same way wherever and whenever it is.

    `row_security = off` makes a query fail that would not see every row, rather than leave
    some out: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
    """
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", [list(FIXED)]
        )
        earlier = dict(cursor.fetchall())
        _set(cursor, FIXED)
        try:
            yield cursor
        except BaseException:
            # A transaction that the error broke takes the settings back by itself.
            with suppress(Exception):
                _set(cursor, earlier)
            raise
        _set(cursor, earlier)


def _set(cursor: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
