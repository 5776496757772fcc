"""Backfills from the command line: left to workers, worked on by many, paused, cancelled, tried again."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from django_safemigrations.backfill import helping, ranges, walk
from django_safemigrations.backfill.control import Order, tell
from django_safemigrations.backfill.ending import Ending
from django_safemigrations.backfill.helping import Helper
from django_safemigrations.backfill.listing import Listed, list_backfills
from django_safemigrations.backfill.store import State
from django_safemigrations.exceptions import BackfillStopped
from django_safemigrations.management.backfills import Looks, watch
from django_safemigrations.management.commands.runbackfill import Command as RunBackfill
from django_safemigrations.management.display import Display
from django_safemigrations.models import BackfillProgress, BackfillRange
from tests.command.conftest import _project as open_project
from tests.command.project import INITIAL, Project, Result
from tests.kit.databases import connect, create_database, drop_database
from tests.kit.forks import fork, wait_for
from tests.kit.kill import wait_until

ROWS = 300
KEY = "public.store_item: total is null"
QUIET = {"BACKFILL": {"MAX_LAG": None, "MAX_SLOT_BYTES": None, "VACUUM": "off"}}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three hundred rows are many: six ranges, and batches of ten."""
    monkeypatch.setattr(ranges, "ROWS_A_RANGE", 50)
    monkeypatch.setattr(walk, "FIRST_BATCH", 10)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 10)
    monkeypatch.setattr(helping, "POLL", 0.05)
    with override_settings(SAFE_MIGRATIONS=QUIET):
        yield


def fill_in(project: Project) -> None:
    """Make a table with NULLs."""
    project.execute("DELETE FROM store_item")
    project.execute(
        f"INSERT INTO store_item (name) SELECT 'n' || n FROM generate_series(1, {ROWS}) n"
    )
    project.execute("ANALYZE store_item")


def write_files(project: Project) -> None:
    """Write migrations: store.0002 fills the NULLs, 0003 comes after it, depot.0001 is apart."""
    project.write(
        "store",
        "0002_fill",
        'Expand(database_operations=[BackfillNulls("item", "total", 7),'
        ' migrations.RunSQL("ALTER TABLE store_item ADD COLUMN IF NOT EXISTS after_it int",'
        ' "ALTER TABLE store_item DROP COLUMN IF EXISTS after_it")]),',
        before="from django_safemigrations.operations import BackfillNulls",
        atomic=False,
    )
    project.expand("store", "0003_more", "ALTER TABLE store_item ADD COLUMN IF NOT EXISTS late int")
    project.expand(
        "depot", "0001_apart", "ALTER TABLE store_box ADD COLUMN IF NOT EXISTS apart int", after=""
    )


@pytest.fixture
def filling(project: Project) -> Project:
    """A table with NULLs, and migrations that fill them."""
    fill_in(project)
    write_files(project)
    return project


@pytest.fixture(scope="module")
def ready(database_in_use: str, django_db_blocker: Any) -> Iterator[dict[str, str]]:
    """Holds the name of a database in which the backfill is ready, as soon as it is made."""
    made: dict[str, str] = {}
    yield made
    with django_db_blocker.unblock():
        for name in made.values():
            drop_database(name)


@pytest.fixture
def left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
    database_in_use: str,
    ready: dict[str, str],
    small: None,
) -> Iterator[Project]:
    """A backfill that is ready, and left to workers."""
    template = ready.get("left", database_in_use)
    with open_project(tmp_path, monkeypatch, django_db_blocker, template) as project:
        project.write("store", "0001_initial", INITIAL)
        if not ready:
            project.begin()
            fill_in(project)
        write_files(project)
        if not ready:
            result = project.safely("--no-wait")
            assert result.code == 4, result.said
            connection.close()
            ready["left"] = create_database(str(connection.settings_dict["NAME"]))
        yield project


