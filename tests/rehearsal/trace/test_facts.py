"""Each kind of fact is seen where it happens, and not where it does not."""

from __future__ import annotations

import pytest
from django.db import InternalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.rehearsal.trace import CantTrace, Tracer
from django_safemigrations.rehearsal.trace.ways import Way, way_of
from tests.rehearsal.trace.running import codes, execute, modes, plain, traced

pytestmark = pytest.mark.postgres_versions


@pytest.mark.parametrize("atomic", [False, True])
def test_the_locks_that_a_statement_adds_are_seen(
    parcels: BaseDatabaseWrapper, atomic: bool
) -> None:
    found = traced(
        parcels,
        "ALTER TABLE parcel ADD COLUMN height integer",
        "SELECT FROM depot LIMIT 1",
        atomic=atomic,
    )
    alter, select = found.statements
    assert modes(alter) == {"parcel": {"AccessExclusiveLock"}}
    assert alter.locks[0].blocks == "reads and writes"
    # The lock on its primary key is no news.
    assert modes(select) == {"depot": {"AccessShareLock"}}
    assert select.locks[0].blocks == "nobody"
    assert not found.hazards


def test_a_lock_is_told_once_in_a_transaction_and_held_until_its_end(
    parcels: BaseDatabaseWrapper,
) -> None:
    found = traced(
        parcels,
        "ALTER TABLE parcel ADD COLUMN height integer",
        "ALTER TABLE parcel ADD COLUMN width integer",
        "SELECT pg_sleep(0.05)",
        atomic=True,
    )
    first, second, *_ = found.statements
    assert modes(second) == {}
    assert first.locks[0].held >= first.seconds + 0.05


def test_a_rewrite_is_seen_and_its_size_is_needed(parcels: BaseDatabaseWrapper) -> None:
    found = traced(parcels, "ALTER TABLE parcel ALTER COLUMN weight TYPE bigint")
    [alter] = found.statements
    assert [plain(name) for name in alter.rewrites] == ["parcel"]
    assert alter.disk_bytes > 8192 * 3
    assert alter.wal_bytes > 8192
    assert codes(found) == {"DSM506"}


def test_a_change_of_the_catalog_alone_is_none(parcels: BaseDatabaseWrapper) -> None:
    found = traced(
        parcels,
        "ALTER TABLE parcel ALTER COLUMN code TYPE varchar",
        "ALTER TABLE parcel ADD COLUMN height integer DEFAULT 5 NOT NULL",
        "ALTER TABLE parcel RENAME COLUMN height TO tallness",
        "DROP TABLE depot",
    )
    assert all(not s.rewrites and not s.index_builds and not s.scans for s in found.statements)
    assert not found.hazards


def test_an_index_build_is_seen_with_the_scan_it_takes(parcels: BaseDatabaseWrapper) -> None:
    found = traced(parcels, "CREATE INDEX parcel_weight ON parcel (weight)")
    [create] = found.statements
    assert [plain(name) for name in create.index_builds] == ["parcel_weight"]
    assert [(plain(scan.relation), scan.rows) for scan in create.scans] == [("parcel", 500)]
    assert modes(create)["parcel"] == {"ShareLock"}
    assert create.disk_bytes > 0
    assert codes(found) == {"DSM101"}


def test_an_index_that_is_built_anew_is_seen(parcels: BaseDatabaseWrapper) -> None:
    found = traced(parcels, "REINDEX INDEX parcel_code")
    [reindex] = found.statements
    assert [plain(name) for name in reindex.index_builds] == ["parcel_code"]
    assert codes(found) == {"DSM607"}


