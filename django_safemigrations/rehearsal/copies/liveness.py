"""Tells whether two ways to connect lead to one database: by a lock that is taken on one side."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from django_safemigrations.rehearsal.copies.sessions import Parameters, Session, connect, value

IN_RECOVERY = "SELECT pg_is_in_recovery()"
MARKED = """
SELECT l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_locks l
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid = %s AND l.objid = %s
"""
# A server that was cloned with its files has the same identifier, but was not started in the
# same microsecond.
IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system()), pg_postmaster_start_time(),
       (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Same(StrEnum):
    """What two ways to connect have in common."""

    DATABASE = "database"
    SERVER = "server"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Mark:
    """An advisory lock that nobody else can have by chance.

    Attributes:
        key: 63 random bits.
    """

    key: int

    def seen_by(self, session: Session) -> Same:
        """Return where a session sees the lock."""
        row = session.execute(MARKED, [self.key >> 32, self.key & 0xFFFFFFFF]).fetchone()
        if row is None:
            return Same.NOTHING
        return Same.DATABASE if row[0] else Same.SERVER


@contextmanager
def marked(session: Session) -> Iterator[Mark]:
    """Hold a mark in a transaction of a session.

    A transaction keeps its server session, whatever pooler is between, and a name of the host or a
    clone of the server's files can't imitate a lock.
    """
    mark = Mark(secrets.randbits(63))
    with session.transaction(force_rollback=True):
        session.execute("SELECT pg_advisory_xact_lock(%s)", [mark.key])
        yield mark


def in_common(one: Parameters, other: Parameters) -> Same:
    """Return what two ways to connect have in common; asked from both sides.

    Raises:
        psycopg.Error: one of them can't be connected to.
    """
    with connect(one) as first, connect(other) as second:
        found = {_identity(first, second)}
        with marked(first) as mark:
            found.add(mark.seen_by(second))
        with marked(second) as mark:
            found.add(mark.seen_by(first))
    for same in (Same.DATABASE, Same.SERVER):
        if same in found:
            return same
    return Same.NOTHING


def in_recovery(session: Session) -> bool:
    """Return whether a session is on a standby."""
    return bool(value(session, IN_RECOVERY))


def _identity(first: Session, second: Session) -> Same:
    try:
        one, other = (session.execute(IDENTITY).fetchone() for session in (first, second))
    except psycopg.errors.InsufficientPrivilege:
        return Same.NOTHING
    if one is None or other is None or one[:2] != other[:2]:
        return Same.NOTHING
    return Same.DATABASE if one[2] == other[2] else Same.SERVER
