"""The backfill's walk: every row once, in short transactions, from where it was stopped."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_safemigrations.backfill import walk
from django_safemigrations.backfill.keyset import Fill, fill
from django_safemigrations.backfill.leases import LedgerProgress
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.progress import progress_store
from django_safemigrations.backfill.ranges import Range
from django_safemigrations.backfill.report import Lines, reporting_to
from django_safemigrations.backfill.store import State, Step
from django_safemigrations.backfill.surroundings import surrounded_by
from django_safemigrations.exceptions import DataDiffers, LockNotGranted, UnsupportedChange
from django_safemigrations.models import BackfillRange
from django_safemigrations.postgres.catalog import quote
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
from tests.kit.databases import connect
from tests.kit.kill import run_killed
from tests.postgres.sessions import execute, holding, value

pytestmark = pytest.mark.postgres_versions

__all__ = ["nothing_to_wait_for", "small_batches"]


KEYS = {
    "int": ("id int PRIMARY KEY", "n - 50"),
    "bigint": ("id bigint PRIMARY KEY", "n * 1000000007::bigint"),
    "uuid": ("id uuid PRIMARY KEY", "md5(n::text)::uuid"),
    "text": (
        "id text PRIMARY KEY",
        "CASE n % 3 WHEN 0 THEN 'Ä'' %s' WHEN 1 THEN 'b\\' ELSE '' END || n",
    ),
    "varchar": ("id varchar(9) PRIMARY KEY", "n::text"),
    "char": ("id char(9) PRIMARY KEY", "n::text"),
    "text of another collation": ('id text COLLATE "C" PRIMARY KEY', "chr(60 + n) || n"),
    "numeric": ("id numeric PRIMARY KEY", "n + 0.10"),
    "float": ("id float8 PRIMARY KEY", "n / 3.0"),
    "date": ("id date PRIMARY KEY", "date '2020-01-31' + n"),
    "timestamptz": (
        "id timestamptz PRIMARY KEY",
        "timestamptz '2020-03-29 00:00:00.123456+00' + n * interval '7 min'",
    ),
    "bytea": ("id bytea PRIMARY KEY", "decode(lpad(to_hex(n), 4, '0'), 'hex')"),
    "bool and int": ("a bool, id int, PRIMARY KEY (a, id)", "n % 2 = 0, n"),
    "composite": ("a int, b text, PRIMARY KEY (b, a)", "n % 7, (n / 7)::text"),
    "composite of three": (
        "a int, b uuid, c date, PRIMARY KEY (a, b, c)",
        "n % 2, md5((n % 10)::text)::uuid, date '2020-01-01' + n",
    ),
    "own enum": (
        "a mood, id int, PRIMARY KEY (a, id)",
        "(CASE n % 2 WHEN 0 THEN 'sad' ELSE 'happy' END)::mood, n",
    ),
    "interval": ("id interval PRIMARY KEY", "n * interval '36 hours'"),
    "awkward name": ('"Id ""5%%s" int PRIMARY KEY', "n"),
    "none": ("id int", "n"),
    "none, all equal": ("id int", "1"),
    "unique and not null": ("id int, other int NOT NULL UNIQUE", "1, n"),
    "unique and nullable": ("id int UNIQUE", "CASE WHEN n > 50 THEN n END"),
}


class TestKeys:
    @pytest.mark.parametrize("kind", KEYS)
    def test_every_row_is_filled_once_whatever_the_key(self, means: Runner, kind: str) -> None:
        columns, key = KEYS[kind]
        execute(means.connection, "CREATE TYPE mood AS ENUM ('sad', 'happy')")
        create(means.connection, columns.replace("%%", "%"), key)
        assert fill(means, task(means.connection), MemoryProgress()) == ROWS
        assert left(means.connection) == 0
        assert touches(means.connection) == (ROWS, ROWS)

    @pytest.mark.parametrize("kind", KEYS)
    def test_it_goes_on_from_any_key_that_was_stored(self, means: Runner, kind: str) -> None:
        """As after a kill, in a session with other settings."""
        columns, key = KEYS[kind]
        execute(means.connection, "CREATE TYPE mood AS ENUM ('sad', 'happy')")
        create(means.connection, columns.replace("%%", "%"), key)
        store = stored(means.connection)
        batches = itertools.count(1)

        def stop(sql: str, params: Any) -> None:
            if is_batch(sql) and next(batches) == 4:
                raise ZeroDivisionError

        with seeing(means.connection, stop), pytest.raises(ZeroDivisionError):
            fill(means, task(means.connection), store, clock=Clock())
        done, _ = touches(means.connection)
        assert 0 < done < ROWS
        execute(means.connection, "SET DateStyle = 'ISO, DMY'")
        execute(means.connection, "SET TimeZone = 'Asia/Kathmandu'")
        execute(means.connection, "SET IntervalStyle = 'sql_standard'")
        execute(means.connection, "SET extra_float_digits = 0")
        assert fill(means, task(means.connection), store, clock=Clock()) == ROWS - done
        assert touches(means.connection) == (ROWS, ROWS)

    @pytest.mark.parametrize("name", ["Parcel 5%", 'par"cel', "ä" * 31, "%s", "it's"])
    def test_tables_and_columns_of_any_name_are_filled(self, means: Runner, name: str) -> None:
        create(means.connection, name=name)
        execute(means.connection, f"ALTER TABLE {quote(name)} RENAME amount TO {quote(name)}")
        filling = task(
            means.connection,
            name,
            assignments={name: '"total"'},
            needed=f'{quote(name)} IS DISTINCT FROM "total"',
        )
        assert fill(means, filling, stored(means.connection)) == ROWS

    def test_only_rows_that_need_it_are_written(self, means: Runner) -> None:
        create(means.connection)
        execute(means.connection, "UPDATE parcel SET amount = total WHERE id % 10 <> 0")
        execute(means.connection, "TRUNCATE touched")
        assert fill(means, task(means.connection), MemoryProgress()) == 10
        assert touches(means.connection) == (10, 10)

    def test_an_empty_table_needs_nothing(self, means: Runner) -> None:
        create(means.connection)
        execute(means.connection, "TRUNCATE parcel")
        assert fill(means, task(means.connection), stored(means.connection)) == 0


class TestResuming:
    def work(self) -> None:
        """Fill, in a process that is killed."""
        with connection.schema_editor(atomic=False) as editor, runner(editor) as means:
            fill(means, task(connection), stored(connection), clock=Clock())

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
    def test_after_a_kill_no_row_is_filled_twice_and_none_is_forgotten(
        self, database: BaseDatabaseWrapper, n: int, when: Any
    ) -> None:
        create(database)
        killed = run_killed(self.work, n, when)
        assert not killed.finished
        done, different = touches(database)
        assert done == different < ROWS
        # What the progress says is what was committed.
        assert stored(database).totals().rows_done == done
        self.work()
        assert touches(database) == (ROWS, ROWS)
        assert left(database) == 0

    def test_the_second_run_starts_after_the_last_key(self, database: BaseDatabaseWrapper) -> None:
        create(database)
        # One UPDATE of rows, one of the progress, and a COMMIT each.
        run_killed(self.work, 6, "after")
        known = BackfillRange.objects.get()
        assert known.last_key is not None
        asked: list[Any] = []

        def look(sql: str, params: Any) -> None:
            if is_batch(sql):
                asked.append(list(params))

        with seeing(database, look):
            self.work()
        assert asked[0][0] == known.last_key[0]

    def test_what_is_finished_is_not_read_again_when_nothing_is_left(self, means: Runner) -> None:
        create(means.connection)
        store = stored(means.connection)
        fill(means, task(means.connection), store)
        assert state(store) is State.FINISHED
        written: list[str] = []
        with seeing(means.connection, lambda sql, params: written.append(sql)):
            assert fill(means, task(means.connection), store) == 0
        assert not any(is_batch(sql) for sql in written)

    def test_what_was_finished_but_has_rows_left_starts_over(self, means: Runner) -> None:
        create(means.connection)
        store = stored(means.connection)
        fill(means, task(means.connection), store)
        execute(means.connection, "UPDATE parcel SET amount = NULL WHERE id IN (1, 50, 100)")
        assert fill(means, task(means.connection), store) == 3
        assert left(means.connection) == 0

    def test_a_key_that_has_another_form_now_does_not_break_it(self, means: Runner) -> None:
        """The primary key may have been changed by a migration between two runs."""
        create(means.connection)
        store = stored(means.connection)
        whole = Range("public.parcel", None, ["x", "y"])
        store.begin({"kind": "sql"}, "copying", [whole], rows_total=5, passes=0)
        fill(means, task(means.connection), store)
        assert left(means.connection) == 0

    def test_backfills_of_different_tables_do_not_share_progress(
        self, database: BaseDatabaseWrapper
    ) -> None:
        one = progress_store(database, "one", "one")
        two = progress_store(database, "two", "two")
        one.begin({"kind": "sql"}, "one", [Range("t", None, ["9"])], rows_total=9, passes=0)
        lease = one.claim()
        assert lease is not None
        one.advance(lease, Step(["7"], rows=7, seen=7, ended=False, size=7))
        assert two.load() is None
        assert two.claim() is None
        assert one.totals().rows_done == 7

    def test_what_no_worker_can_see_is_not_left_to_workers(
        self, database: BaseDatabaseWrapper
    ) -> None:
        create(database)
        slept = itertools.count(1)

        def sleep(seconds: float) -> None:
            assert next(slept) < 20, "it waits for workers that never come"

        with surrounded_by(leave=True), connection.schema_editor(atomic=False) as editor:
            with runner(editor) as means:
                assert fill(means, task(connection), MemoryProgress(), sleep=sleep) == ROWS

    def test_without_the_ledger_progress_is_kept_in_memory(
        self, database: BaseDatabaseWrapper
    ) -> None:
        execute(database, "DROP TABLE django_safemigrations_backfillrange")
        assert isinstance(progress_store(database, "one", "one"), MemoryProgress)

    def test_the_ledger_is_found_whatever_the_search_path(
        self, database: BaseDatabaseWrapper
    ) -> None:
        assert isinstance(progress_store(database, "one", "one"), LedgerProgress)


class TestOthersWrites:
    """What other sessions do between two batches, ahead of the walk and behind it."""

    def between(self, means: Runner, *statements: str, batch: int = 3) -> int:
        """Fill, with statements of another session committed before the n-th batch."""
        batches = itertools.count(1)

        def act(sql: str, params: Any) -> None:
            if is_batch(sql) and next(batches) == batch:
                with connect() as other:
                    for statement in statements:
                        other.execute(statement)

        with seeing(means.connection, act):
            return fill(means, task(means.connection), stored(means.connection), clock=Clock())

    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param("INSERT INTO parcel VALUES (-1, 7)", id="inserted_behind"),
            pytest.param("INSERT INTO parcel VALUES (1000, 7)", id="inserted_ahead"),
            pytest.param("UPDATE parcel SET total = 7 WHERE id = 1", id="updated_behind"),
            pytest.param("UPDATE parcel SET total = 7 WHERE id = 90", id="updated_ahead"),
            pytest.param("DELETE FROM parcel WHERE id IN (1, 90)", id="deleted"),
            pytest.param("DELETE FROM parcel", id="all_deleted"),
            pytest.param(
                "UPDATE parcel SET id = -id WHERE id > 80", id="moved_from_ahead_to_behind"
            ),
            pytest.param("UPDATE parcel SET id = id + 500 WHERE id < 10", id="moved_ahead"),
        ],
    )
    def test_nothing_is_missed(self, means: Runner, statement: str) -> None:
        create(means.connection)
        self.between(means, statement)
        assert left(means.connection) == 0
        assert state(stored(means.connection)) is State.FINISHED

    def test_a_value_that_new_code_wrote_is_kept(self, means: Runner) -> None:
        """What the trigger keeps equal needs no filling."""
        create(means.connection)
        self.between(means, "UPDATE parcel SET total = 77, amount = 77 WHERE id = 90")
        assert value(means.connection, "SELECT amount FROM parcel WHERE id = 90") == 77

    @pytest.mark.parametrize("key", ["id int PRIMARY KEY", "id int"])
    def test_something_that_writes_it_back_is_reported_after_a_few_passes(
        self, means: Runner, key: str
    ) -> None:
        create(means.connection, key)
        execute(
            means.connection,
            "CREATE FUNCTION resets() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN IF new.id <= 3 THEN new.amount := NULL; END IF; RETURN new; END'",
        )
        execute(
            means.connection,
            "CREATE TRIGGER resets BEFORE UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION resets()",
        )
        batches = itertools.count(1)

        def count(sql: str, params: Any) -> None:
            if is_batch(sql) and next(batches) > 500:
                raise AssertionError("it would never end")

        with seeing(means.connection, count), pytest.raises(DataDiffers) as caught:
            fill(means, task(means.connection), stored(means.connection), clock=Clock())
        message = str(caught.value)
        assert "3 rows" in message
        assert "trigger" in message
        assert left(means.connection) == 3


class TestRowLocks:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walk, "ROW_LOCK_TIMEOUT", "30ms")

    def test_a_batch_that_waits_gives_up_lets_others_pass_and_comes_again_smaller(
        self, means: Runner
    ) -> None:
        create(means.connection)
        sizes: list[int] = []
        pauses: list[float] = []

        def look(sql: str, params: Any) -> None:
            if " OFFSET " in sql:
                sizes.append(params[-1] + 1)

        with holding("UPDATE parcel SET total = 99 WHERE id = 9") as slow, connect() as other:

            def sleep(seconds: float) -> None:
                pauses.append(seconds)
                # Nobody waits for us while we sleep, not even for the rows before the locked one.
                other.execute("SET lock_timeout = '20ms'")
                other.execute("UPDATE parcel SET total = total WHERE id = 1")
                if len(pauses) == 3:
                    slow.commit()

            with seeing(means.connection, look):
                changed = fill(
                    means, task(means.connection), MemoryProgress(), clock=Clock(), sleep=sleep
                )
        assert changed == ROWS
        assert len(pauses) == 3
        assert sizes[:2] == [16, 8]
        assert value(means.connection, "SELECT amount FROM parcel WHERE id = 9") == 99
        assert left(means.connection) == 0

    def test_a_row_that_is_never_let_go_ends_in_a_message_that_names_the_session(
        self, means: Runner
    ) -> None:
        create(means.connection)
        clock = Clock()

        def sleep(seconds: float) -> None:
            clock.now += 10
            if clock.now > 2000:
                raise AssertionError("it would never end")

        with (
            holding("UPDATE parcel SET total = 99 WHERE id = 9", application="stuck job"),
            pytest.raises(LockNotGranted, match="stuck job"),
        ):
            fill(means, task(means.connection), MemoryProgress(), clock=clock, sleep=sleep)

    def test_the_session_s_lock_timeout_is_as_before(self, means: Runner) -> None:
        create(means.connection)
        execute(means.connection, "SET lock_timeout = '1234ms'")
        fill(means, task(means.connection), MemoryProgress())
        assert value(means.connection, "SHOW lock_timeout") == "1234ms"


class TestSizes:
    @pytest.fixture(autouse=True)
    def real_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walk, "FIRST_BATCH", 1000)
        monkeypatch.setattr(walk, "SMALLEST_BATCH", 10)
        monkeypatch.setattr(walk, "LARGEST_BATCH", 200_000)

    def sizes(self, means: Runner, seconds_a_row: float, rows: int = 20_000) -> list[int]:
        execute(means.connection, "CREATE TABLE parcel (id int PRIMARY KEY, total int, amount int)")
        execute(
            means.connection, f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {rows}) n"
        )
        clock = Clock()
        sizes: list[int] = []

        def look(sql: str, params: Any) -> None:
            if " OFFSET " in sql:
                sizes.append(params[-1] + 1)
                clock.now += sizes[-1] * seconds_a_row

        with seeing(means.connection, look):
            fill(means, task(means.connection), MemoryProgress(), clock=clock, sleep=clock.sleep)
        assert left(means.connection) == 0
        return sizes

    def test_batches_grow_until_they_take_as_long_as_they_should(self, means: Runner) -> None:
        sizes = self.sizes(means, 0.1 / 4000)
        assert sizes[0] == 1000
        assert sizes[1] == 2000
        assert sizes[2:4] == pytest.approx([4000, 4000], abs=1)

    def test_batches_shrink_where_rows_are_slow(self, means: Runner) -> None:
        sizes = self.sizes(means, 0.1 / 300, rows=4000)
        assert sizes[0] == 1000
        assert sizes[1] == 500
        assert sizes[2:4] == pytest.approx([300, 300], abs=1)

    def test_the_time_is_a_setting(self, means: Runner) -> None:
        with override_settings(SAFE_MIGRATIONS={"BATCH_TIME": 200}):
            sizes = self.sizes(means, 0.1 / 1000, rows=10_000)
        assert sizes[:3] == pytest.approx([1000, 2000, 2000], abs=1)

    def test_batches_never_get_smaller_than_a_few_rows(self, means: Runner) -> None:
        sizes = self.sizes(means, 60.0, rows=2_200)
        assert min(sizes) == 10

    def test_each_batch_is_a_transaction_of_its_own(self, means: Runner) -> None:
        execute(means.connection, "CREATE TABLE parcel (id int PRIMARY KEY, total int, amount int)")
        execute(means.connection, "INSERT INTO parcel SELECT n, n FROM generate_series(1, 5000) n")
        seen: list[int] = []
        with connect() as other:

            def look(sql: str, params: Any) -> None:
                if is_batch(sql):
                    row = other.execute("SELECT count(amount) FROM parcel").fetchone()
                    seen.append(row[0] if row else -1)

            with seeing(means.connection, look):
                fill(means, task(means.connection), MemoryProgress(), clock=Clock())
        assert seen == sorted(seen)
        assert seen[:3] == [0, 1000, 3000]


class TestPythonValues:
    """Defaults that only Python can make."""

    def filling(self, connection: BaseDatabaseWrapper) -> tuple[Fill, list[int]]:
        numbers = itertools.count(1)
        calls: list[int] = []

        def values(count: int) -> list[int]:
            calls.append(count)
            return [next(numbers) for _ in range(count)]

        return (
            task(connection, assignments={"amount": None}, needed="amount IS NULL", values=values),
            calls,
        )

    @pytest.mark.parametrize("key", ["id int PRIMARY KEY", "id int"])
    def test_each_row_gets_a_value_of_its_own(self, means: Runner, key: str) -> None:
        create(means.connection, key)
        filling, calls = self.filling(means.connection)
        assert fill(means, filling, MemoryProgress()) == ROWS
        assert sum(calls) == ROWS
        distinct = "SELECT count(DISTINCT amount) FROM parcel WHERE amount BETWEEN 1 AND 100"
        assert value(means.connection, distinct) == ROWS

    def test_a_row_that_was_filled_meanwhile_keeps_its_value(self, means: Runner) -> None:
        create(means.connection)
        filling, _ = self.filling(means.connection)
        with holding("UPDATE parcel SET amount = -7 WHERE id = 9") as other:
            fill(means, filling, MemoryProgress(), sleep=lambda seconds: other.commit())
        assert value(means.connection, "SELECT amount FROM parcel WHERE id = 9") == -7
        assert value(means.connection, "SELECT count(*) FROM parcel WHERE amount IS NULL") == 0

    def test_rows_of_different_partitions_are_not_mixed(self, means: Runner) -> None:
        """A row's place (ctid) is unique in one partition only."""
        for statement in (
            "CREATE TABLE parcel (id int, total int, amount int) PARTITION BY RANGE (id)",
            "CREATE TABLE one PARTITION OF parcel FOR VALUES FROM (0) TO (51)",
            "CREATE TABLE two PARTITION OF parcel FOR VALUES FROM (51) TO (200)",
            f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n",
            "ALTER TABLE parcel ADD PRIMARY KEY (id)",
        ):
            execute(means.connection, statement)
        filling, _ = self.filling(means.connection)
        assert fill(means, filling, MemoryProgress()) == ROWS
        distinct = "SELECT count(DISTINCT amount) FROM parcel WHERE amount IS NOT NULL"
        assert value(means.connection, distinct) == ROWS


