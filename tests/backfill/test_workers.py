"""Many workers on one backfill, and what happens to those that are killed, stopped or hang."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill import ranges, walk
from django_safemigrations.backfill.keyset import assist, fill
from django_safemigrations.backfill.leases import LedgerProgress
from django_safemigrations.backfill.ranges import Range
from django_safemigrations.backfill.store import LeaseLost, State
from django_safemigrations.backfill.surroundings import surrounded_by
from django_safemigrations.exceptions import BackfillCancelled, BackfillLeft
from django_safemigrations.models import BackfillRange
from django_safemigrations.postgres.runner import Runner, runner
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
from tests.kit.databases import PROBE_ALIAS, connect
from tests.kit.forks import fork, wait_for
from tests.kit.kill import wait_until, wait_until_alone
from tests.postgres.sessions import execute, holding, value

pytestmark = pytest.mark.postgres_versions
__all__ = ["nothing_to_wait_for", "small_batches"]

KEY = "public.parcel: total to amount"


@pytest.fixture(autouse=True)
def many_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are enough for five ranges."""
    monkeypatch.setattr(ranges, "ROWS_A_RANGE", 20)


def made(database: BaseDatabaseWrapper) -> None:
    create(database)
    execute(database, "ANALYZE parcel")


@contextlib.contextmanager
def worker(lease: float = 30.0) -> Iterator[tuple[Runner, LedgerProgress]]:
    """A worker on the `default` connection of this process."""
    with connection.schema_editor(atomic=False) as editor, runner(editor) as means:
        yield means, LedgerProgress(connection, KEY, "public.parcel", lease=lease)


def work(lease: float = 30.0) -> int:
    with worker(lease) as (means, store):
        return fill(means, task(connection), store, clock=Clock())


class Twice:
    """A table of one range, and two stores that see it."""

    def __init__(self, database: BaseDatabaseWrapper, other: BaseDatabaseWrapper) -> None:
        self.one = LedgerProgress(database, KEY, "t", worker="one")
        self.two = LedgerProgress(other, KEY, "t", worker="two")
        found = [Range("t", None, ["9"]), Range("t", ["9"], ["20"])]
        self.one.begin({"kind": "sql"}, "t", found, rows_total=20, passes=0)


@pytest.fixture
def twice(database: BaseDatabaseWrapper) -> Twice:
    return Twice(database, connections[PROBE_ALIAS])


class TestLeases:
    def test_nobody_gets_a_range_that_somebody_holds(self, twice: Twice) -> None:
        one, two = twice.one.claim(), twice.two.claim()
        assert one is not None
        assert two is not None
        assert one.id != two.id
        assert LedgerProgress(twice.two.connection, KEY, "t", worker="three").claim() is None

    def test_a_lease_that_expired_can_be_taken_and_its_holder_notices(self, twice: Twice) -> None:
        twice.one.lease = 0.0
        mine = twice.one.claim()
        taken = twice.two.claim()
        assert mine is not None
        assert taken is not None
        assert taken.id == mine.id
        with pytest.raises(LeaseLost):
            twice.one.hold(mine)
        with pytest.raises(LeaseLost):
            twice.one.renew(mine)

    def test_a_lease_whose_session_is_gone_is_free_at_once(self, twice: Twice) -> None:
        mine = twice.one.claim()
        assert mine is not None
        twice.one.connection.close()

        def is_taken() -> bool:
            taken = twice.two.claim()
            return taken is not None and taken.id == mine.id

        wait_until(is_taken, lambda: "the lease is not free")

    def test_a_batch_in_flight_keeps_its_range_also_when_the_lease_has_expired(
        self, twice: Twice
    ) -> None:
        twice.one.lease = 0.0
        mine = twice.one.claim()
        assert mine is not None
        execute(twice.one.connection, "BEGIN")
        twice.one.hold(mine)
        other = twice.two.claim()
        assert other is not None
        assert other.id != mine.id
        execute(twice.one.connection, "ROLLBACK")

    @pytest.mark.parametrize("how", ["paused", "cancelled", "failed", "finished"])
    def test_nothing_is_given_out_of_what_is_not_to_be_worked_on(
        self, twice: Twice, how: str
    ) -> None:
        execute(
            twice.one.connection,
            "UPDATE django_safemigrations_backfillprogress SET state = %s",
            [how],
        )
        assert twice.one.claim() is None


