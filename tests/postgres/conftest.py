"""A database of its own for every test, and the means that an operation works with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.runner import Runner, runner
from tests.kit.databases import scratch_database
from tests.kit.fixtures import database_access

__all__ = ["database_access"]


@pytest.fixture
def database(database_access: None) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection to a new, empty database."""
    with scratch_database() as connection:
        yield connection


@pytest.fixture
def means(database: BaseDatabaseWrapper) -> Iterator[Runner]:
    """A runner outside of any transaction, as a migration with `atomic = False` has it."""
    with database.schema_editor(atomic=False) as editor, runner(editor) as found:
        yield found
