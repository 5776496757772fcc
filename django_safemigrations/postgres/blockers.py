"""Who holds a lock that we wait for, seen from a second session while we wait."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import Blocker

POLL_EVERY = 0.01

# https://www.postgresql.org/docs/current/functions-info.html (pg_blocking_pids)
BLOCKERS = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       left(a.query, 200),
       extract(epoch FROM clock_timestamp()
               - coalesce(a.xact_start, a.query_start, a.backend_start))::float8,
       coalesce(a.backend_type, ''),
       coalesce((SELECT min(format('%%I.%%I', n.nspname, c.relname))
                 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE l.pid = %(pid)s AND NOT l.granted), '')
FROM pg_stat_activity a
WHERE a.pid = ANY (pg_blocking_pids(%(pid)s))
"""


class BlockerWatch:
    """A thread with a connection of its own that looks every 10 ms who blocks us."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._params: dict[str, Any] = dict(connection.get_connection_params())
        self._pid = connection.connection.info.backend_pid
        self._seen: list[Blocker] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True, name="blocker-watch")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking and close the second session."""
        self._stop.set()
        self._thread.join()

    def seen(self) -> list[Blocker]:
        """Return the sessions seen in the way, the one with the oldest transaction first."""
        return sorted(self._seen, key=lambda blocker: -blocker.seconds)

    def _poll(self) -> None:
        # No free connection slot, or the server is going away: the migration must not
        # fail because the second look does.
        with contextlib.suppress(psycopg.Error):
            params = {
                k: v for k, v in self._params.items() if k not in ("cursor_factory", "context")
            }
            with psycopg.connect(**params, autocommit=True) as connection:
                while not self._stop.wait(POLL_EVERY):
                    rows = connection.execute(BLOCKERS, {"pid": self._pid}).fetchall()
                    if rows:
                        # While we sleep nobody blocks us: the last look that saw somebody counts.
                        self._seen = [_blocker(*row) for row in rows]


def _blocker(
    pid: int,
    user: str,
    application: str,
    state: str,
    query: str,
    seconds: float,
    backend: str,
    relation: str,
) -> Blocker:
    return Blocker(
        pid=pid,
        user=user,
        application=application,
        state=state,
        query=" ".join(query.split()),
        seconds=seconds,
        relation=relation,
        backend=backend,
    )
