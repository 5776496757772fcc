"""A backfill in the ledger: its ranges are leased, and what is done is stored with the batch's commit."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.ranges import Range
from django_safemigrations.backfill.store import (
    LEASE,
    Known,
    Lease,
    LeaseLost,
    State,
    Step,
    Totals,
)
from django_safemigrations.backfill.work import Key

# By name: the ledger's models are a layer above.
BACKFILLS = "django_safemigrations_backfillprogress"
RANGES = "django_safemigrations_backfillrange"

# "DSM" in ASCII; the other number is the backfill's.
PROOF_LOCK = 0x44534D + 1

# Whether the session that took a lease is still there. Without pg_read_all_stats the beginning of
# another user's session can't be seen, but its pid can.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
HOLDER_LIVES = """EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = r.session_pid
         AND coalesce(a.backend_start, r.session_start) = r.session_start)"""

# What is locked is left to whoever locks it: a batch in flight keeps its range, however long.
CLAIM = f"""
WITH free AS (
  SELECT r.id FROM {RANGES} r JOIN {BACKFILLS} b ON b.id = r.backfill_id
  WHERE b.key = %(key)s AND b.state IN ('pending', 'running')
    AND r.finished_at IS NULL AND r.failed_at IS NULL
    AND (r.not_before IS NULL OR r.not_before <= clock_timestamp())
    AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp()
         OR r.leased_by = %(worker)s OR NOT {HOLDER_LIVES})
  ORDER BY r.number, r.id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED
), begun AS (
  UPDATE {BACKFILLS} SET state = 'running', updated_at = now()
  WHERE key = %(key)s AND state = 'pending'
)
UPDATE {RANGES} r
SET leased_by = %(worker)s, leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    session_pid = pg_backend_pid(),
    session_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    attempts = attempts + 1, not_before = NULL
FROM free WHERE r.id = free.id
RETURNING r.id, r.relation, r.lower, r.upper, r.last_key, r.batch_size
"""

SUMS = f"""
SELECT b.rows_done + coalesce(sum(r.rows_done), 0), coalesce(sum(r.rows_seen), 0), b.rows_total,
       b.batches + coalesce(sum(r.batches), 0), b.errors + coalesce(sum(r.errors), 0),
       count(r.id), count(r.finished_at),
       count(*) FILTER (WHERE r.finished_at IS NULL AND r.leased_until > clock_timestamp()),
       count(r.failed_at), coalesce(max(r.batch_size) FILTER (WHERE r.finished_at IS NULL), 0)
FROM {BACKFILLS} b LEFT JOIN {RANGES} r ON r.backfill_id = b.id
WHERE b.key = %s GROUP BY b.id
"""

FOLD = f"""
rows_done = b.rows_done + coalesce(s.rows_done, 0), batches = b.batches + coalesce(s.batches, 0),
errors = b.errors + coalesce(s.errors, 0), updated_at = now()
FROM (SELECT sum(rows_done) AS rows_done, sum(batches) AS batches, sum(errors) AS errors
      FROM {RANGES} WHERE backfill_id = (SELECT id FROM {BACKFILLS} WHERE key = %(key)s)) s
