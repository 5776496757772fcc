"""A table of a hundred rows to be filled, and what tests see of its filling."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill import walk
from django_safemigrations.backfill.keyset import Fill
from django_safemigrations.backfill.leases import LedgerProgress
from django_safemigrations.backfill.store import State
from django_safemigrations.backfill.surroundings import surrounded_by, unthrottled
from django_safemigrations.postgres.catalog import Catalog, quote
from tests.postgres.sessions import execute, value

ROWS = 100

# Remembers every row that was changed, in the transaction that changed it.
COUNTER = """
    CREATE TABLE touched (id text);
    CREATE FUNCTION count_touches() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO touched VALUES (new.total::text); RETURN new; END $$;
"""


class Clock:
    """Time that passes only when a test lets it."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are many."""
    monkeypatch.setattr(walk, "FIRST_BATCH", 16)
    monkeypatch.setattr(walk, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 16)


@pytest.fixture(autouse=True)
def nothing_to_wait_for() -> Iterator[None]:
    """The throttle has tests of its own."""
    with surrounded_by(throttle=unthrottled):
        yield


def create(
    connection: BaseDatabaseWrapper,
    columns: str = "id int PRIMARY KEY",
    key: str = "n",
    name: str = "parcel",
) -> None:
    """Create a table of a hundred rows: its key, `total`, and `amount` still to be filled.

    Args:
        connection: the database.
        columns: definition of the key.
        key: its value for the n-th row.
        name: of the table.
    """
    table = quote(name)
    execute(connection, f"CREATE TABLE {table} ({columns}, total int, amount int)")
    execute(
        connection,
        f"INSERT INTO {table} SELECT {key}, n FROM generate_series(1, {ROWS}) n ORDER BY random()",
    )
    execute(connection, COUNTER)
    execute(
        connection,
        f"CREATE TRIGGER counts AFTER UPDATE ON {table} FOR EACH ROW"
        " EXECUTE FUNCTION count_touches()",
    )


def task(connection: BaseDatabaseWrapper, name: str = "parcel", **more: Any) -> Fill:
    table = Catalog(connection).find_table(f'"public".{quote(name)}')
    assert table is not None
    given: dict[str, Any] = {
        "assignments": {"amount": '"total"'},
        "needed": '"amount" IS DISTINCT FROM "total"',
        "title": "copying",
    }
    return Fill(table=table, **{**given, **more})


def touches(connection: BaseDatabaseWrapper) -> tuple[int, int]:
    """Return how many rows were changed, and how many different ones."""
    return (
        value(connection, "SELECT count(*) FROM touched"),
        value(connection, "SELECT count(DISTINCT id) FROM touched"),
    )


def left(connection: BaseDatabaseWrapper, name: str = "parcel") -> int:
    sql = f"SELECT count(*) FROM {quote(name)} WHERE amount IS DISTINCT FROM total"
    return int(value(connection, sql))


@contextlib.contextmanager
def seeing(connection: BaseDatabaseWrapper, look: Callable[[str, Any], None]) -> Iterator[None]:
    """Call back with every statement and its parameters before it runs."""

    def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        look(str(sql), params)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield


def is_batch(sql: str) -> bool:
    return sql.startswith('UPDATE "public".') or sql.startswith("UPDATE public.")


def state(store: LedgerProgress) -> State | None:
    known = store.load()
    return None if known is None else known.state


def stored(connection: BaseDatabaseWrapper) -> LedgerProgress:
    return LedgerProgress(connection, "public.parcel: total to amount", "public.parcel")
