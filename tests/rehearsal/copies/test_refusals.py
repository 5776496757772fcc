"""What stands in the way of a copy is said before anything is copied, with what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.conninfo import make_conninfo

from django_safemigrations.exceptions import (
    CopyFailed,
    CopyRefused,
    PooledConnection,
    ProgramMissing,
)
from tests.kit.databases import admin, connect, connection_parameters
from tests.kit.pooler import transaction_pooler
from tests.rehearsal.copies.production import Production, left_in

pytestmark = pytest.mark.postgres_versions
WHO = "dsm_reader"


def refused(production: Production, place: Path, **settings: Any) -> str:
    """Return why no copy is made; nothing is left behind."""
    with pytest.raises((CopyRefused, ProgramMissing)) as caught:
        with production.copy(directory=str(place), **settings):
            raise AssertionError("there is a copy")
    assert production.copies() == set()
    assert left_in(place) == []
    return str(caught.value)


def as_user(production: Production, user: str) -> BaseDatabaseWrapper:
    """Return a connection of another user."""
    connection = production.connection.copy("default")
    connection.settings_dict["USER"] = user
    return connection


def test_productions_own_server_is_never_used_unasked(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPY_SERVER", make_conninfo(**connection_parameters("postgres")))
    said = refused(production, place, server="env:COPY_SERVER")
    assert "production's own server" in said
    assert '"same"' in said


def test_production_under_another_host_name_is_known_again(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = connection_parameters("postgres")
    other = place / "other"
    other.symlink_to(parameters["host"])
    monkeypatch.setenv("COPY_SERVER", make_conninfo(**{**parameters, "host": str(other)}))
    try:
        with pytest.raises(CopyRefused, match="production's own server"):
            with production.copy(server="env:COPY_SERVER"):
                raise AssertionError("there is a copy")
    finally:
        other.unlink()


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("nowhere", "DATABASES has no such alias"),
        ("env:NO_SUCH_VARIABLE", "there is no environment variable NO_SUCH_VARIABLE"),
        ("env:BROKEN_SERVER", "BROKEN_SERVER.* holds no connection string"),
        ("env:GONE_SERVER", "can't be used"),
    ],
)
def test_a_server_that_is_not_there_is_named_without_its_password(
    production: Production, place: Path, monkeypatch: pytest.MonkeyPatch, server: str, said: str
) -> None:
    monkeypatch.setenv("BROKEN_SERVER", "password=s3cret bogus=1")
    monkeypatch.setenv("GONE_SERVER", "host=/nowhere/at/all user=a password=s3cret dbname=b")
    with pytest.raises(CopyRefused, match=said) as caught:
        with production.copy(directory=str(place), server=server):
            raise AssertionError("there is a copy")
    assert "s3cret" not in str(caught.value) + "".join(production.said)


def test_extensions_that_the_copys_server_lacks_are_named(
    production: Production, place: Path
) -> None:
    # The catalog is all that tells of an extension; it is this database's own.
    production.run(
        "INSERT INTO pg_extension SELECT 99999, 'gone_missing', extowner, extnamespace,"
        " extrelocatable, '1.0', extconfig, extcondition FROM pg_extension LIMIT 1"
    )
    assert "gone_missing, which" in refused(production, place)


def test_tables_and_sequences_that_may_not_be_read_are_named_with_the_grants_to_type(
    production: Production, place: Path, roles: list[str]
) -> None:
    admin().execute(f"CREATE ROLE {WHO} LOGIN")
    roles.append(WHO)
    production.run(f"GRANT SELECT ON person, django_migrations TO {WHO}")
    try:
        said = refused(Production(as_user(production, WHO)), place)
    finally:
        production.run(f"DROP OWNED BY {WHO}")
    assert '"public"."item"' in said
    assert '"person"' not in said
    assert f'GRANT USAGE ON SCHEMA "Side" TO "{WHO}";' in said
    assert f'GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "{WHO}";' in said
    assert f'GRANT SELECT ON ALL SEQUENCES IN SCHEMA "public" TO "{WHO}";' in said


@pytest.mark.parametrize("source", ["dump", "sample"])
def test_row_level_security_is_not_taken_for_an_empty_table(
    production: Production, place: Path, roles: list[str], source: str
) -> None:
    admin().execute(f"CREATE ROLE {WHO} LOGIN")
    roles.append(WHO)
    production.run(f"GRANT pg_read_all_data TO {WHO}")
    production.run("ALTER TABLE person ENABLE ROW LEVEL SECURITY")
    said = refused(Production(as_user(production, WHO)), place, source=source)
    assert "public.person" in said
    assert f'ALTER ROLE "{WHO}" BYPASSRLS' in said


def test_a_user_who_may_not_create_databases_is_told_so(
    production: Production, place: Path, roles: list[str]
) -> None:
    admin().execute(f"CREATE ROLE {WHO} LOGIN")
    roles.append(WHO)
    production.run(f"GRANT pg_read_all_data TO {WHO}")
    assert f'ALTER ROLE "{WHO}" CREATEDB' in refused(Production(as_user(production, WHO)), place)


def test_programs_that_are_nowhere_are_named(production: Production, place: Path) -> None:
    said = refused(production, place, programs="/nowhere/at/all")
    assert "pg_dump and pg_restore" in said
    assert "in /nowhere/at/all there is none" in said


def test_an_error_of_pg_dump_is_shown(production: Production, place: Path) -> None:
    # A function whose library is gone can't be restored.
    production.run("CREATE TABLE wrong (a int)")
    production.run("UPDATE pg_attribute SET atttypid = 0 WHERE attrelid = 'wrong'::regclass")
    with pytest.raises(CopyFailed, match=r"pg_(dump|restore) failed with exit status 1"):
        with production.copy(directory=str(place)):
            raise AssertionError("there is a copy")
    assert left_in(place) == []


def test_a_template_that_is_not_there_or_in_use_is_refused(
    production: Production, template: str, place: Path
) -> None:
    assert "no database 'nothing'" in refused(
        production, place, source="template", template="nothing"
    )
    with connect(template):
        said = refused(production, place, source="template", template=template)
    assert "1 session" in said
    assert f'ALTER DATABASE "{template}" ALLOW_CONNECTIONS false' in said


def test_the_live_database_is_no_template(production: Production, place: Path) -> None:
    said = refused(production, place, source="template", template=production.name)
    assert "is the live database" in said


def test_a_pooler_in_transaction_mode_is_refused_before_pg_dump_leaves_its_settings_there(
    production: Production, place: Path
) -> None:
    with transaction_pooler(**connection_parameters(production.name)) as pooler:
        connection = production.connection.copy("default")
        connection.settings_dict.update(HOST=pooler.host, PORT=pooler.port)
        try:
            with pytest.raises(PooledConnection):
                with Production(connection).copy(directory=str(place)):
                    raise AssertionError("there is a copy")
        finally:
            connection.close()
    assert left_in(place) == []
