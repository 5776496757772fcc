"""Backfills as Django tasks: Django's own framework, and the package for older releases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from django_safemigrations import tasks
from django_safemigrations.backfill import ranges, walk
from django_safemigrations.backfill.helping import Help, Helper
from django_safemigrations.backfill.listing import list_backfills
from django_safemigrations.backfill.store import State
from django_safemigrations.exceptions import SettingsError
from tests.command.project import Project

ROWS = 300
KEY = "public.store_item: total is null"
FRAMEWORK = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
IMMEDIATE = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
DUMMY = {"default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
DATABASE = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}


@pytest.fixture
def filling(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A table with NULLs, and a migration that fills them."""
    monkeypatch.setattr(ranges, "ROWS_A_RANGE", 50)
    monkeypatch.setattr(walk, "FIRST_BATCH", 10)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 10)
    project.execute(
        f"INSERT INTO store_item (name) SELECT 'n' || n FROM generate_series(1, {ROWS}) n"
    )
    project.execute("ANALYZE store_item")
    project.write(
        "store",
        "0002_fill",
        'Expand(database_operations=[BackfillNulls("item", "total", 7)]),',
        before="from django_safemigrations.operations import BackfillNulls",
        atomic=False,
    )
    return project


@pytest.fixture(autouse=True)
def fresh_backends() -> Iterator[None]:
    """Frameworks keep the backends that they have made of TASKS."""
    yield
    _forget_backends()


def _forget_backends() -> None:
    from importlib import import_module

    handler: Any = import_module(FRAMEWORK).task_backends
    for alias in list(handler):
        if hasattr(handler._connections, alias):
            delattr(handler._connections, alias)
    handler.__dict__.pop("settings", None)
    handler._settings = None


class using:  # noqa: N801 - reads like what it does
    """TASKS and our settings, inside the block."""

    def __init__(self, backends: dict[str, Any], **backfill: Any) -> None:
        ours = {"MAX_LAG": None, "VACUUM": "off", "TASKS": 2, **backfill}
        self.settings = override_settings(TASKS=backends, SAFE_MIGRATIONS={"BACKFILL": ours})

    def __enter__(self) -> None:
        self.settings.enable()
        _forget_backends()

    def __exit__(self, *error: object) -> None:
        self.settings.disable()


def state() -> State:
    (found,) = list_backfills(connection)
    return found.state


def test_tasks_that_run_at_once_do_the_work_before_the_command_ends(filling: Project) -> None:
    with using(IMMEDIATE):
        result = filling.safely("--no-wait")
        assert result.code == 4, result.said
        assert "2 Django tasks were enqueued" in result.out
        assert state() is State.FINISHED
        assert filling.safely("--no-wait").code == 0
    assert filling.value("SELECT count(*) FROM store_item WHERE total = 7") == ROWS


def test_a_task_whose_time_is_over_is_enqueued_again(
    filling: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend runs each of them inside the one before."""
    rounds: list[int] = []

    class Counted(Helper):
        def run(self) -> Help:
            rounds.append(1)
            return super().run()

    monkeypatch.setattr(tasks, "Helper", Counted)
    with using(IMMEDIATE, TASKS=1, TASK_SECONDS=0.05, MAX_ROWS_PER_SECOND=1500):
        filling.safely("--no-wait")
    assert state() is State.FINISHED
    assert len(rounds) > 1


def test_tasks_that_find_nothing_free_come_again_later_or_end(filling: Project) -> None:
    with using(DUMMY):
        filling.safely("--no-wait")
    filling.execute("UPDATE django_safemigrations_backfillprogress SET state = 'paused'")
    with using(IMMEDIATE):
        # It can't put off, so it must not ask itself again and again.
        assert tasks.work_on_backfill.func("default", KEY) == {
            "rows": 0,
            "state": "paused",
            "again": False,
        }
    backend = {"default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
    with using(backend):
        assert tasks.work_on_backfill.func("default", KEY)["again"] is True
        (later,) = tasks.work_on_backfill.get_backend().results
        assert later.task.run_after is not None


def test_without_a_task_framework_it_is_said_what_to_do() -> None:
    unusable = tasks._Unusable(print, "no framework is installed")
    with pytest.raises(SettingsError, match="no framework is installed"):
        unusable.enqueue("default", KEY)


def test_a_fleet_with_a_queue_in_the_database_does_the_work(filling: Project) -> None:
    """As a team has it: its workers run db_worker."""
    with (
        using(DATABASE, TASKS=3),
        override_settings(INSTALLED_APPS=[*_installed(), "django_tasks_db"]),
    ):
        call_command("migrate", "django_tasks_database", verbosity=0)
        result = filling.safely("--no-wait")
        assert result.code == 4, result.said
        assert filling.value("SELECT count(*) FROM django_tasks_database_dbtaskresult") == 3
        assert state() is State.PENDING
        call_command("db_worker", batch=True, verbosity=0, startup_delay=False)
        assert state() is State.FINISHED
        assert filling.safely().code == 0
        states = filling.value(
            "SELECT array_agg(DISTINCT status) FROM django_tasks_database_dbtaskresult"
        )
        assert states == ["SUCCESSFUL"]


def _installed() -> list[str]:
    return [config.name for config in apps.get_app_configs()]
