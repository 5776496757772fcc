"""A production database with every kind of thing that a copy has to hold, and places for copies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.kit.databases import admin, create_database, drop_database, use_database
from tests.kit.fixtures import database_access
from tests.rehearsal.copies.production import SCHEMA, Production

__all__ = ["database_access"]


@pytest.fixture(scope="package")
def template(database_access: None) -> Iterator[str]:
    """A database that production is cloned from."""
    name = create_database(prefix="golden")
    with use_database(name) as connection, connection.cursor() as cursor:
        cursor.execute(SCHEMA)
    yield name
    drop_database(name)


@pytest.fixture
def production(template: str) -> Iterator[Production]:
    """A database as `default`; nothing of it or of its server may have changed at the end."""
    name = create_database(template, prefix="production")
    try:
        with use_database(name) as connection:
            assert isinstance(connection, BaseDatabaseWrapper)
            yield Production(connection)
    finally:
        drop_database(name)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short directory that every account reaches: the embedded server may run as another."""
    path = Path(tempfile.mkdtemp(prefix="dsm_test_", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def roles() -> Iterator[list[str]]:
    """Names of roles that a test makes; they are dropped at the end."""
    names: list[str] = []
    yield names
    for name in names:
        admin().execute(f'DROP ROLE IF EXISTS "{name}"')
