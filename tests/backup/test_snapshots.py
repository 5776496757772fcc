"""A command of the user's takes the backup; what it says is kept, and nobody's password."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker

from django_safemigrations.backup.attesting import attested
from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.backup.taking import take_backup
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed
from tests.kit.databases import scratch_database
from tests.kit.kill import wait_until

SECRET = "gehe/im word"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RISKS = tuple(AtRisk("a", "1", "0", "dropped", table, (), "") for table in ("x.a", "x.b", "x.a"))


@pytest.fixture
def database(
    django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BaseDatabaseWrapper]:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    with django_db_blocker.unblock(), scratch_database() as connection:
        connection.settings_dict["PASSWORD"] = SECRET
        yield connection


def run(database: BaseDatabaseWrapper, script: str, **more: Any) -> Any:
    settings = BackupSettings(strategy="command", command=(sys.executable, "-c", script), **more)
    return take_backup(
        database, settings, at_risk=RISKS, progress=lambda line: None, clock=lambda: NOW
    )


def test_it_is_told_what_is_meant_and_its_output_is_kept(database: BaseDatabaseWrapper) -> None:
    script = "import os; print({k: v for k, v in os.environ.items() if k.startswith('SAFEM')})"
    taken = run(database, script)
    told = eval(taken.details["output"])
    assert told["SAFEMIGRATIONS_DATABASE"] == database.settings_dict["NAME"]
    assert told["SAFEMIGRATIONS_ALIAS"] == "default"
    assert told["SAFEMIGRATIONS_TABLES"] == "x.a\nx.b"
    assert taken.details["status"] == 0
    assert taken.details["taken_at"] == "2026-03-01T12:00:00+00:00"
    assert "-c" not in repr(taken.details["command"])


def test_it_finds_no_password_and_none_is_kept(database: BaseDatabaseWrapper) -> None:
    script = f"""
import os
assert not [v for v in os.environ.values() if {SECRET!r} in v]
print({SECRET!r}, "gehe%2Fim%20word")
"""
    assert run(database, script).details["output"].strip() == "*** ***"


def test_another_exit_status_is_no_backup(database: BaseDatabaseWrapper) -> None:
    with pytest.raises(BackupFailed, match=r"exit status 3. It wrote:\n  no \*\*\* space"):
        run(database, f"print('no', {SECRET!r}, 'space'); raise SystemExit(3)")
    with pytest.raises(BackupFailed, match="signal 9"):
        run(database, "import os; os.kill(os.getpid(), 9)")


def test_one_that_takes_too_long_is_ended_with_what_it_started(
    database: BaseDatabaseWrapper, tmp_path: Path
) -> None:
    started = tmp_path / "pid"
    script = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
pathlib.Path({str(started)!r}).write_text(str(child.pid))
print("begun", flush=True)
child.wait()
"""
    with pytest.raises(BackupFailed, match=r"did not end within 2 s .*\n  begun"):
        run(database, script, command_timeout=2)
    # What is left of it until somebody reaps it has no command line.
    command = Path(f"/proc/{started.read_text()}/cmdline")
    wait_until(
        lambda: not command.exists() or not command.read_bytes(), lambda: "the child is still there"
    )


def test_one_that_is_not_there_is_an_error(database: BaseDatabaseWrapper) -> None:
    settings = BackupSettings(strategy="command", command=("/no/such/program",))
    with pytest.raises(BackupFailed, match="could not be started"):
        take_backup(database, settings, at_risk=(), progress=lambda line: None, clock=lambda: NOW)


def test_only_the_end_of_much_output_is_kept(database: BaseDatabaseWrapper) -> None:
    script = "print('x' * 1_000_000); print('the end \\0 \\xff')"
    output = run(database, script).details["output"]
    assert len(output) <= 4_000
    assert "the end" in output
    assert "\0" not in output


def test_somebodys_word_has_a_name_and_an_age() -> None:
    taken = attested(" snap-0f3 ", NOW - timedelta(hours=2), 24, NOW)
    assert taken.details["backup_id"] == "snap-0f3"
    assert taken.details["taken_at"] == "2026-03-01T10:00:00+00:00"
    for name, when, why in (
        ("", NOW, "names no backup"),
        ("a\nb", NOW, "names no backup"),
        ("x" * 201, NOW, "names no backup"),
        ("s", NOW.replace(tzinfo=None), "no time zone"),
        ("s", NOW + timedelta(hours=1), "still to come"),
        ("s", NOW - timedelta(hours=25), "is 25 h old"),
    ):
        with pytest.raises(BackupFailed, match=why):
            attested(name, when, 24, NOW)


def test_attested_backups_are_not_taken(database: BaseDatabaseWrapper) -> None:
    settings = BackupSettings(strategy="attested")
    with pytest.raises(BackupFailed, match="--backup-id"):
        take_backup(database, settings, at_risk=(), progress=lambda line: None, clock=lambda: NOW)
