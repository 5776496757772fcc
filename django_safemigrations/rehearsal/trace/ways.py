"""How a statement can be looked at: inside its transaction, inside one made for it, or from outside."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from psycopg.sql import Composable

from django_safemigrations.postgres.sqlwords import SqlStatement, Word, read_statements

SETTINGS = frozenset(
    [
        "ABORT",
        "BEGIN",
        "CHECKPOINT",
        "COMMIT",
        "DEALLOCATE",
        "DISCARD",
        "END",
        "LISTEN",
        "LOAD",
        "NOTIFY",
        "PREPARE",
        "RELEASE",
        "RESET",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "SHOW",
        "START",
        "UNLISTEN",
    ]
)
"""First words of statements that touch no table."""
WRAPPED = frozenset(
    [
        "ALTER",
        "ANALYZE",
        "CALL",
        "COMMENT",
        "COPY",
        "CREATE",
        "DECLARE",
        "DELETE",
        "DO",
        "DROP",
        "EXECUTE",
        "EXPLAIN",
        "GRANT",
        "IMPORT",
        "INSERT",
        "MERGE",
        "REASSIGN",
        "REFRESH",
        "REVOKE",
        "SECURITY",
        "SELECT",
        "TABLE",
        "TRUNCATE",
        "UPDATE",
        "VALUES",
        "WITH",
    ]
)
"""First words of statements that do in a transaction what they do without one."""
ALONE = frozenset({"DATABASE", "TABLESPACE", "SUBSCRIPTION", "SYSTEM"})
"""Second words of statements that a transaction refuses."""
CONTROLS = frozenset(
    ["ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "ROLLBACK", "SAVEPOINT", "START"]
)
"""First words of statements that begin or end a transaction, or a part of one."""
HELD = frozenset(["CLOSE", "FETCH", "MOVE"])
"""First words of statements that outside of a transaction read what a cursor has kept."""
QUICKLY_READ = frozenset(["DELETE", "INSERT", "MERGE", "SELECT", "UPDATE", "VALUES"])
LONGEST = 10_000
"""Characters of a statement that are kept."""

INVALID_TRANSACTION_TERMINATION = "2D000"
"""SQLSTATE of a COMMIT in a procedure that was called inside a transaction."""


class Way(Enum):
    """How to look at a statement outside of a transaction."""

    PAST = auto()
    """Not at all: it touches no table."""
    WRAPPED = auto()
    """In a transaction of its own, before it ends."""
    WATCHED = auto()
    """From a second session: it refuses a transaction, or may end one."""


def text_of(sql: Any) -> str:
    """Return a statement as text; of data only what is written in it."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    return sql.as_string(None) if isinstance(sql, Composable) else str(sql)


def way_of(sql: str) -> Way:
    """Say how to look at some SQL outside of a transaction; a script goes the way of its hardest."""
    first = sql.lstrip().split(None, 1)[0].upper() if sql.strip() else ""
    if ";" not in sql and first in QUICKLY_READ:
        # Most statements by far; a whole reading would cost more than they do.
        return Way.WRAPPED
    ways = {_way(statement) for statement in read_statements(sql)}
    for hardest in (Way.WATCHED, Way.WRAPPED):
        if hardest in ways:
            return hardest
    return Way.PAST


def _way(statement: SqlStatement) -> Way:
    first = statement.words[0]
    if first.is_(*SETTINGS):
        return Way.WATCHED if first.is_(*CONTROLS) else Way.PAST
    if first.is_(*HELD):
        return Way.PAST
    if first.is_("("):
        return Way.WRAPPED
    second = statement.words[1] if len(statement.words) > 1 else first
    if not first.is_(*WRAPPED) or (first.is_("CREATE", "ALTER", "DROP") and second.is_(*ALONE)):
        return Way.WATCHED
    if is_concurrent(statement) and not first.is_("REFRESH"):
        return Way.WATCHED
    if first.is_("DECLARE") and not any(word.is_("HOLD") for word in statement.words):
        return Way.WATCHED
    return Way.WRAPPED


def is_concurrent(statement: SqlStatement) -> bool:
    """Whether it says CONCURRENTLY, other than in a constant or a name."""
    return any(word.is_("CONCURRENTLY") for word in statement.words)


def touches_nothing(sql: str) -> bool:
    """Whether some SQL in a transaction needs no look: savepoints, settings and the like."""
    first = sql.lstrip().split(None, 1)[0].rstrip(";").upper() if sql.strip() else ""
    return first in SETTINGS and ";" not in sql.rstrip().rstrip(";")


def only_reads(sql: str) -> bool:
    """Whether some SQL begins as a query does."""
    return sql.lstrip(" \n\t(")[:7].upper().startswith(("SELECT", "WITH", "VALUES", "TABLE"))


def may_be_deferred(sql: str) -> bool:
    """Whether a schema editor may be sending this when its migration is over."""
    return sql.lstrip()[:7].upper().startswith(("ALTER ", "CREATE ", "DROP ", "COMMENT"))


def commits(sql: str) -> bool:
    """Whether what ends a transaction keeps it."""
    return not sql.lstrip().upper().startswith(("ROLLBACK", "ABORT"))


def rolls_back(sql: str) -> bool:
    """Whether it goes back to a savepoint."""
    return sql.lstrip().upper().startswith("ROLLBACK TO")


def shape_of(sql: str) -> str:
    """Return a statement without its constants, and its lists at one length."""
    shape: list[str] = []
    for statement in read_statements(sql):
        for word in statement.words:
            text = "?" if _is_constant(word) else word.text
            if text == "?" and shape[-2:] == ["?", ","]:
                shape.pop()
                continue
            shape.append(text)
        shape.append(";")
    return " ".join(shape)


def _is_constant(word: Word) -> bool:
    return word.text.startswith(("'", "%", "$")) or word.text[:1].isdigit() or word.text == "?"
