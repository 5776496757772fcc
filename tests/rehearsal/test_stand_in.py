"""A copy stands in for the database under its own name, and nothing else can be written to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import InternalError, connection, connections
from pytest_django import DjangoDbBlocker

from django_safemigrations.rehearsal.stand_in import standing_in
from tests.command.conftest import database_in_use
from tests.kit.databases import create_database, drop_database, scratch_database

__all__ = ["database_in_use"]


@pytest.fixture
def copy(database_in_use: str, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """The DATABASES entry of a copy; `default` is another database with the same tables."""
    with django_db_blocker.unblock(), scratch_database(database_in_use):
        name = create_database(database_in_use)
        settings = connections.settings["default"]
        yield {
            **{k: settings[k] for k in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT")},
            "NAME": name,
        }
        drop_database(name)


@pytest.fixture
def more(copy: dict[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """More aliases, for as long as a test runs."""
    before = set(connections.settings)
    yield connections.settings
    for alias in set(connections.settings) - before:
        if alias in {w.alias for w in connections.all(initialized_only=True)}:
            connections[alias].close()
            del connections[alias]
        del connections.settings[alias]


def current(alias: str = "default") -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return str(cursor.fetchone()[0])


def test_models_that_name_no_database_are_written_to_the_copy(copy: dict[str, Any]) -> None:
    original = current()
    with standing_in("default", copy) as stand_in:
        assert stand_in.alias == "default"
        assert current() == copy["NAME"]
        Group.objects.create(name="only on the copy")
        assert connection.settings_dict["NAME"] == copy["NAME"]
    assert current() == original
    assert not Group.objects.exists()


def test_what_was_open_keeps_its_session_and_its_locks(copy: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_advisory_lock(77)")
        pid = cursor.fetchone()[0]
    with standing_in("default", copy):
        current()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_advisory_unlock(77)")
        assert cursor.fetchone() == (pid, True)


def test_it_ends_when_the_block_raises_and_leaves_no_session(copy: dict[str, Any]) -> None:
    original = current()

    def fail() -> None:
        with standing_in("default", copy):
            raise RuntimeError(current())

    with pytest.raises(RuntimeError, match=copy["NAME"]):
        fail()
    assert current() == original
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [copy["NAME"]])
        assert cursor.fetchone() == (0,)


def test_another_name_of_the_same_database_leads_to_the_copy(
    copy: dict[str, Any], more: dict[str, dict[str, Any]]
) -> None:
    more["again"] = dict(more["default"])
    more["replica"] = {**more["default"], "NAME": "postgres", "TEST": {"MIRROR": "default"}}
    with standing_in("default", copy):
        assert current("again") == current("replica") == copy["NAME"]
    assert current("replica") == "postgres"


def test_other_databases_can_be_read_and_not_written_to(
    copy: dict[str, Any], more: dict[str, dict[str, Any]]
) -> None:
    more["other"] = {**more["default"], "NAME": "postgres"}
    more["file"] = {**more["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    with standing_in("default", copy):
        assert current("other") == "postgres"
        with (
            connections["other"].cursor() as cursor,
            pytest.raises(InternalError, match="read-only"),
        ):
            cursor.execute("CREATE TABLE never (id int)")
        with pytest.raises(ImproperlyConfigured):
            connections["file"].cursor()


def test_what_a_copy_does_not_say_is_not_taken_from_production(
    copy: dict[str, Any], more: dict[str, dict[str, Any]]
) -> None:
    more["default"]["OPTIONS"] = {**more["default"]["OPTIONS"], "application_name": "production"}
    try:
        with standing_in("default", copy) as stand_in:
            assert "application_name" not in stand_in.settings_dict["OPTIONS"]
    finally:
        del more["default"]["OPTIONS"]["application_name"]
