"""A server of our own for the copy: started when none is named, behaving as production's, and gone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from django_safemigrations.exceptions import CopyFailed, CopyRefused
from django_safemigrations.postgres.programs import Programs, find_programs
from django_safemigrations.rehearsal.copies import places
from tests.kit.databases import connect
from tests.kit.kill import wait_until
from tests.kit.schema import diff, fingerprint, rows
from tests.rehearsal.copies.production import Production, left_in, session_in

pytestmark = pytest.mark.postgres_versions


def server_of(place: Path) -> Path:
    """Return the data directory of the only workspace in a directory."""
    (workspace,) = place.glob("dsm_rehearsal_*")
    return workspace / "data"


def pid_of(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_a_server_the_copy_is_on_an_embedded_one_of_productions_version(
    production: Production, place: Path
) -> None:
    production.run("CREATE ROLE dsm_app_role")
    try:
        production.run("CREATE POLICY mine ON log TO dsm_app_role USING (true)")
        before = production.content()
        with production.copy(server=None, directory=str(place)) as copy:
            data = server_of(place)
            pid = pid_of(data)
            assert alive(pid)
            assert stat.S_IMODE(data.parent.stat().st_mode) == 0o700
            with session_in(copy) as session, connect(production.name) as original:
                assert diff(fingerprint(session), before[0]) == []
                assert rows(session) == before[1]
                for setting in ("wal_level", "full_page_writes", "work_mem"):
                    query = f"SHOW {setting}"
                    assert session.execute(query).fetchone() == original.execute(query).fetchone()
                wanted = original.info.server_version // 10000
                assert session.info.server_version // 10000 == wanted
                assert session.execute("SHOW listen_addresses").fetchone() == ("",)
            secret = copy.database["PASSWORD"]
            assert secret
            assert secret not in repr(copy)
            assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
            assert secret not in Path(f"/proc/{pid}/environ").read_text()
        assert not alive(pid)
        assert left_in(place) == []
        assert secret not in "\n".join(production.said)
    finally:
        production.run("DROP POLICY IF EXISTS mine ON log")
        production.run("DROP ROLE dsm_app_role")


def test_a_server_of_another_version_is_not_taken_unasked(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = find_programs((*places.SERVING, *places.COPYING), 14)
    monkeypatch.setattr(places, "find_programs", lambda *_: Programs(newer.directory, 99))
    with pytest.raises(CopyRefused, match=r'only PostgreSQL 99.*SERVER.*"embedded"'):
        with production.copy(server=None, directory=str(place)):
            raise AssertionError("there is a copy")
    assert left_in(place) == []


def test_too_little_room_is_said_before_anything_is_copied(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "OVERHEAD", 10**18)
    with pytest.raises(
        CopyRefused, match=r" PB are needed for dump and copy in .*, where .* are free"
    ):
        with production.copy(server=None, directory=str(place)):
            raise AssertionError("there is a copy")
    assert left_in(place) == []


@pytest.mark.exhaustive
def test_a_server_that_goes_away_halfway_is_told_and_leaves_nothing(
    production: Production, place: Path
) -> None:
    before = production.content()

    def kill_the_server(line: str) -> None:
        if "pg_restore: creating TABLE" in line:
            os.kill(pid_of(server_of(place)), signal.SIGKILL)

    with pytest.raises(CopyFailed, match=r"(?s)pg_restore failed.*Production was only read"):
        with production.copy(kill_the_server, server=None, directory=str(place)):
            raise AssertionError("there is a copy")
    assert left_in(place) == []
    assert production.content() == before


@pytest.mark.exhaustive
def test_a_copy_on_an_embedded_server_is_kept_with_what_one_has_to_type(
    production: Production, place: Path
) -> None:
    with production.copy(server=None, directory=str(place), keep_copy=True) as copy:
        pass
    data = server_of(place)
    assert not (data / "postmaster.pid").exists()
    assert production.clean_up(server=None, directory=str(place)) == ()
    starting, connecting = (line.strip() for line in production.said[-1].splitlines()[1:])
    assert copy.database["PASSWORD"] not in production.said[-1]
    assert stat.S_IMODE((data.parent / "kept").stat().st_mode) == 0o600
    subprocess.run(
        ["sh", "-c", f"{starting} -w -l /dev/null"], check=True, cwd="/", stdout=subprocess.DEVNULL
    )
    try:
        command = f"{connecting} -Atc 'SELECT count(*) FROM person'"
        done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
        assert done.stdout == "900\n"
    finally:
        os.kill(pid_of(data), signal.SIGINT)
        wait_until(lambda: not (data / "postmaster.pid").exists(), lambda: "it goes on")
