"""Sees from a second session which locks each statement holds, and whether rows are read under them.

A lock on a small table is always short. What tells its length on a large one is what is done
while it is held: so every statement is looked at before it lets go, and a table that is read
through or rewritten under a lock that makes others wait is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import connection, transaction

from tests.kit.databases import connect
from tests.kit.locks import BLOCKING
from tests.kit.statements import as_text, changes_database, first_word

FEWEST = 3
"""Tables with fewer rows are not watched: one look at a row would be a look at all of them."""
ALONE = frozenset({"VACUUM"})
"""First words of statements that run in no transaction; they block neither reads nor writes."""

TABLES = """
    SELECT c.oid, c.oid::regclass::text FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'
      AND n.nspname <> 'information_schema' AND c.relname !~ '^django_(migrations|safemigrations)'
"""
MEASURED = """
    SELECT c.oid,
           pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid),
           pg_relation_filenode(c.oid)
    FROM pg_class c WHERE c.oid = ANY (%s)
"""
LOCKS = """
    SELECT relation, mode FROM pg_locks
    WHERE pid = %s AND locktype = 'relation' AND granted AND relation = ANY (%s)
"""


@dataclass
class LockWatch:
    """What was seen.

    Attributes:
        tables: names of the tables that were watched, by oid.
        rows: how many rows each had at the beginning.
        looks: how many statements were looked at.
        locks: how often a blocking lock was seen.
        problems: one line for each table that was read or rewritten under a blocking lock.
    """

    tables: dict[int, str] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    looks: int = 0
    locks: int = 0
    problems: list[str] = field(default_factory=list)


@contextmanager
def observe_held(held: LockWatch) -> Iterator[None]:
    """Look at every statement of `default` until the block ends.

    Args:
        held: filled with what is seen, also when the block raises.
    """
    connection.ensure_connection()
    own: psycopg.Connection[Any] = connection.connection
    with own.cursor() as cursor:
        for oid, name in cursor.execute(TABLES).fetchall():
            [rows] = cursor.execute(f"SELECT count(*) FROM ONLY {name}").fetchone() or (0,)
            if rows >= FEWEST:
                held.tables[oid], held.rows[oid] = name, rows
    with connect(own.info.dbname) as second:
        pid = own.info.backend_pid

        def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            text = as_text(sql, connection)
            if connection.in_atomic_block or not connection.get_autocommit():
                return look(text, lambda: execute(sql, params, many, context))
            if not changes_database(text) or runs_alone(text):
                return execute(sql, params, many, context)
            # What a statement holds can only be seen while its transaction is open.
            with transaction.atomic():
                return look(text, lambda: execute(sql, params, many, context))

        def look(text: str, execute: Any) -> Any:
            before = measured(own, held)
            result = execute()
            after = measured(own, held)
            held.looks += 1
            blocking = [
                f"{mode} on {held.tables[oid]}"
                for oid, mode in second.execute(LOCKS, [pid, list(held.tables)])
                if mode in BLOCKING
            ]
            held.locks += len(blocking)
            for oid, (read, file) in after.items() if blocking else ():
                more = read - before[oid][0] if oid in before else 0
                rewritten = oid in before and before[oid][1] != file
                if more >= held.rows[oid] or rewritten:
                    what = "is rewritten" if rewritten else f"is read ({more} rows)"
                    held.problems.append(
                        f"{held.tables[oid]} {what} under {', '.join(blocking)}: "
                        + " ".join(text.split())[:200]
                    )
            return result

        with connection.execute_wrapper(wrapper):
            yield


def runs_alone(text: str) -> bool:
    """Return whether a statement refuses to run in a transaction."""
    return "CONCURRENTLY" in text.upper() or first_word(text) in ALONE


def measured(own: psycopg.Connection[Any], held: LockWatch) -> dict[int, tuple[int, int]]:
    """Return how many rows of each table this transaction has read, and which file holds it."""
    with own.cursor() as cursor:
        rows = cursor.execute(MEASURED, [list(held.tables)]).fetchall()
    return {oid: (read, file) for oid, read, file in rows}