class TestSharing:
    def test_the_table_is_split_by_its_key(self, database: BaseDatabaseWrapper) -> None:
        made(database)
        with surrounded_by(leave=True), pytest.raises(BackfillLeft, match="runbackfill"):
            work()
        found = list(BackfillRange.objects.order_by("number"))
        assert len(found) >= 3
        assert found[0].lower is None
        assert found[-1].upper == ["100"]
        assert [each.lower for each in found[1:]] == [each.upper for each in found[:-1]]
        assert state(stored(database)) is State.PENDING

    def test_two_processes_fill_every_row_once(
        self, database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made(database)
        # However late one of them starts: nobody fills a row before both hold a range.
        both = multiprocessing.get_context("fork").Barrier(2, timeout=60)
        claim = LedgerProgress.claim

        def claim_together(store: LedgerProgress) -> Any:
            lease = claim(store)
            monkeypatch.setattr(LedgerProgress, "claim", claim)
            both.wait()
            return lease

        def child() -> None:
            monkeypatch.setattr(LedgerProgress, "claim", claim_together)
            assert work() > 0

        ended = [wait_for(*each) for each in [fork(child), fork(child)]]
        assert not any(child.error for child in ended), ended
        assert touches(database) == (ROWS, ROWS)
        assert state(stored(database)) is State.FINISHED

    def test_a_worker_helps_with_what_another_has_begun(
        self, database: BaseDatabaseWrapper
    ) -> None:
        made(database)
        with surrounded_by(leave=True), pytest.raises(BackfillLeft):
            work()
        with worker() as (means, store):
            assert assist(means, task(database), store) == ROWS
        assert left(database) == 0
        # What was left for workers is found done by whoever began it.
        with surrounded_by(leave=True):
            assert work() == 0

    def test_other_ranges_are_done_while_a_row_stays_locked(
        self, database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(walk, "ROW_LOCK_TIMEOUT", "20ms")
        monkeypatch.setattr(walk, "PUT_OFF_FOR", 0.05)
        made(database)
        most: list[int] = []
        with holding("UPDATE parcel SET total = 99 WHERE id = 3") as slow:

            def sleep(seconds: float) -> None:
                most.append(value(connection, "SELECT count(amount) FROM parcel"))
                if most[-1] >= 60:
                    slow.commit()

            with worker() as (means, store):
                fill(means, task(database), store, clock=Clock(), sleep=sleep)
        assert max(most) >= 60
        assert value(database, "SELECT amount FROM parcel WHERE id = 3") == 99
        assert left(database) == 0


def before(look: Callable[[str], bool], act: Callable[[], object], nth: int = 3) -> Any:
    """Act before the n-th statement of a kind, once."""
    seen = itertools.count(1)

    def found(sql: str, params: Any) -> None:
        if look(sql) and next(seen) == nth:
            act()

    return seeing(connection, found)


def begins(sql: str) -> bool:
    return "idle_in_transaction" in str(sql) or sql.startswith("SELECT set_config(%s")


def progresses(sql: str) -> bool:
    return sql.startswith("UPDATE django_safemigrations_backfillrange SET last_key")


class TestFaults:
    @pytest.mark.parametrize("when", [is_batch, progresses], ids=["before_rows", "after_rows"])
    def test_a_backend_that_is_terminated_loses_its_batch_and_nothing_else(
        self, database: BaseDatabaseWrapper, when: Callable[[str], bool]
    ) -> None:
        made(database)

        def terminate() -> None:
            pid = connection.connection.info.backend_pid
            with connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        with before(when, terminate), pytest.raises(OperationalError):
            work()
        connection.close()
        done, different = touches(database)
        assert 0 < done == different < ROWS
        assert stored(database).totals().rows_done == done
        work()
        assert touches(database) == (ROWS, ROWS)
        assert left(database) == 0

    @pytest.mark.parametrize("when", [is_batch, progresses], ids=["before_rows", "after_rows"])
    def test_a_worker_that_is_killed_is_replaced_at_once(
        self, database: BaseDatabaseWrapper, when: Callable[[str], bool]
    ) -> None:
        made(database)

        def child() -> None:
            with before(when, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                work(lease=3600)

        assert wait_for(*fork(child)).signal == signal.SIGKILL
        wait_until_alone(str(database.settings_dict["NAME"]))
        # Nobody waits for the end of an hour's lease.
        work()
        assert touches(database) == (ROWS, ROWS)
        assert left(database) == 0

    @pytest.mark.parametrize(
        "when", [begins, is_batch, progresses], ids=["between", "before_rows", "after_rows"]
    )
    def test_a_worker_that_hangs_and_wakes_after_its_lease_writes_nothing(
        self, database: BaseDatabaseWrapper, when: Callable[[str], bool]
    ) -> None:
        made(database)

        def child() -> None:
            with before(when, lambda: os.kill(os.getpid(), signal.SIGSTOP)):
                # It helps, and then finds it done; or its session was ended meanwhile.
                with contextlib.suppress(Error):
                    work(lease=1)

        pid, pipe = fork(child)
        os.waitpid(pid, os.WUNTRACED)
        try:
            work()
            assert left(database) == 0
            execute(database, "UPDATE parcel SET total = -total, amount = -total")
            before_waking = touches(database)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert wait_for(pid, pipe).error == ""
        assert touches(database) == before_waking
        assert left(database) == 0
        assert value(database, "SELECT max(amount) FROM parcel") == -1


class TestControl:
    """What somebody does to the ledger's row while workers work."""

    def tell(self, how: str, reason: str = "") -> None:
        with connect() as other:
            other.execute(
                "UPDATE django_safemigrations_backfillprogress SET state = %s, reason = %s",
                [how, reason],
            )

    def test_a_paused_one_waits_between_two_batches_until_it_is_resumed(
        self, database: BaseDatabaseWrapper
    ) -> None:
        made(database)
        done: list[int] = []

        def sleep(seconds: float) -> None:
            done.append(touches(database)[0])
            if len(done) == 3:
                self.tell("running")

        with before(is_batch, lambda: self.tell("paused", "rush hour")), worker() as (means, store):
            fill(means, task(database), store, clock=Clock(), sleep=sleep)
        assert len(done) == 3
        assert 0 < done[0] == done[1] == done[2] < ROWS
        assert touches(database) == (ROWS, ROWS)

    def test_a_cancelled_one_ends_with_what_to_type_and_stays_so(
        self, database: BaseDatabaseWrapper
    ) -> None:
        made(database)
        with (
            before(is_batch, lambda: self.tell("cancelled", "wrong column")),
            pytest.raises(BackfillCancelled, match=r"wrong column.*runbackfill --resume"),
        ):
            work()
        done = touches(database)[0]
        assert 0 < done < ROWS
        with pytest.raises(BackfillCancelled):
            work()
        assert touches(database)[0] == done
        self.tell("running")
        work()
        assert touches(database) == (ROWS, ROWS)

    def test_one_that_is_cancelled_during_its_proof_is_not_called_finished(
        self, database: BaseDatabaseWrapper
    ) -> None:
        made(database)

        def proves(sql: str) -> bool:
            return sql.startswith("SELECT count(*) FROM public.")

        with (
            before(proves, lambda: self.tell("cancelled"), nth=1),
            pytest.raises(BackfillCancelled),
        ):
            work()
        assert state(stored(database)) is State.CANCELLED

    def test_a_worker_that_is_told_to_end_gives_its_range_back(
        self, database: BaseDatabaseWrapper
    ) -> None:
        made(database)
        stops: list[bool] = [False]
        with (
            surrounded_by(stop=lambda: stops[0]),
            before(is_batch, lambda: stops.__setitem__(0, True)),
        ):
            changed = work()
        assert 0 < changed < ROWS
        assert not BackfillRange.objects.exclude(leased_by="").exists()
        assert work() == ROWS - changed
