"""Sees every statement that changes the database, and every commit, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlparse
from django.db.backends.base.base import BaseDatabaseWrapper

READING = frozenset(
    {
        "SELECT",
        "SET",
        "SHOW",
        "RESET",
        "BEGIN",
        "START",
        "COMMIT",
        "SAVEPOINT",
        "RELEASE",
        "ROLLBACK",
        "EXPLAIN",
        "VALUES",
        "TABLE",
        "LOCK",
        "DISCARD",
        "DECLARE",
        "FETCH",
        "CLOSE",
        "MOVE",
        "DEALLOCATE",
        "PREPARE",
        "LISTEN",
        "UNLISTEN",
    }
)
"""First words of statements that change neither schema nor rows (LOCK only takes a lock)."""


def as_text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return a statement as text, be it a str, bytes or a composed psycopg statement."""
    if isinstance(sql, bytes):
        return sql.decode()
    if hasattr(sql, "as_string"):
        return str(sql.as_string(connection.connection))
    return str(sql)


def first_word(sql: str) -> str:
    """Return the first word of a statement in capitals, comments skipped."""
    text = sql.lstrip()
    if text.startswith(("--", "/*")):
        parsed = sqlparse.parse(text)
        token = parsed[0].token_first(skip_ws=True, skip_cm=True) if parsed else None  # type: ignore[no-untyped-call]
        text = str(token) if token is not None else ""
    words = text.split(None, 1)
    return words[0].rstrip(";(").upper() if words else ""


def changes_database(sql: str) -> bool:
    """Return whether a statement is one that changes schema or rows (WITH counts as one)."""
    word = first_word(sql)
    return bool(word) and word not in READING


@contextmanager
def watch_changes(
    connection: BaseDatabaseWrapper,
    *,
    before: Callable[[str], None] | None = None,
    after: Callable[[str], None] | None = None,
    durable: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Call back around the changing statements of a connection.

    Args:
        connection: the connection whose statements are watched.
        before: called with the statement before it is sent.
        after: called with the statement when it has succeeded.
        durable: called when a change has become visible to other sessions: after a
            statement outside a transaction, and after the COMMIT of one with changes in it.
    """
    pending: list[str] = []

    def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = as_text(sql, connection)
        if not changes_database(text):
            return execute(sql, params, many, context)
        if before is not None:
            before(text)
        result = execute(sql, params, many, context)
        if after is not None:
            after(text)
        if connection.in_atomic_block or not connection.get_autocommit():
            pending.append(text)
        elif durable is not None:
            durable(text)
        return result

    commit, rollback = connection._commit, connection._rollback  # type: ignore[attr-defined]

    def watched_commit() -> Any:
        result = commit()
        changes = list(pending)
        pending.clear()
        if changes:
            if after is not None:
                after("COMMIT")
            if durable is not None:
                durable(f"COMMIT after {changes[-1]}")
        return result

    def watched_rollback() -> Any:
        pending.clear()
        return rollback()

    # Atomic.__exit__ commits through the connection object: no statement passes the wrappers.
    connection._commit = watched_commit  # type: ignore[attr-defined]
    connection._rollback = watched_rollback  # type: ignore[attr-defined]
    try:
        with connection.execute_wrapper(wrapper):
            yield
    finally:
        del connection._commit  # type: ignore[attr-defined]
        del connection._rollback  # type: ignore[attr-defined]
