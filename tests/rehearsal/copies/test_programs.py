"""pg_dump and its like are found, get their secrets out of sight, and never outlive us."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from django.db import connections

from django_safemigrations.exceptions import ProgramFailed, ProgramMissing
from django_safemigrations.postgres.programs import (
    connection_parameters,
    environment,
    find_programs,
    run_program,
    start,
    without_libpq,
)
from tests.kit.forks import fork, kill_me, wait_for
from tests.kit.kill import wait_until

# It ends by itself when it was not ended; one write a line, or two processes' lines would mix.
SLEEPER = """
import os, signal
os.fork()
signal.alarm(60)
os.write(2, f"{os.getpid()}\\n".encode())
signal.pause()
"""


def program(directory: Path, name: str, version: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
    path.chmod(0o755)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on whose PATH there are versions 14, 17 and 19devel."""
    for version in ("19devel", "14.3", "17.1 (Debian 17.1-1.pgdg12+1)"):
        directory = tmp_path / version.split(".")[0]
        for name in ("pg_dump", "pg_restore"):
            program(directory, name, version)
    path = [str(tmp_path / name) for name in ("19devel", "14", "17")]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    places = "django_safemigrations.postgres.programs.server_places"
    monkeypatch.setattr(places, lambda: iter(()))
    return tmp_path


def test_the_oldest_programs_that_are_new_enough_are_taken(installed: Path) -> None:
    def found(at_least: int) -> tuple[str, int]:
        programs = find_programs(("pg_dump", "pg_restore"), at_least)
        return programs.directory.name, programs.major

    assert found(14) == ("14", 14)
    assert found(15) == ("17", 17)
    assert found(18) == ("19devel", 19)


def test_a_directory_that_is_named_is_the_only_one_looked_at(installed: Path) -> None:
    assert find_programs(["pg_dump"], 14, installed / "17").major == 17
    with pytest.raises(ProgramMissing, match="there is only 14 in"):
        find_programs(["pg_dump"], 15, installed / "14")


def test_all_programs_come_from_one_directory(installed: Path) -> None:
    (installed / "14" / "pg_restore").unlink()
    assert find_programs(("pg_dump", "pg_restore"), 14).major == 17


def test_what_was_found_and_what_to_install_is_said(installed: Path) -> None:
    with pytest.raises(ProgramMissing) as caught:
        find_programs(["pg_dump"], 20)
    said = str(caught.value)
    assert "needs pg_dump of version 20 or newer" in said
    assert f"17 in {installed / '17'}" in said
    assert "postgresql-client-20" in said


def test_what_can_not_be_run_or_is_not_postgresqls_is_passed_over(
    installed: Path, tmp_path: Path
) -> None:
    (installed / "14" / "pg_dump").write_text("#!/bin/sh\nexit 3\n")
    (installed / "17" / "pg_dump").write_text("#!/bin/sh\necho pg_dump of mine\n")
    assert find_programs(["pg_dump"], 14).major == 19


def test_every_way_to_connect_becomes_a_variable() -> None:
    given = {
        "host": "db", "port": 6432, "user": "a", "password": "p", "dbname": "odd=name",
        "sslmode": "verify-full", "sslrootcert": "/ca.pem", "service": "shop",
        "passfile": "/pass", "options": "-c search_path=app", "keepalives_idle": 5,
    }  # fmt: skip
    env = environment(given, {"PATH": "/bin", "PGHOST": "elsewhere"})
    assert env.items() >= {
        "PATH": "/bin", "PGHOST": "db", "PGPORT": "6432", "PGUSER": "a", "PGPASSWORD": "p",
        "PGDATABASE": "odd=name", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem",
        "PGSERVICE": "shop", "PGPASSFILE": "/pass", "PGOPTIONS": "-c search_path=app",
    }.items()  # fmt: skip


def test_variables_of_libpq_can_be_left_out() -> None:
    base = {"PATH": "/bin", "PGHOST": "db", "PGSERVICEFILE": "/s", "PGOPTIONS": "-c a=b"}
    assert without_libpq(base) == {"PATH": "/bin"}


def test_what_is_djangos_own_is_no_parameter_of_libpq() -> None:
    connection = connections["default"].copy("other")
    connection.settings_dict.update(
        USER="a",
        PASSWORD="p",
        OPTIONS={"pool": True, "isolation_level": 3, "assume_role": "b", "sslmode": "require"},
    )
    parameters = connection_parameters(connection)
    assert parameters["user"] == "a"
    assert parameters["password"] == "p"
    assert parameters["sslmode"] == "require"
    assert not {"pool", "isolation_level", "assume_role", "cursor_factory"} & set(parameters)


def test_an_error_is_shown_without_the_password() -> None:
    code = "import os, sys; sys.stderr.write('login ' + os.environ['PGPASSWORD']); sys.exit(3)"
    lines: list[str] = []
    with pytest.raises(ProgramFailed) as caught:
        run_program(
            [sys.executable, "-c", code], environment({"password": "s3cret"}), on_line=lines.append
        )
    assert caught.value.status == 3
    assert "exit status 3:\n  login ***" in str(caught.value)
    assert lines == ["login ***"]


def test_a_program_that_is_killed_is_told_by_its_signal() -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(ProgramFailed, match="signal 9"):
        run_program([sys.executable, "-c", code], os.environ)


def test_a_program_that_can_not_be_started_is_named() -> None:
    with pytest.raises(ProgramFailed, match="/nowhere/pg_dump could not be started"):
        run_program(["/nowhere/pg_dump"], {})


def test_both_pipes_are_read_however_much_there_is() -> None:
    code = "import sys; sys.stdout.write('o' * 300_000); sys.stderr.write('e\\n' * 100_000)"
    finished = run_program([sys.executable, "-c", code], os.environ)
    assert len(finished.stdout) == 300_000
    assert set(finished.stderr) == {"e", "\n"}


def test_a_program_and_its_children_end_when_we_are_interrupted() -> None:
    def interrupt(line: str) -> None:
        seen.append(int(line))
        if len(seen) == 2:
            raise KeyboardInterrupt

    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run_program([sys.executable, "-c", SLEEPER], os.environ, on_line=interrupt)
    wait_until(lambda: not any(map(alive, seen)), lambda: f"{seen} go on")


def test_a_program_ends_when_we_are_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def work() -> None:
        process = start([sys.executable, "-c", "import signal; signal.pause()"], os.environ)
        told.write_text(str(process.pid))
        kill_me()

    ended = wait_for(*fork(work))
    assert ended.signal == signal.SIGKILL
    wait_until(lambda: not alive(int(told.read_text())), lambda: "the program goes on")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
