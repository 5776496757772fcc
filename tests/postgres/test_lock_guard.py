"""The lock guard: short waits, many attempts, and a message that names who is in the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError, ProgrammingError
from django.test import override_settings
from psycopg import sql

from django_safemigrations.exceptions import LockNotGranted
from django_safemigrations.postgres.locks import LockGuard, guarded_execution
from tests.kit.databases import connect
from tests.kit.kill import wait_until
from tests.postgres.sessions import (
    execute,
    guarded,
    holding,
    lock_timeout,
    pid_of,
    value,
    wait_until_it_waits,
    waits,
)

ALTER = "ALTER TABLE parcel ADD COLUMN weight integer"
READ = "SELECT count(*) FROM parcel"


@pytest.fixture
def parcels(database: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    execute(database, "CREATE TABLE parcel (id bigint PRIMARY KEY, code text)")
    execute(database, "INSERT INTO parcel SELECT n, n FROM generate_series(1, 10) n")
    return database


class Pauses:
    """Takes the place of sleep: no time passes, and the n-th pause can do something."""

    def __init__(self, then: Callable[[], object] | None = None, at: int = 3) -> None:
        self.seconds: list[float] = []
        self.then = then
        self.at = at

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if self.then is not None and len(self.seconds) == self.at:
            self.then()


def columns(connection: BaseDatabaseWrapper) -> set[str]:
    with connect() as session:
        rows = session.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'parcel'::regclass AND attnum > 0"
        )
        return {row[0] for row in rows}


class TestAttempts:
    def test_a_statement_is_tried_again_until_the_lock_is_free(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with holding(READ) as reader:
            pauses = Pauses(reader.rollback)
            guard = LockGuard(parcels, 50, 120, sleep=pauses)
            with guarded(parcels, guard) as attempts:
                execute(parcels, ALTER)
        assert attempts.statements == [ALTER] * 4
        assert len(pauses.seconds) == 3
        assert "weight" in columns(parcels)

    def test_each_attempt_waits_fifty_milliseconds(self, parcels: BaseDatabaseWrapper) -> None:
        with holding(READ) as reader:
            guard = LockGuard(parcels, 50, 120, sleep=Pauses(reader.rollback, at=2))
            began = time.monotonic()
            with guarded(parcels, guard) as attempts:
                execute(parcels, ALTER)
        assert attempts.timeouts == ["50ms"] * 3
        assert time.monotonic() - began >= 0.1

    def test_pauses_grow_to_a_second_and_differ_from_run_to_run(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        def pauses(**jitter: Callable[[], float]) -> list[float]:
            execute(parcels, "ALTER TABLE parcel DROP COLUMN IF EXISTS weight")
            with holding(READ) as reader:
                taken = Pauses(reader.rollback, at=8)
                guard = LockGuard(parcels, 5, 120, sleep=taken, **jitter)
                with guarded(parcels, guard):
                    execute(parcels, ALTER)
            return taken.seconds

        steady = pauses(jitter=lambda: 1.0)
        assert steady == sorted(steady)
        assert steady[0] == pytest.approx(0.1)
        assert steady[-1] == steady[-2] == pytest.approx(1.0)
        assert pauses() != pauses()

    def test_the_budget_is_counted_from_the_first_failure_of_each_statement(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        now = 0.0

        def sleep(seconds: float) -> None:
            nonlocal now
            now += 4
            if now in (8, 16):
                reader.rollback()

        guard = LockGuard(parcels, 20, 10, sleep=sleep, clock=lambda: now)
        with guarded(parcels, guard):
            with holding(READ) as reader:
                execute(parcels, ALTER)
            with holding(READ) as reader:
                execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
        assert {"weight", "height"} <= columns(parcels)

    def test_an_error_that_is_no_lock_timeout_is_not_tried_again(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        pauses = Pauses()
        with (
            guarded(parcels, LockGuard(parcels, 50, 120, sleep=pauses)) as attempts,
            pytest.raises(ProgrammingError, match="already exists"),
        ):
            execute(parcels, "ALTER TABLE parcel ADD COLUMN code text")
        assert len(attempts.statements) == 1
        assert pauses.seconds == []

    def test_a_reader_behind_us_gets_through_while_the_lock_is_still_held(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        """An unguarded ALTER TABLE in the queue would hold up every reader until the report ends."""
        pid = pid_of(parcels)
        taken: list[float] = []

        def read() -> None:
            with connect() as reader:
                reader.execute("SET statement_timeout = '20s'")
                for _ in range(5):
                    wait_until_it_waits(pid)
                    began = time.monotonic()
                    reader.execute(READ)
                    taken.append(time.monotonic() - began)
            report.rollback()

        with holding(READ) as report, ThreadPoolExecutor(1) as pool:
            with guarded_execution(parcels):
                reading = pool.submit(read)
                execute(parcels, ALTER)
            reading.result()
        assert len(taken) == 5
        # 50 ms is the timeout; the rest is what a busy machine may need.
        assert max(taken) < 0.5, taken
        assert "weight" in columns(parcels)


class TestLockNotGranted:
    def test_after_the_budget_the_sessions_in_the_way_are_named(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with holding("SELECT count(*) FROM   parcel -- monthly") as report:
            with (
                override_settings(SAFE_MIGRATIONS={"LOCK_BUDGET": 1.5, "LOCK_TIMEOUT": 40}),
                guarded_execution(parcels),
                pytest.raises(LockNotGranted) as caught,
            ):
                execute(parcels, ALTER)
            pid = report.info.backend_pid
            [user] = report.execute("SELECT current_user").fetchone() or [None]
        [blocker] = caught.value.blockers
        assert blocker.pid == pid
        assert blocker.user == user
        assert blocker.application == "nightly report"
        assert blocker.state == "idle in transaction"
        assert blocker.query == "SELECT count(*) FROM parcel -- monthly"
        assert blocker.relation == "public.parcel"
        assert 0 < blocker.seconds < 60
        assert caught.value.seconds >= 1.5
        message = str(caught.value)
        for part in (
            ALTER,
            "LOCK_BUDGET",
            f"pid {pid}",
            f"user {user}",
            "nightly report",
            "public.parcel",
            "SELECT count(*) FROM parcel -- monthly",
            f"pg_terminate_backend({pid})",
        ):
            assert part in message, message
        assert "weight" not in columns(parcels)

    def test_every_session_in_the_way_is_named_the_oldest_first(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with (
            holding(READ, application="first"),
            holding(READ, application="second"),
            override_settings(SAFE_MIGRATIONS={"LOCK_BUDGET": 1}),
            guarded_execution(parcels),
            pytest.raises(LockNotGranted) as caught,
        ):
            execute(parcels, ALTER)
        assert [b.application for b in caught.value.blockers] == ["first", "second"]

    def test_a_session_that_is_gone_at_the_end_is_not_blamed(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        """Whoever was in the way long ago must not be offered to be terminated now."""
        pauses: list[float] = []
        with holding(READ, application="ended") as ended, connect(application_name="now") as now:

            def sleep(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == 12:
                    now.execute("BEGIN")
                    now.execute(READ)
                    ended.rollback()

            guard = LockGuard(parcels, 50, 25, sleep=sleep, clock=lambda: float(len(pauses)))
            with guarded(parcels, guard), pytest.raises(LockNotGranted) as caught:
                execute(parcels, ALTER)
        assert [b.application for b in caught.value.blockers] == ["now"]

    def test_the_second_look_goes_away_with_the_statement(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with holding(READ) as reader:
            with guarded(parcels, LockGuard(parcels, 50, 120, sleep=Pauses(reader.rollback))):
                execute(parcels, ALTER)
            name = str(parcels.settings_dict["NAME"])
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
            mine = pid_of(parcels)
            wait_until(
                lambda: value(parcels, count, [name, mine]) == 1, lambda: "a session is left over"
            )


class TestExemptions:
    def test_concurrent_builds_wait_as_long_as_it_takes(self, parcels: BaseDatabaseWrapper) -> None:
        execute(parcels, "SET lock_timeout = '10ms'")
        pid = pid_of(parcels)
        pauses = Pauses()

        def commit() -> None:
            wait_until_it_waits(pid, seconds=0.3)
            writer.commit()

        with (
            holding("INSERT INTO parcel VALUES (11)") as writer,
            ThreadPoolExecutor(1) as pool,
            guarded(parcels, LockGuard(parcels, 50, 120, sleep=pauses)) as attempts,
        ):
            committing = pool.submit(commit)
            execute(parcels, "CREATE INDEX CONCURRENTLY parcel_code ON parcel (code)")
            committing.result()
        assert pauses.seconds == []
        assert attempts.timeouts == ["0"]
        assert lock_timeout(parcels) == "10ms"
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'parcel_code'::regclass"
        assert value(parcels, valid) is True

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE parcel SET code = 'x' WHERE id = 1",
            "SELECT FROM parcel WHERE id = 1 FOR UPDATE",
            "DELETE FROM parcel WHERE id = 1",
            "-- a comment first\n WITH one AS (DELETE FROM parcel WHERE id = 1) SELECT 1",
        ],
    )
    def test_row_locks_of_data_statements_are_not_cut(
        self, parcels: BaseDatabaseWrapper, statement: str
    ) -> None:
        pid = pid_of(parcels)
        pauses = Pauses()

        def commit() -> None:
            wait_until_it_waits(pid, seconds=0.3)
            writer.commit()

        with (
            holding("UPDATE parcel SET code = 'theirs' WHERE id = 1") as writer,
            ThreadPoolExecutor(1) as pool,
            guarded(parcels, LockGuard(parcels, 50, 120, sleep=pauses)) as attempts,
        ):
            committing = pool.submit(commit)
            execute(parcels, statement)
            committing.result()
        assert pauses.seconds == []
        assert attempts.timeouts == ["0"]

    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param("COMMENT ON TABLE parcel IS 'built CONCURRENTLY once'", id="a_comment"),
            pytest.param(
                "ALTER TABLE parcel ADD COLUMN how text DEFAULT 'not CONCURRENTLY at all'",
                id="a_default",
            ),
            pytest.param('ALTER TABLE parcel ADD COLUMN "CONCURRENTLY" text', id="an_identifier"),
            pytest.param(
                'ALTER TABLE parcel ADD COLUMN "how CONCURRENTLY so" text',
                id="part_of_an_identifier",
            ),
        ],
    )
    def test_a_text_that_says_concurrently_exempts_nothing(
        self, parcels: BaseDatabaseWrapper, statement: str
    ) -> None:
        with guarded(parcels, LockGuard(parcels, 50, 120)) as attempts:
            execute(parcels, statement)
        assert attempts.timeouts == ["50ms"]

    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param(f"SET statement_timeout = 0; {ALTER}", id="after_SET"),
            pytest.param(f"UPDATE parcel SET code = 'x' WHERE id = 1; {ALTER}", id="after_UPDATE"),
            pytest.param(f"SELECT 1;\n-- then\n{ALTER};", id="after_SELECT"),
        ],
    )
    def test_a_script_of_several_statements_is_guarded_for_its_ddl(
        self, parcels: BaseDatabaseWrapper, statement: str
    ) -> None:
        """RunSQL sends a script as one statement."""
        with guarded(parcels, LockGuard(parcels, 50, 120)) as attempts:
            execute(parcels, statement)
        assert attempts.timeouts == ["50ms"]

    @pytest.mark.parametrize("kind", ["bytes", "composed", "lower case", "parenthesis"])
    def test_ddl_is_guarded_however_it_is_written(
        self, parcels: BaseDatabaseWrapper, kind: str
    ) -> None:
        """RunPython may hand psycopg's own objects to the cursor."""
        composed = sql.SQL("ALTER TABLE {} ADD COLUMN weight int").format(sql.Identifier("parcel"))
        statement = {
            "bytes": ALTER.encode(),
            "composed": composed,
            "lower case": ALTER.lower(),
            "parenthesis": f"\n\t /* why */ {ALTER}",
        }[kind]
        with guarded(parcels, LockGuard(parcels, 50, 120)) as attempts:
            execute(parcels, statement)
        assert attempts.timeouts == ["50ms"]


