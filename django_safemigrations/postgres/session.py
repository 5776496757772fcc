"""What a migration needs of its session: to be the only migrator, and to be one session at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import AnotherMigrator, PooledConnection
from django_safemigrations.postgres.catalog import Catalog

# "DSM" and "mig" in ASCII; advisory locks are per database, so two numbers are enough.
MIGRATOR_LOCK = (0x44534D, 0x6D6967)

HOLDER = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
       coalesce(host(a.client_addr), 'local'),
       extract(epoch FROM clock_timestamp() - a.backend_start)::int
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextlib.contextmanager
def migrator_lock(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Hold the advisory lock that makes this session the only migrator of its database.

    Raises:
        AnotherMigrator: another session holds it; names that session.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", MIGRATOR_LOCK)
        if not cursor.fetchone()[0]:
            cursor.execute(HOLDER, MIGRATOR_LOCK)
            row = cursor.fetchone()
            who = "another session"
            if row:
                pid, user, application, host, seconds = row
                who = (
                    f"pid {pid} (user {user or '?'}, application {application or '(unnamed)'}, "
                    f"from {host}, connected for {seconds} s)"
                )
            raise AnotherMigrator(
                f"{who} is migrating this database; nothing was changed. "
                "Wait until it is done and run the command again; if it is stuck, end it with "
                f"SELECT pg_terminate_backend({row[0] if row else 'PID'})."
            )
    try:
        yield
    finally:
        # The server frees the lock itself when the session is gone.
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", MIGRATOR_LOCK)


def refuse_transaction_pooling(connection: BaseDatabaseWrapper) -> None:
    """Raise if a pooler hands the server session to other clients between our transactions.

    Session settings, advisory locks and concurrent builds need one session. Two clients
    never share a server session unless a pooler shares it: while a second connection
    is inside a transaction, its backend must not be the one that just served us, and
    ours must not change.

    Raises:
        PooledConnection: transaction or statement pooling was seen.
    """
    connection.ensure_connection()
    raw = connection.connection
    params = {
        key: value
        for key, value in connection.get_connection_params().items()
        if key not in ("cursor_factory", "context")
    }

    def backend(session: psycopg.Connection[tuple[int]]) -> int:
        row = session.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(next(iter(row.values())) if isinstance(row, dict) else row[0])

    others: list[psycopg.Connection[tuple[int]]] = []
    try:
        mine = backend(raw)
        # The pool may hold several idle sessions: occupy what it hands out, one by one.
        for _ in range(3):
            other = psycopg.connect(**params, autocommit=False)
            others.append(other)
            theirs = backend(other)
            if theirs == mine or backend(raw) != mine:
                host = params.get("host") or "the configured host"
                raise PooledConnection(
                    f"{host}:{params.get('port') or 5432} is a pooler in transaction mode "
                    "(PgBouncer pool_mode = transaction): session settings, the migrator lock and "
                    "concurrent index builds don't survive there. Nothing was changed. Connect to "
                    "PostgreSQL itself, or to a pool with pool_mode = session: add it to DATABASES "
                    "under an alias of its own and pass --database ALIAS."
                )
    finally:
        for other in others:
            other.close()


@contextlib.contextmanager
def tablespace_for_new(catalog: Catalog, name: str | None) -> Iterator[None]:
    """Let new indexes be put into a tablespace, if one is named, unless they say where.

    pg_get_indexdef leaves the tablespace out, and its place is in the middle.
    """
    if name is None:
        yield
        return
    before = catalog.value("SELECT current_setting('default_tablespace')")
    catalog.rows("SELECT set_config('default_tablespace', %s, false)", [name])
    try:
        yield
    finally:
        catalog.rows("SELECT set_config('default_tablespace', %s, false)", [before])
