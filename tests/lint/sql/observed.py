"""Runs a labelled statement on real tables with rows and says what it did to others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import ActiveSqlTransaction
from psycopg.pq import TransactionStatus

from tests.lint.sql.cases import Case
from tests.lint.sql.tables import OLD_CODE, ROWS

MANY = ROWS // 2
BLOCKING = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
SESSION = ("SET LOCAL", "SET LOCK", "SET STATEMENT", "SET_CONFIG", "COMMIT", "BEGIN;")
OF_THE_SESSION = ("lock_timeout", "statement_timeout")
APPLICATION = "lint_sql_application"
ELSEWHERE = "elsewhere"

SCAN, FAILS, BREAKS, CHANGES, LOCKS, STAYS, STUCK, SHORT = (
    "scans or writes all rows under a lock",
    "fails",
    "breaks old code",
    "changes or locks many rows",
    "locks",
    "leaves something in the session",
    "can't be run again",
    "runs out of numbers",
)

HARMS: dict[str, set[str]] = {
    "DSM101": {SCAN},
    "DSM102": {LOCKS},
    "DSM103": {FAILS},
    "DSM104": {STUCK},
    "DSM201": {SCAN, BREAKS},
    "DSM301": {BREAKS},
    "DSM402": {CHANGES, BREAKS},
    "DSM406": {SCAN},
    "DSM501": {BREAKS, FAILS},
    "DSM502": {SCAN, LOCKS},
    "DSM503": {BREAKS},
    "DSM504": {BREAKS},
    "DSM505": {BREAKS},
    "DSM506": {SCAN},
    "DSM507": {SCAN, BREAKS},
    "DSM509": {SCAN},
    "DSM510": {SCAN},
    "DSM516": {SCAN},
    "DSM517": {BREAKS},
    "DSM533": {SCAN, SHORT},
    "DSM543": {BREAKS},
    "DSM601": {FAILS},
    "DSM602": {LOCKS},
    "DSM603": {BREAKS, LOCKS},
    "DSM604": {BREAKS, SCAN},
    "DSM605": {BREAKS},
    "DSM606": {SCAN},
    "DSM607": {SCAN},
    "DSM608": {FAILS},
    "DSM609": {SCAN},
    "DSM610": {LOCKS},
    "DSM611": {LOCKS},
    "DSM612": {BREAKS},
    "DSM613": {SCAN},
    "DSM614": {LOCKS, BREAKS},
    "DSM615": {FAILS},
    "DSM616": {STAYS},
    "DSM617": {STAYS},
    "DSM618": {BREAKS},
    "DSM619": {SHORT},
}
"""What PostgreSQL has to be seen doing for a hazard to be there: at least one of these."""


@dataclass
class Relations:
    """What there is, by oid and by name."""

    tables: dict[int, tuple[str, int]] = field(default_factory=dict)
    indexes: dict[str, tuple[int, int]] = field(default_factory=dict)
    views: set[int] = field(default_factory=set)


class Observer:
    """A database with the tables, and copies of it for what has to be committed."""

    def __init__(self, address: dict[str, Any], base: str) -> None:
        self.address = address
        self.base = base
        self.connection = self._connect(base)
        self.lost: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.healthy = self._passing()

    def close(self) -> None:
        self.connection.close()

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        made: psycopg.Connection[Any] = psycopg.connect(
            **{**self.address, "dbname": name}, autocommit=True, cursor_factory=psycopg.ClientCursor
        )
        return made

    def observe(self, case: Case) -> set[str]:
        """Return the harms of a case."""
        if not is_committed(case):
            return self._rolled_back(self.connection, list(strings(case)))
        with self._copy() as name:
            connection = self._connect(name)
            try:
                return self._committed(connection, case)
            finally:
                connection.close()

    @contextmanager
    def _copy(self) -> Iterator[str]:
        """A copy of the database; nobody may be connected to the original meanwhile."""
        name = f"{self.base}_copy"
        self.connection.close()
        with self._connect("postgres") as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(self.base)
                )
            )
            self.connection = self._connect(self.base)
            try:
                yield name
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _rolled_back(self, connection: psycopg.Connection[Any], sent: list[Any]) -> set[str]:
        connection.execute("BEGIN")
        try:
            before, first = relations(connection), counters(connection)
            warnings = _warnings(connection)
            found: set[str] = set()
            for one in sent:
                counts = counters(connection)
                try:
                    send(connection, one)
                except psycopg.Error:
                    return {FAILS}
                found |= _harms(connection, before, counts, first)
            if warnings:
                found.add(STAYS)
            return found | self._broken(connection)
        finally:
            connection.execute("ROLLBACK")

    def _committed(self, connection: psycopg.Connection[Any], case: Case) -> set[str]:
        found: set[str] = set()
        warnings = _warnings(connection)
        settings = _settings(connection)
        before = relations(connection)
        if case.atomic:
            connection.execute("BEGIN")
        try:
            for one in strings(case):
                text = str(one).upper()
                joined = connection.info.transaction_status is TransactionStatus.INTRANS
                opens = text.strip() in ("BEGIN", "COMMIT")
                if not joined and not opens and not any(word in text for word in SESSION):
                    found |= self._tried(connection, one)
                    warnings.clear()
                send(connection, one)
        except psycopg.Error:
            found.add(FAILS)
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        open_still = connection.info.transaction_status is TransactionStatus.INTRANS
        if FAILS not in found and open_still is not case.atomic:
            found.add(STAYS)
        if open_still:
            connection.execute("COMMIT")
        if warnings or _settings(connection) != settings:
            found.add(STAYS)
        after = relations(connection)
        for oid, entry in before.tables.items():
            if after.tables.get(oid, entry)[1] != entry[1]:
                found.add(SCAN)
        builds = "CONCURRENTLY T_IDX" in str(case.sql).upper().replace("IF NOT EXISTS ", "")
        if builds and FAILS not in found and _is_stuck(connection, case):
            found.add(STUCK)
        return found

    def _tried(self, connection: psycopg.Connection[Any], one: Any) -> set[str]:
        """Return the harms of one string in a transaction of its own, if it may be in one."""
        connection.execute("BEGIN")
        try:
            send(connection, one)
        except ActiveSqlTransaction:
            return set()
        except psycopg.Error:
            return {FAILS}
        finally:
            connection.execute("ROLLBACK")
        return self._rolled_back(connection, [one])

    def _broken(self, connection: psycopg.Connection[Any]) -> set[str]:
        lost = self.healthy - self._passing(connection)
        self.lost = {statement: self.errors.get(statement, "no rows") for statement in lost}
        return {BREAKS} if self.lost else set()

    def _passing(self, connection: psycopg.Connection[Any] | None = None) -> set[str]:
        """Return what of old code's statements works, in a transaction that may be open."""
        connection = connection or self.connection
        joined = connection.info.transaction_status is TransactionStatus.INTRANS
        connection.execute("SAVEPOINT probe" if joined else "BEGIN")
        passing = set()
        try:
            for statement in OLD_CODE:
                connection.execute("SAVEPOINT one")
                try:
                    connection.execute(statement.encode())
                    passing.add(statement)
                except psycopg.Error as error:
                    self.errors[statement] = str(error)
                finally:
                    connection.execute("ROLLBACK TO SAVEPOINT one")
            passing |= set(filled(connection))
        finally:
            connection.execute("ROLLBACK TO SAVEPOINT probe" if joined else "ROLLBACK")
        return passing


