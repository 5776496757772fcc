"""One look of a session at itself: the locks its transaction holds, and what was done under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.rehearsal.trace.relations import OURS, Relation

FIRST_OID = 16384
"""Below it are PostgreSQL's own relations."""

# Only relations on which the transaction holds a lock can it have read, written or replaced; an
# index that it built is on such a table. Sizes are asked where something may have been written:
# asking takes ACCESS SHARE, for which the session never waits behind its own lock.
LOOK = f"""
    WITH mine AS MATERIALIZED (
        SELECT locktype, relation, mode, virtualtransaction FROM pg_catalog.pg_locks
        WHERE pid = pg_catalog.pg_backend_pid() AND granted
    ), held AS MATERIALIZED (
        SELECT relation AS oid, array_agg(DISTINCT mode) AS modes FROM mine
        WHERE locktype = 'relation' AND relation >= {FIRST_OID} GROUP BY relation
    ), touched AS (
        SELECT oid FROM held
        UNION SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN held ON held.oid = i.indrelid
    ), seen AS (
        SELECT t.oid::int8 AS oid, coalesce(h.modes, '{{}}') AS modes, n.nspname, c.relname,
               c.relkind::text AS kind,
               coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::int8 AS file,
               coalesce(i.indrelid, c.oid)::int8 AS tab,
               CASE WHEN c.relkind IN ('r', 'm') AND h.modes && $w
                    THEN pg_catalog.pg_table_size(c.oid)
                    WHEN c.relkind = 'i' AND ih.modes && $w
                    THEN pg_catalog.pg_relation_size(c.oid) END AS size,
               CASE WHEN c.relkind IN ('r', 'm')
                    THEN pg_catalog.pg_stat_get_xact_tuples_returned(c.oid) ELSE 0 END
                 + pg_catalog.pg_stat_get_xact_tuples_fetched(c.oid) AS read,
               pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) AS inserted,
               pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) AS updated,
               pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS deleted
        FROM touched t
        LEFT JOIN held h ON h.oid = t.oid
        LEFT JOIN pg_catalog.pg_class c ON c.oid = t.oid
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
        LEFT JOIN held ih ON ih.oid = i.indrelid
        WHERE c.oid IS NULL OR ({OURS})
    )
    SELECT (SELECT virtualtransaction FROM mine WHERE locktype = 'virtualxid' LIMIT 1),
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::int8, s.*
    FROM (VALUES (1)) one LEFT JOIN seen s ON true
""".replace(
    "$w",
    "ARRAY['RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',"
    " 'ExclusiveLock', 'AccessExclusiveLock']",
)

OLDEST = 150000
"""The first version with pg_stat_force_next_flush."""
PREPARED = "safemigrations_look"
IS_PREPARED = f"SELECT FROM pg_catalog.pg_prepared_statements WHERE name = '{PREPARED}'"

# Since PostgreSQL 15; the counters of a transaction begin with what its session has not yet
# reported of earlier ones. https://www.postgresql.org/docs/current/monitoring-stats.html
FLUSH = """
    SELECT pg_catalog.pg_stat_force_next_flush(),
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::int8
"""
TOTALS = f"""
    SELECT c.oid::int8,
           CASE WHEN c.relkind IN ('r', 'm')
                THEN pg_catalog.pg_stat_get_tuples_returned(c.oid) ELSE 0 END
             + pg_catalog.pg_stat_get_tuples_fetched(c.oid),
           pg_catalog.pg_stat_get_tuples_inserted(c.oid),
           pg_catalog.pg_stat_get_tuples_updated(c.oid),
           pg_catalog.pg_stat_get_tuples_deleted(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE {OURS}
"""


