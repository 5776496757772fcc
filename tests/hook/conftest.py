"""Scratch projects, and the templates that the tests' databases are copied from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hook.project import Project
from tests.kit.databases import create_database, drop_database
from tests.kit.fixtures import case_app, database_access
from tests.kit.prepared import drop_base_templates

__all__ = ["case_app", "database_access"]


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()


@pytest.fixture
def new_project(tmp_path: Path, database_access: None) -> Iterator[Callable[..., Project]]:
    """Makes a project in a directory of the test, on an empty database of its own."""
    names: list[str] = []

    def make(*apps: str, **settings: object) -> Project:
        names.append(create_database())
        return Project(tmp_path / names[-1], names[-1], apps, settings)

    yield make
    for name in names:
        drop_database(name)
