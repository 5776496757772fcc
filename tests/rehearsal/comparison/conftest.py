"""The cases of the invariants, each with its databases, for what is compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.invariants.cases import CASES, REPRESENTATIVE, among, parameters
from tests.kit.databases import scratch_database
from tests.kit.fixtures import case_app, database_access
from tests.kit.prepared import Prepared, drop_base_templates, prepare

__all__ = ["case_app", "database_access"]

QUICK = frozenset(
    {
        "removal: model with foreign keys",
        "rename: foreign key",
        "table: model that a many-to-many field points to",
        "type: varchar shrinks",
    }
)
"""Quick runs take these: rows that go, move to another column, type or table."""
assert QUICK <= REPRESENTATIVE


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()


@pytest.fixture(scope="package", params=parameters(CASES, among(QUICK)))
def prepared(request: pytest.FixtureRequest, case_app: None, templates: None) -> Iterator[Prepared]:
    """A case with its chains and its template database."""
    with prepare(request.param, plain_ends=False) as found:
        yield found


@pytest.fixture
def database(database_access: None) -> Iterator[object]:
    """An empty database as `default`."""
    with scratch_database() as connection:
        yield connection
