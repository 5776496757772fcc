"""Generated chains raise no false alarm: forwards, back, and forwards again."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.state import ProjectState

from django_safemigrations.rehearsal.comparison.beginnings import against_start
from django_safemigrations.rehearsal.comparison.data import DataWatch
from django_safemigrations.rehearsal.comparison.differing import differences
from django_safemigrations.rehearsal.comparison.fingerprints import fingerprint
from django_safemigrations.rehearsal.results import Direction
from tests.kit import chain as chains
from tests.kit.case import LABEL
from tests.kit.prepared import Prepared

pytestmark = pytest.mark.postgres_versions


def states(prepared: Prepared, start: str) -> tuple[ProjectState, ProjectState]:
    """Return the models after a migration and at the end."""
    with prepared.chain.installed():
        loader = prepared.chain.loader()
        return (
            loader.project_state((LABEL, start)),
            loader.project_state((LABEL, (prepared.chain.initial + prepared.chain.change)[-1])),
        )


def test_rows_and_schema_come_back_and_go_again(prepared: Prepared) -> None:
    case = prepared.case
    start = prepared.chain.initial[-1]
    with prepared.database():
        watch = DataWatch(connection, *states(prepared, start), prepared.migrations)
        watch.start()
        schema = fingerprint(connection)
        prepared.run()
        forwards = fingerprint(connection)
        lines = list(watch.compare(Direction.FORWARDS))
        if not case.repair:
            prepared.reverse()
            lines += differences(schema, fingerprint(connection))
            lines += watch.compare(Direction.BACKWARDS)
            prepared.run()
            lines += differences(forwards, fingerprint(connection))
            lines += watch.compare(Direction.FORWARDS_AGAIN)
    assert lines == [], prepared.explain(list(watch.not_compared))


def test_rows_and_schema_outlive_a_contract_that_comes_later(prepared: Prepared) -> None:
    if not (prepared.expands and prepared.contracts):
        return
    with prepared.database():
        prepared.expand()
        watch = DataWatch(
            connection,
            *states(prepared, prepared.expands[-1]),
            [m for m in prepared.migrations if m.name in prepared.contracts],
        )
        watch.start()
        schema = fingerprint(connection)
        prepared.run()
        lines = list(watch.compare(Direction.FORWARDS))
        chains.migrate(prepared.chain, prepared.expands[-1])
        lines += against_start(schema, fingerprint(connection), watch.migrations)[0]
        lines += watch.compare(Direction.BACKWARDS)
    assert lines == [], prepared.explain(list(watch.not_compared))