def test_an_index_of_a_new_table_is_nobodys_hazard(parcels: BaseDatabaseWrapper) -> None:
    found = traced(
        parcels,
        "CREATE TABLE van (id bigint PRIMARY KEY, name text)",
        "INSERT INTO van SELECT n, n FROM generate_series(1, 50) n",
        "CREATE INDEX van_name ON van (name)",
        "ALTER TABLE van ALTER COLUMN name SET NOT NULL",
    )
    assert found.statements[1].rows == 50
    assert {lock.blocks for lock in found.statements[0].locks} == {"nobody"}
    assert not found.hazards


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("ALTER TABLE parcel ALTER COLUMN code SET NOT NULL", "DSM201"),
        ("ALTER TABLE parcel ADD CHECK (weight > 0)", "DSM507"),
        ("ALTER TABLE parcel ADD FOREIGN KEY (depot_id) REFERENCES depot", "DSM509"),
        ("ALTER TABLE parcel ADD UNIQUE (weight)", "DSM507"),
        ("ALTER TABLE parcel ADD COLUMN u uuid DEFAULT gen_random_uuid()", "DSM510"),
        ("ALTER TABLE parcel ADD COLUMN n integer UNIQUE", "DSM502"),
        ("TRUNCATE parcel", "DSM604"),
        ("ALTER TABLE parcel SET UNLOGGED", "DSM606"),
        ("VACUUM FULL parcel", "DSM606"),
        ("CLUSTER parcel USING parcel_code", "DSM606"),
        ("DO $$ BEGIN ALTER TABLE parcel ALTER COLUMN code SET NOT NULL; END $$", "DSM507"),
    ],
)
def test_work_on_every_row_under_a_lock_is_a_hazard(
    parcels: BaseDatabaseWrapper, sql: str, code: str
) -> None:
    found = traced(parcels, sql)
    assert codes(found) == {code}, found


def test_the_same_in_steps_is_none(parcels: BaseDatabaseWrapper) -> None:
    found = traced(
        parcels,
        "ALTER TABLE parcel ADD CONSTRAINT light CHECK (weight < 1000) NOT VALID",
        "ALTER TABLE parcel VALIDATE CONSTRAINT light",
        "ALTER TABLE parcel ADD CONSTRAINT there FOREIGN KEY (depot_id) REFERENCES depot NOT VALID",
        "ALTER TABLE parcel VALIDATE CONSTRAINT there",
        "CREATE UNIQUE INDEX CONCURRENTLY parcel_weight ON parcel (weight)",
        "ALTER TABLE parcel ADD CONSTRAINT alone UNIQUE USING INDEX parcel_weight",
    )
    validate = found.statements[1]
    assert [(plain(scan.relation), scan.rows) for scan in validate.scans] == [("parcel", 500)]
    assert modes(validate)["parcel"] == {"ShareUpdateExclusiveLock"}
    assert not found.hazards


def test_a_table_is_kept_from_others_while_another_one_is_worked_through(
    parcels: BaseDatabaseWrapper,
) -> None:
    found = traced(
        parcels,
        "ALTER TABLE depot ADD COLUMN city text",
        "ALTER TABLE parcel ADD CONSTRAINT light CHECK (weight < 1000) NOT VALID",
        "UPDATE parcel SET code = 'new ' || code",
        atomic=True,
    )
    assert codes(found) == {"DSM406", "DSM707"}
    [other] = [hazard for hazard in found.hazards if hazard.code == "DSM406"]
    assert plain(other.relation) == "depot"


def test_a_lookup_by_key_is_no_scan(parcels: BaseDatabaseWrapper) -> None:
    execute(parcels, "ANALYZE parcel")
    found = traced(
        parcels,
        "ALTER TABLE parcel ADD COLUMN height integer",
        "UPDATE parcel SET height = 1 WHERE id = 7",
        atomic=True,
    )
    assert found.statements[1].rows == 1
    assert not found.statements[1].scans
    assert not found.hazards


def test_rows_that_a_trigger_writes_are_counted(parcels: BaseDatabaseWrapper) -> None:
    execute(parcels, "CREATE TABLE log (parcel bigint)")
    execute(
        parcels,
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END'",
    )
    execute(
        parcels, "CREATE TRIGGER n AFTER UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION noted()"
    )
    found = traced(parcels, "UPDATE parcel SET weight = 0 WHERE id <= 10")
    assert [statement.rows for statement in found.statements] == [20]


def test_what_earlier_transactions_read_is_not_counted_again(
    parcels: BaseDatabaseWrapper,
) -> None:
    for _ in range(3):
        execute(parcels, "SELECT count(*) FROM parcel")
    found = traced(
        parcels,
        "SELECT count(*) FROM parcel WHERE id < 0",
        lambda: execute(parcels, "SELECT count(*) FROM parcel"),
        "ALTER TABLE parcel ADD COLUMN height integer",
    )
    alter = found.statements[-1]
    assert not alter.scans
    assert alter.rows == 0


