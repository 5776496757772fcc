"""A primary and a streaming standby of our own, whose replay of WAL a test can stop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from testproject import cluster
from testproject.cluster import SUPERUSER, Cluster
from testproject.database import Server, own_server, wanted_version
from tests.kit.kill import wait_until

STANDBY = "reporting"
"""The standby's application_name on the primary."""


@dataclass(frozen=True)
class Pair:
    """A primary and its standby.

    Attributes:
        primary: the server that is written to.
        standby: the server that replays.
    """

    primary: Server
    standby: Server

    def on_primary(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return _run(self.primary, sql, params)

    def on_standby(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return _run(self.standby, sql, params)

    def stop_replay(self) -> None:
        """Let the standby receive WAL without replaying it."""
        self.on_standby("SELECT pg_wal_replay_pause()")
        wait_until(
            lambda: self.on_standby("SELECT pg_get_wal_replay_pause_state()") == [("paused",)],
            lambda: "the standby goes on replaying",
        )

    def wait_until_behind(self) -> None:
        """Wait until the primary knows of WAL that the standby has not replayed.

        What was committed asynchronously is written a moment later.
        """
        behind = "SELECT bool_or(pg_current_wal_lsn() > replay_lsn) FROM pg_stat_replication"
        wait_until(
            lambda: self.on_primary(behind) == [(True,)], lambda: "the standby is not behind"
        )

    def go_on(self) -> None:
        """Let the standby replay again."""
        self.on_standby("SELECT pg_wal_replay_resume()")

    def wait_for_standby(self) -> None:
        """Wait until the standby has replayed everything."""
        ((written,),) = self.on_primary("SELECT pg_current_wal_lsn()::text")
        wait_until(
            lambda: (
                self.on_standby("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written)
                == [(True,)]
            ),
            lambda: "the standby is behind",
        )


@contextmanager
def streaming_pair() -> Iterator[Pair]:
    """Start a primary and a standby of it; both are stopped and the standby is deleted."""
    version = wanted_version()
    primary = own_server(version, f"primary-{version}-{os.getpid()}")
    assert primary.cluster is not None
    name = f"standby-{version}-{os.getpid()}"
    follower = Cluster(version, name)
    try:
        _copy(primary.cluster, follower)
        # Where databases are dropped at a start, the copy must have none to drop.
        standby = own_server(version, name)
        try:
            pair = Pair(primary, standby)
            wait_until(
                lambda: (
                    pair.on_primary(
                        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                    )
                    == [(1,)]
                ),
                lambda: "the standby does not stream",
            )
            yield pair
        finally:
            standby.stop()
    finally:
        primary.stop()
        shutil.rmtree(follower.data, ignore_errors=True)
        shutil.rmtree(primary.cluster.data, ignore_errors=True)
        for own in (follower, primary.cluster):
            for suffix in ("users", "lock"):
                (own.base / f"{own.name}.{suffix}").unlink(missing_ok=True)


@contextmanager
def use_server(server: Server, name: str) -> Iterator[BaseDatabaseWrapper]:
    """Make `default` a connection to a database of another server inside the block."""
    earlier = connections[DEFAULT_DB_ALIAS]
    connection = earlier.copy()
    connection.settings_dict.update(
        {"HOST": server.host, "PORT": server.port, "USER": server.user, "NAME": name}
    )
    connections[DEFAULT_DB_ALIAS] = connection
    try:
        yield connection
    finally:
        if connection.connection is not None:
            connection.connection.close()
        connections[DEFAULT_DB_ALIAS] = earlier


def _copy(primary: Cluster, follower: Cluster) -> None:
    binaries = cluster._runnable_binaries(primary.version, primary.base)
    target = follower.data
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    if account := cluster._server_account():
        os.chown(target, account.pw_uid, account.pw_gid)
    where = f"host={primary.host} port=5432 user={SUPERUSER} application_name={STANDBY}"
    command = [str(binaries / "pg_basebackup"), "-d", where, "-D", str(target)]
    command += ["--checkpoint=fast", "--write-recovery-conf", "--wal-method=stream", "--no-sync"]
    cluster._run(command, target / "none")
    for name in (".s.PGSQL.5432.lock", "server.log"):
        (target / name).unlink(missing_ok=True)


def _run(server: Server, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as session:
        cursor = session.execute(sql, params or None)
        return cursor.fetchall() if cursor.description else []
