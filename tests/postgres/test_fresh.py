"""A run that begins on a database without applied migrations notices when rows come into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.postgres import fresh
from tests.kit.databases import scratch_database


@pytest.fixture
def database(database_access: None) -> Iterator[BaseDatabaseWrapper]:
    with scratch_database() as connection:
        yield connection
        fresh.note_end("default")


def run(connection: BaseDatabaseWrapper, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_a_database_with_an_applied_migration_is_not_fresh(database: BaseDatabaseWrapper) -> None:
    MigrationRecorder(database).record_applied("shop", "0001_initial")
    fresh.note_start("default")
    assert not fresh.is_fresh("default")
    assert fresh.may_hold_rows("default")


def test_tables_that_are_made_bring_no_rows(database: BaseDatabaseWrapper) -> None:
    fresh.note_start("default")
    run(database, "CREATE TABLE parcel (id int)")
    run(database, "ALTER TABLE parcel ADD COLUMN code text")
    MigrationRecorder(database).record_applied("shop", "0001_initial")
    assert fresh.is_fresh("default")
    assert not fresh.may_hold_rows("default")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO parcel VALUES (1)",
        "insert into parcel values (1)",
        "WITH one AS (SELECT 1 AS id) INSERT INTO parcel SELECT id FROM one",
        "DO $$ BEGIN INSERT INTO parcel VALUES (1); END $$",
    ],
)
def test_a_statement_that_may_write_is_noticed(database: BaseDatabaseWrapper, sql: str) -> None:
    fresh.note_start("default")
    run(database, "CREATE TABLE parcel (id int)")
    run(database, sql)
    assert fresh.may_hold_rows("default")


def test_rows_that_were_there_before_are_noticed(database: BaseDatabaseWrapper) -> None:
    run(database, "CREATE TABLE parcel (id int)")
    run(database, "INSERT INTO parcel VALUES (1)")
    fresh.note_start("default")
    assert fresh.is_fresh("default")
    assert fresh.may_hold_rows("default")


def test_nothing_is_left_on_the_connection_after_the_run(database: BaseDatabaseWrapper) -> None:
    before = list(database.execute_wrappers)
    fresh.note_start("default")
    assert database.execute_wrappers != before
    fresh.note_end("default")
    assert database.execute_wrappers == before
