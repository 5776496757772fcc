"""Rows inserted, updated, deleted and given other keys by many sessions, while they are filled."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill import ranges
from django_safemigrations.backfill.keyset import fill
from django_safemigrations.postgres.pairs import Pairs, add_columns
from django_safemigrations.postgres.runner import Runner
from tests.backfill.parcels import left, nothing_to_wait_for, small_batches, stored, task
from tests.kit.databases import connect
from tests.postgres.sessions import execute, value

pytestmark = pytest.mark.postgres_versions
__all__ = ["nothing_to_wait_for", "small_batches"]

# Each writer counts up in rows of its own, so that any write that got lost shows.
WRITERS = 3


def synced(means: Runner, key: str, rows: int) -> None:
    execute(means.connection, f"CREATE TABLE parcel ({key}, owner int, total int)")
    execute(
        means.connection,
        "INSERT INTO parcel (id, owner, total)"
        f" SELECT n, n % {WRITERS}, 0 FROM generate_series(1, {rows}) n ORDER BY random()",
    )
    execute(means.connection, "ANALYZE parcel")
    table = means.catalog.table("parcel")
    column = means.catalog.column(table, "total")
    assert column is not None
    add_columns(means, Pairs(table, ((column, "amount"),)))


class Writer:
    """A session of the application, and what it must find in its rows at the end."""

    def __init__(self, number: int, rows: int, seed: int) -> None:
        self.number = number
        self.random = random.Random(seed * 100 + number)
        self.rows = {n: 0 for n in range(1, rows + 1) if n % WRITERS == number}
        self.next = 1_000_000 * (number + 1)

    def write(self, session: psycopg.Connection, step: int) -> None:
        """Do one thing to one row: mostly count it up, in one column or the other."""
        row = self.random.choice(list(self.rows))
        what = self.random.random()
        if what < 0.6:
            column = self.random.choice(["total", "amount"])
            session.execute(f"UPDATE parcel SET {column} = %s WHERE id = %s", [step, row])
            self.rows[row] = step
        elif what < 0.75:
            self.next += 1
            # Ahead of the walk, or behind it.
            new = self.next if self.random.random() < 0.5 else -self.next
            session.execute(
                "INSERT INTO parcel (id, owner, total) VALUES (%s, %s, %s)",
                [new, self.number, step],
            )
            self.rows[new] = step
        elif what < 0.85:
            session.execute("DELETE FROM parcel WHERE id = %s", [row])
            del self.rows[row]
        else:
            self.next += 1
            new = self.next if self.random.random() < 0.5 else -self.next
            session.execute("UPDATE parcel SET id = %s WHERE id = %s", [new, row])
            self.rows[new] = self.rows.pop(row)


@contextmanager
def traffic(rows: int, seed: int) -> Iterator[list[Writer]]:
    """Writers that work inside the block, and have worked before it begins."""
    writers = [Writer(number, rows, seed) for number in range(WRITERS)]
    end, begun = threading.Event(), threading.Barrier(WRITERS + 1)

    def run(writer: Writer) -> None:
        with connect() as session:
            for step in range(1, 1_000_000):
                writer.write(session, step)
                if step == 3:
                    begun.wait(30)
                if end.is_set():
                    return

    with ThreadPoolExecutor(WRITERS) as pool:
        running = [pool.submit(run, writer) for writer in writers]
        try:
            begun.wait(30)
            yield writers
        finally:
            end.set()
            for each in running:
                each.result()


def rows_of(connection: BaseDatabaseWrapper, number: int) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, total FROM parcel WHERE owner = %s", [number])
        return dict(cursor.fetchall())


@pytest.mark.parametrize(
    ("key", "rows", "seed"),
    [
        pytest.param("id bigint PRIMARY KEY", 600, 1, id="key"),
        pytest.param("id bigint", 600, 2, id="no_key"),
        *(
            pytest.param(key, 6_000, seed, id=f"{name}_{seed}", marks=pytest.mark.exhaustive)
            for name, key in (("key", "id bigint PRIMARY KEY"), ("no_key", "id bigint"))
            for seed in range(3, 6)
        ),
    ],
)
def test_no_write_is_lost_and_every_row_is_filled(
    means: Runner, monkeypatch: pytest.MonkeyPatch, key: str, rows: int, seed: int
) -> None:
    monkeypatch.setattr(ranges, "ROWS_A_RANGE", rows // 4)
    synced(means, key, rows)
    with traffic(rows, seed) as writers:
        fill(means, task(means.connection), stored(means.connection))
    assert left(means.connection) == 0
    for writer in writers:
        assert rows_of(means.connection, writer.number) == writer.rows
    assert value(means.connection, "SELECT count(*) FROM parcel") == sum(
        len(writer.rows) for writer in writers
    )
