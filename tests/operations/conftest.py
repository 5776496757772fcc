"""The templates that the tests' databases are copied from, dropped at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.fixtures import case_app, database_access
from tests.kit.prepared import drop_base_templates

__all__ = ["case_app", "database_access"]


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()
