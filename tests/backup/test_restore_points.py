"""A restore point is set, archived, and what a server recovers to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from django_safemigrations.backup.restore_points import create_restore_point
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed
from testproject import cluster
from testproject.cluster import PORT, SUPERUSER, TEST_SETTINGS, Cluster
from testproject.database import Server, own_server, wanted_version
from tests.kit.databases import scratch_database
from tests.kit.kill import wait_until
from tests.kit.standby import streaming_pair, use_server

SETTINGS = BackupSettings(strategy="restore_point", archive_timeout=20)


def now() -> datetime:
    return datetime.now(UTC)


def take(database: Any, settings: BackupSettings = SETTINGS, **more: Any) -> Any:
    return create_restore_point(
        database, settings, progress=lambda line: None, clock=more.pop("clock", now), **more
    )


@dataclass(frozen=True)
class Archiving:
    """A server that archives its WAL into a directory."""

    server: Server
    archive: Path

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.dsn("postgres"), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def handed_over(path: Path) -> None:
    """Give a path to the account that the server runs as."""
    if account := cluster._server_account():
        os.chown(path, account.pw_uid, account.pw_gid)


@pytest.fixture(scope="module")
def archiving() -> Iterator[Archiving]:
    version = wanted_version()
    own = Cluster(version, f"archiving-{version}-{os.getpid()}")
    archive = own.base / f"{own.name}.archive"
    shutil.rmtree(archive, ignore_errors=True)
    archive.mkdir(mode=0o700)
    handed_over(archive)
    command = f'test ! -e "{archive}/broken" && cp "%p" "{archive}/%f"'
    settings = {
        **TEST_SETTINGS,
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": command,
        "full_page_writes": "on",
    }
    server = own_server(version, own.name, settings)
    try:
        yield Archiving(server, archive)
    finally:
        server.stop()
        for path in (own.data, archive):
            shutil.rmtree(path, ignore_errors=True)
        for suffix in ("users", "lock"):
            (own.base / f"{own.name}.{suffix}").unlink(missing_ok=True)


def test_a_server_that_does_not_archive_is_refused(django_db_blocker: DjangoDbBlocker) -> None:
    with (
        django_db_blocker.unblock(),
        scratch_database() as database,
        pytest.raises(BackupFailed, match="archive_mode = off"),
    ):
        take(database)


def test_the_wal_with_the_restore_point_is_in_the_archive(
    archiving: Archiving, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock(), use_server(archiving.server, "postgres") as database:
        taken = take(database)
        assert (archiving.archive / taken.details["segment"]).exists()
        assert taken.details["restore_point"].startswith("safemigrations_")
        assert f"recovery_target_name = '{taken.details['restore_point']}'" in taken.describe[2]
        # One more, right behind it: the server has to begin another segment again.
        second = take(database, clock=lambda: now() + timedelta(seconds=1))
        assert second.details["lsn"] != taken.details["lsn"]


def test_missing_rights_are_named_with_what_to_grant(
    archiving: Archiving, django_db_blocker: DjangoDbBlocker
) -> None:
    archiving.run('CREATE ROLE "plain one" LOGIN')
    try:
        with django_db_blocker.unblock(), use_server(archiving.server, "postgres") as database:
            database.settings_dict["USER"] = "plain one"
            with pytest.raises(BackupFailed) as raised:
                take(database)
            grants = [
                f'GRANT EXECUTE ON FUNCTION {function} TO "plain one"'
                for function in ("pg_create_restore_point(text)", "pg_switch_wal()")
            ]
            for grant in grants:
                assert grant in str(raised.value)
                archiving.run(grant)
            take(database)
    finally:
        archiving.run('DROP OWNED BY "plain one"')
        archiving.run('DROP ROLE "plain one"')


@pytest.mark.exhaustive
def test_archiving_that_fails_is_found_out(
    archiving: Archiving, django_db_blocker: DjangoDbBlocker
) -> None:
    broken = archiving.archive / "broken"
    with django_db_blocker.unblock(), use_server(archiving.server, "postgres") as database:
        take(database)
        broken.touch()
        try:
            with pytest.raises(BackupFailed, match="was not archived within 1 s"):
                take(database, BackupSettings(strategy="restore_point", archive_timeout=1))
            wait_until(
                lambda: (
                    archiving.run(
                        "SELECT last_failed_time > last_archived_time FROM pg_stat_archiver"
                    )
                    == [(True,)]
                ),
                lambda: "nothing failed",
            )
            with pytest.raises(BackupFailed, match="fails, and nothing was archived since"):
                take(database)
        finally:
            broken.unlink()
        archiving.run("SELECT pg_switch_wal()")
        wait_until(
            lambda: (
                archiving.run("SELECT last_failed_time < last_archived_time FROM pg_stat_archiver")
                == [(True,)]
            ),
            lambda: "it goes on failing",
        )
        take(database)


@pytest.mark.exhaustive
def test_a_server_recovers_to_the_restore_point(
    archiving: Archiving, django_db_blocker: DjangoDbBlocker
) -> None:
    version = archiving.server.cluster.version  # type: ignore[union-attr]
    archiving.run("CREATE TABLE thing (n int)")
    archiving.run("INSERT INTO thing SELECT generate_series(1, 100)")
    restored = Cluster(version, f"restored-{version}-{os.getpid()}")
    _base_backup(archiving.server.cluster, restored)
    archiving.run("INSERT INTO thing SELECT generate_series(101, 150)")
    with django_db_blocker.unblock(), use_server(archiving.server, "postgres") as database:
        taken = take(database)
    archiving.run("DROP TABLE thing")
    archiving.run("SELECT pg_switch_wal()")
    recovery = {
        **TEST_SETTINGS,
        "restore_command": f'cp "{archiving.archive}/%f" "%p"',
        "recovery_target_action": "promote",
    }
    for line in taken.describe[2:]:
        key, _, value = line.strip().partition(" = ")
        recovery[key] = value.strip("'")
    (restored.data / "recovery.signal").touch()
    handed_over(restored.data / "recovery.signal")
    # Where databases are dropped at a start, the copy must have none to drop.
    server = own_server(version, restored.name, recovery)
    try:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as session:
            wait_until(
                lambda: session.execute("SELECT pg_is_in_recovery()").fetchone() == (False,),
                lambda: "it is still in recovery",
            )
            assert session.execute("SELECT count(*) FROM thing").fetchone() == (150,)
    finally:
        server.stop()
        shutil.rmtree(restored.data, ignore_errors=True)
        for suffix in ("users", "lock"):
            (restored.base / f"{restored.name}.{suffix}").unlink(missing_ok=True)


@pytest.mark.exhaustive
def test_a_standby_is_refused(django_db_blocker: DjangoDbBlocker) -> None:
    with (
        streaming_pair() as pair,
        django_db_blocker.unblock(),
        use_server(pair.standby, "postgres") as database,
        pytest.raises(BackupFailed, match="this server is a standby"),
    ):
        take(database)


def _base_backup(primary: Cluster | None, into: Cluster) -> None:
    assert primary is not None
    shutil.rmtree(into.data, ignore_errors=True)
    into.data.mkdir(mode=0o700)
    handed_over(into.data)
    binaries = cluster._runnable_binaries(primary.version, primary.base)
    where = f"host={primary.host} port={PORT} user={SUPERUSER}"
    command = [str(binaries / "pg_basebackup"), "-d", where, "-D", str(into.data)]
    command += ["--checkpoint=fast", "--wal-method=none", "--no-sync"]
    cluster._run(command, into.data / "none")
    for name in (".s.PGSQL.5432.lock", "server.log", "postmaster.pid"):
        (into.data / name).unlink(missing_ok=True)
