"""The real PostgreSQL server that every test runs on, and which tests stay together on one worker."""

from typing import Any

import pytest

from testproject import database

TOGETHER = frozenset({"backfill", "operations", "postgres"})
"""Folders whose tests share what only one server has: roles, and settings of it."""


@pytest.fixture(scope="session")
def postgres() -> database.Server:
    """The server of `DATABASE_URL`, or our own that settings have started already."""
    return database.server()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out by what they share, when there are several processes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixture(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return shared_by(nodeid)

    return ByFixture(config, log)


def shared_by(nodeid: str) -> str:
    """Return what has to stay on one worker: a case of the invariants, some folders, a module."""
    path, _, test = nodeid.partition("::")
    folder = path.split("/")[1]
    if folder == "invariants" and test.endswith("]"):
        return f"{folder} {test.partition('[')[2]}"
    return folder if folder in TOGETHER else path
