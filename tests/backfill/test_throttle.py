"""What a backfill waits for: each gate opens and closes, and says why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_safemigrations.backfill.load import ActiveSessions
from django_safemigrations.backfill.replication import LagQuery
from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.backfill.throttle import Asked, Rarely, RowRate, Windows, throttling
from django_safemigrations.backfill.waits import Wait
from django_safemigrations.conf import BackfillSettings, get_settings, validate
from django_safemigrations.exceptions import SettingsError, ThrottleFailed
from django_safemigrations.windows import opens_at, parse_window
from tests.kit.databases import connect
from tests.kit.kill import wait_until
from tests.postgres.sessions import execute, holding, value

BERLIN = ZoneInfo("Europe/Berlin")


class Clock:
    """Time that passes only when a test lets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A gate that says what it is told to say."""

    def __init__(self, *said: Wait | None) -> None:
        self.said = list(said)
        self.looks = 0
        self.noted = 0

    def look(self) -> Wait | None:
        self.looks += 1
        return self.said.pop(0) if self.said else None

    def note(self, rows: int) -> None:
        self.noted += rows

    def close(self) -> None:
        pass


def berlin(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN)


class TestWindows:
    @pytest.mark.parametrize(
        ("windows", "now", "opens"),
        [
            (["22:00-06:00"], "2026-03-04 21:59", "2026-03-04 22:00"),
            (["22:00-06:00"], "2026-03-04 22:00", None),
            (["22:00-06:00"], "2026-03-05 05:59", None),
            (["22:00-06:00"], "2026-03-05 06:00", "2026-03-05 22:00"),
            (["01:00-02:00", "12:00-13:00"], "2026-03-05 02:30", "2026-03-05 12:00"),
            (["01:00-02:00", "12:00-13:00"], "2026-03-05 13:00", "2026-03-06 01:00"),
            # 2026-03-06 is a Friday; a window belongs to the day on which it opens.
            (["mon-thu 22:00-06:00"], "2026-03-06 05:00", None),
            (["mon-thu 22:00-06:00"], "2026-03-06 23:00", "2026-03-09 22:00"),
            (["fri-mon 00:00-24:00"], "2026-03-09 23:59", None),
            (["fri-mon 00:00-24:00"], "2026-03-10 00:00", "2026-03-13 00:00"),
            (["sat,sun 8:00-9:30"], "2026-03-08 09:30", "2026-03-14 08:00"),
            # Clocks are put forward on 2026-03-29 at 02:00, back on 2026-10-25 at 03:00.
            (["22:00-06:00"], "2026-03-29 05:30", None),
            (["02:30-06:00"], "2026-03-29 01:59", "2026-03-29 03:30"),
            (["22:00-06:00"], "2026-10-25 06:00", "2026-10-25 22:00"),
        ],
    )
    def test_a_window_opens_and_closes_by_the_wall_clock(
        self, windows: list[str], now: str, opens: str | None
    ) -> None:
        gate = Windows([parse_window(text) for text in windows], BERLIN, lambda: berlin(now))
        wait = gate.look()
        assert (wait is None) is (opens is None)
        if wait is not None and opens is not None:
            left = berlin(opens).astimezone(dt.UTC) - berlin(now).astimezone(dt.UTC)
            assert wait.seconds == left.total_seconds()
            assert berlin(opens).strftime("until %a %H:%M Europe/Berlin") in wait.reason

    def test_without_windows_it_is_always_open(self) -> None:
        assert opens_at([], BERLIN, berlin("2026-03-04 12:00")) is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no time to open and to close"),
            ("22:00", "no time to open and to close"),
            ("22-6", "'22' is not a time of day"),
            ("22:00-25:00", "'25:00' is not a time of day"),
            ("22:60-23:00", "'22:60' is not a time of day"),
            ("-1:00-2:00", "'' is not a time of day"),
            ("22:00-22:00", "never open"),
            ("24:00-01:00", "never open"),
            ("weekdays 22:00-06:00", "no day 'weekdays'"),
            ("mon-fr 22:00-06:00", "no day 'fr'"),
            ("mon fri 22:00-06:00", "not a time window"),
        ],
    )
    def test_a_window_that_makes_no_sense_is_explained(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            parse_window(text)


class TestRowRate:
    def test_it_allows_no_more_rows_a_second_than_were_asked_for(self) -> None:
        clock = Clock()
        gate = RowRate(1000, clock=clock)
        rows, began = 0, clock.now
        while clock.now - began < 60:
            wait = gate.look()
            if wait is not None:
                clock.now += wait.seconds
                continue
            clock.now += 0.03  # the batch itself
            gate.note(77)
            rows += 77
        assert 58_000 < rows <= 60_100

    def test_batches_slower_than_the_limit_never_wait(self) -> None:
        clock = Clock()
        gate = RowRate(1000, clock=clock)
        for _ in range(10):
            assert gate.look() is None
            clock.now += 1
            gate.note(900)

    def test_workers_share_what_is_allowed(self) -> None:
        clock = Clock()
        gate = RowRate(1000, lambda: 4, clock)
        assert gate.look() is None
        gate.note(500)
        wait = gate.look()
        assert wait is not None
        assert wait.seconds == 2.0


class TestRarely:
    def test_it_asks_again_only_after_a_while(self) -> None:
        clock = Clock()
        inner = Scripted(None, Wait("load", "busy", 3.0), None)
        gate = Rarely(inner, 1.0, clock)
        assert gate.look() is None
        assert gate.look() is None
        assert inner.looks == 1
        clock.now += 1
        assert gate.look() == Wait("load", "busy", 3.0)
        clock.now += 1
        assert gate.look() == Wait("load", "busy", 2.0)
        clock.now += 2
        assert gate.look() is None
        assert inner.looks == 3


class TestAsked:
    @pytest.mark.parametrize("said", [None, False, 0, 0.0])
    def test_nothing_said_lets_the_next_batch_run(
        self, database: BaseDatabaseWrapper, said: Any
    ) -> None:
        assert Asked(lambda _: said, "wait", database).look() is None

    @pytest.mark.parametrize(
        ("said", "wait"),
        [
            (True, Wait("asked", "wait says so", 5.0)),
            ("it is payday", Wait("asked", "it is payday", 5.0)),
            (2, Wait("asked", "wait says so", 2)),
        ],
    )
    def test_it_waits_as_long_and_for_what_it_is_told(
        self, database: BaseDatabaseWrapper, said: Any, wait: Wait
    ) -> None:
        assert Asked(lambda _: said, "wait", database).look() == wait

    def test_it_can_ask_the_database(self, database: BaseDatabaseWrapper) -> None:
        def over(connection: BaseDatabaseWrapper) -> bool:
            return bool(value(connection, "SELECT 2 > 1"))

        assert Asked(over, "wait", database).look() is not None

    def test_what_it_raises_is_said_with_its_name(self, database: BaseDatabaseWrapper) -> None:
        def broken(_: Any) -> None:
            raise KeyError("statsd")

        with pytest.raises(ThrottleFailed, match=r"shop\.wait.*raised KeyError"):
            Asked(broken, "shop.wait", database).look()

    def test_what_it_must_not_return_is_said(self, database: BaseDatabaseWrapper) -> None:
        with pytest.raises(ThrottleFailed, match=r"returned \[\]"):
            Asked(lambda _: [], "shop.wait", database).look()

    def test_a_path_that_leads_nowhere_is_a_wrong_setting(
        self, database: BaseDatabaseWrapper
    ) -> None:
        for path in ("no.such.module", "datetime.nothing", "math.pi"):
            with pytest.raises(SettingsError, match=path):
                throttling(database, 0, settings=BackfillSettings(throttle=path))


class TestLoad:
    def test_it_waits_while_more_sessions_work_than_may(
        self, database: BaseDatabaseWrapper
    ) -> None:
        gate = ActiveSessions(database, 0)
        name = str(database.settings_dict["NAME"])
        wait_until(lambda: gate.look() is None, lambda: "somebody is at work")
        with holding("SELECT 1"), connect(name) as busy:
            assert gate.look() is None  # open, but idle
            execute(database, "SELECT pg_advisory_lock(1)")
            busy.pgconn.send_query(b"SELECT pg_advisory_lock(1)")
            wait_until(lambda: gate.look() is not None, lambda: "nobody seems to work")
            wait = gate.look()
            assert wait is not None
            assert wait.reason == "1 active sessions, and at most 0 may be"
            execute(database, "SELECT pg_advisory_unlock(1)")
            while busy.pgconn.get_result():
                pass
        wait_until(lambda: gate.look() is None, lambda: "somebody is at work")


class TestLagQuery:
    @pytest.mark.parametrize(
        ("query", "waits"),
        [
            ("SELECT 3.5", True),
            ("SELECT 2", False),
            ("SELECT NULL", False),
            ("SELECT 1 WHERE false", False),
            ("SELECT max(x) / 1000.0 FROM (VALUES (100), (5000)) AS replicas (x)", True),
            ("SELECT '9'::text", True),
        ],
    )
    def test_its_number_is_compared_with_max_lag(
        self, database: BaseDatabaseWrapper, query: str, waits: bool
    ) -> None:
        assert (LagQuery(database, query, 3.0).look() is not None) is waits

    def test_what_it_found_is_told(self, database: BaseDatabaseWrapper) -> None:
        found = throttling(
            database, 0, settings=BackfillSettings(lag_query="SELECT 4.5", vacuum="off")
        )
        assert found.look() is None
        assert found.lag == 4.5

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("SELECT lag FROM no_such_table", "does not exist"),
            ("SELECT 'often'", "returned 'often'"),
            ("SELEC 1", "syntax error"),
        ],
    )
    def test_a_query_that_can_not_be_used_is_shown(
        self, database: BaseDatabaseWrapper, query: str, said: str
    ) -> None:
        with pytest.raises(ThrottleFailed, match=said) as caught:
            LagQuery(database, query, 3.0).look()
        assert query in str(caught.value)

    def test_a_lost_connection_is_no_fault_of_the_query(
        self, database: BaseDatabaseWrapper
    ) -> None:
        pid = value(database, "SELECT pg_backend_pid()")
        with connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(OperationalError):
            LagQuery(database, "SELECT 1", 3.0).look()


class TestTheWholeThrottle:
    def test_the_defaults_let_work_on_a_quiet_server(self, database: BaseDatabaseWrapper) -> None:
        execute(database, "CREATE TABLE parcel (id int)")
        oid = value(database, "SELECT 'parcel'::regclass::oid::bigint")
        said: list[str] = []
        with reporting_to(said.append):
            assert throttling(database, oid).look() is None
        assert said == []

    def test_the_first_closed_gate_is_what_is_waited_for(
        self, database: BaseDatabaseWrapper
    ) -> None:
        clock = Clock()
        found = throttling(
            database,
            0,
            settings=BackfillSettings(
                windows=("22:00-06:00",), time_zone="UTC", throttle=lambda _: "busy"
            ),
            clock=clock,
            now=lambda: dt.datetime(2026, 3, 4, 21, 0, tzinfo=dt.UTC),
        )
        wait = found.look()
        assert wait is not None
        assert str(wait) == (
            "window: outside of the time windows until Wed 22:00 UTC, 1:00:00 from now"
        )


WRONG: list[tuple[Any, str, str]] = [
    ("fast", "BACKFILL", "is not a dict"),
    ({"MAX_LAGG": 1}, "BACKFILL['MAX_LAGG']", "Did you mean 'MAX_LAG'?"),
    ({"max_lag": 1}, "BACKFILL['max_lag']", "Did you mean 'MAX_LAG'?"),
    ({"MAX_LAG": 0}, "BACKFILL['MAX_LAG']", "not a number above 0"),
    ({"MAX_LAG_BYTES": 1.5}, "BACKFILL['MAX_LAG_BYTES']", "whole number"),
    ({"MAX_SLOT_BYTES": "1GB"}, "BACKFILL['MAX_SLOT_BYTES']", "whole number"),
    ({"MAX_ACTIVE": -1}, "BACKFILL['MAX_ACTIVE']", "0 or more"),
    ({"MAX_ROWS_PER_SECOND": True}, "BACKFILL['MAX_ROWS_PER_SECOND']", "whole number"),
    ({"LAG_QUERY": ""}, "BACKFILL['LAG_QUERY']", "not an SQL query"),
    ({"THROTTLE": "wait"}, "BACKFILL['THROTTLE']", "not a dotted path"),
    ({"VACUUM": "full"}, "BACKFILL['VACUUM']", "not one of run, wait, off"),
    ({"VACUUM_AFTER": "20%"}, "BACKFILL['VACUUM_AFTER']", "not a number above 0"),
    ({"WINDOWS": "22:00-06:00"}, "BACKFILL['WINDOWS']", "not a list of windows"),
    ({"WINDOWS": ["22:00"]}, "BACKFILL['WINDOWS']", "no time to open and to close"),
    ({"TIME_ZONE": "Berlin"}, "BACKFILL['TIME_ZONE']", "not a time zone"),
    ({"TIME_ZONE": "/etc/passwd"}, "BACKFILL['TIME_ZONE']", "not a time zone"),
    ({"IGNORE_REPLICAS": "reporting"}, "BACKFILL['IGNORE_REPLICAS']", "not a list of names"),
    ({"WORKERS": 0}, "BACKFILL['WORKERS']", "1 or more"),
    ({"TASKS": -1}, "BACKFILL['TASKS']", "0 or more"),
]


class TestSettings:
    @pytest.mark.parametrize(("given", "key", "said"), WRONG)
    def test_a_wrong_value_is_named_with_the_right_one(
        self, given: Any, key: str, said: str
    ) -> None:
        (problem,) = validate({"BACKFILL": given})
        assert problem.key == key
        assert said in f"{problem.message} {problem.hint}"

    def test_values_that_are_left_out_keep_their_defaults(self) -> None:
        throttle: Callable[[Any], None] = print
        given = {
            "MAX_LAG": None,
            "WINDOWS": ["22:00-06:00"],
            "THROTTLE": throttle,
            "IGNORE_REPLICAS": {"reporting"},
        }
        with override_settings(SAFE_MIGRATIONS={"BACKFILL": given}):
            assert get_settings().backfill == BackfillSettings(
                max_lag=None,
                windows=("22:00-06:00",),
                throttle=throttle,
                ignore_replicas=("reporting",),
            )
