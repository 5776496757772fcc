"""Fixtures of the tests that let old and new code work on a copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.fixtures import case_app, database_access
from tests.kit.prepared import drop_base_templates
from tests.rehearsal.generations.shop import shop_database

__all__ = ["case_app", "database_access"]


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()


@pytest.fixture(scope="package")
def template(templates: None) -> Iterator[str]:
    """The name of a database with the shop in it."""
    with shop_database() as name:
        yield name
