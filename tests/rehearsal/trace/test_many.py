"""A trace of many statements stays small, and one that is undone in part knows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import connection as proxy
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.rehearsal.results import StepKey
from django_safemigrations.rehearsal.trace import Limits, Tracer, records
from tests.kit.forks import fork, kill_me, wait_for
from tests.kit.kill import wait_until
from tests.postgres.sessions import value
from tests.rehearsal.trace.running import KEY, PATIENT, codes, execute, modes, plain, step, traced
from tests.rehearsal.trace.test_waits import sessions

BATCH = "UPDATE parcel SET weight = %s WHERE id = %s"


def batches(connection: BaseDatabaseWrapper, count: int) -> None:
    for number in range(count):
        with transaction.atomic():
            execute(connection, "SELECT max(id) FROM parcel WHERE id > %s", [number % 500])
            execute(connection, BATCH, [number, number % 500 + 1])


def test_batches_of_one_shape_are_one_statement(parcels: BaseDatabaseWrapper) -> None:
    found = traced(parcels, lambda: batches(parcels, 30))
    select, update = found.statements
    assert (update.sql, update.repeats, update.rows) == (BATCH, 30, 30)
    assert select.repeats == 30
    assert modes(update) == {"parcel": {"RowExclusiveLock"}}
    assert update.locks[0].held < found.seconds / 2
    assert not found.hazards


@pytest.mark.exhaustive
def test_ten_thousand_batches_are_one_statement_too(parcels: BaseDatabaseWrapper) -> None:
    def run() -> None:
        for number in range(10_000):
            execute(parcels, BATCH, [number, number % 500 + 1])

    found = traced(parcels, run)
    assert [(s.repeats, s.rows) for s in found.statements] == [(10_000, 10_000)]
    assert not found.hazards


@pytest.mark.parametrize("atomic", [False, True])
def test_statements_that_differ_in_constants_are_told_by_their_shape_when_there_are_many(
    parcels: BaseDatabaseWrapper, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PLAIN", 10)

    def run() -> None:
        for number in range(1, 31):
            ids = ", ".join(str(one) for one in range(1, number % 7 + 2))
            execute(parcels, f"UPDATE parcel SET weight = {number} WHERE id IN ({ids})")

    found = traced(parcels, run, atomic=atomic)
    assert len(found.statements) == 11
    assert sum(statement.repeats for statement in found.statements) == 30
    assert sum(statement.rows for statement in found.statements) == sum(
        number % 7 + 1 for number in range(1, 31)
    )


def test_however_many_shapes_there_are_what_is_kept_is_bounded(
    parcels: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PLAIN", 10)
    monkeypatch.setattr(records, "MOST", 20)

    def run() -> None:
        with transaction.atomic():
            for number in range(50):
                execute(parcels, f"SELECT id AS name_{number} FROM depot WHERE id = 1")

    found = traced(parcels, run)
    assert len(found.statements) == 21
    assert sum(statement.repeats for statement in found.statements) == 50


def test_a_whole_table_changed_in_one_transaction_is_a_hazard_and_in_batches_is_none(
    parcels: BaseDatabaseWrapper,
) -> None:
    limits = replace(PATIENT, many=400, batch=0.0)
    found = traced(parcels, "UPDATE parcel SET weight = 0", limits=limits)
    assert codes(found) == {"DSM402"}
    assert found.hazards[0].blocks == "writes to the same rows"

    def rows(connection: BaseDatabaseWrapper) -> None:
        for number in range(1, 41):
            execute(connection, BATCH, [number, number])

    slow = replace(PATIENT, many=40, slow=0.0)
    found = traced(parcels, lambda: rows(parcels), atomic=True, limits=slow)
    assert codes(found) == {"DSM701"}
    found = traced(parcels, lambda: rows(parcels), limits=slow)
    assert codes(found) == set()
    found = traced(parcels, "UPDATE parcel SET weight = 0 WHERE id <= 300", limits=limits)
    assert codes(found) == set()


def test_a_lock_that_is_kept_for_long_is_a_hazard_though_nothing_is_done(
    parcels: BaseDatabaseWrapper,
) -> None:
    alter = "ALTER TABLE parcel ADD COLUMN height integer"
    limits = Limits(long=0.4)
    assert codes(traced(parcels, alter, "SELECT pg_sleep(0.5)", limits=limits)) == set()
    found = traced(
        parcels, "ALTER TABLE parcel DROP COLUMN height", alter, "SELECT pg_sleep(0.5)",
        atomic=True, limits=limits,
    )  # fmt: skip
    assert codes(found) == {"DSM709"}
    assert found.hazards[0].held >= 0.5
    assert "ALTER TABLE parcel DROP" in found.hazards[0].statement


def test_a_savepoint_that_is_rolled_back_lets_go_of_its_locks(
    parcels: BaseDatabaseWrapper,
) -> None:
    def undone() -> None:
        fails_after(parcels, "ALTER TABLE parcel ALTER COLUMN weight TYPE bigint")

    found = traced(
        parcels, undone, "SELECT count(*) FROM depot", "SELECT pg_sleep(0.1)", atomic=True
    )
    alter, count, *_ = found.statements
    assert [plain(name) for name in alter.rewrites] == ["parcel"]
    assert "AccessExclusiveLock" in modes(alter)["parcel"]
    assert max(lock.held for lock in alter.locks) <= found.seconds - 0.1
    # It did happen; but nothing was kept locked while the other table was read.
    assert codes(found) == {"DSM506"}
    assert [plain(scan.relation) for scan in count.scans] == ["depot"]


def test_a_file_that_came_back_with_a_rollback_is_no_rewrite(parcels: BaseDatabaseWrapper) -> None:
    def undone() -> None:
        fails_after(parcels, "ALTER TABLE parcel ALTER COLUMN weight TYPE bigint")

    found = traced(parcels, undone, "ALTER TABLE parcel ADD COLUMN height integer")
    assert not found.statements[-1].rewrites
    found = traced(parcels, undone, "ALTER TABLE parcel ADD COLUMN width integer", atomic=True)
    assert not found.statements[-1].rewrites


def test_nested_blocks_are_one_transaction(parcels: BaseDatabaseWrapper) -> None:
    def nested() -> None:
        with transaction.atomic(), transaction.atomic():
            execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
        execute(parcels, "UPDATE parcel SET height = 1")

    found = traced(parcels, nested, atomic=True)
    assert codes(found) == {"DSM707"}
    assert [s.sql.split()[0] for s in found.statements] == ["ALTER", "UPDATE"]


def test_what_is_deferred_to_the_end_of_a_migration_is_counted_to_its_last_step(
    parcels: BaseDatabaseWrapper,
) -> None:
    other = StepKey(KEY.app_label, KEY.migration, "1", "expand", "another step")
    with Tracer(parcels) as tracer:
        with transaction.atomic():
            with step(tracer):
                execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
            with step(tracer, other):
                execute(parcels, "ALTER TABLE parcel ADD COLUMN width integer")
            execute(parcels, "CREATE INDEX parcel_weight ON parcel (weight)")
        execute(parcels, "SELECT count(*) FROM parcel")
        # Of a migration without a transaction.
        execute(parcels, "CREATE INDEX parcel_depot ON parcel (depot_id)")
    first, second = tracer.steps()
    assert [s.sql.split()[0] for s in first.statements] == ["ALTER"]
    assert [s.sql.split()[0] for s in second.statements] == ["ALTER", "CREATE", "CREATE"]
    assert codes(second) == {"DSM101"}
    # Which operation had deferred it is not known.
    assert all(hazard.of_migration for hazard in second.hazards)


def test_what_comes_while_tracing_is_paused_or_before_a_step_is_left_out(
    parcels: BaseDatabaseWrapper,
) -> None:
    with Tracer(parcels) as tracer:
        execute(parcels, "SELECT count(*) FROM parcel")
        with step(tracer):
            with tracer.paused(), transaction.atomic():
                execute(parcels, "UPDATE parcel SET weight = 0")
            execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
    [found] = tracer.steps()
    [alter] = found.statements
    assert (alter.rows, alter.scans) == (0, ())
    assert not found.hazards


def test_a_step_that_begins_again_is_told_once(parcels: BaseDatabaseWrapper) -> None:
    with Tracer(parcels) as tracer:
        with step(tracer):
            fails_after(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
        with transaction.atomic(), step(tracer):
            execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
    [found] = tracer.steps()
    assert [statement.repeats for statement in found.statements] == [1]


def test_a_tracer_that_ends_inside_of_a_transaction_leaves_it_open(
    parcels: BaseDatabaseWrapper,
) -> None:
    def run() -> None:
        with transaction.atomic():
            traced(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert value(parcels, "SELECT count(*) FROM pg_attribute WHERE attname = 'height'") == 0


def test_djangos_connection_may_be_named_by_its_proxy(parcels: BaseDatabaseWrapper) -> None:
    with Tracer(proxy, limits=PATIENT) as tracer:
        with transaction.atomic(), step(tracer):
            execute(parcels, "ALTER TABLE parcel ADD COLUMN height integer")
        [at_once] = tracer.steps()
        execute(parcels, "SELECT 1")
        [later] = tracer.steps()
    # It has come to its end.
    assert later.statements[0].locks[0].held == at_once.statements[0].locks[0].held


def test_server_side_cursors_and_many_parameters_work_as_before(
    parcels: BaseDatabaseWrapper,
) -> None:
    read: list[int] = []

    def run() -> None:
        with parcels.chunked_cursor() as cursor:
            cursor.execute("SELECT id FROM parcel ORDER BY id")
            read.extend(row[0] for row in cursor)
        with parcels.cursor() as cursor:
            cursor.executemany(BATCH, [(1, 1), (2, 2), (3, 3)])

    found = traced(parcels, run)
    assert read == list(range(1, 501))
    assert [statement.rows for statement in found.statements] == [0, 3]


def test_killed_in_the_middle_it_leaves_nothing(parcels: BaseDatabaseWrapper) -> None:
    def child() -> None:
        from django.db import connection

        with Tracer(connection) as tracer, step(tracer):
            execute(connection, "SELECT count(*) FROM parcel")
            with transaction.atomic():
                execute(connection, "ALTER TABLE parcel ADD COLUMN height integer")
                kill_me()

    parcels.close()
    ended = wait_for(*fork(child))
    assert ended.signal, ended.error
    wait_until(lambda: sessions(parcels) == 0, lambda: "sessions are left")
    assert value(parcels, "SELECT count(*) FROM pg_attribute WHERE attname = 'height'") == 0


def fails_after(connection: BaseDatabaseWrapper, sql: str) -> None:
    """Run a statement in a transaction, or a part of one, that is rolled back."""

    def run() -> None:
        with transaction.atomic():
            execute(connection, sql)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
