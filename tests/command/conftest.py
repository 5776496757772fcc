"""A project of its own, with a database of its own, for every test of the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.command.project import INITIAL, Project
from tests.kit.databases import create_database, drop_database, scratch_database, use_database

APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_safemigrations",
    "tests.command.store",
    "tests.command.depot",
]


@pytest.fixture(scope="session")
def database_in_use(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Name of a database with Django's own apps migrated; copied by the tests."""
    apps = [app for app in APPS if not app.startswith("tests.")]
    with django_db_blocker.unblock(), override_settings(INSTALLED_APPS=apps):
        name = create_database()
        with use_database(name):
            call_command("migrate", "auth", verbosity=0)
        yield name
        drop_database(name)


@pytest.fixture(autouse=True)
def unmarked() -> Iterator[None]:
    """Leave the parameters of the connection as they were: a release is put among them."""
    options = connections.settings["default"]["OPTIONS"]
    yield
    connections.settings["default"]["OPTIONS"] = options


@contextmanager
def _project(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocker: DjangoDbBlocker,
    template: str | None,
) -> Iterator[Project]:
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    project = Project(directory)
    with (
        override_settings(INSTALLED_APPS=APPS, MIGRATION_MODULES=project.modules),
        blocker.unblock(),
        scratch_database(template),
    ):
        yield project


@pytest.fixture
def empty_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Project]:
    """A project without migration files on a fresh database."""
    with _project(tmp_path, monkeypatch, django_db_blocker, None) as project:
        yield project


@pytest.fixture
def project(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: DjangoDbBlocker,
    database_in_use: str,
) -> Iterator[Project]:
    """A project whose database is in use: tables store_item and store_box, with one row each."""
    with _project(tmp_path, monkeypatch, django_db_blocker, database_in_use) as project:
        project.write("store", "0001_initial", INITIAL)
        project.begin()
        project.execute("INSERT INTO store_item (name, total) VALUES ('a', 1)")
        project.execute("INSERT INTO store_box (size) VALUES (1)")
        yield project