@dataclass(frozen=True)
class Counters:
    """How many rows of a table were touched.

    Attributes:
        read: by scans, and by way of indexes.
        inserted: new rows.
        updated: changed rows.
        deleted: rows that are gone.
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def since(self, earlier: Counters) -> Counters:
        """Return what was added; a TRUNCATE sets counters back, which adds nothing."""
        return Counters(
            max(0, self.read - earlier.read),
            max(0, self.inserted - earlier.inserted),
            max(0, self.updated - earlier.updated),
            max(0, self.deleted - earlier.deleted),
        )

    @property
    def written(self) -> int:
        """Rows that were inserted, updated and deleted."""
        return self.inserted + self.updated + self.deleted


NONE = Counters()


@dataclass(frozen=True)
class Look:
    """What was seen at one moment.

    Attributes:
        transaction: PostgreSQL's number of the transaction; None outside of one.
        wal: bytes of WAL since the cluster was made.
        locks: modes by relation that the transaction holds.
        relations: the relations under these locks, and the indexes of such tables; rows are not
            filled in, and sizes are -1 where they were not asked for.
        counters: what the transaction did to tables, by number; an index counts for its table.
        gone: relations under these locks that the transaction has dropped.
    """

    transaction: str | None = None
    wal: int = 0
    locks: Mapping[int, frozenset[str]] = field(default_factory=dict)
    relations: Mapping[int, Relation] = field(default_factory=dict)
    counters: Mapping[int, Counters] = field(default_factory=dict)
    gone: frozenset[int] = frozenset()

    def and_of(self, counters: Mapping[int, Counters]) -> Look:
        """Return it with counters of tables on which there is no lock, or not any more."""
        return replace(self, counters={**counters, **self.counters})


class CantTrace(SafeMigrationsError):
    """The server of the copy does not tell what a trace has to know."""


def refuse_blind(session: psycopg.Connection[Any]) -> None:
    """Raise if a server does not count what statements do: everything would look clean.

    Raises:
        CantTrace: says what to change.
    """
    if session.info.server_version < OLDEST:
        raise CantTrace(
            "A rehearsal needs PostgreSQL 15 or later for its copy: older servers don't say what "
            "one statement has read and written. Let REHEARSAL name a newer server."
        )
    with session.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SHOW track_counts", prepare=False).fetchone()
    if row != ("on",):
        raise CantTrace(
            "track_counts is off on the copy's server, so what statements read and write is not "
            "counted, and a trace would see nothing of it. Type there: "
            "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf(); and run "
            "rehearsemigrations again."
        )


def prepare(session: psycopg.Connection[Any]) -> None:
    """Let a session plan its look once: each time, that would take longer than the look.

    Args:
        session: a psycopg connection.
    """
    with session.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(IS_PREPARED, prepare=False)
        if cursor.fetchone() is None:
            cursor.execute(f"PREPARE {PREPARED} AS {LOOK}", prepare=False)


def look(session: psycopg.Connection[Any]) -> Look:
    """Look at what a session's own transaction holds and has done so far.

    Args:
        session: a psycopg connection inside a transaction, after `prepare`.
    """
    # Past Django's cursor, whose wrappers would come back here.
    with session.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(f"EXECUTE {PREPARED}", prepare=False).fetchall()
    locks: dict[int, frozenset[str]] = {}
    relations: dict[int, Relation] = {}
    counters: dict[int, Counters] = {}
    gone = set()
    for _, _, oid, modes, schema, name, kind, file, table, size, *counted in rows:
        if oid is None:
            continue
        if modes:
            locks[oid] = frozenset(modes)
        if name is None:
            gone.add(oid)
            continue
        full = f"{quote(schema)}.{quote(name)}"
        relations[oid] = Relation(oid, full, kind, file, table, -1 if size is None else size)
        _count(counters, table, counted)
    return Look(rows[0][0], rows[0][1], locks, relations, counters, frozenset(gone))


def pending(session: psycopg.Connection[Any]) -> dict[int, Counters]:
    """Return what a session has not yet reported of earlier transactions, and of this one.

    Args:
        session: a psycopg connection.
    """
    return _by_table(session, TOTALS.replace("pg_stat_get_", "pg_stat_get_xact_"))


def totals(session: psycopg.Connection[Any]) -> dict[int, Counters]:
    """Return what all sessions have done to each table so far, this one included.

    Args:
        session: a psycopg connection outside of a transaction.
    """
    flush(session)
    return _by_table(session, TOTALS)


def _by_table(session: psycopg.Connection[Any], sql: str) -> dict[int, Counters]:
    counters: dict[int, Counters] = {}
    with session.cursor(row_factory=tuple_row) as cursor:
        tables: dict[int, int] = dict(cursor.execute(TABLE_OF, prepare=False).fetchall())
        for oid, *counted in cursor.execute(sql, prepare=False).fetchall():
            _count(counters, tables.get(oid, int(oid)), counted)
    return counters


TABLE_OF = "SELECT indexrelid::int8, indrelid::int8 FROM pg_catalog.pg_index"


def _count(counters: dict[int, Counters], table: int, counted: list[int]) -> None:
    known = counters.get(table, NONE)
    read, inserted, updated, deleted = counted
    counters[table] = Counters(
        known.read + read,
        known.inserted + inserted,
        known.updated + updated,
        known.deleted + deleted,
    )


def flush(session: psycopg.Connection[Any]) -> int:
    """Let a session report its counters, so that the next transaction begins at zero.

    Args:
        session: a psycopg connection outside of a transaction.

    Returns:
        bytes of WAL since the cluster was made.
    """
    with session.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(FLUSH, prepare=False).fetchone()
    assert row is not None
    return int(row[1])
