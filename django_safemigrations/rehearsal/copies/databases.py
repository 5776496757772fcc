"""Databases that hold copies: named so that they are known again, and dropped when nobody uses them."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from django_safemigrations.rehearsal.copies.original import Original
from django_safemigrations.rehearsal.copies.sessions import (
    Parameters,
    Session,
    connect,
    identifier,
    value,
)

PREFIX = "dsm_copy_"
MADE_BY = "django_safemigrations"
# "DSM" in ASCII; the other half is of the name.
LOCK_CLASS = 0x44534D
FILE_COPY_FROM = 100 * 1024 * 1024
"""Bytes from which copying files takes less time than writing every page to the WAL."""

COPIES = """
SELECT d.datname, shobj_description(d.oid, 'pg_database')
FROM pg_database d WHERE d.datname LIKE 'dsm\\_copy\\_%' ORDER BY 1
"""
# Advisory locks are of one database, but all of them are seen from everywhere.
IN_USE = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
               AND classid = %s AND objid = %s)
"""


@dataclass(frozen=True)
class CopyDatabase:
    """A database that holds a copy.

    Attributes:
        name: its name.
        parameters: libpq's, with the name.
        server: libpq's, for a database of that server that stays.
    """

    name: str
    parameters: dict[str, Any]
    server: Parameters


@contextlib.contextmanager
def copy_database(
    server: Parameters,
    original: Original,
    *,
    template: str | None = None,
    template_size: int = 0,
    started: datetime,
    keep: Callable[[], bool],
    progress: Callable[[str], None],
) -> Iterator[CopyDatabase]:
    """Make a database and drop it with the block.

    A session with an advisory lock is held meanwhile: when it is gone, so is the owner, and
    `clean_up_databases` may drop the database.

    Args:
        server: libpq's parameters for the server.
        original: what it will be a copy of.
        template: what to clone; an empty database if None.
        template_size: its size in bytes.
        started: when the rehearsal began.
        keep: asked at the end whether the database is to be left behind.
        progress: told when it is kept or could not be dropped.

    Raises:
        psycopg.Error: the server does not let us.
    """
    name = f"{PREFIX}{secrets.token_hex(6)}"
    with connect(server, keepalives_idle=30) as session:
        # A machine that is cut off must not keep the lock for hours.
        for key, seconds in (("idle", 60), ("interval", 10)):
            session.execute(f"SET tcp_keepalives_{key} = {seconds}")
        session.execute("SELECT pg_advisory_lock(%s, %s)", _lock(name))
        _create(session, name, original, template, template_size)
        try:
            session.execute(_comment(name, original, started, kept=False))
            yield CopyDatabase(name, {**server, "dbname": name}, server)
        finally:
            last = _comment(name, original, started, kept=True) if keep() else _dropping(name)
            try:
                _execute(server, session, last)
            except psycopg.Error as error:
                progress(
                    f"{name} could not be dropped ({str(error).strip()}); the next rehearsal does."
                )


def clean_up_databases(server: Parameters, progress: Callable[[str], None]) -> list[str]:
    """Drop the copies on a server whose owners are gone.

    Returns:
        their names.

    Raises:
        psycopg.Error: the server can't be reached.
    """
    dropped = []
    with connect(server) as session:
        for name, comment in session.execute(COPIES).fetchall():
            if not _is_ours(name, comment) or value(session, IN_USE, _lock(name)):
                continue
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                session.execute(_dropping(name))
                progress(f"Dropped {name}, left by a rehearsal that was killed.")
                dropped.append(name)
    return dropped


def _is_ours(name: str, comment: str | None) -> bool:
    digits = name.removeprefix(PREFIX)
    if len(digits) != 12 or set(digits) - set("0123456789abcdef"):
        return False
    if comment is None:  # killed between two statements
        return True
    try:
        said = json.loads(comment)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("by") == MADE_BY and not said.get("kept")


def _create(
    session: Session, name: str, original: Original, template: str | None, size: int
) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    if template is not None:
        query = statement.format(identifier(name), identifier(template))
        if session.info.server_version >= 150000:
            strategy = "file_copy" if size >= FILE_COPY_FROM else "wal_log"
            query += sql.SQL(" STRATEGY {}").format(sql.SQL(strategy))
        session.execute(query)
        return
    query = statement.format(identifier(name), identifier("template0"))
    query += sql.SQL(" ENCODING {}").format(sql.Literal(original.encoding))
    locale = sql.SQL(" LC_COLLATE {} LC_CTYPE {}").format(
        sql.Literal(original.collate), sql.Literal(original.ctype)
    )
    providers = {"i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}
    if original.provider in providers and original.locale:
        provider, key = providers[original.provider]
        locale += sql.SQL(f" LOCALE_PROVIDER {provider} {key} {{}}").format(
            sql.Literal(original.locale)
        )
    elif session.info.server_version >= 150000:
        locale += sql.SQL(" LOCALE_PROVIDER libc")
    try:
        session.execute(query + locale)
    except (
        psycopg.errors.WrongObjectType,
        psycopg.errors.FeatureNotSupported,
        psycopg.errors.InvalidParameterValue,
    ):
        # The operating system or build does not have the locale; sorting is not what is tried.
        session.execute(query + sql.SQL(" LC_COLLATE 'C' LC_CTYPE 'C'"))


def _comment(name: str, original: Original, started: datetime, *, kept: bool) -> sql.Composed:
    said = {
        "by": MADE_BY,
        "copy_of": original.described,
        "user": _user(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": started.isoformat(),
        "kept": kept,
    }
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(
        identifier(name), sql.Literal(json.dumps(said))
    )


def _execute(server: Parameters, session: Session, query: sql.Composed) -> None:
    try:
        session.execute(query)
    except psycopg.OperationalError:  # the session was cut; the server may be there again
        with connect(server) as another:
            another.execute(query)


def _dropping(name: str) -> sql.Composed:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier(name))


def _lock(name: str) -> tuple[int, int]:
    return LOCK_CLASS, zlib.crc32(name.encode()) & 0x7FFFFFFF


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return str(os.getuid())
