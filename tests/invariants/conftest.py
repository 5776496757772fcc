"""The fixtures that make each case ready once for all of its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.migrations.recorder import MigrationRecorder

from tests.invariants.cases import CASES, REPRESENTATIVE, among, parameters
from tests.kit import schema
from tests.kit.databases import create_database, drop_database, use_database
from tests.kit.fixtures import case_app, database_access
from tests.kit.journey import FreshJourney, Journey, travel, travel_fresh
from tests.kit.prepared import Prepared, drop_base_templates, fresh_template, prepare

__all__ = ["case_app", "database_access"]


@pytest.fixture(scope="package", autouse=True)
def templates(database_access: None) -> Iterator[None]:
    """Drop the shared templates when the package's tests are done."""
    yield
    drop_base_templates()


# The parameter has package scope, so pytest runs all tests of a case one after the other and
# its template database lives only as long.
@pytest.fixture(scope="package", params=parameters(CASES, lambda case: not case.extra))
def prepared(request: pytest.FixtureRequest, case_app: None, templates: None) -> Iterator[Prepared]:
    """A case with its chains and its template database."""
    with prepare(request.param) as found:
        yield found


@pytest.fixture(scope="package")
def journey(prepared: Prepared) -> Journey:
    """What became of the case on its way there and back, travelled once for all its tests."""
    with prepared.database():
        return travel(prepared)


@pytest.fixture(scope="package", params=parameters(CASES, among(REPRESENTATIVE)))
def representative(
    request: pytest.FixtureRequest, case_app: None, templates: None
) -> Iterator[Prepared]:
    """The same; all but the representative cases are marked `exhaustive`."""
    with prepare(request.param) as found:
        yield found


@pytest.fixture(scope="package")
def shared_fresh_database(templates: None) -> Iterator[list[str]]:
    """The name of a database that is empty again after each use; making one a case is slow."""
    names: list[str] = []
    yield names
    for name in names:
        drop_database(name)


@pytest.fixture(scope="package")
def fresh_journey(prepared: Prepared, shared_fresh_database: list[str]) -> FreshJourney:
    """What became of the case on a database in which no migration is applied."""
    if not shared_fresh_database:
        shared_fresh_database.append(create_database(fresh_template()))
    [name] = shared_fresh_database
    with use_database(name) as connection:
        found = travel_fresh(prepared)
        clean = schema.fingerprint(connection) == found.empty.schema
        if not clean or MigrationRecorder(connection).applied_migrations():
            shared_fresh_database.clear()
    if not shared_fresh_database:
        drop_database(name)
    return found