class TestSessionSetting:
    @pytest.fixture(autouse=True)
    def own_setting(self, parcels: BaseDatabaseWrapper) -> None:
        execute(parcels, "SET lock_timeout = '1234ms'")

    def test_lock_timeout_is_as_before_after_a_statement(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with guarded_execution(parcels):
            execute(parcels, ALTER)
            assert lock_timeout(parcels) == "1234ms"
        assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_an_error(self, parcels: BaseDatabaseWrapper) -> None:
        with guarded_execution(parcels), pytest.raises(ProgrammingError):
            execute(parcels, "ALTER TABLE parcel ADD COLUMN code text")
        assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_a_concurrent_build_that_failed(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with guarded_execution(parcels), pytest.raises(DatabaseError):
            execute(parcels, "CREATE INDEX CONCURRENTLY parcel_code ON parcel (no_such_column)")
        assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_a_lock_was_not_granted(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with (
            holding(READ),
            override_settings(SAFE_MIGRATIONS={"LOCK_BUDGET": 0.2}),
            guarded_execution(parcels),
            pytest.raises(LockNotGranted),
        ):
            execute(parcels, ALTER)
        assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_inside_and_after_a_transaction(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with guarded_execution(parcels):
            with transaction.atomic():
                execute(parcels, ALTER)
                assert lock_timeout(parcels) == "1234ms"
            assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_a_rollback(self, parcels: BaseDatabaseWrapper) -> None:
        with guarded_execution(parcels):
            with pytest.raises(ProgrammingError), transaction.atomic():
                execute(parcels, "ALTER TABLE parcel ADD COLUMN code text")
            assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_a_rollback_to_a_savepoint(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with guarded_execution(parcels), transaction.atomic():
            with pytest.raises(ProgrammingError), transaction.atomic():
                execute(parcels, "ALTER TABLE parcel ADD COLUMN code text")
            assert lock_timeout(parcels) == "1234ms"

    def test_lock_timeout_is_as_before_after_an_error_that_the_server_never_saw(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        """The transaction goes on, and its data statements must not be cut at 50 ms."""
        with guarded_execution(parcels), transaction.atomic():
            with pytest.raises(DatabaseError):
                execute(parcels, ALTER + " DEFAULT %s", [1, 2, 3])
            assert lock_timeout(parcels) == "1234ms"

    def test_a_nested_guard_restores_the_outer_setting(self, parcels: BaseDatabaseWrapper) -> None:
        with guarded_execution(parcels) as outer:
            with guarded_execution(parcels) as inner:
                execute(parcels, ALTER)
            assert inner is outer
            assert lock_timeout(parcels) == "1234ms"


class TestTransactions:
    def test_an_atomic_block_is_tried_again_as_a_whole(self, parcels: BaseDatabaseWrapper) -> None:
        began: list[int] = []
        with holding(READ) as reader:
            guard = LockGuard(parcels, 30, 120, sleep=Pauses(reader.rollback))

            def attempt() -> str:
                began.append(1)
                with transaction.atomic():
                    execute(parcels, "INSERT INTO parcel VALUES (99, 'ours')")
                    execute(parcels, ALTER)
                return "done"

            with guarded(parcels, guard):
                assert guard.run(attempt, "a migration") == "done"
        assert len(began) == 4
        assert value(parcels, "SELECT count(*) FROM parcel WHERE id = 99") == 1
        assert "weight" in columns(parcels)

    def test_between_attempts_an_atomic_block_holds_no_locks(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        execute(parcels, "CREATE TABLE shelf (id int)")
        held: list[int] = []
        pid = pid_of(parcels)
        with holding(READ) as reader, connect() as looking:

            def sleep(seconds: float) -> None:
                query = "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
                row = looking.execute(query, [pid]).fetchone()
                held.append(row[0] if row else -1)
                if len(held) == 2:
                    reader.rollback()

            guard = LockGuard(parcels, 30, 120, sleep=sleep)

            def attempt() -> None:
                with transaction.atomic():
                    execute(parcels, "ALTER TABLE shelf ADD COLUMN size integer")
                    execute(parcels, ALTER)

            with guarded(parcels, guard):
                guard.run(attempt, "a migration")
        assert held == [0, 0]

    def test_a_statement_in_a_transaction_of_somebody_else_is_not_tried_again(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        """A second attempt would meet an aborted transaction: its owner has to begin again."""
        pauses = Pauses()
        with (
            holding(READ),
            guarded(parcels, LockGuard(parcels, 30, 120, sleep=pauses)),
            pytest.raises(OperationalError),
            transaction.atomic(),
        ):
            execute(parcels, ALTER)
        assert pauses.seconds == []

    def test_a_lock_that_is_never_granted_leaves_nothing_of_an_atomic_block(
        self, parcels: BaseDatabaseWrapper
    ) -> None:
        with (
            holding(READ) as reader,
            override_settings(SAFE_MIGRATIONS={"LOCK_BUDGET": 0.7}),
            guarded_execution(parcels) as guard,
        ):

            def attempt() -> None:
                with transaction.atomic():
                    execute(parcels, "INSERT INTO parcel VALUES (99, 'ours')")
                    execute(parcels, ALTER)

            with pytest.raises(LockNotGranted, match="shop 0042") as caught:
                guard.run(attempt, "shop 0042")
            assert [b.pid for b in caught.value.blockers] == [reader.info.backend_pid]
        assert value(parcels, "SELECT count(*) FROM parcel WHERE id = 99") == 0
        assert "weight" not in columns(parcels)

    def test_a_deadlock_is_tried_again(self, parcels: BaseDatabaseWrapper) -> None:
        pid = pid_of(parcels)
        # Whose deadlock_timeout ends first is the one that gives way: we are.
        execute(parcels, "SET deadlock_timeout = '20ms'")
        began: list[int] = []

        def theirs() -> None:
            wait_until(lambda: bool(began), lambda: "the first attempt did not begin")
            other.execute("UPDATE parcel SET code = 'theirs' WHERE id = 1")
            other.execute("COMMIT")

        with (
            holding(
                "SET deadlock_timeout = '1min'", "UPDATE parcel SET code = 'theirs' WHERE id = 2"
            ) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            pauses = Pauses()
            guard = LockGuard(parcels, 50, 120, sleep=pauses)

            def attempt() -> None:
                with transaction.atomic():
                    execute(parcels, "UPDATE parcel SET code = 'ours' WHERE id = 1")
                    began.append(pid)
                    if len(began) == 1:
                        wait_until_it_waits(other.info.backend_pid)
                    execute(parcels, "UPDATE parcel SET code = 'ours' WHERE id = 2")

            with guarded(parcels, guard):
                writing = pool.submit(theirs)
                guard.run(attempt, "a migration")
                writing.result()
        assert len(began) == 2
        assert len(pauses.seconds) == 1
        codes = "SELECT array_agg(code ORDER BY id) FROM parcel WHERE id IN (1, 2)"
        assert value(parcels, codes) == ["ours", "ours"]


def test_a_session_that_never_waited_is_not_reported_as_waiting(
    parcels: BaseDatabaseWrapper,
) -> None:
    with holding(READ):
        assert not waits(pid_of(parcels))
