"""SQLSTATE of a database error; messages are translated by the server, codes are not."""

from __future__ import annotations

# https://www.postgresql.org/docs/current/errcodes-appendix.html
LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
NOT_NULL_VIOLATION = "23502"
FOREIGN_KEY_VIOLATION = "23503"


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a Django or psycopg database error, or None."""
    while error is not None:
        state = getattr(error, "sqlstate", None)
        if state is not None:
            return str(state)
        error = error.__cause__
    return None
