"""What the data does not allow is refused in words, and the database is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_safemigrations.exceptions import PooledConnection, ViolatingRows
from django_safemigrations.postgres.session import refuse_transaction_pooling
from tests.invariants.cases import CASES, REFUSED
from tests.kit.case import Case
from tests.kit.databases import connection_parameters
from tests.kit.pooler import transaction_pooler
from tests.kit.prepared import Prepared, prepare
from tests.kit.probe import probe


@pytest.fixture(params=REFUSED, ids=lambda case: case.slug)
def refused(request: pytest.FixtureRequest, case_app: None, templates: None) -> Iterator[Prepared]:
    """A case whose rows do not allow the change, with the old database as `default`."""
    case: Case = request.param
    with prepare(case, plain_ends=False) as found, found.database():
        yield found


def test_rows_that_forbid_a_change_are_counted_and_named(refused: Prepared) -> None:
    nulls = sum('"value": null' in row for row in refused.before.rows.values())
    with pytest.raises(ViolatingRows) as caught:
        refused.run()
    message = str(caught.value)
    assert message.startswith(f"{nulls} rows of "), message
    assert '"value"' in message
    assert "makemigrations" in message
    lines = refused.content().differences(refused.before)
    assert lines == [], refused.explain(lines)
    assert probe(refused.case, "old") == []


def test_a_refused_change_goes_on_when_its_rows_are_mended(refused: Prepared) -> None:
    with pytest.raises(ViolatingRows):
        refused.run()
    for model in refused.case.models("old"):
        model._base_manager.filter(value=None).update(value=1)
    refused.run()
    model = refused.case.models("new")[0]
    assert "not null" in refused.content().schema[_column(model._meta.db_table)]


def _column(table: str) -> str:
    if '"' in table:
        return "column " + table.replace('"', "") + ".value"
    return f"column public.{table}.value"


def test_a_transaction_pooler_is_refused_and_a_direct_connection_is_not(case_app: None) -> None:
    case = next(case for case in CASES if case.name == "index: one column")
    with prepare(case) as prepared, prepared.database() as direct:
        refuse_transaction_pooling(direct)
        with transaction_pooler(**connection_parameters()) as pooler:
            pooled = direct.copy("default")
            pooled.settings_dict.update(pooler.django_settings(direct.settings_dict))
            try:
                with pytest.raises(PooledConnection, match="transaction mode"):
                    refuse_transaction_pooling(pooled)
            finally:
                pooled.close()
        refuse_transaction_pooling(connection)
