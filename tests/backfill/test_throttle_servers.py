"""What a backfill waits for on real servers: a standby that stops, slots, dead rows, missing rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_safemigrations.backfill import vacuuming, walk
from django_safemigrations.backfill.fills import Fill
from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.replication import Slots, Standbys
from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.backfill.surroundings import surrounded_by
from django_safemigrations.backfill.vacuuming import Vacuuming
from django_safemigrations.conf import BackfillSettings
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.runner import runner
from tests.kit.kill import wait_until
from tests.kit.standby import STANDBY, Pair, streaming_pair, use_server
from tests.postgres.sessions import execute, holding, value

OURS = "own"


class Clock:
    """Time that passes only when a test lets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def pair(database_access: None) -> Iterator[Pair]:
    """A primary with a standby."""
    with streaming_pair() as found:
        found.on_primary(f"CREATE DATABASE {OURS}")
        yield found


@pytest.fixture
def primary(pair: Pair) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection to the primary; the standby goes on replaying afterwards."""
    with use_server(pair.primary, OURS) as found:
        execute(found, "DROP TABLE IF EXISTS parcel")
        execute(found, "CREATE TABLE parcel (id int PRIMARY KEY, total int, amount int)")
        execute(found, "INSERT INTO parcel SELECT n, n FROM generate_series(1, 5000) n")
        pair.wait_for_standby()
        yield found
    pair.go_on()
    pair.wait_for_standby()


def parcels(found: BaseDatabaseWrapper) -> Fill:
    table = Catalog(found).find_table("parcel")
    assert table is not None
    return Fill(table, {"amount": '"total"'}, '"amount" IS DISTINCT FROM "total"', "copying")


@pytest.mark.postgres_versions
class TestStandbys:
    def test_a_standby_that_keeps_up_is_not_waited_for(
        self, pair: Pair, primary: BaseDatabaseWrapper
    ) -> None:
        gate = Standbys(primary, BackfillSettings(max_lag=5.0))
        assert gate.look() is None
        assert gate.lag is not None

    def test_one_that_has_stopped_replaying_is_waited_for_by_time(
        self, pair: Pair, primary: BaseDatabaseWrapper
    ) -> None:
        """The server's own figure stands still then."""
        clock = Clock()
        gate = Standbys(primary, BackfillSettings(max_lag=60.0), clock)
        assert gate.look() is None
        pair.stop_replay()
        execute(primary, "UPDATE parcel SET total = total")
        pair.wait_until_behind()
        clock.now += 1
        assert gate.look() is None
        clock.now += 61
        wait = gate.look()
        assert wait is not None
        assert wait.reason.startswith(f"standby {STANDBY} is 61.0 s and ")
        assert "may be 60 s" in wait.reason
        pair.go_on()
        pair.wait_for_standby()
        wait_until(lambda: gate.look() is None, lambda: "the standby is still waited for")

    def test_one_that_is_behind_is_waited_for_by_size(
        self, pair: Pair, primary: BaseDatabaseWrapper
    ) -> None:
        gate = Standbys(primary, BackfillSettings(max_lag=None, max_lag_bytes=100_000))
        pair.stop_replay()
        execute(primary, "UPDATE parcel SET total = total + 1")
        pair.wait_until_behind()
        wait = gate.look()
        assert wait is not None
        assert "behind, and may be 97.7\xa0KB" in wait.reason

    def test_one_whose_name_is_to_be_ignored_is_not_waited_for(
        self, pair: Pair, primary: BaseDatabaseWrapper
    ) -> None:
        pair.stop_replay()
        execute(primary, "UPDATE parcel SET total = total + 1")
        settings = BackfillSettings(max_lag_bytes=1, ignore_replicas=(STANDBY,))
        assert Standbys(primary, settings).look() is None

    def test_missing_rights_are_said_once(self, pair: Pair, primary: BaseDatabaseWrapper) -> None:
        execute(primary, "DROP ROLE IF EXISTS nosy")
        execute(primary, "CREATE ROLE nosy")
        pair.stop_replay()
        gate = Standbys(primary, BackfillSettings(max_lag_bytes=1))
        said: list[str] = []
        execute(primary, "UPDATE parcel SET total = total + 1")
        execute(primary, "SET ROLE nosy")
        with reporting_to(said.append):
            assert gate.look() is None
            assert gate.look() is None
        assert len(said) == 1
        assert "GRANT pg_monitor" in said[0]
        execute(primary, "RESET ROLE")
        assert gate.look() is not None

    def test_a_backfill_waits_while_the_standby_stands_still_and_then_goes_on(
        self, pair: Pair, primary: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(walk, "FIRST_BATCH", 500)
        monkeypatch.setattr(walk, "LARGEST_BATCH", 500)
        pair.stop_replay()
        waited: list[str] = []

        def sleep(seconds: float) -> None:
            """The standby goes on once the backfill has waited for it a few times."""
            done = value(primary, "SELECT count(*) FROM parcel WHERE amount = total")
            waited.append(f"{done} rows")
            if len(waited) == 3:
                pair.go_on()
            if len(waited) >= 3:
                pair.wait_for_standby()

        settings = {"BACKFILL": {"MAX_LAG": None, "MAX_LAG_BYTES": 50_000, "VACUUM": "off"}}
        with (
            override_settings(SAFE_MIGRATIONS=settings),
            primary.schema_editor(atomic=False) as editor,
            runner(editor) as means,
            # Every look counts: the batches of 5,000 rows are done before a second is over.
            surrounded_by(throttle=lambda c, oid, workers: Standbys(c, settings_of(settings))),
        ):
            assert fill(means, parcels(primary), MemoryProgress(), sleep=sleep) == 5000
        assert len(waited) >= 3
        assert len(set(waited[:3])) == 1  # no row was written meanwhile
        assert waited[0] != "5000 rows"
        assert value(primary, "SELECT count(*) FROM parcel WHERE amount = total") == 5000


def settings_of(given: dict[str, Any]) -> BackfillSettings:
    return BackfillSettings(**{key.lower(): value for key, value in given["BACKFILL"].items()})


class TestSlots:
    @pytest.fixture
    def slot(self, pair: Pair) -> Iterator[str]:
        """A physical slot that nobody reads, from here on."""
        pair.on_primary("SELECT pg_create_physical_replication_slot('archive', true)")
        yield "archive"
        pair.on_primary("SELECT pg_drop_replication_slot('archive')")

    def test_an_abandoned_slot_is_waited_for_and_how_to_drop_it_is_said(
        self, slot: str, primary: BaseDatabaseWrapper
    ) -> None:
        execute(primary, "UPDATE parcel SET total = total + 1")
        wait = Slots(primary, BackfillSettings(max_slot_bytes=100_000)).look()
        assert wait is not None
        assert "replication slot archive holds back" in wait.reason
        assert "SELECT pg_drop_replication_slot('archive')" in wait.reason
        assert Slots(primary, BackfillSettings()).look() is None
        ignoring = BackfillSettings(max_slot_bytes=1, ignore_replicas=(slot,))
        assert Slots(primary, ignoring).look() is None


ROWS = 3000


@pytest.fixture
def parcel(database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> int:
    """The oid of a table of a few rows, which autovacuum leaves alone."""
    monkeypatch.setattr(vacuuming, "FEWEST_DEAD", 500)
    execute(database, "CREATE TABLE parcel (id int PRIMARY KEY, total int, amount int)")
    execute(database, "ALTER TABLE parcel SET (autovacuum_enabled = false)")
    execute(database, f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n")
    execute(database, "ANALYZE parcel")
    return int(value(database, "SELECT 'parcel'::regclass::oid::bigint"))


def dead(found: BaseDatabaseWrapper, oid: int) -> int:
    """Dead rows of a table, as soon as the server has counted its last transactions."""
    execute(found, "SELECT pg_stat_force_next_flush()")
    return int(value(found, "SELECT pg_stat_get_dead_tuples(%s)", [oid]))


def make_dead(found: BaseDatabaseWrapper, oid: int, rows: int = ROWS) -> None:
    before = dead(found, oid)
    execute(found, "UPDATE parcel SET total = total + 1 WHERE id <= %s", [rows])
    wait_until(lambda: dead(found, oid) >= before + rows, lambda: "nothing is dead")


def end_vacuum(gate: Vacuuming) -> None:
    """Wait for the VACUUM that the gate has begun."""
    assert gate._session is not None
    gate._session._thread.join(30)


@pytest.mark.postgres_versions
class TestVacuum:
    def test_too_many_dead_rows_are_vacuumed_between_batches(
        self, database: BaseDatabaseWrapper, parcel: int
    ) -> None:
        gate = Vacuuming(database, parcel, BackfillSettings(vacuum_after=0.5))
        make_dead(database, parcel, 1000)
        assert gate.look() is None
        make_dead(database, parcel, 1000)
        wait = gate.look()
        assert wait is not None
        assert wait.reason == "VACUUM of public.parcel, 2,000 dead rows"
        end_vacuum(gate)
        wait_until(lambda: gate.look() is None, lambda: "dead rows are left")
        assert dead(database, parcel) == 0

    def test_an_old_transaction_that_keeps_dead_rows_is_named_and_waited_for(
        self, database: BaseDatabaseWrapper, parcel: int
    ) -> None:
        clock = Clock()
        settings = BackfillSettings(vacuum_after=0.5, vacuum_patience=60)
        gate = Vacuuming(database, parcel, settings, clock)
        said: list[str] = []
        with (
            holding(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "SELECT count(*) FROM parcel",
                application="nightly report",
            ),
            reporting_to(said.append),
        ):
            make_dead(database, parcel)
            assert gate.look() is not None
            end_vacuum(gate)
            wait = gate.look()
            assert wait is not None
            assert "can't be removed yet, an old transaction may still need them" in wait.reason
            assert "application nightly report" in wait.reason
            clock.now += 61
            assert gate.look() is None  # patience is over: the table grows, and that is said
            assert gate.look() is None
        assert len(said) == 1
        assert "could not be removed within 60 s (VACUUM_PATIENCE)" in said[0]
        make_dead(database, parcel)
        assert gate.look() is not None
        gate.close()

    def test_a_vacuum_that_runs_can_be_broken_off(
        self, database: BaseDatabaseWrapper, parcel: int
    ) -> None:
        gate = Vacuuming(database, parcel, BackfillSettings(vacuum_after=0.5))
        make_dead(database, parcel)
        # It waits for a page that a cursor has its finger on.
        with holding(
            "DECLARE pages CURSOR FOR SELECT * FROM parcel FOR UPDATE", "FETCH 1 FROM pages"
        ):
            assert gate.look() is not None
            session = gate._session
            gate.close()
        assert session is not None
        assert not session.running

    def test_another_vacuum_is_as_good_as_its_own(
        self, database: BaseDatabaseWrapper, parcel: int
    ) -> None:
        gate = Vacuuming(database, parcel, BackfillSettings(vacuum_after=0.5))
        make_dead(database, parcel)
        with holding("LOCK TABLE parcel IN SHARE UPDATE EXCLUSIVE MODE"):
            assert gate.look() is not None
            end_vacuum(gate)  # skipped, and nobody waited for the lock
        assert gate._session is not None
        assert gate._session.error == ""

    def test_waiting_for_autovacuum_begins_where_autovacuum_does(
        self, database: BaseDatabaseWrapper, parcel: int
    ) -> None:
        settings = BackfillSettings(vacuum="wait", vacuum_after=0.01)
        gate = Vacuuming(database, parcel, settings)
        said: list[str] = []
        make_dead(database, parcel, 700)
        with reporting_to(said.append):
            assert gate.look() is None
        assert "Autovacuum is off for public.parcel" in said[0]
        execute(
            database,
            "ALTER TABLE parcel SET (autovacuum_enabled, autovacuum_vacuum_threshold = 1000,"
            " autovacuum_vacuum_scale_factor = 0)",
        )
        gate = Vacuuming(database, parcel, settings)
        assert gate.look() is None
        make_dead(database, parcel, 700)
        wait = gate.look()
        if wait is not None:  # unless autovacuum has been there this very moment
            assert "for autovacuum to remove 1,400 dead rows of public.parcel" in wait.reason
        execute(database, "VACUUM parcel")
        assert gate.look() is None

    def test_each_partition_is_looked_at(
        self, database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vacuuming, "FEWEST_DEAD", 100)
        execute(database, "CREATE TABLE parcel (id int, total int) PARTITION BY RANGE (id)")
        for name, low, high in (("a", 0, 1000), ("b", 1000, 2000)):
            execute(
                database,
                f"CREATE TABLE parcel_{name} PARTITION OF parcel FOR VALUES FROM ({low}) TO ({high})"
                " WITH (autovacuum_enabled = false)",
            )
        execute(database, "INSERT INTO parcel SELECT n, n FROM generate_series(0, 1999) n")
        execute(database, "ANALYZE parcel")
        leaf = value(database, "SELECT 'parcel_b'::regclass::oid::bigint")
        execute(database, "UPDATE parcel SET total = 0 WHERE id >= 1000")
        wait_until(lambda: dead(database, leaf) >= 1000, lambda: "nothing is dead")
        whole = value(database, "SELECT 'parcel'::regclass::oid::bigint")
        wait = Vacuuming(database, whole, BackfillSettings()).look()
        assert wait is not None
        assert "public.parcel_b" in wait.reason

    def test_the_table_stays_within_bounds_while_it_is_filled(
        self, database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without VACUUM it would be twice as large afterwards."""
        sizes = {}
        for name, way in (("grown", "off"), ("bounded", "run")):
            sizes[way] = _size_after_filling(database, monkeypatch, name, way)
        assert sizes["run"] < 1.45
        assert sizes["off"] > 1.9


def _size_after_filling(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> float:
    """Fill a table of 40,000 rows; return its size as a multiple of the size before."""
    monkeypatch.setattr(vacuuming, "FEWEST_DEAD", 4000)
    # A column of fixed width that takes the room of another: rows do not get wider.
    execute(
        database,
        f"CREATE TABLE {name} (id int PRIMARY KEY, total int, amount int, note char(100))"
        " WITH (autovacuum_enabled = false)",
    )
    execute(database, f"INSERT INTO {name} SELECT n, n, 0, 'x' FROM generate_series(1, 40000) n")
    execute(database, f"ANALYZE {name}")
    before = value(database, f"SELECT pg_table_size('{name}')")
    oid = value(database, f"SELECT '{name}'::regclass::oid::bigint")
    table = Catalog(database).find_table(name)
    assert table is not None
    task = Fill(table, {"amount": '"total"'}, '"amount" IS DISTINCT FROM "total"', "copying")
    settings = BackfillSettings(vacuum=way, vacuum_after=0.1)

    class EveryLook:
        """The gate without the second between two looks, for this is all over in one."""

        lag: float | None = None

        def __init__(self) -> None:
            self.gate = Vacuuming(database, oid, settings)

        def look(self) -> Any:
            execute(database, "SELECT pg_stat_force_next_flush()")
            return self.gate.look() if way == "run" else None

        def note(self, rows: int) -> None:
            pass

        def close(self) -> None:
            self.gate.close()

    with (
        database.schema_editor(atomic=False) as editor,
        runner(editor) as means,
        surrounded_by(throttle=lambda *_, **__: EveryLook()),
    ):
        assert fill(means, task, MemoryProgress()) == 40000
    return float(value(database, f"SELECT pg_table_size('{name}')") / before)
