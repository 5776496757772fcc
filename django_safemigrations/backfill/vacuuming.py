"""Keeps a table that is filled from growing: after so many dead rows it is vacuumed.

Every changed row leaves a dead one behind, whose room can be used again only after a
VACUUM. It runs in a second session, so that whoever waits for it can be stopped; it
blocks neither reads nor writes (SHARE UPDATE EXCLUSIVE, and no truncation, which would
take an exclusive lock). https://www.postgresql.org/docs/current/routine-vacuuming.html
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.report import report
from django_safemigrations.backfill.waits import Wait
from django_safemigrations.conf import BackfillSettings
from django_safemigrations.postgres.catalog import Catalog

# Below this the room is not worth a pass over the table's indexes.
FEWEST_DEAD = 200_000
POLL_EVERY = 0.1
VACUUM_AGAIN = 15.0

# Of a partitioned table each partition is vacuumed for itself. What autovacuum begins at is
# asked for, since waiting for it below that would last for ever.
TABLES = """
WITH RECURSIVE t (relid) AS (
    SELECT %s::oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN t ON i.inhparent = t.relid
)
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), pg_stat_get_dead_tuples(c.oid),
       CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_stat_get_live_tuples(c.oid) END::bigint,
       coalesce(o.given->>'autovacuum_enabled', 'true') IN ('true', 'on', '1', 'yes')
           AND current_setting('autovacuum')::bool,
       coalesce(o.given->>'autovacuum_vacuum_threshold',
                current_setting('autovacuum_vacuum_threshold'))::float8
       + coalesce(o.given->>'autovacuum_vacuum_scale_factor',
                  current_setting('autovacuum_vacuum_scale_factor'))::float8
         * greatest(c.reltuples, 0)
FROM t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT jsonb_object_agg(option_name, option_value) AS given
                    FROM pg_options_to_table(c.reloptions)) o
WHERE c.relkind IN ('r', 'm')
"""

# Dead rows stay while any of these may still look at them.
HOLDERS = """
SELECT what FROM (
    SELECT format('pid %s, user %s, application %s, %s for %s s', pid, coalesce(usename, '?'),
                  coalesce(nullif(application_name, ''), '(unnamed)'), coalesce(state, '?'),
                  round(extract(epoch FROM clock_timestamp() - xact_start))),
           age(backend_xmin), xact_start
    FROM pg_stat_activity
    -- of other databases none, but standbys that report what they still need
    WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
      AND coalesce(datname, current_database()) = current_database()
      AND backend_type IS DISTINCT FROM 'autovacuum worker'
    UNION ALL
    SELECT format('prepared transaction %s', gid), age(transaction), prepared
    FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT format('replication slot %s', slot_name), age(xmin), NULL FROM pg_replication_slots
    WHERE xmin IS NOT NULL
) AS holders (what, age, since) ORDER BY age DESC, since LIMIT 1
"""


class Vacuuming:
    """Waits for VACUUM when a table has too many dead rows.

    Args:
        connection: the database.
        table_oid: the table, partitioned or not.
        settings: VACUUM, VACUUM_AFTER, VACUUM_PATIENCE.
        clock: injected by tests.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        table_oid: int,
        settings: BackfillSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection, self.table_oid = connection, table_oid
        self.settings, self.clock = settings, clock
        self.catalog = Catalog(connection)
        self._session: VacuumSession | None = None
        self._since: float | None = None
        self._last_try: float | None = None
        self._put_up_with: dict[int, int] = {}

    def look(self) -> Wait | None:
        """Look for dead rows, and see to it that they go."""
        if self._session is not None:
            if self._session.running:
                what = f"VACUUM of {self._session.table} is running"
                return Wait("vacuum", what, POLL_EVERY)
            self._end_session()
        found = self._worst()
        if found is None:
            self._since = self._last_try = None
            return None
        oid, table, dead = found
        now = self.clock()
        if self._since is None:
            self._since = now
        if now - self._since >= self.settings.vacuum_patience:
            report(
                f"{dead:,} dead rows of {table} could not be removed within "
                f"{self.settings.vacuum_patience:g} s (VACUUM_PATIENCE), so the table grows"
                f"{self._holder()}"
            )
            self._put_up_with[oid] = dead
            self._since = self._last_try = None
            return None
        if self.settings.vacuum == "wait":
            return Wait("vacuum", f"for autovacuum to remove {dead:,} dead rows of {table}", 1.0)
        if self._last_try is None or now - self._last_try >= VACUUM_AGAIN:
            self._last_try = now
            self._session = VacuumSession(self.connection, table)
            self._session.start()
            return Wait("vacuum", f"VACUUM of {table}, {dead:,} dead rows", POLL_EVERY)
        others = self.catalog.rows(
            "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = %s", [oid]
        )
        if others:
            what = f"for the VACUUM of {table} that pid {others[0][0]} runs, {dead:,} dead rows"
            return Wait("vacuum", what, 1.0)
        what = f"{dead:,} dead rows of {table} can't be removed yet{self._holder()}"
        return Wait("vacuum", what, 1.0)

    def _worst(self) -> tuple[int, str, int] | None:
        """Return a table with too many dead rows: oid, name, how many."""
        for oid, table, dead, rows, automatic, begins_at in self.catalog.rows(
            TABLES, [self.table_oid]
        ):
            limit = max(FEWEST_DEAD, self.settings.vacuum_after * rows)
            limit += self._put_up_with.get(oid, 0)
            if self.settings.vacuum == "wait":
                if not automatic:
                    self._say_that_nobody_comes(oid, table)
                    continue
                limit = max(limit, begins_at)
            if dead > limit:
                return int(oid), str(table), int(dead)
        return None

    def _say_that_nobody_comes(self, oid: int, table: str) -> None:
        if oid not in self._put_up_with:
            self._put_up_with[oid] = 0
            report(f'Autovacuum is off for {table}, so nothing waits for it; set VACUUM to "run"')

    def _holder(self) -> str:
        who = self.catalog.rows(HOLDERS)
        return f", an old transaction may still need them: {who[0][0]}" if who else ""

    def _end_session(self) -> None:
        assert self._session is not None
        if self._session.error:
            report(f"VACUUM of {self._session.table} failed: {self._session.error}")
        self._session = None

    def note(self, rows: int) -> None:
        """Count nothing: the server does."""

    def close(self) -> None:
        """Cancel a VACUUM that runs; the next one finds what is left to do."""
        if self._session is not None:
            self._session.cancel()
            self._session = None


class VacuumSession:
    """One VACUUM in a session and a thread of its own.

    Args:
        connection: whose database and user to use.
        table: quoted, with its schema.
    """

    def __init__(self, connection: BaseDatabaseWrapper, table: str) -> None:
        self.table = table
        self.error = ""
        self._connection = connection.copy()
        self._thread = threading.Thread(target=self._run, daemon=True, name="vacuum")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._connection.inc_thread_sharing()
        self._connection.ensure_connection()
        self._thread.start()

    def cancel(self) -> None:
        """End it now."""
        while self.running:
            with contextlib.suppress(Exception):
                self._connection.connection.cancel()
            self._thread.join(0.1)

    def _run(self) -> None:
        # Another VACUUM of the table is as good as ours: SKIP_LOCKED.
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
                cursor.execute(f"VACUUM (SKIP_LOCKED, TRUNCATE false) {self.table}")
        except Error as error:
            self.error = str(error).strip()
        finally:
            with contextlib.suppress(Exception):
                self._connection.close()
