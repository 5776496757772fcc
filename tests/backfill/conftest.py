"""A database with the ledger for every test, and the means that an operation works with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.runner import Runner, runner
from tests.kit.databases import scratch_database
from tests.kit.fixtures import case_app, database_access
from tests.kit.prepared import base_template, drop_base_templates

__all__ = ["case_app", "database_access"]


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()


@pytest.fixture
def database(templates: None) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection to a new database with this app's tables."""
    with scratch_database(base_template()) as connection:
        yield connection


@pytest.fixture
def means(database: BaseDatabaseWrapper) -> Iterator[Runner]:
    """A runner outside of any transaction."""
    with database.schema_editor(atomic=False) as editor, runner(editor) as found:
        yield found
