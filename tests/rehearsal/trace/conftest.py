"""A database of its own for every test, with tables that hold rows, and a tracer on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.kit.databases import connect, create_database, drop_database, use_database
from tests.kit.fixtures import database_access

__all__ = ["database_access"]

TABLES = """
    CREATE TABLE parcel (id bigint PRIMARY KEY, code text, weight integer, depot_id bigint);
    CREATE TABLE depot (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO depot SELECT n, 'depot ' || n FROM generate_series(1, 20) n;
    INSERT INTO parcel SELECT n, 'code ' || n, n, n % 20 + 1 FROM generate_series(1, 500) n;
    CREATE INDEX parcel_code ON parcel (code);
"""


@pytest.fixture(scope="package")
def database(database_access: None) -> Iterator[str]:
    """The name of a database."""
    name = create_database(prefix="kit_trace")
    yield name
    drop_database(name)


@pytest.fixture
def parcels(database: str) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection to a database with 500 parcels in 20 depots, and nothing else."""
    with connect(database) as session:
        session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + TABLES)
    with use_database(database) as connection:
        yield connection
