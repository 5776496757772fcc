"""The kit itself: it sees what plain Django breaks, and nothing where nothing is broken."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections, models, transaction
from django.db.migrations.autodetector import MigrationAutodetector

from tests.kit import chain as chains
from tests.kit import schema
from tests.kit.calls import Actor
from tests.kit.case import LABEL, Case, define
from tests.kit.databases import (
    PROBE_ALIAS,
    connect,
    connection_parameters,
    scratch_database,
    sessions_in,
)
from tests.kit.forks import fork, wait_for
from tests.kit.held import LockWatch, observe_held
from tests.kit.kill import run_killed, wait_until
from tests.kit.locks import Observed, observe_locks
from tests.kit.pooler import transaction_pooler
from tests.kit.probe import probe
from tests.kit.seed import seed
from tests.kit.statements import changes_database, watch_changes
from tests.kit.traffic import Traffic


def shop(total: str) -> None:
    customer = define(
        "Customer",
        code=models.CharField(max_length=20, unique=True),
        name=models.TextField(),
    )
    define(
        "Order",
        customer=models.ForeignKey(customer, models.CASCADE),
        note=models.TextField(null=True),
        placed=models.DateTimeField(null=True),
        **{total: models.IntegerField(default=0)},
    )


RENAME = Case(
    "plain rename", lambda: shop("total"), lambda: shop("amount"), renames={"order.total": "amount"}
)


@pytest.fixture
def database() -> Iterator[Any]:
    with scratch_database() as found:
        yield found


@pytest.fixture
def old_shop(database: Any) -> chains.Chain:
    """The old models of RENAME, made by plain Django and filled."""
    chain = chains.make_plain_chain(RENAME)
    chains.migrate(chain, chain.initial[-1])
    seed(RENAME)
    return chain


class TestChains:
    def test_a_chain_is_read_back_from_its_files(self) -> None:
        chain = chains.make_plain_chain(RENAME)
        [name] = chain.change
        operations = chain.migration(name).operations
        assert [type(operation).__name__ for operation in operations] == ["RenameField"]
        assert chain.asked == ["rename order.total to amount"]

    def test_nothing_is_left_to_detect_after_a_chain(self) -> None:
        chain = chains.make_plain_chain(RENAME)
        with chain.installed():
            assert chain.detect("new", MigrationAutodetector) == {}
            assert chain.detect("old", MigrationAutodetector) != {}

    def test_a_rename_that_is_denied_becomes_a_removal(self) -> None:
        case = Case("denied", lambda: shop("total"), lambda: shop("amount"))
        chain = chains.make_plain_chain(case)
        operations = chain.migration(chain.change[0]).operations
        assert [type(operation).__name__ for operation in operations] == [
            "RemoveField",
            "AddField",
        ]


class TestFingerprints:
    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ("CREATE INDEX extra ON t (a)", "extra index public.extra"),
            ("COMMENT ON COLUMN t.a IS 'why'", "different column public.t.a"),
            ("COMMENT ON TABLE t IS 'why'", "different relation public.t"),
            ("COMMENT ON INDEX t_pkey IS 'why'", "different index public.t_pkey"),
            ("ALTER TABLE t ALTER a SET DEFAULT 3", "different column public.t.a"),
            ("ALTER TABLE t ALTER a SET NOT NULL", "different column public.t.a"),
            ("ALTER TABLE t ALTER a TYPE bigint", "different column public.t.a"),
            ('ALTER TABLE t ALTER b TYPE text COLLATE "C"', "different column public.t.b"),
            ("ALTER TABLE t ADD CHECK (a > 0) NOT VALID", "extra constraint public.t.t_a_check"),
            ("ALTER TABLE t VALIDATE CONSTRAINT c", "different constraint public.t.c"),
            (
                "ALTER TABLE t ALTER CONSTRAINT f DEFERRABLE INITIALLY DEFERRED",
                "different constraint public.t.f",
            ),
            (
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "extra function public.f()",
            ),
            (
                "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "extra trigger public.t.g",
            ),
            ("CREATE VIEW v AS SELECT 1 AS x", "extra relation public.v"),
            ("ALTER SEQUENCE s OWNED BY t.a", "different sequence public.s"),
            ("GRANT SELECT ON t TO PUBLIC", "different relation public.t"),
            ("GRANT SELECT (a) ON t TO PUBLIC", "different column public.t.a"),
            ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "different relation public.t"),
            ("CREATE POLICY p ON t USING (true)", "extra policy public.t.p"),
            ("CREATE SCHEMA more", "extra schema more"),
            ("CREATE STATISTICS x ON a, b FROM t", "extra statistics public.t.x"),
            (
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_pkey'::regclass",
                "different index public.t_pkey",
            ),
        ],
    )
    def test_a_change_shows_as_a_difference(self, database: Any, change: str, what: str) -> None:
        with database.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE t (id serial PRIMARY KEY, a int, b text);"
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a < 9) NOT VALID;"
                "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES t;"
                "CREATE SEQUENCE s"
            )
            before = schema.fingerprint(database)
            cursor.execute(change)
        lines = schema.diff(schema.fingerprint(database), before)
        assert any(line.startswith(what) for line in lines), lines

    def test_the_order_of_columns_and_the_names_of_not_null_are_no_difference(self) -> None:
        prints = []
        for table in (
            "CREATE TABLE t (a int NOT NULL, b text)",
            "CREATE TABLE t (b text, a int CONSTRAINT other NOT NULL)",
        ):
            with scratch_database() as database:
                database.cursor().execute(table)
                prints.append(schema.fingerprint(database))
        assert schema.diff(*prints) == []

    def test_a_column_whose_not_null_is_not_validated_differs(self, database: Any) -> None:
        if database.pg_version < 180000:
            # No such thing before 18: the statement itself is an error.
            return
        with database.cursor() as cursor:
            cursor.execute("CREATE TABLE t (a int)")
            cursor.execute("ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID")
            assert "not valid" in schema.fingerprint(database)["column public.t.a"]

    def test_only_the_ledgers_own_tables_are_left_out(self, database: Any) -> None:
        with database.cursor() as cursor:
            cursor.execute("CREATE TABLE django_safemigrations_run (id serial PRIMARY KEY)")
            assert list(schema.fingerprint(database)) == ["schema public"]
            cursor.execute("CREATE TABLE t (a int)")
            cursor.execute("CREATE INDEX django_safemigrations_left ON t (a)")
        assert "index public.django_safemigrations_left" in schema.fingerprint(database)

    def test_a_changed_row_shows_as_a_difference(self, old_shop: chains.Chain) -> None:
        before = schema.rows(connection)
        RENAME.model("old", "order")._base_manager.filter(note=None).update(note="x")
        assert len(schema.diff(schema.rows(connection), before)) > 0
        hidden = schema.rows(connection, ["caseapp_order.note"])
        assert '"note": false' in hidden["row public.caseapp_order 0"]


class TestProbes:
    def test_code_that_fits_its_schema_has_no_problem(self, old_shop: chains.Chain) -> None:
        before = schema.rows(connection)
        assert probe(RENAME, "old") == []
        assert schema.rows(connection) == before

    def test_old_code_fails_after_a_plain_rename(self, old_shop: chains.Chain) -> None:
        chains.migrate(old_shop, old_shop.change[-1])
        assert probe(RENAME, "new") == []
        problems = probe(RENAME, "old")
        assert any("UndefinedColumn" in problem or "42703" in problem for problem in problems)
        connections[PROBE_ALIAS].close()

    def test_a_lost_write_is_found(self, old_shop: chains.Chain) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN new.note := old.note; RETURN new; END';"
                "CREATE TRIGGER lose BEFORE UPDATE ON caseapp_order"
                " FOR EACH ROW EXECUTE FUNCTION lose()"
            )
        problems = probe(RENAME, "old")
        assert any("note is" in problem for problem in problems), problems


class TestTraffic:
    def test_traffic_without_a_migration_has_no_failure(self, old_shop: chains.Chain) -> None:
        with Traffic(RENAME, old=2, new=0) as traffic:
            traffic.start("old")
            traffic.wait_until(150)
            report = traffic.stop()
        assert report.problems() == []
        assert len(report.calls) >= 300
        assert traffic.lost_writes("old") == []
        kinds = {call.name for call in report.calls}
        assert "order.bulk_create_update_conflicts" in kinds
        longest = report.longest()
        assert longest is not None
        assert longest.seconds > 0

    def test_a_plain_rename_fails_requests_of_old_code(self, old_shop: chains.Chain) -> None:
        with Traffic(RENAME, old=1, new=1) as traffic:
            traffic.start("old")
            traffic.wait_until(50)
            chains.migrate(old_shop, old_shop.change[-1])
            traffic.start("new")
            traffic.wait_until(50)
            report = traffic.stop()
        assert report.failed > 0
        failure = next(f for f in report.failures if "42703" in f.error)
        assert failure.generation == "old"
        assert "total" in failure.statement
        assert "Traceback" in failure.trace
        assert traffic.lost_writes("new") != [] or report.failed

    def test_a_write_that_is_lost_afterwards_is_found(self, old_shop: chains.Chain) -> None:
        with Traffic(RENAME, old=1, new=0) as traffic:
            traffic.start("old")
            traffic.wait_until(60)
            traffic.stop()
        assert traffic.lost_writes("old") == []
        connection.cursor().execute("UPDATE caseapp_order SET total = -5")
        assert any("total is -5" in line for line in traffic.lost_writes("old"))

    def test_a_parent_keeps_its_session_when_it_forks(self, old_shop: chains.Chain) -> None:
        with transaction.atomic():
            models_seen = RENAME.model("old", "order")._base_manager.count()
            pid, pipe = fork(lambda: probe_in_child())
            assert wait_for(pid, pipe).error == ""
            assert RENAME.model("old", "order")._base_manager.count() == models_seen

    def test_an_upsert_of_a_contended_key_meets_the_other_process(
        self, old_shop: chains.Chain
    ) -> None:
        model = RENAME.model("old", "customer")
        one = Actor(RENAME, "old", model, space=10_000, contended=600)
        two = Actor(RENAME, "old", model, space=20_000, contended=600)
        for _ in range(20):
            one.update_or_create()
            two.update_or_create()
        assert len(one.touched & two.touched) > 0


def probe_in_child() -> None:
    connection.ensure_connection()
    RENAME.model("old", "order")._base_manager.using("default").exists()


class TestKills:
    def test_a_child_dies_right_after_each_change(self, database: Any) -> None:
        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE one (a int)")
                cursor.execute("SELECT 1")
                with transaction.atomic():
                    cursor.execute("CREATE TABLE two (a int)")
                    cursor.execute("INSERT INTO two VALUES (1)")
                cursor.execute("CREATE TABLE three (a int)")

        seen = []
        for n in range(1, 10):
            with scratch_database():
                killed = run_killed(work, n)
                tables = connection.introspection.table_names()
                seen.append((killed.at.split(" (")[0], sorted(tables)))
                if killed.finished:
                    break
        assert seen == [
            ("CREATE TABLE one", ["one"]),
            ("CREATE TABLE two", ["one"]),
            ("INSERT INTO two VALUES", ["one"]),
            ("COMMIT", ["one", "two"]),
            ("CREATE TABLE three", ["one", "three", "two"]),
            ("", ["one", "three", "two"]),
        ]

    def test_a_child_dies_right_before_a_change(self, database: Any) -> None:
        killed = run_killed(lambda: connection.cursor().execute("CREATE TABLE one ()"), 1, "before")
        assert (killed.finished, killed.at) == (False, "CREATE TABLE one ()")
        assert connection.introspection.table_names() == []

    def test_an_error_of_the_callable_is_not_taken_for_a_kill(self, database: Any) -> None:
        with pytest.raises(AssertionError, match="no_such_table"):
            run_killed(lambda: connection.cursor().execute("DROP TABLE no_such_table"), 1)

    def test_killed_sessions_are_gone_when_it_returns(self, database: Any) -> None:
        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(1)")
                cursor.execute("CREATE TABLE one ()")

        run_killed(work, 1)
        assert sessions_in(connection.settings_dict["NAME"]) == []

    def test_only_changes_count(self) -> None:
        assert changes_database("UPDATE t SET a = 1")
        assert changes_database("-- why\n/* more */ CREATE INDEX i ON t (a)")
        assert changes_database("WITH x AS (SELECT 1) DELETE FROM t")
        assert not changes_database("  select 1")
        assert not changes_database("SET lock_timeout = '50ms'")
        assert not changes_database("-- nothing")

    def test_a_rolled_back_change_is_never_durable(self, database: Any) -> None:
        durable: list[str] = []
        with watch_changes(connection, durable=durable.append), connection.cursor() as cursor:
            with transaction.atomic():
                cursor.execute("CREATE TABLE gone ()")
                transaction.set_rollback(True)
            with transaction.atomic():
                cursor.execute("CREATE TABLE one ()")
            cursor.execute("CREATE TABLE two ()")
        assert durable == ["COMMIT after CREATE TABLE one ()", "CREATE TABLE two ()"]


class TestLocks:
    def test_the_observer_names_a_lock_and_how_long_it_was_held(self, database: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (a int)")
            pid = connection.connection.info.backend_pid
            with observe_locks(pid, connection.settings_dict["NAME"]) as observed:
                with transaction.atomic():
                    cursor.execute("ALTER TABLE t ADD b int")
                    looks = observed.looks
                    wait_until(lambda: observed.looks > looks + 20, lambda: "no looks")
                with transaction.atomic():
                    cursor.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
                    looks = observed.looks
                    wait_until(lambda: observed.looks > looks + 2, lambda: "no looks")
        assert observed.modes("t") == {"AccessExclusiveLock"}
        assert 0.03 < observed.longest("t") < 10
        assert "ALTER TABLE t" in observed.held[0].query

    def test_the_observer_sees_a_wait(self, database: Any) -> None:
        name = str(connection.settings_dict["NAME"])
        with connection.cursor() as cursor, connect(name) as other:
            cursor.execute("CREATE TABLE t (a int)")
            pid = connection.connection.info.backend_pid
            other.execute("BEGIN; SELECT * FROM t")
            with observe_locks(pid, name) as observed:
                thread = threading.Thread(target=end_when_waited_for, args=(observed, other))
                thread.start()
                cursor.execute("ALTER TABLE t ADD b int")
                thread.join()
        assert ("t", "AccessExclusiveLock") in observed.waited


class TestHeld:
    def test_rows_read_or_rewritten_under_a_lock_are_seen(self, database: Any) -> None:
        held = LockWatch()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 9)")
            with observe_held(held):
                cursor.execute("ALTER TABLE t ALTER a TYPE bigint")
                cursor.execute("CREATE INDEX i ON t (a)")
                with transaction.atomic():
                    cursor.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
                    cursor.execute("SELECT count(*) FROM t")
        what = [problem.split(" under ")[0] for problem in held.problems]
        assert what == ["t is rewritten", "t is read (9 rows)", "t is read (9 rows)"]

    def test_what_makes_nobody_wait_is_no_problem(self, database: Any) -> None:
        held = LockWatch()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 9)")
            with observe_held(held):
                cursor.execute("ALTER TABLE t ADD b int")
                cursor.execute("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID")
                cursor.execute("ALTER TABLE t VALIDATE CONSTRAINT c")
                cursor.execute("CREATE INDEX CONCURRENTLY i ON t (a)")
                cursor.execute("UPDATE t SET a = a + 1")
        assert (held.problems, held.looks, held.locks) == ([], 4, 2)


def end_when_waited_for(observed: Observed, other: Any) -> None:
    wait_until(lambda: ("t", "AccessExclusiveLock") in observed.waited, lambda: "no wait")
    other.execute("ROLLBACK")


class TestPooler:
    def test_sessions_are_shared_and_their_settings_leak(self, database: Any) -> None:
        with transaction_pooler(**connection_parameters()) as pooler:
            name = connection_parameters()["dbname"]
            where = {"host": pooler.host, "port": pooler.port, "dbname": name}
            with connect(**where) as one, connect(**where) as two:
                one.execute("SET statement_timeout = '77s'")
                [shown] = two.execute("SHOW statement_timeout").fetchone() or [None]
                assert shown == "77s"
                pids = {c.execute("SELECT pg_backend_pid()").fetchone() for c in (one, two, one)}
                assert len(pids) == 1

    def test_a_transaction_keeps_its_session_and_others_get_another(self, database: Any) -> None:
        with transaction_pooler(**connection_parameters()) as pooler:
            name = connection_parameters()["dbname"]
            where = {"host": pooler.host, "port": pooler.port, "dbname": name}
            with connect(**where) as one, connect(**where) as two:
                with one.transaction():
                    first = one.execute("SELECT pg_backend_pid()").fetchone()
                    second = two.execute("SELECT pg_backend_pid()").fetchone()
                    assert first != second
                    assert one.execute("SELECT pg_backend_pid()").fetchone() == first
                # Last returned, first lent: the owner of the other session gets this one now.
                assert two.execute("SELECT pg_backend_pid()").fetchone() == first

    def test_django_works_through_it(self, old_shop: chains.Chain) -> None:
        with transaction_pooler(**connection_parameters()) as pooler:
            pooled = connections["default"].copy("pooled")
            pooled.settings_dict.update(pooler.django_settings(pooled.settings_dict))
            connections["pooled"] = pooled
            try:
                assert probe(RENAME, "old", using="pooled") == []
            finally:
                connections["pooled"].close()
                del connections["pooled"]
        assert len(set(pooler.lent)) == 1
        assert len(pooler.lent) > 50

    def test_a_prepared_pipeline_and_an_error_pass(self, database: Any) -> None:
        with transaction_pooler(**connection_parameters()) as pooler:
            name = connection_parameters()["dbname"]
            with connect(host=pooler.host, port=pooler.port, dbname=name) as client:
                with client.pipeline():
                    cursors = [client.execute("SELECT %s::int", [n]) for n in range(5)]
                assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(5)]
                with pytest.raises(Exception, match="division"):
                    client.execute("SELECT 1/0")
                assert client.execute("SELECT 1").fetchone() == (1,)


class TestDatabases:
    def test_a_scratch_database_is_gone_afterwards(self) -> None:
        with scratch_database() as found:
            name = found.settings_dict["NAME"]
            found.cursor().execute("CREATE TABLE t ()")
            assert name == connections["default"].settings_dict["NAME"]
        assert connections["default"].settings_dict["NAME"] != name
        with connect("postgres") as session:
            row = session.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        assert row is None

    def test_a_copy_holds_what_its_template_holds(self, old_shop: chains.Chain) -> None:
        name = str(connection.settings_dict["NAME"])
        before = schema.fingerprint(connection), schema.rows(connection)
        connection.close()
        with scratch_database(name) as copy:
            assert (schema.fingerprint(copy), schema.rows(copy)) == before
        assert LABEL + "_order" in connection.introspection.table_names()

    def test_a_killed_child_leaves_the_server_up(self) -> None:
        pid, pipe = fork(lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert wait_for(pid, pipe).signal == signal.SIGKILL
        with connect("postgres") as session:
            assert session.execute("SELECT 1").fetchone() == (1,)


class TestRaces:
    def test_racing_upserts_without_a_migration_never_fail(self, old_shop: chains.Chain) -> None:
        with Traffic(RENAME, old=3, new=0, racing=True) as traffic:
            traffic.start("old")
            traffic.wait_until(200)
            report = traffic.stop()
        assert report.problems() == []
        assert traffic.upserts.value > 400