def is_committed(case: Case) -> bool:
    """Whether a case has to be committed to be seen, and so needs a database of its own."""
    text = str(case.sql).upper()
    return not case.atomic or any(word in text for word in SESSION)


def strings(case: Case) -> Iterator[Any]:
    """What Django sends, one by one."""
    yield from [case.sql] if isinstance(case.sql, str) else case.sql


def send(connection: psycopg.Connection[Any], one: Any) -> None:
    """Send a string as Django's schema editor does."""
    if isinstance(one, tuple):
        connection.execute(one[0], one[1])
    else:
        connection.execute(one.encode())


def filled(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield tables in which the application's role finds rows, or may not look any more."""
    for table in ("store_order", "store_tag", "store_loose", "store_order_tags", "store_event"):
        connection.execute("SAVEPOINT look")
        try:
            if table == "store_order":
                connection.execute(f"SET LOCAL ROLE {APPLICATION}".encode())
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            if row is None or row[0]:
                yield table
        except psycopg.Error:
            yield table
        finally:
            connection.execute("ROLLBACK TO SAVEPOINT look")


def _harms(
    connection: psycopg.Connection[Any],
    before: Relations,
    counts: dict[int, tuple[int, int]],
    first: dict[int, tuple[int, int]],
) -> set[str]:
    """Compare with what there was, and with the counters before the string and before all."""
    after, counted = relations(connection), counters(connection)
    locked = locks(connection)
    found: set[str] = set()
    old_files = {file for _, file in [*before.tables.values(), *before.indexes.values()]}
    for oid, (_, file) in before.tables.items():
        modes = locked.get(oid, set()) & BLOCKING
        if oid in before.views:
            # Nobody writes to a materialised view.
            modes &= {"AccessExclusiveLock"}
        if modes:
            found.add(LOCKS)
        now = counted.get(oid, (0, 0))
        read = now[0] - counts.get(oid, (0, 0))[0]
        changed = now[1] - first.get(oid, (0, 0))[1]
        written = oid in after.tables and after.tables[oid][1] != file
        built = any(
            table == oid and index_file not in old_files
            for table, index_file in after.indexes.values()
        )
        if modes and (read >= ROWS or written or built):
            found.add(SCAN)
        if changed >= MANY and oid not in before.views:
            found.add(CHANGES)
    for name, (_, file) in before.indexes.items():
        now_file = after.indexes.get(name, (0, file))[1]
        if now_file != file and now_file not in old_files:
            found.add(SCAN)
    if _row_locks(connection) >= MANY and CHANGES not in found:
        found.add(CHANGES)
    if connection.execute(
        "SELECT 1 FROM pg_sequences WHERE max_value = 2147483647 AND schemaname = 'public'"
    ).fetchone():
        found.add(SHORT)
    return found


def relations(connection: psycopg.Connection[Any]) -> Relations:
    made = Relations()
    rows = connection.execute(
        "SELECT c.oid, c.relname, c.relkind, pg_relation_filenode(c.oid), i.indrelid "
        "FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('public', 'archive')"
    ).fetchall()
    for oid, name, kind, file, table in rows:
        if kind in "rpm":
            made.tables[oid] = (name, file or 0)
        elif kind in "iI":
            made.indexes[name] = (table, file or 0)
        if kind == "m":
            made.views.add(oid)
    return made


def counters(connection: psycopg.Connection[Any]) -> dict[int, tuple[int, int]]:
    """Rows read, and rows changed, by this transaction."""
    rows = connection.execute(
        "SELECT relid, pg_stat_get_xact_tuples_returned(relid), n_tup_ins + n_tup_upd + n_tup_del "
        "FROM pg_stat_xact_user_tables"
    ).fetchall()
    return {oid: (read, changed) for oid, read, changed in rows}


def locks(connection: psycopg.Connection[Any]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for oid, mode in connection.execute(
        "SELECT relation, mode FROM pg_locks "
        "WHERE pid = pg_backend_pid() AND granted AND relation IS NOT NULL "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchall():
        found.setdefault(oid, set()).add(mode)
    return found


def _row_locks(connection: psycopg.Connection[Any]) -> int:
    """Count the rows of a table that this transaction has locked without changing them."""
    connection.execute("SAVEPOINT looking")
    try:
        row = connection.execute(
            "SELECT count(*) FROM store_order "
            "WHERE xmax = pg_current_xact_id_if_assigned()::text::xid"
        ).fetchone()
        return int(row[0]) if row else 0
    except psycopg.Error:
        return 0
    finally:
        connection.execute("ROLLBACK TO SAVEPOINT looking")


def _warnings(connection: psycopg.Connection[Any]) -> list[str]:
    """Return a list that fills with the server's warnings."""
    found: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            found.append(str(diagnostic.message_primary))

    connection.add_notice_handler(note)
    return found


def _settings(connection: psycopg.Connection[Any]) -> list[Any]:
    return [connection.execute(f"SHOW {name}".encode()).fetchone() for name in OF_THE_SESSION]


def _is_stuck(connection: psycopg.Connection[Any], case: Case) -> bool:
    """Run a case again after its index became INVALID, as a failed build leaves it."""
    connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_idx'::regclass"
    )
    try:
        for one in strings(case):
            send(connection, one)
    except psycopg.Error:
        return True
    row = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_idx'::regclass"
    ).fetchone()
    return row is None or not row[0]