class TestReport:
    def test_lines_tell_how_far_it_is_and_the_last_one_that_it_is_proven(
        self, means: Runner
    ) -> None:
        create(means.connection)
        execute(means.connection, "ANALYZE parcel")
        lines: list[str] = []
        clock = Clock(step=1.0)
        with reporting_to(Lines(lines.append, clock)):
            fill(means, task(means.connection), MemoryProgress(), clock=clock)
        assert len(lines) >= 2
        assert lines[0].startswith("copying: ")
        for part in ("of about 100 rows", "rows/s", "a batch", "s left"):
            assert part in lines[0], lines
        assert lines[-1] == "copying: proven complete, 100 rows changed"

    def test_lines_come_every_two_seconds_and_not_every_batch(self, means: Runner) -> None:
        create(means.connection)
        lines: list[str] = []
        with reporting_to(lines.append):
            fill(means, task(means.connection), MemoryProgress(), clock=Clock())
        assert len(lines) == 1

    def test_outside_of_the_block_lines_go_to_the_log(
        self, means: Runner, caplog: pytest.LogCaptureFixture
    ) -> None:
        create(means.connection)
        lines: list[str] = []
        with reporting_to(lines.append):
            pass
        with caplog.at_level("INFO", "django_safemigrations.backfill"):
            fill(means, task(means.connection), MemoryProgress())
        assert lines == []
        assert "proven complete" in caplog.text


class TestTransactions:
    def test_a_table_with_rows_is_refused_inside_a_transaction(
        self, database: BaseDatabaseWrapper
    ) -> None:
        create(database)
        with database.schema_editor(atomic=False) as editor, runner(editor) as means:
            with pytest.raises(UnsupportedChange, match="atomic = False"), transaction.atomic():
                fill(means, task(database), MemoryProgress())
        assert touches(database) == (0, 0)

    def test_an_empty_table_is_done_inside_a_transaction(
        self, database: BaseDatabaseWrapper
    ) -> None:
        create(database)
        execute(database, "TRUNCATE parcel")
        with database.schema_editor(atomic=False) as editor, runner(editor) as means:
            with transaction.atomic():
                assert fill(means, task(database), MemoryProgress()) == 0
