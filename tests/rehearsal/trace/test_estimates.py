"""What production has to expect: scaled where a statement works on rows, and only there."""

from __future__ import annotations

from django_safemigrations.rehearsal.estimates import estimates
from django_safemigrations.rehearsal.results import (
    Direction,
    LockSeen,
    PassTrace,
    ScanSeen,
    StatementTrace,
    StepKey,
    StepTrace,
)

ORDER = '"public"."order"'
KEY = StepKey("shop", "0002", "0", "expand", "a step")
TEN = {ORDER: (100, 1000)}


def lock(mode: str = "AccessExclusiveLock", held: float = 0.5) -> LockSeen:
    blocks = {"AccessExclusiveLock": "reads and writes", "ShareLock": "writes"}
    return LockSeen(ORDER, mode, blocks.get(mode, "nobody"), 0.0, held)


INSTANT = StatementTrace("ALTER", 0.0, 0.01, locks=(lock(held=0.01),), wal_bytes=100)
BUILD = StatementTrace(
    "CREATE INDEX", 0.0, 0.5, locks=(lock("ShareLock"),), index_builds=('"public"."i"',),
    scans=(ScanSeen(ORDER, 100),), wal_bytes=1000, disk_bytes=800,
)  # fmt: skip


def a_pass(*statements: StatementTrace, seconds: float = 1.0, way: str = "forwards") -> PassTrace:
    return PassTrace(Direction(way), seconds, (StepTrace(KEY, 0.0, seconds, statements),))


def test_a_whole_copy_gives_its_own_figures() -> None:
    [found] = estimates([a_pass(BUILD)])
    assert (found.key, found.seconds, found.blocking_seconds) == (KEY, 1.0, 0.5)
    assert (found.wal_bytes, found.disk_bytes, found.scaled) == (1000, 800, False)


def test_work_on_rows_is_scaled_with_the_rows() -> None:
    [found] = estimates([a_pass(BUILD)], TEN)
    assert (found.seconds, found.blocking_seconds) == (0.5 + 5.0, 5.0)
    assert (found.wal_bytes, found.disk_bytes, found.scaled) == (10_000, 8000, True)


def test_a_change_of_the_catalog_takes_the_same_time_on_any_table() -> None:
    [found] = estimates([a_pass(INSTANT)], TEN)
    assert (found.seconds, found.blocking_seconds, found.scaled) == (1.0, 0.01, False)


def test_other_tables_were_copied_whole() -> None:
    [found] = estimates([a_pass(BUILD)], {"public.customer": (1, 1000)})
    assert not found.scaled


def test_a_lock_is_held_while_later_statements_of_its_transaction_work() -> None:
    first = StatementTrace("ALTER", 0.0, 0.01, locks=(lock(held=0.6),))
    second = StatementTrace(
        "UPDATE", 0.02, 0.5, locks=(lock("RowExclusiveLock"),), rows=100, wal_bytes=1000
    )
    [found] = estimates([a_pass(first, second)], TEN)
    assert found.blocking_seconds == 0.6 + 0.5 * 9
    alone = StatementTrace("ALTER", 0.0, 0.01, locks=(lock(held=0.01),))
    [found] = estimates([a_pass(alone, second)], TEN)
    assert found.blocking_seconds == 0.01


def test_the_slower_pass_forwards_counts_and_the_way_back_does_not() -> None:
    [found] = estimates(
        [
            a_pass(BUILD, seconds=1.0),
            a_pass(BUILD, seconds=9.0, way="backwards"),
            a_pass(BUILD, seconds=2.0, way="forwards again"),
        ]
    )
    assert found.seconds == 2.0
