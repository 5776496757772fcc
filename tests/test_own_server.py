"""The server of tests and demo: found, reused after a kill, stopped by the last that uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testproject import cluster
from testproject.cluster import CHECKOUT, Cluster, ServerError, find_binaries
from testproject.database import Address

# A process that joins the server in a directory, says so, and leaves when its input ends.
OTHER_PROCESS = """
import sys
from pathlib import Path
from testproject import cluster
cluster._base_directory = lambda: Path(sys.argv[1])
own = cluster.Cluster(18, "own")
own.join()
print(own.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    base = cluster._private_directory(f"safemigrations-test-{os.getpid()}")
    monkeypatch.setattr(cluster, "_base_directory", lambda: base)
    server = Cluster(18, "own")
    yield server
    server.join()  # takes over whatever a failed test left running
    server.leave()
    subprocess.run(["rm", "-rf", str(base)], check=True)


def other_process(base: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(base)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_the_last_process_that_leaves_stops_the_server(own: Cluster) -> None:
    other, pid = other_process(own.base)
    own.join()
    assert own.pid == pid
    own.leave()
    assert own.pid == pid
    other.communicate()
    assert other.returncode == 0
    assert own.pid is None


def test_the_server_of_a_killed_process_is_reused_and_then_stopped(own: Cluster) -> None:
    other, pid = other_process(own.base)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert own.pid == pid
    own.join()
    assert own.pid == pid
    own.leave()
    assert own.pid is None


def test_a_killed_server_is_started_again(own: Cluster) -> None:
    own.join()
    pid = own.pid
    assert pid is not None
    own.leave()
    other, pid = other_process(own.base)
    os.kill(pid, signal.SIGKILL)
    other.communicate()
    own.join()
    with psycopg.connect(host=own.host, user="postgres", dbname="postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_version_that_is_not_installed_is_refused_with_the_way_out() -> None:
    with pytest.raises(ServerError, match=r"PostgreSQL 9 is not installed here.*DATABASE_URL"):
        find_binaries(9)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "postgres://ann:p%40ss@db.example:5433/shop",
            Address("shop", "ann", "p@ss", "db.example", "5433"),
        ),
        ("postgresql:///shop?host=/run/My Socket", Address("shop", host="/run/My Socket")),
        ("postgres://ann@%2Frun%2FPG/shop", Address("shop", "ann", host="/run/PG")),
        ("postgres://[::1]/shop", Address("shop", host="::1")),
        ("postgres://[::1]:5/shop", Address("shop", host="::1", port="5")),
        (
            "postgres://h/shop?sslmode=require&application_name=x",
            Address("shop", host="h", options=(("application_name", "x"), ("sslmode", "require"))),
        ),
    ],
)
def test_a_database_url_is_read_and_written_in_every_form(url: str, address: Address) -> None:
    assert Address.parse(url) == address
    assert Address.parse(address.url()) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@h/shop", "only PostgreSQL is supported"),
        ("postgres://u:secret@h/", "names no database"),
        ("u:secret@h/shop", "only PostgreSQL is supported"),
    ],
)
def test_a_wrong_database_url_is_refused_without_showing_the_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)
