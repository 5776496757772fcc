"""Locks: bounded, given back, named when they are not granted; one migrator at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import override_settings

from django_safemigrations.postgres import locks
from django_safemigrations.postgres.session import MIGRATOR_LOCK
from tests.command.project import Project
from tests.kit.databases import connect

ADD = "ALTER TABLE store_item ADD COLUMN extra int"
BUSY = {"LOCK_TIMEOUT": 20, "LOCK_BUDGET": 0.4}


@contextmanager
def session() -> Iterator[psycopg.Connection[Any]]:
    """Another session on the test's database."""
    name = str(connection.settings_dict["NAME"])
    with connect(name, application_name="a report") as other:
        yield other


@contextmanager
def reading(table: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in the middle of a transaction that has read a table."""
    with session() as other:
        other.execute("BEGIN")
        other.execute(f"SELECT FROM {table} LIMIT 1")
        yield other


@pytest.mark.parametrize("atomic", [True, False])
def test_a_lock_that_is_never_granted_names_who_holds_it(project: Project, atomic: bool) -> None:
    project.expand("store", "0002_more", ADD, atomic=atomic)
    with override_settings(SAFE_MIGRATIONS=BUSY), reading("store_item") as other:
        result = project.safely()
        pid = other.info.backend_pid
    assert result.code == 1
    assert f"pid {pid}" in result.err
    assert "application a report" in result.err
    assert "LOCK_BUDGET" in result.err
    assert "Traceback" not in result.said
    assert project.applied("store") == ["0001_initial"]
    assert project.columns("store_item") == {"id", "name", "total"}


def test_an_atomic_migration_gives_its_locks_back_and_is_run_again_as_a_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        "store",
        "0002_more",
        "migrations.AddField('Box', 'a', models.IntegerField(null=True)),"
        "migrations.AddField('Item', 'b', models.IntegerField(null=True)),",
    )
    seen: list[bool] = []
    original = locks.LockGuard
    patient = {"LOCK_TIMEOUT": 20, "LOCK_BUDGET": 60}
    with (
        override_settings(SAFE_MIGRATIONS=patient),
        reading("store_item") as other,
        session() as looker,
    ):

        def sleep(_: float) -> None:
            # Between two attempts: nothing may be locked by the migration.
            looker.execute("SET lock_timeout = '1s'")
            looker.execute("ALTER TABLE store_box ALTER COLUMN size SET STATISTICS 50")
            seen.append(True)
            if len(seen) == 2:
                other.execute("ROLLBACK")

        def guard(*args: Any, **kwargs: Any) -> locks.LockGuard:
            return original(*args, **{**kwargs, "sleep": sleep})

        monkeypatch.setattr(locks, "LockGuard", guard)
        result = project.safely()
    assert result.code == 0, result.said
    assert len(seen) == 2
    assert "a" in project.columns("store_box")
    assert "b" in project.columns("store_item")
    assert result.out.count("Applying store.0002_more") == 1


def test_a_contract_without_its_lock_does_not_stop_another_table(project: Project) -> None:
    project.contract("store", "0002_item", "ALTER TABLE store_item DROP COLUMN total")
    project.contract("store", "0003_box", "ALTER TABLE store_box DROP COLUMN size")
    with override_settings(SAFE_MIGRATIONS=BUSY), reading("store_item"):
        result = project.safely("--phase", "contract")
    assert result.code == 1
    assert "store.0002_item: LockNotGranted" in result.err
    assert "size" not in project.columns("store_box")
    assert project.pending() == ["store.0002_item"]
    assert project.safely("--phase", "contract").code == 0
    assert "total" not in project.columns("store_item")


def test_a_second_migrator_is_refused_and_the_first_one_named(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    with session() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", list(MIGRATOR_LOCK))
        result = project.safely()
        pid = other.info.backend_pid
    assert result.code == 1
    assert f"pid {pid}" in result.err
    assert "is migrating this database" in result.err
    assert project.applied("store") == ["0001_initial"]


def test_looking_works_while_somebody_migrates(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    with session() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", list(MIGRATOR_LOCK))
        assert project.run("--plan").code == 0
        assert project.run("--status").code == 0
        assert project.run("--check").code == 4


def test_the_migrator_lock_is_given_back(project: Project) -> None:
    project.expand("store", "0002_wrong", "ALTER TABLE nowhere ADD COLUMN a int")
    assert project.safely().code == 1
    held: list[Any] = []

    def look() -> None:
        with session() as other:
            row = other.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", list(MIGRATOR_LOCK)
            ).fetchone()
            held.append(row)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert held == [(True,)]
