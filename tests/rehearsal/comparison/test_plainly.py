"""What plain Django would have made of the start is what a chain makes of it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.state import ProjectState

from django_safemigrations.rehearsal.comparison.fingerprints import fingerprint
from django_safemigrations.rehearsal.comparison.plainly import plain_fingerprint
from tests.kit.case import LABEL
from tests.kit.databases import create_database, drop_database, use_database
from tests.kit.prepared import Prepared


def without_rows(template: str) -> str:
    """Make a copy of a database that has its schema only, and return its name."""
    name = create_database(template, prefix="plain")
    with use_database(name) as copy, copy.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class c"
            " WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text !~"
            " '^(pg_|information_schema)'"
        )
        cursor.execute(f"TRUNCATE {cursor.fetchone()[0]}")
    return name


def start_of(prepared: Prepared) -> ProjectState:
    with prepared.chain.installed():
        state: ProjectState = prepared.chain.loader().project_state(
            (LABEL, prepared.chain.initial[-1])
        )
    return state


@pytest.mark.postgres_versions
def test_a_chain_ends_where_plain_django_ends(prepared: Prepared) -> None:
    with prepared.database():
        prepared.run()
        rehearsed = fingerprint(connection)
    name = without_rows(prepared.template)
    try:
        with prepared.chain.installed(), use_database(name) as copy:
            plain = plain_fingerprint(copy, prepared.migrations, start_of(prepared))
        assert plain.against(rehearsed) == ((), ()), prepared.explain(list(plain.not_run))
    finally:
        drop_database(name)
