"""Rows that can't be filled: named, kept for another try, and in nobody's way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import ProgrammingError

from django_safemigrations.backfill import walk
from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.store import State
from django_safemigrations.exceptions import BackfillFailed, DataDiffers
from django_safemigrations.postgres.runner import Runner
from tests.backfill.parcels import (
    ROWS,
    Clock,
    create,
    is_batch,
    left,
    nothing_to_wait_for,
    seeing,
    small_batches,
    state,
    stored,
    task,
    touches,
)
from tests.kit.databases import connect
from tests.postgres.sessions import execute, value

__all__ = ["nothing_to_wait_for", "small_batches"]

BAD = (7, 8, 50, 100)
DIVIDED: dict[str, Any] = {
    "assignments": {"amount": "1000 / (total - total / 1000 * 1000)"},
    "needed": '"amount" IS NULL',
}


def spoil(means: Runner, *totals: int) -> None:
    """Make the expression of `DIVIDED` fail for some rows, named by their total modulo 1000."""
    execute(means.connection, f"UPDATE parcel SET total = 0 WHERE total IN ({_listed(totals)})")
    execute(means.connection, "TRUNCATE touched")


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


KEYS = {
    "int": ("id int PRIMARY KEY", "n", "id = 50"),
    "uuid": ("id uuid PRIMARY KEY", "lpad(n::text, 32, '0')::uuid", "000000000050"),
    "composite": ("a int, b text, PRIMARY KEY (a, b)", "n % 7, n::text", "a = 1, b = 50"),
    "none": ("id int", "n", "ctid = (0,"),
}


@pytest.mark.postgres_versions
@pytest.mark.parametrize("kind", KEYS)
def test_an_expression_that_fails_on_some_rows_fills_all_others(means: Runner, kind: str) -> None:
    columns, key, named = KEYS[kind]
    create(means.connection, columns, key)
    spoil(means, *BAD)
    filling, store = task(means.connection, **DIVIDED), stored(means.connection)
    with pytest.raises(BackfillFailed) as caught:
        fill(means, filling, store)
    message = str(caught.value)
    assert "4 rows" in message
    assert named in message
    assert "division by zero" in message
    assert value(means.connection, "SELECT count(*) FROM parcel WHERE amount IS NULL") == len(BAD)
    assert touches(means.connection)[0] == ROWS - len(BAD)
    assert state(store) is State.FAILED
    # What is mended is filled by the next run, and nothing else is written.
    execute(means.connection, "UPDATE parcel SET total = 500 WHERE total = 0")
    execute(means.connection, "TRUNCATE touched")
    assert fill(means, filling, store) == len(BAD)
    assert touches(means.connection)[0] == len(BAD)
    assert state(store) is State.FINISHED


def test_another_try_names_the_rows_again_that_are_still_bad(means: Runner) -> None:
    create(means.connection)
    spoil(means, *BAD)
    filling, store = task(means.connection, **DIVIDED), stored(means.connection)
    with pytest.raises(BackfillFailed, match="4 rows"):
        fill(means, filling, store)
    execute(means.connection, "UPDATE parcel SET total = 500 WHERE id = 50")
    with pytest.raises(BackfillFailed) as caught:
        fill(means, filling, store)
    assert "3 rows" in str(caught.value)
    assert "id = 50" not in str(caught.value)


def test_without_the_ledger_it_is_the_same(means: Runner) -> None:
    create(means.connection)
    spoil(means, *BAD)
    with pytest.raises(BackfillFailed, match="id = 50: division by zero"):
        fill(means, task(means.connection, **DIVIDED), MemoryProgress())
    assert value(means.connection, "SELECT count(amount) FROM parcel") == ROWS - len(BAD)


def test_a_bad_row_costs_few_batches(means: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for by halving."""
    monkeypatch.setattr(walk, "FIRST_BATCH", 64)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 64)
    create(means.connection)
    spoil(means, 50)
    batches: list[str] = []

    def count(sql: str, params: Any) -> None:
        if is_batch(sql):
            batches.append(sql)

    with seeing(means.connection, count), pytest.raises(BackfillFailed):
        fill(means, task(means.connection, **DIVIDED), stored(means.connection), clock=Clock())
    assert len(batches) <= 2 * 6 + 4


