"""Who else is connected to this database, as far as the role may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

# pid, user and application_name are there for everybody; the rest only for a role's own sessions,
# for those of roles that it is a member of, and with pg_read_all_stats.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-STATS-VIEWS
SESSIONS = """
SELECT a.pid, a.usename, coalesce(a.application_name, ''), a.backend_start, coalesce(a.state, ''),
       a.backend_start IS NULL
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usename IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
ORDER BY a.backend_start NULLS LAST, a.pid
"""


@dataclass(frozen=True)
class Session:
    """A session of another client.

    Attributes:
        pid: of the server's process.
        user: the role that it logged in with.
        application: what it calls itself.
        since: when it began; None if the role may not see that.
        state: "active", "idle" and the like; empty if the role may not see that.
        hidden: whether the role may not see more of it.
    """

    pid: int
    user: str
    application: str
    since: datetime | None
    state: str
    hidden: bool

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%d %H:%M}" if self.since else ""
        return f"pid {self.pid}, user {self.user}, {self.application or '(unnamed)'}{since}"


def other_sessions(connection: BaseDatabaseWrapper) -> tuple[Session, ...]:
    """Return the sessions of other clients in this database, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return tuple(Session(*row) for row in cursor.fetchall())


def role(connection: BaseDatabaseWrapper) -> str:
    """Return the role of this session, quoted, for a GRANT."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_user)")
        return str(cursor.fetchone()[0])