def work(*args: str) -> Result:
    """Run runbackfill as it would be typed."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        command = RunBackfill(stdout=out, stderr=err, no_color=True)
        command.run_from_argv(["manage.py", "runbackfill", *args])
    except SystemExit as stop:
        code = int(stop.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def left_to_do() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM store_item WHERE total IS DISTINCT FROM 7")
        return int(cursor.fetchone()[0])


def the_backfill() -> Listed:
    (found,) = list_backfills(connection)
    return found


class TestNoWait:
    def test_what_is_left_to_workers_stays_unapplied_and_goes_on_when_they_are_done(
        self, filling: Project
    ) -> None:
        result = filling.safely("--no-wait")
        assert result.code == 4, result.said
        assert "Applying store.0002_fill... LEFT TO WORKERS" in result.out
        assert f"{KEY} on public.store_item, about {ROWS} rows" in result.out.replace('"', "")
        assert "after that: store.0003_more" in result.out
        assert "Let workers run: manage.py runbackfill" in result.out
        # Nothing was filled, and nothing behind the backfill was done.
        assert filling.value("SELECT count(total) FROM store_item") == 0
        assert not {"after_it", "late"} & filling.columns("store_item")
        assert filling.applied("store") == ["0001_initial"]
        # What does not depend on it went on.
        assert filling.applied("depot") == ["0001_apart"]
        assert the_backfill().state is State.PENDING

        again = filling.safely("--no-wait")
        assert again.code == 4
        assert filling.applied("store") == ["0001_initial"]

        done = work()
        assert done.code == 0, done.said
        assert "Changed 300 rows." in done.out
        assert left_to_do() == 0
        assert filling.applied("store") == ["0001_initial"]

        last = filling.safely("--no-wait")
        assert last.code == 0, last.said
        assert filling.applied("store") == ["0001_initial", "0002_fill", "0003_more"]
        assert {"after_it", "late"} <= filling.columns("store_item")

    def test_check_names_the_backfill_until_all_is_applied(self, left: Project) -> None:
        result = left.run("--check")
        assert result.code == 4
        assert "pending" in result.out
        assert KEY in result.out
        document = left.run("--check", "--format", "json").document
        (listed,) = document["backfills"]
        assert (listed["state"], listed["rows_seen"], listed["rows_total"]) == ("pending", 0, ROWS)
        work()
        assert left.run("--check").code == 4  # the migrations have still to be applied
        left.safely()
        assert left.run("--check").code == 0

    def test_the_document_says_what_is_left_and_what_waits_for_it(self, filling: Project) -> None:
        document = filling.safely("--no-wait", "--format", "json").document
        assert document["result"] == "left to workers"
        assert document["exit_code"] == 4
        done = [m["name"] for m in document["migrations"] if m["app_label"] in ("store", "depot")]
        assert done == ["0001_apart"]
        assert document["left"] == [
            {"app_label": "store", "name": "0002_fill", "backfill": KEY, "needs": ""},
            {
                "app_label": "store",
                "name": "0003_more",
                "backfill": "",
                "needs": "store.0002_fill",
            },
        ]

    def test_a_contract_behind_it_is_not_stepped_over(self, filling: Project) -> None:
        """0003 is needed by 0004, which waits for 0002."""
        filling.contract("store", "0004_less", "ALTER TABLE store_item DROP COLUMN name")
        filling.expand("store", "0005_more", "ALTER TABLE store_box ADD COLUMN b int")
        result = filling.safely("--no-wait")
        assert result.code == 4
        assert filling.applied("store") == ["0001_initial"]
        assert filling.pending() == []
        assert "after that: store.0003_more, store.0004_less, store.0005_more" in result.out
        work()
        assert filling.safely("--no-wait").code == 0
        assert filling.pending() == ["store.0004_less"]

    def test_without_it_the_run_does_the_work_itself(self, filling: Project) -> None:
        result = filling.safely()
        assert result.code == 0, result.said
        assert left_to_do() == 0
        assert filling.applied("store")[-1] == "0003_more"

    @pytest.mark.exhaustive
    def test_a_run_that_waits_takes_over_what_was_left_to_workers(self, left: Project) -> None:
        assert work("--max-time", "0.000001").code == 4
        assert left.safely().code == 0
        assert left_to_do() == 0

    def test_options_that_make_no_sense_together_are_refused(self, project: Project) -> None:
        for words, said in (
            (["--no-wait", "--status"], "--status runs no backfill"),
            (["--no-wait", "--rollback"], "--rollback runs no backfill"),
            (["--no-wait", "--fake"], "--fake runs no backfill"),
            (["--watch"], "--watch goes with --status"),
            (["--status", "--watch", "--format", "json"], "--watch is for people"),
        ):
            result = project.run(*words)
            assert result.code == 2
            assert said in result.said


class TestWorkers:
    def test_nothing_to_do_is_said(self, project: Project) -> None:
        for words in ([], ["--once"], ["--max-time", "1m"]):
            result = work(*words)
            assert result.code == 0, result.said
            assert "Nothing is left." in result.out
        assert "There are no backfills." in work("--list").out

    def test_sessions_of_one_process_share_the_work(self, left: Project) -> None:
        result = work("--workers", "3", "--format", "json")
        assert result.code == 0, result.said
        document = result.document
        assert document["rows"] == ROWS
        assert document["backfills"][0]["state"] == "finished"
        assert left_to_do() == 0

    def test_two_processes_and_one_of_them_killed_give_the_right_rows(self, left: Project) -> None:
        left.execute("CREATE TABLE touched (id bigint)")
        left.execute(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO touched VALUES (new.id); RETURN new; END $$"
        )
        left.execute(
            "CREATE TRIGGER touches AFTER UPDATE ON store_item FOR EACH ROW EXECUTE FUNCTION touch()"
        )
        connection.close()

        def child(kill_after: int | None) -> Callable[[], None]:
            def run() -> None:
                batches = 0

                def stop() -> bool:
                    nonlocal batches
                    batches += 1
                    if batches == kill_after:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return False

                Helper(connection, stop=stop).run()

            return run

        victim, survivor = fork(child(12)), fork(child(None))
        assert wait_for(*victim).signal == signal.SIGKILL
        ended = wait_for(*survivor)
        assert (ended.signal, ended.error) == (0, "")
        assert left_to_do() == 0
        assert the_backfill().state is State.FINISHED
        # The batch in flight was rolled back with its mark, so no row was changed twice.
        assert left.value("SELECT count(*) FROM touched") == ROWS
        assert left.value("SELECT count(DISTINCT id) FROM touched") == ROWS
        assert left.safely().code == 0

    def test_a_worker_that_is_told_to_end_finishes_its_batch_and_frees_its_range(
        self, left: Project
    ) -> None:

        def after_three(sql: str) -> None:
            if sql.startswith("UPDATE") and "store_item" in sql:
                done.append(sql)
                if len(done) == 3:
                    os.kill(os.getpid(), signal.SIGTERM)

        done: list[str] = []
        # Task workers that ran in this process before may have left a handler of theirs.
        before = signal.getsignal(signal.SIGTERM)
        with watching(after_three):
            result = work()
        assert result.code == 4, result.said
        assert "Told to end; the ranges that were held are free again." in result.out
        assert f"Left: {KEY}: 30 of about 300 rows are done" in result.out
        assert left_to_do() == ROWS - 30
        assert not BackfillRange.objects.exclude(leased_by="").exists()
        assert signal.getsignal(signal.SIGTERM) is before
        assert work().code == 0

    def test_once_ends_when_others_hold_the_rest(self, left: Project) -> None:
        with connect(str(connection.settings_dict["NAME"])) as other:
            other.execute(
                "UPDATE django_safemigrations_backfillrange SET leased_by = 'elsewhere:1:x',"
                " leased_until = now() + interval '1 hour', session_pid = pg_backend_pid(),"
                " session_start = (SELECT backend_start FROM pg_stat_activity"
                "                  WHERE pid = pg_backend_pid()) WHERE number = 1"
            )
            result = work("--once")
            assert result.code == 4
            assert f"Left: {KEY}: held by elsewhere:1:x" in result.out
            assert left_to_do() == 50
        # The holder's session is gone, so nobody waits for the hour to be over.
        wait_until(lambda: work("--once").code == 0, lambda: "the range is not taken over")
        assert left_to_do() == 0

    def test_a_lost_connection_is_found_again(self, left: Project) -> None:
        name = str(connection.settings_dict["NAME"])
        cut: list[int] = []

        def cut_off(sql: str) -> None:
            if sql.startswith("UPDATE") and "store_item" in sql:
                cut.append(1)
                if len(cut) in (3, 9):
                    with connect(name) as other:
                        other.execute(
                            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                            " WHERE datname = %s AND pid <> pg_backend_pid()",
                            [name],
                        )

        slept: list[float] = []
        with watching(cut_off):
            done = Helper(connection, sleep=slept.append).run()
        assert done.failed == {}
        assert slept.count(helping.FIRST_PAUSE) == 2
        assert left_to_do() == 0
        assert the_backfill().state is State.FINISHED

    def test_a_database_that_stays_away_is_given_up_after_a_while(self, left: Project) -> None:
        now = [0.0]
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds

        settings = connection.settings_dict
        before, settings["PORT"] = settings["PORT"], "1"
        connection.close()
        try:
            with pytest.raises(Exception, match="connection"):
                Helper(connection, clock=lambda: now[0], sleep=sleep).run()
        finally:
            settings["PORT"] = before
        assert slept[:6] == [1, 2, 4, 8, 16, 30]
        assert sum(slept) >= helping.RECONNECT_FOR

    def test_outside_of_the_time_windows_it_says_until_when_and_frees_its_range(
        self, left: Project
    ) -> None:
        opens = datetime.now(UTC) + timedelta(hours=2)
        window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
        windows = {"WINDOWS": [window], "TIME_ZONE": "UTC"}
        with override_settings(SAFE_MIGRATIONS={"BACKFILL": {**QUIET["BACKFILL"], **windows}}):
            result = work("--max-time", "0.2")
        assert result.code == 4
        assert f"outside of the time windows until {opens:%a %H:%M} UTC" in result.out
        assert left_to_do() == ROWS
        assert not BackfillRange.objects.exclude(leased_by="").exists()

    def test_work_that_this_release_does_not_know_is_left_and_said(self, left: Project) -> None:
        BackfillProgress.objects.update(task={"kind": "quantum"})
        result = work()
        assert result.code == 4
        assert "knows no backfill of the kind 'quantum': upgrade it" in result.out
        assert left_to_do() == ROWS

    def test_a_backfill_that_fails_is_said_and_does_not_hold_up_others(self, left: Project) -> None:
        left.execute("ALTER TABLE store_item ADD CHECK (name <> 'n42' OR total IS NULL)")
        result = work()
        assert result.code == 1
        assert f"Failed: {KEY}" in result.out
        assert "1 row of" in result.out
        assert left_to_do() == 1
        # The others are filled; as long as nobody mends the row, it stays failed.
        assert work().code == 1
        assert "has failed, so it can't be resumed" in work("--resume", KEY).said
        left.execute("ALTER TABLE store_item DROP CONSTRAINT store_item_check")
        assert work("--retry", KEY).code == 0
        assert work().code == 0
        assert left_to_do() == 0

    def test_the_forever_worker_takes_on_what_comes(self, filling: Project) -> None:
        ending = Ending()

        slept: list[float] = []

        def sleep(seconds: float) -> None:
            """Idle: work comes the first time, and the end the second."""
            slept.append(seconds)
            if len(slept) == 1:
                assert filling.safely("--no-wait").code == 4
            elif the_backfill().state is State.FINISHED:
                ending._event.set()

        Helper(connection, forever=True, stop=ending, sleep=sleep).run()
        assert left_to_do() == 0

    def test_wrong_usage_is_refused(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for words, said in (
            (["--workers", "0"], "--workers 0"),
            (["--max-time", "soon"], "--max-time soon"),
            (["--max-time", "-1"], "--max-time"),
            (["--key", "nonsense"], "There are no backfills"),
            (["--reason", "x"], "--reason goes with"),
            (["--database", "nowhere"], "invalid choice"),
            (["--once", "--forever"], "not allowed with"),
            (["--pause", "nonsense"], "There are no backfills"),
        ):
            result = work(*words)
            assert result.code == 2
            assert said in result.said + capsys.readouterr().err  # where argparse writes

    def test_a_wrong_setting_is_refused(self, filling: Project) -> None:
        with override_settings(SAFE_MIGRATIONS={"BACKFILL": {"WINDOW": []}}):
            result = work()
        assert result.code == 2
        assert "Did you mean 'WINDOWS'?" in result.err


class TestOrders:
    def test_a_paused_backfill_is_waited_for_within_a_batch_and_goes_on(
        self, left: Project
    ) -> None:
        name = str(connection.settings_dict["NAME"])
        seen: list[str] = []

        def pause(sql: str) -> None:
            if sql.startswith("UPDATE") and "store_item" in sql:
                seen.append(sql)
                if len(seen) == 2:
                    set_state(name, "paused", "it is payday")

        with watching(pause):
            result = work()
        assert result.code == 4
        assert f"Left: {KEY}: paused: it is payday" in result.out
        assert left_to_do() == ROWS - 20
        assert work("--resume", KEY[:10]).code == 0
        assert work().code == 0
        assert left_to_do() == 0

    def test_orders_are_given_from_the_command_line(self, left: Project) -> None:
        result = work("--pause", KEY, "--reason", "it is payday")
        assert result.code == 0
        assert f"Paused: {KEY} (it was pending)" in result.out
        found = the_backfill()
        assert (found.state, found.reason) == (State.PAUSED, "it is payday")
        assert "it is payday" in work("--list").out
        assert "is paused already" in work("--pause", KEY).said
        assert work("--cancel", KEY, "--reason", "wrong value").code == 0
        assert work().code == 0  # a cancelled one is nobody's work
        again = work("--pause", KEY)
        assert again.code == 2
        assert "--resume" in again.said
        assert work("--resume", KEY).code == 0
        assert the_backfill().state is State.RUNNING
        assert "so there is nothing to retry" in work("--retry", KEY).said

    def test_a_cancelled_backfill_keeps_its_migration_from_being_applied(
        self, left: Project
    ) -> None:
        work("--cancel", KEY, "--reason", "wrong value")
        result = left.safely()
        assert result.code == 1
        assert "cancelled (wrong value)" in result.said
        assert f"manage.py runbackfill --resume '{KEY}'" in result.said
        assert left.applied("store") == ["0001_initial"]
        work("--resume", KEY)
        assert left.safely().code == 0

    @pytest.mark.parametrize(
        ("order", "said"),
        [
            ("cancel", ["was cancelled: no", "--resume"]),
            pytest.param("pause", ["is paused: no", "--resume"], marks=pytest.mark.exhaustive),
            pytest.param(
                "", ["is not finished", "manage.py runbackfill"], marks=pytest.mark.exhaustive
            ),
        ],
    )
    def test_a_contract_of_its_column_is_refused_and_others_are_run(
        self, left: Project, order: str, said: list[str]
    ) -> None:
        if order:
            work(f"--{order}", KEY, "--reason", "no")
        # Somebody says that the expand is done.
        call_command("migrate", "store", fake=True, verbosity=0)
        left.contract("store", "0004_less", "ALTER TABLE store_item DROP COLUMN total")
        left.contract("store", "0005_less", "ALTER TABLE store_box DROP COLUMN size")
        result = left.safely("--phase", "contract")
        assert result.code == 3
        for words in ["store.0004_less: The backfill", *(" ".join(part.split()) for part in said)]:
            assert words in " ".join(result.said.split())
        result = left.safely("--phase", "contract", "--waive=no_downtime=only the other table")
        assert result.code == 1
        for words in ["store.0004_less: BackfillUnfinished", *said]:
            assert words in result.said
        assert "total" in left.columns("store_item")
        assert "size" not in left.columns("store_box")

    def test_an_order_that_a_worker_overtook_is_refused(self, left: Project) -> None:
        work()
        with pytest.raises(BackfillStopped, match="finished, so there is nothing to cancel"):
            tell(connection, Order.CANCEL, KEY)


class TestLooking:
    def test_status_shows_how_far_a_backfill_is(self, left: Project) -> None:
        set_state(str(connection.settings_dict["NAME"]), "paused", "it is payday")
        result = left.run("--status")
        assert result.code == 0
        assert "0 of ~300" in result.out
        assert "paused" in result.out
        assert f"{KEY}: it is payday" in result.out
        (listed,) = left.run("--status", "--format", "json").document["backfills"]
        assert listed["key"] == KEY
        assert listed["reason"] == "it is payday"
        work("--resume", KEY)
        work()
        assert "300 changed" in left.run("--status").out

    def test_watching_ends_when_all_have_ended(self, left: Project) -> None:
        out = io.StringIO()
        looks = Looks(connection)
        rounds: list[float] = []

        def sleep(seconds: float) -> None:
            rounds.append(seconds)
            if len(rounds) == 2:
                Helper(connection).run()

        with Display(out, live=False, clock=lambda: 10.0 * len(rounds)) as display:
            watch(looks, display, sleep=sleep)
        assert len(rounds) == 2
        said = out.getvalue()
        assert "nobody works on it: type manage.py runbackfill" in said
        assert "proven complete, 300 rows changed" in said

    def test_status_with_watch_ends_at_once_when_nothing_goes_on(self, project: Project) -> None:
        assert project.run("--status", "--watch").code == 0

    def test_rate_and_time_left_come_from_two_looks(self, left: Project) -> None:
        now = [0.0]
        looks = Looks(connection, lambda: now[0])
        with connect(str(connection.settings_dict["NAME"])) as other:
            other.execute(
                "UPDATE django_safemigrations_backfillrange SET leased_by = 'a:1:x', rows_seen = 10,"
                " leased_until = now() + interval '1 hour' WHERE number = 1"
            )
            looks.look()
            now[0] += 2
            other.execute(
                "UPDATE django_safemigrations_backfillrange SET rows_seen = 50 WHERE number = 1"
            )
            (found,) = looks.look()
        standing = looks.standing(found)
        assert standing.rate == 20.0
        assert standing.seconds_left == (ROWS - 50) / 20
        assert standing.workers == 1


def set_state(name: str, state: str, reason: str) -> None:
    """As somebody else does it."""
    with connect(name) as other:
        other.execute(
            "UPDATE django_safemigrations_backfillprogress SET state = %s, reason = %s",
            [state, reason],
        )


class watching:  # noqa: N801 - a context manager that reads like one
    """Call back before every statement of the connection, also after it was opened anew."""

    def __init__(self, look: Callable[[str], None]) -> None:
        def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            look(str(sql))
            return execute(sql, params, many, context)

        self.manager = connection.execute_wrapper(wrapper)

    def __enter__(self) -> None:
        self.manager.__enter__()

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036
        self.manager.__exit__(*error)
