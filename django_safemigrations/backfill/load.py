"""Waits while the server is busy with other sessions."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.report import report
from django_safemigrations.backfill.waits import Wait

# Without pg_read_all_stats other users' rows have neither state nor type.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
SESSIONS = """
SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state IS NULL)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend'
"""


class ActiveSessions:
    """Waits while more other sessions of the database are running a statement than may.

    Args:
        connection: the database.
        most: how many may.
    """

    def __init__(self, connection: BaseDatabaseWrapper, most: int) -> None:
        self.connection, self.most = connection, most
        self._told = False

    def look(self) -> Wait | None:
        """Count the sessions."""
        with self.connection.cursor() as cursor:
            cursor.execute(SESSIONS)
            active, hidden = cursor.fetchone()
        if hidden and not self._told:
            self._told = True
            report(
                f"{hidden} sessions can't be seen, so MAX_ACTIVE does not count them: "
                "GRANT pg_read_all_stats to the user that migrates"
            )
        if active <= self.most:
            return None
        return Wait("load", f"{active} active sessions, and at most {self.most} may be", 1.0)

    def note(self, rows: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Hold nothing."""
