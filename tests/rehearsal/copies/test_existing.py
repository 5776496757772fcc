"""A copy that is there already is used, unless it is the live database, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from django_safemigrations.exceptions import CopyRefused
from django_safemigrations.rehearsal.copies.liveness import Same, in_common
from tests.kit.databases import (
    admin,
    connection_parameters,
    create_database,
    drop_database,
)
from tests.kit.pooler import transaction_pooler
from tests.kit.standby import streaming_pair, use_server
from tests.rehearsal.copies.production import Production, session_in

VARIABLE = "THE_COPY"


@pytest.fixture
def snapshot(template: str) -> Iterator[str]:
    """A database that somebody else cloned."""
    name = create_database(template, prefix="snapshot")
    yield name
    drop_database(name)


def named(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]) -> str:
    monkeypatch.setenv(VARIABLE, make_conninfo(**parameters))
    return f"env:{VARIABLE}"


def refused(production: Production, copy: str) -> str:
    before = production.content()
    with pytest.raises(CopyRefused) as caught:
        with production.copy(source="existing", copy=copy):
            raise AssertionError("it was taken for a copy")
    assert production.content() == before
    return str(caught.value)


def test_a_copy_of_somebody_elses_is_used_and_not_dropped(
    production: Production, snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = named(monkeypatch, connection_parameters(snapshot))
    with production.copy(source="existing", copy=address) as copy:
        assert copy.facts.kind == "existing"
        assert copy.database["NAME"] == snapshot
        with session_in(copy) as session:
            assert session.execute("SELECT current_database()").fetchone() == (snapshot,)
    rows = admin().execute("SELECT 1 FROM pg_database WHERE datname = %s", [snapshot])
    assert rows.fetchone() is not None


@pytest.mark.postgres_versions
def test_the_live_database_is_refused(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = named(monkeypatch, connection_parameters(production.name))
    assert "is the live database itself" in refused(production, address)
    assert "is the live database itself" in refused(production, "default")


def test_the_live_database_is_refused_under_another_name_of_its_host(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = connection_parameters(production.name)
    other = place / "other"
    other.symlink_to(parameters["host"])
    address = named(monkeypatch, {**parameters, "host": str(other)})
    assert "is the live database itself" in refused(production, address)


def test_the_live_database_is_refused_through_a_pooler(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = connection_parameters(production.name)
    with transaction_pooler(**parameters) as pooler:
        through = {**parameters, "host": pooler.host, "port": pooler.port}
        assert "is the live database itself" in refused(production, named(monkeypatch, through))
        assert in_common(through, parameters) is Same.DATABASE


def test_another_database_of_the_server_is_not_the_live_one(
    production: Production, snapshot: str
) -> None:
    one, other = (connection_parameters(name) for name in (production.name, snapshot))
    assert in_common(one, other) is Same.SERVER


def test_a_read_only_copy_is_refused(
    production: Production, snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin().execute(f'ALTER DATABASE "{snapshot}" SET default_transaction_read_only = on')
    address = named(monkeypatch, connection_parameters(snapshot))
    assert "read-only" in refused(production, address)


@pytest.mark.exhaustive
@pytest.mark.postgres_versions
def test_a_standby_is_refused_and_a_clone_of_the_servers_files_is_not(
    database_access: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with streaming_pair() as pair:
        name = "production"
        pair.primary.create_database(name)
        pair.wait_for_standby()
        with use_server(pair.primary, name) as connection:
            production = Production(connection)
            address = f"env:{VARIABLE}"
            monkeypatch.setenv(VARIABLE, pair.standby.dsn(name))
            with pytest.raises(CopyRefused, match="leads to a standby"):
                with production.copy(source="existing", copy=address):
                    raise AssertionError("it was taken for a copy")
            pair.on_standby("SELECT pg_promote()")
            with production.copy(source="existing", copy=address) as copy:
                assert copy.facts.kind == "existing"
