"""A copy by pg_dump and pg_restore holds everything, and is gone afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from django_safemigrations.exceptions import CopyFailed, CopyRefused
from tests.kit.databases import admin, connect, connection_parameters
from tests.kit.schema import diff, fingerprint, rows
from tests.rehearsal.copies.production import Production, left_in, session_in

pytestmark = pytest.mark.postgres_versions


def test_a_copy_holds_every_object_and_row_and_is_dropped_afterwards(
    production: Production, place: Path
) -> None:
    before = production.content()
    with production.copy(directory=str(place)) as copy:
        name = copy.database["NAME"]
        with session_in(copy) as session:
            assert diff(fingerprint(session), before[0]) == []
            assert rows(session) == before[1]
            session.execute("DELETE FROM item")
        assert name in production.copies()
        assert copy.facts.kind == "dump"
        assert copy.facts.sampled == 1.0
        assert copy.facts.size_bytes > 1_000_000
        assert name in copy.facts.place
        assert production.name in copy.facts.source
        assert "production's own server" in " ".join(copy.facts.notes)
    assert name not in production.copies()
    assert left_in(place) == []
    assert production.content() == before


def test_a_copy_is_dropped_when_the_rehearsal_fails(production: Production, place: Path) -> None:
    with pytest.raises(ZeroDivisionError), production.copy(directory=str(place)) as copy:
        raise ZeroDivisionError
    assert copy.database["NAME"] not in production.copies()
    assert left_in(place) == []


def test_a_copy_has_the_settings_of_the_database_and_the_statistics(
    production: Production, place: Path
) -> None:
    production.run(f'ALTER DATABASE "{production.name}" SET search_path = "Side", public')
    with production.copy(directory=str(place)) as copy, session_in(copy) as session:
        assert session.execute("SHOW search_path").fetchone() == ('"Side", public',)
        assert session.execute(
            "SELECT reltuples::int FROM pg_class WHERE relname = 'person'"
        ).fetchone() == (900,)


def test_a_copy_has_no_password_for_other_servers(production: Production, place: Path) -> None:
    production.run("CREATE FOREIGN DATA WRAPPER nowhere")
    production.run("CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere")
    production.run("CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (password 'x')")
    with production.copy(directory=str(place)) as copy, session_in(copy) as session:
        assert session.execute("SELECT count(*) FROM pg_user_mappings").fetchone() == (0,)
        assert "elsewhere" in " ".join(copy.facts.notes)


def test_anonymisation_comes_before_anything_reads_the_copy(
    production: Production, place: Path
) -> None:
    def anonymize(session: psycopg.Connection[Any]) -> None:
        session.execute("UPDATE person SET born = NULL")

    with production.copy(directory=str(place), anonymize=anonymize) as copy:
        with session_in(copy) as session:
            assert session.execute("SELECT count(born) FROM person").fetchone() == (0,)
    with connect(production.name) as session:
        assert session.execute("SELECT count(born) FROM person").fetchone() == (900,)


def test_a_copy_that_could_not_be_anonymised_is_dropped_unread(
    production: Production, place: Path
) -> None:
    seen: list[str] = []

    def anonymize(session: psycopg.Connection[Any]) -> None:
        seen.append(session.info.dbname)
        session.execute("UPDATE person SET missing = NULL")

    with pytest.raises(CopyFailed, match=r"anonymize.*UndefinedColumn"):
        with production.copy(directory=str(place), anonymize=anonymize, keep_copy=True):
            raise AssertionError("the copy was given out")
    assert seen
    assert not production.copies() & set(seen)
    assert left_in(place) == []


def test_an_anonymisation_that_is_nowhere_is_named(production: Production, place: Path) -> None:
    with pytest.raises(CopyRefused, match=r"ANONYMIZE.*no_such_module"):
        with production.copy(directory=str(place), anonymize="no_such_module.function"):
            raise AssertionError("the copy was given out")


def test_a_copy_is_kept_on_request_and_not_cleaned_up(production: Production, place: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with production.copy(directory=str(place), keep_copy=True) as copy:
            raise ZeroDivisionError
    name = copy.database["NAME"]
    try:
        assert name in production.said[-1]
        assert name not in production.clean_up(directory=str(place))
        assert name in production.copies()
    finally:
        admin().execute(f'DROP DATABASE "{name}"')
    assert left_in(place) == []


def test_a_service_that_names_the_database_does_not_lead_the_restore_into_it(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = production.content()
    parameters = connection_parameters(production.name)
    lines = ["[shop]", *(f"{key}={parameters[key]}" for key in ("host", "port", "user", "dbname"))]
    service = place / "pg_service.conf"
    service.write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    connection = production.connection.copy("default")
    connection.settings_dict.update(NAME="", HOST="", PORT="", USER="", OPTIONS={"service": "shop"})
    try:
        with Production(connection).copy(directory=str(place)) as copy:
            assert copy.database["NAME"] in production.copies()
            with session_in(copy) as session:
                assert rows(session) == before[1]
    finally:
        connection.close()
        service.unlink()
    assert production.content() == before
