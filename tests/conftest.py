"""The real PostgreSQL server that every test runs on, and which tests stay together on one worker."""

from pathlib import Path

import pytest

from testproject import database

TESTS = Path(__file__).parent
TOGETHER = frozenset({"backfill", "operations", "postgres"})
"""Folders whose tests share what only one server has: roles, and settings of it."""


@pytest.fixture(scope="session")
def postgres() -> database.Server:
    """The server of `DATABASE_URL`, or our own that settings have started already."""
    return database.server()


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker what shares a fixture: a case of the invariants, a module, some folders."""
    for item in items:
        parts = item.path.relative_to(TESTS).with_suffix("").parts
        parameter = getattr(item, "callspec", None)
        if parts[0] == "invariants" and parameter is not None:
            group = f"invariants {parameter.id}"
        elif parts[0] in TOGETHER:
            group = parts[0]
        else:
            group = " ".join(parts)
        item.add_marker(pytest.mark.xdist_group(group))
