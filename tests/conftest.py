"""The real PostgreSQL server that every test runs on."""

import pytest

from testproject import database


@pytest.fixture(scope="session")
def postgres() -> database.Server:
    """The server of `DATABASE_URL`, or our own that settings have started already."""
    return database.server()