@pytest.mark.postgres_versions
def test_rows_that_a_trigger_protects_are_named(means: Runner) -> None:
    create(means.connection)
    execute(
        means.connection,
        "CREATE FUNCTION protects() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF old.total IN (3, 4) THEN RAISE 'parcel % is closed', old.id; END IF;"
        " RETURN new; END $$",
    )
    execute(
        means.connection,
        "CREATE TRIGGER protects BEFORE UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION protects()",
    )
    with pytest.raises(BackfillFailed) as caught:
        fill(means, task(means.connection), stored(means.connection))
    assert "id = 3: parcel 3 is closed" in str(caught.value)
    assert left(means.connection) == 2


def test_a_trigger_that_swallows_updates_is_seen_by_the_proof(means: Runner) -> None:
    create(means.connection)
    execute(
        means.connection,
        "CREATE FUNCTION swallows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF old.total IN (3, 4) THEN RETURN NULL; END IF; RETURN new; END $$",
    )
    execute(
        means.connection,
        "CREATE TRIGGER swallows BEFORE UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION swallows()",
    )
    with pytest.raises(DataDiffers, match=r"2 rows.*id = [34]"):
        fill(means, task(means.connection), stored(means.connection))
    assert left(means.connection) == 2


def test_where_every_row_fails_it_gives_up_soon(
    means: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "MOST_FAILED", 5)
    create(means.connection)
    execute(means.connection, "ALTER TABLE parcel ADD CHECK (amount IS NULL)")
    store = stored(means.connection)
    with pytest.raises(BackfillFailed, match="more than 5 rows"):
        fill(means, task(means.connection), store)
    assert touches(means.connection) == (0, 0)


def test_what_is_no_row_s_fault_is_raised_as_it_is(means: Runner) -> None:
    create(means.connection)
    filling = task(means.connection, assignments={"amount": "no_such_function(total)"})
    batches = itertools.count()

    def count(sql: str, params: Any) -> None:
        if is_batch(sql):
            next(batches)

    with seeing(means.connection, count), pytest.raises(ProgrammingError, match="no_such_function"):
        fill(means, filling, stored(means.connection))
    assert next(batches) == 1


@pytest.mark.parametrize("needed", ['"amount" IS DISTINCT FROM 1000 / total'])
def test_a_row_that_goes_bad_behind_the_walk_is_named_by_the_next_pass(
    means: Runner, needed: str
) -> None:
    """Then not even the proof can read it."""
    create(means.connection)
    filling = task(means.connection, assignments={"amount": "1000 / total"}, needed=needed)
    batches = itertools.count(1)

    def spoil(sql: str, params: Any) -> None:
        if is_batch(sql) and next(batches) == 4:
            with connect() as other:
                other.execute("UPDATE parcel SET total = 0 WHERE id = 2")

    with seeing(means.connection, spoil), pytest.raises(BackfillFailed) as caught:
        fill(means, filling, stored(means.connection), clock=Clock())
    assert "id = 2: division by zero" in str(caught.value)
    assert value(means.connection, "SELECT count(amount) FROM parcel") == ROWS


def test_only_python_values_that_do_not_fit_fail(means: Runner) -> None:
    create(means.connection)
    execute(means.connection, "ALTER TABLE parcel ADD UNIQUE (amount)")
    execute(means.connection, "DELETE FROM parcel WHERE id > 10")
    filling = task(
        means.connection,
        assignments={"amount": None},
        needed="amount IS NULL",
        values=lambda count: [1] * count,
    )
    with pytest.raises(BackfillFailed, match="9 rows"):
        fill(means, filling, stored(means.connection))
    assert value(means.connection, "SELECT count(amount) FROM parcel") == 1