@pytest.mark.parametrize("atomic", [False, True])
def test_a_rewrite_hidden_in_a_function_is_seen(parcels: BaseDatabaseWrapper, atomic: bool) -> None:
    execute(
        parcels,
        "CREATE FUNCTION tidy() RETURNS int LANGUAGE plpgsql AS"
        " 'BEGIN ALTER TABLE parcel ALTER COLUMN weight TYPE bigint; RETURN 1; END'",
    )
    found = traced(parcels, "SELECT tidy()", atomic=atomic)
    [select] = found.statements
    assert [plain(name) for name in select.rewrites] == ["parcel"]
    assert codes(found) == {"DSM606"}


def test_a_procedure_that_commits_is_watched_from_outside(parcels: BaseDatabaseWrapper) -> None:
    execute(
        parcels,
        "CREATE PROCEDURE tidy() LANGUAGE plpgsql AS 'BEGIN UPDATE parcel SET weight = 1; COMMIT;"
        " ALTER TABLE parcel ALTER COLUMN weight TYPE bigint; END'",
    )
    found = traced(parcels, "CALL tidy()")
    [call] = found.statements
    assert call.concurrent
    assert call.repeats == 1
    assert call.rows == 500
    assert [plain(name) for name in call.rewrites] == ["parcel"]
    assert codes(found) == {"DSM606"}


def test_several_statements_in_one_string_are_looked_at_as_one(
    parcels: BaseDatabaseWrapper,
) -> None:
    found = traced(
        parcels,
        "ALTER TABLE depot ADD COLUMN city text; CREATE INDEX parcel_weight ON parcel (weight)",
    )
    [script] = found.statements
    assert set(modes(script)) >= {"depot", "parcel"}
    assert codes(found) == {"DSM101", "DSM406"}


def test_a_server_that_does_not_count_is_refused(parcels: BaseDatabaseWrapper) -> None:
    execute(parcels, "SET track_counts = off")
    with pytest.raises(CantTrace, match="ALTER SYSTEM SET track_counts = on"):
        traced(parcels, "ALTER TABLE parcel ALTER COLUMN weight TYPE bigint")
    execute(parcels, "SET track_counts = on")
    assert traced(parcels, "ALTER TABLE parcel ALTER COLUMN weight TYPE bigint").hazards


def test_a_look_survives_a_migration_that_discards_the_sessions_plans(
    parcels: BaseDatabaseWrapper,
) -> None:
    found = traced(
        parcels,
        "ALTER TABLE parcel ADD COLUMN a integer",
        "DISCARD ALL",
        "ALTER TABLE parcel ADD COLUMN b integer",
        "DEALLOCATE ALL; ALTER TABLE parcel ALTER COLUMN weight TYPE bigint",
    )
    assert len(found.statements) == 3
    assert codes(found) == {"DSM506"}


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_begun_in_sql_is_one(parcels: BaseDatabaseWrapper, commit: bool) -> None:
    found = traced(
        parcels,
        "BEGIN",
        "ALTER TABLE parcel ADD COLUMN a integer",
        "SELECT pg_sleep(0.05)",
        "COMMIT" if commit else "ROLLBACK",
        "ALTER TABLE parcel ADD COLUMN b integer",
    )
    first, last = (s for s in found.statements if s.sql.startswith("ALTER"))
    assert first.locks[0].held >= 0.05
    assert modes(last) == {"parcel": {"AccessExclusiveLock"}}
    found = traced(parcels, "BEGIN; ALTER TABLE parcel ALTER COLUMN weight TYPE bigint; COMMIT")
    assert found.statements[0].concurrent
    assert codes(found) == {"DSM506"}


def test_a_partition_that_is_attached_is_read_under_a_lock(parcels: BaseDatabaseWrapper) -> None:
    execute(parcels, "CREATE TABLE letter (id bigint, code text) PARTITION BY RANGE (id)")
    execute(parcels, "CREATE TABLE letter_1 PARTITION OF letter FOR VALUES FROM (1) TO (100)")
    execute(parcels, "CREATE TABLE letter_2 (id bigint, code text)")
    execute(parcels, "INSERT INTO letter SELECT n, n FROM generate_series(1, 99) n")
    execute(parcels, "INSERT INTO letter_2 SELECT n, n FROM generate_series(100, 199) n")
    attach = "ALTER TABLE letter ATTACH PARTITION letter_2 FOR VALUES FROM (100) TO (200)"
    found = traced(parcels, "CREATE INDEX letter_code ON letter (code)", attach)
    assert [plain(name) for name in found.statements[0].index_builds] == ["letter_1_code_idx"]
    assert {(h.code, plain(h.relation)) for h in found.hazards} == {
        ("DSM101", "letter_1"),
        ("DSM613", "letter_2"),
    }