"""


def worker_name() -> str:
    """Return a name for this worker that no other has, and that tells people where it is."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class LedgerProgress:
    """Keeps a backfill in the ledger, where all workers see it.

    Args:
        connection: the database.
        key: what it is called.
        table: the table, quoted, for people.
        worker: who works; made up if it is not given.
        lease: seconds for which a range is leased.
    """

    shared = True

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        key: str,
        table: str,
        *,
        worker: str = "",
        lease: float = LEASE,
    ) -> None:
        self.connection = connection
        self.key = key
        self.table = table
        self.worker = worker or worker_name()
        self.lease = lease

    def load(self) -> Known | None:
        """Return what is stored."""
        rows = self._rows(
            f"""
            SELECT b.state, b.reason, b.passes, b.task,
                   count(*) FILTER (WHERE r.finished_at IS NULL AND r.failed_at IS NULL
                                    AND r.id IS NOT NULL), count(r.failed_at)
            FROM {BACKFILLS} b LEFT JOIN {RANGES} r ON r.backfill_id = b.id
            WHERE b.key = %s GROUP BY b.id
            """,
            [self.key],
        )
        if not rows:
            return None
        state, reason, passes, task, unfinished, failed = rows[0]
        return Known(State(state), reason, passes, _read(task), unfinished, failed)

    def begin(
        self,
        task: Mapping[str, Any],
        title: str,
        ranges: Sequence[Range],
        *,
        rows_total: int,
        passes: int,
        state: State = State.RUNNING,
    ) -> None:
        """Store the ranges, unless another worker has begun this pass."""
        values = {
            "key": self.key,
            "table": self.table,
            "title": title,
            "task": json.dumps(task),
            "state": state,
            "total": rows_total,
            "passes": passes,
            "ranges": json.dumps([[r.relation, r.lower, r.upper] for r in ranges]),
        }
        put = f"""
            INSERT INTO {RANGES} (backfill_id, number, relation, lower, upper, rows_done, rows_seen,
                                  batches, errors, batch_size, attempts, leased_by, last_error)
            SELECT b.id, n, range ->> 0, nullif(range -> 1, 'null'), nullif(range -> 2, 'null'),
                   0, 0, 0, 0, 0, 0, '', ''
            FROM b, jsonb_array_elements(%(ranges)s::jsonb) WITH ORDINALITY AS t (range, n)
        """
        known = self.load()
        if known is None:
            self._change(
                f"""
                WITH b AS (
                  INSERT INTO {BACKFILLS} (key, "table", title, task, state, reason, rows_total,
                    rows_done, batches, errors, passes, started_at, updated_at, last_error)
                  VALUES (%(key)s, %(table)s, %(title)s, %(task)s, %(state)s, '', %(total)s,
                    0, 0, 0, 0, now(), now(), '')
                  ON CONFLICT (key) DO NOTHING RETURNING id
                ) {put}
                """,
                values,
            )
            return
        # A pass begins once, whoever counted first; what is begun anew starts its counters too.
        again = "b.passes = %(passes)s - 1 AND b.state = 'running'" if passes else "true"
        with transaction.atomic(using=self.connection.alias):
            found = self._rows(
                f"""
                UPDATE {BACKFILLS} b
                SET title = %(title)s, task = %(task)s, state = %(state)s, reason = '',
                    rows_total = %(total)s, passes = %(passes)s, finished_at = NULL, {FOLD}
                WHERE b.key = %(key)s AND {again} RETURNING b.id
                """,
                values,
            )
            if not found:
                return
            if not passes:
                self._change(
                    f"UPDATE {BACKFILLS} SET rows_done = 0, batches = 0, errors = 0,"
                    " started_at = now() WHERE id = %s",
                    [found[0][0]],
                )
            self._change(f"DELETE FROM {RANGES} WHERE backfill_id = %s", [found[0][0]])
            self._change(
                f"WITH b AS (SELECT id FROM {BACKFILLS} WHERE key = %(key)s) {put}", values
            )

    def retry(self) -> None:
        """Free the rows that failed, and let it run again."""
        with transaction.atomic(using=self.connection.alias):
            self._change(
                f"UPDATE {RANGES} SET failed_at = NULL, last_key = NULL, leased_until = NULL,"
                f" not_before = NULL WHERE failed_at IS NOT NULL AND backfill_id ="
                f" (SELECT id FROM {BACKFILLS} WHERE key = %s)",
                [self.key],
            )
            self._change(
                f"UPDATE {BACKFILLS} SET state = 'running', reason = '', passes = 0,"
                " updated_at = now() WHERE key = %s AND state = 'failed'",
                [self.key],
            )

    def claim(self) -> Lease | None:
        """Take the first free range."""
        rows = self._rows(CLAIM, {"key": self.key, "worker": self.worker, "lease": self.lease})
        if not rows:
            return None
        number, relation, lower, upper, last, size = rows[0]
        return Lease(number, Range(relation, _read(lower), _read(upper)), _read(last), size)

    def hold(self, lease: Lease) -> State:
        """Lock the range's row: until the commit nobody can take it, expired or not."""
        rows = self._rows(
            f"SELECT b.state FROM {RANGES} r JOIN {BACKFILLS} b ON b.id = r.backfill_id"
            " WHERE r.id = %s AND r.leased_by = %s AND r.finished_at IS NULL"
            " FOR NO KEY UPDATE OF r",
            [lease.id, self.worker],
        )
        if not rows:
            raise LeaseLost
        return State(rows[0][0])

    def advance(self, lease: Lease, step: Step) -> None:
        """Store the batch."""
        ended = (
            ", finished_at = clock_timestamp(), leased_by = '', leased_until = NULL"
            if step.ended
            else ", leased_until = clock_timestamp() + make_interval(secs => %(lease)s)"
        )
        self._change(
            f"UPDATE {RANGES} SET last_key = %(last)s::jsonb, rows_done = rows_done + %(rows)s,"
            " rows_seen = rows_seen + %(seen)s, batches = batches + 1, batch_size = %(size)s,"
            f" session_pid = pg_backend_pid(){ended} WHERE id = %(id)s",
            {
                "last": None if step.last is None else json.dumps(step.last),
                "rows": step.rows,
                "seen": step.seen,
                "size": step.size,
                "lease": self.lease,
                "id": lease.id,
            },
        )

    def put_aside(self, lease: Lease, key: Key, error: str) -> None:
        """Make a range of the one row, which is for another try."""
        if lease.range.lower == lease.range.upper == key:
            self._change(
                f"UPDATE {RANGES} SET failed_at = clock_timestamp(), last_error = %s,"
                " leased_by = '', leased_until = NULL WHERE id = %s",
                [error, lease.id],
            )
            return
        self._change(
            f"INSERT INTO {RANGES} (backfill_id, number, relation, lower, upper, failed_at,"
            " last_error, rows_done, rows_seen, batches, errors, batch_size, attempts, leased_by)"
            " SELECT backfill_id, number, relation, %(key)s::jsonb, %(key)s::jsonb,"
            f" clock_timestamp(), %(error)s, 0, 0, 0, 0, 0, 0, '' FROM {RANGES} WHERE id = %(id)s",
            {"key": json.dumps(key), "error": error, "id": lease.id},
        )

    def renew(self, lease: Lease, error: str = "") -> State:
        """Renew the lease by the server's clock."""
        rows = self._rows(
            f"UPDATE {RANGES} r SET leased_until = clock_timestamp() + make_interval(secs => %s),"
            " errors = r.errors + %s,"
            " last_error = CASE WHEN %s <> '' THEN %s ELSE r.last_error END"
            f" FROM {BACKFILLS} b WHERE b.id = r.backfill_id AND r.id = %s AND r.leased_by = %s"
            " AND r.finished_at IS NULL RETURNING b.state",
            [self.lease, 1 if error else 0, error, error, lease.id, self.worker],
        )
        if not rows:
            raise LeaseLost
        return State(rows[0][0])

    def release(self, lease: Lease, seconds: float = 0.0) -> None:
        """Give the range back."""
        self._change(
            f"UPDATE {RANGES} SET leased_by = '', leased_until = NULL,"
            " not_before = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND leased_by = %s",
            [seconds, lease.id, self.worker],
        )

    def abandon(self, lease: Lease) -> None:
        """Call the range done."""
        self._change(
            f"UPDATE {RANGES} SET finished_at = clock_timestamp(), leased_by = '',"
            " leased_until = NULL WHERE id = %s AND leased_by IN (%s, '')",
            [lease.id, self.worker],
        )

    def totals(self) -> Totals:
        """Add up what all workers have done."""
        rows = self._rows(SUMS, [self.key])
        return Totals(*map(int, rows[0])) if rows else Totals()

    def failures(self, count: int) -> list[tuple[str, Key, str]]:
        """Return some of the rows that failed, the first ones."""
        rows = self._rows(
            f"SELECT relation, upper, last_error FROM {RANGES} WHERE failed_at IS NOT NULL AND"
            f" backfill_id = (SELECT id FROM {BACKFILLS} WHERE key = %s) ORDER BY id LIMIT %s",
            [self.key, count],
        )
        return [(relation, _read(key) or [], error) for relation, key, error in rows]

    @contextlib.contextmanager
    def proving(self) -> Iterator[bool]:
        """Hold an advisory lock, which ends with the session; a second proof would do no harm."""
        lock = f"%s, (SELECT id::int FROM {BACKFILLS} WHERE key = %s)"
        ((mine,),) = self._rows(f"SELECT pg_try_advisory_lock({lock})", [PROOF_LOCK, self.key])
        try:
            yield bool(mine)
        finally:
            if mine:
                with contextlib.suppress(Exception):
                    self._rows(f"SELECT pg_advisory_unlock({lock})", [PROOF_LOCK, self.key])

    def finish(self) -> bool:
        """Fold the ranges into the backfill's own row, in a commit that is waited for."""
        with transaction.atomic(using=self.connection.alias):
            found = self._rows(
                f"UPDATE {BACKFILLS} b SET state = 'finished', reason = '', finished_at = now(),"
                f" passes = b.passes + 1, {FOLD} WHERE b.key = %(key)s AND b.state = 'running'"
                " RETURNING b.id",
                {"key": self.key},
            )
            if found:
                self._change(f"DELETE FROM {RANGES} WHERE backfill_id = %s", [found[0][0]])
        return bool(found)

    def fail(self, reason: str) -> None:
        """Store why it failed; a cancelled one stays cancelled."""
        self._change(
            f"UPDATE {BACKFILLS} SET state = 'failed', reason = %s, last_error = %s,"
            " updated_at = now() WHERE key = %s AND state IN ('pending', 'running')",
            [reason, reason, self.key],
        )

    def _rows(self, sql: str, params: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _change(self, sql: str, params: Any) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)


def _read(stored: Any) -> Any:
    # Django has the driver leave jsonb as text, for decoders of its own.
    return json.loads(stored) if isinstance(stored, str) else stored


def ledger_has_ranges(connection: BaseDatabaseWrapper) -> bool:
    """Whether the ledger's tables are there, and up to date."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [RANGES])
        return bool(cursor.fetchone()[0])
