"""A rehearsal that is killed leaves nothing that the next one does not remove, and production alone."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_safemigrations.exceptions import CopyFailed
from tests.kit.databases import admin
from tests.kit.forks import fork, kill_me, wait_for
from tests.kit.kill import wait_until
from tests.rehearsal.copies.production import Production, left_in


def killed_at(word: str) -> Callable[[str], None]:
    """Return something to tell progress to that dies when it hears a word."""
    return lambda line: kill_me() if word in line else None


def run_killed(work: Callable[[], Any]) -> None:
    """Run something in a child that is killed by itself."""
    ended = wait_for(*fork(work))
    assert ended.error == ""
    assert ended.signal == signal.SIGKILL


def sessions_of(names: set[str]) -> list[int]:
    """Return the sessions that are left in databases, or that hold them for their owner."""
    rows = admin().execute(
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND (datname = ANY (%(names)s) OR query LIKE ANY (%(patterns)s))",
        {"names": list(names), "patterns": [f"%{name}%" for name in names]},
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("pg_restore: creating TABLE", "dump"),
        pytest.param("pg_dump: dumping", "dump", marks=pytest.mark.exhaustive),
        pytest.param("Anonymising", "dump", marks=pytest.mark.exhaustive),
        pytest.param("Following", "sample", marks=pytest.mark.exhaustive),
        pytest.param("Anonymising", "template", marks=pytest.mark.exhaustive),
    ],
)
def test_a_killed_rehearsal_is_cleaned_up_by_the_next(
    production: Production, template: str, place: Path, word: str, source: str
) -> None:
    before = production.content()
    settings = {"source": source, "template": template, "directory": str(place)}

    def work() -> None:
        with production.copy(killed_at(word), anonymize="builtins.id", **settings):
            raise AssertionError("it was not killed")

    run_killed(work)
    # Any rehearsal on this server may have been the next one.
    left = production.copies()
    assert len(left) <= 1
    assert bool(left_in(place)) is (source != "template")
    # pg_dump, pg_restore and their workers end with us: nobody goes on writing.
    wait_until(lambda: not sessions_of({production.name, *left}), lambda: "sessions are left")
    production.clean_up(**settings)
    assert production.copies() == set()
    assert left_in(place) == []
    assert production.content() == before


def test_a_copy_in_use_is_not_cleaned_up_by_another_rehearsal(
    production: Production, place: Path
) -> None:
    with production.copy(directory=str(place)) as copy:
        there = left_in(place)
        removed = production.clean_up(directory=str(place))
        assert not [name for name in removed if str(place) in name]
        assert left_in(place) == there
        assert production.copies() == {copy.database["NAME"]}


def test_databases_that_are_not_ours_are_not_cleaned_up(production: Production) -> None:
    for name in ("dsm_copy_of_ours", "dsm_copy_0123456789ab"):
        admin().execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    admin().execute("COMMENT ON DATABASE dsm_copy_0123456789ab IS 'mine'")
    try:
        removed = production.clean_up()
        assert "dsm_copy_of_ours" not in removed
        assert "dsm_copy_0123456789ab" not in removed
    finally:
        for name in ("dsm_copy_of_ours", "dsm_copy_0123456789ab"):
            admin().execute(f'DROP DATABASE "{name}"')


@pytest.mark.postgres_versions
def test_an_embedded_server_ends_when_its_owner_is_killed(
    production: Production, place: Path
) -> None:
    pids = place / "pids"

    def said(line: str) -> None:
        if "pg_restore: creating TABLE" in line:
            (workspace,) = place.glob("dsm_rehearsal_*")
            pid = (workspace / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
            pids.write_text(pid)
            kill_me()

    def work() -> None:
        with production.copy(said, server=None, directory=str(place)):
            raise AssertionError("it was not killed")

    run_killed(work)
    pid = int(pids.read_text())
    pids.unlink()
    wait_until(lambda: not _alive(pid), lambda: f"the server {pid} goes on")
    assert len(left_in(place)) == 1
    assert len(production.clean_up(server=None, directory=str(place))) == 1
    assert left_in(place) == []


def _alive(pid: int) -> bool:
    """Whether a process runs; not one whose end nobody has asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("server", ["same", pytest.param(None, marks=pytest.mark.exhaustive)])
def test_a_full_disk_is_told_and_leaves_nothing(
    production: Production, place: Path, server: str | None
) -> None:
    before = production.content()
    production.run("CREATE TABLE big AS SELECT repeat(n::text, 50) FROM generate_series(1, 9999) n")

    def work() -> None:
        # What a full disk does to a writer, a limit on files does too.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        with pytest.raises(CopyFailed, match=r"(pg_dump|initdb|could not)"):
            with production.copy(directory=str(place), server=server):
                raise AssertionError("there is a copy")

    ended = wait_for(*fork(work))
    assert ended.error == ""
    assert ended.signal == 0
    assert production.copies() == set()
    assert left_in(place) == []
    production.run("DROP TABLE big")
    assert production.content() == before


def test_the_dump_directory_and_its_files_are_only_ours(
    production: Production, place: Path
) -> None:
    seen: set[int] = set()

    def look(line: str) -> None:
        if "pg_dump: dumping" in line or "pg_restore:" in line:
            (workspace,) = place.glob("dsm_rehearsal_*")
            seen.update(path.stat().st_mode & 0o077 for path in (workspace, workspace / "dump"))

    with production.copy(look, directory=str(place)):
        assert seen == {0}


def test_a_password_is_on_no_command_line_and_in_no_message(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "S3cr3t-of-production"
    production.connection.settings_dict["PASSWORD"] = secret
    lines: list[str] = []
    commands: list[str] = []

    def look(line: str) -> None:
        lines.append(line)
        if "reading" not in line and "TABLE" not in line:
            return
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(place) in command:
                commands.append(command)

    try:
        with production.copy(look, directory=str(place)) as copy:
            assert copy.database["PASSWORD"] == secret
            assert secret not in repr(copy.facts)
    finally:
        production.connection.settings_dict["PASSWORD"] = ""
    assert any("pg_dump" in command for command in commands)
    assert any("pg_restore" in command for command in commands)
    assert secret not in "\n".join(commands + lines)
    assert os.environ.get("PGPASSWORD") != secret