def test_a_refreshed_view_is_kept_from_readers_and_one_without_rows_is_no_obstacle(
    parcels: BaseDatabaseWrapper,
) -> None:
    execute(parcels, "CREATE MATERIALIZED VIEW heavy AS SELECT * FROM parcel WHERE weight > 100")
    execute(parcels, "CREATE MATERIALIZED VIEW empty AS SELECT * FROM parcel WITH NO DATA")
    found = traced(parcels, "REFRESH MATERIALIZED VIEW heavy")
    assert codes(found) == {"DSM609"}
    assert plain(found.hazards[0].relation) == "heavy"


def test_temporary_tables_are_nobodys(parcels: BaseDatabaseWrapper) -> None:
    found = traced(
        parcels,
        "CREATE TEMPORARY TABLE scratch (id bigint)",
        "INSERT INTO scratch SELECT n FROM generate_series(1, 50) n",
        "CREATE INDEX ON scratch (id)",
        "ALTER TABLE scratch ALTER COLUMN id TYPE text",
    )
    assert not found.hazards
    assert not any(statement.rewrites for statement in found.statements)


def test_a_statement_that_needs_a_transaction_still_says_so(parcels: BaseDatabaseWrapper) -> None:
    def refused(sql: str) -> None:
        with pytest.raises(InternalError):
            execute(parcels, sql)

    traced(parcels, lambda: refused("LOCK TABLE parcel"), lambda: refused("SAVEPOINT here"))


@pytest.mark.parametrize("analysed", [False, True])
def test_how_many_rows_a_large_table_has_is_estimated(
    parcels: BaseDatabaseWrapper, analysed: bool
) -> None:
    execute(parcels, "CREATE TABLE letter AS SELECT n FROM generate_series(1, 100000) n")
    if analysed:
        execute(parcels, "ANALYZE letter")
        execute(parcels, "INSERT INTO letter SELECT n FROM generate_series(1, 50000) n")
    rows = 150_000 if analysed else 100_000
    with Tracer(parcels) as tracer:
        [letter] = [r for r in tracer.relations.by_oid.values() if plain(r.name) == "letter"]
    assert abs(letter.rows - rows) < rows * 0.05


@pytest.mark.parametrize(
    ("sql", "way"),
    [
        ("SELECT 1", Way.WRAPPED),
        ("(SELECT 1)", Way.WRAPPED),
        ("-- a comment\nALTER TABLE t ADD COLUMN c int", Way.WRAPPED),
        ("CREATE INDEX i ON t (c)", Way.WRAPPED),
        ('CREATE INDEX "CONCURRENTLY" ON t (c)', Way.WRAPPED),
        ("CREATE INDEX CONCURRENTLY i ON t (c)", Way.WATCHED),
        ("SELECT 1; DROP INDEX CONCURRENTLY i", Way.WATCHED),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", Way.WATCHED),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Way.WRAPPED),
        ("COMMENT ON TABLE t IS 'built CONCURRENTLY'", Way.WRAPPED),
        ("DO $$ BEGIN PERFORM 1; END $$", Way.WRAPPED),
        ("VACUUM t", Way.WATCHED),
        ("REINDEX TABLE t", Way.WATCHED),
        ("CREATE DATABASE d", Way.WATCHED),
        ("ALTER SYSTEM SET work_mem = '4MB'", Way.WATCHED),
        ("BEGIN; SELECT 1; COMMIT", Way.WATCHED),
        ("LOCK TABLE t", Way.WATCHED),
        ("SET search_path = shop", Way.PAST),
        ("FETCH 10 FROM kept", Way.PAST),
        ("", Way.PAST),
    ],
)
def test_a_statement_gets_a_transaction_only_if_it_does_the_same_in_one(sql: str, way: Way) -> None:
    assert way_of(sql) is way
