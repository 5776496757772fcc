"""What a staged change of type keeps, what it refuses, and what it does with values that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from tests.kit.case import Case, define
from tests.kit.databases import connect
from tests.operations.started import Started, started

Maker = Callable[[], Any]


def retype(old: Maker, new: Maker, **more: Any) -> Case:
    """Return a case in which Order.total changes its type."""

    def model(make: Maker) -> None:
        define("Order", number=models.IntegerField(), total=make())

    return Case("a type under test", lambda: model(old), lambda: model(new), **more)


def char(length: int, **options: Any) -> Maker:
    return lambda: models.CharField(max_length=length, **options)


def shrink(**more: Any) -> Case:
    return retype(char(40), char(10), values={"total": lambda n: f"v{n}"}, **more)


def widen(**options: Any) -> Case:
    return retype(lambda: models.IntegerField(**options), lambda: models.BigIntegerField(**options))


def types(change: Started) -> dict[str, str]:
    return dict(
        change.rows(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'caseapp_order'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    )


def second(change: Started) -> str:
    return next(name for name in types(change) if name.startswith("dsm_"))


LONG = "INSERT INTO caseapp_order (number, total) VALUES (7, 'much too long for ten')"


class TestValuesThatDoNotFit:
    def test_are_counted_and_named_before_anything_is_swapped(self) -> None:
        with started(shrink(), LONG) as change:
            with pytest.raises(ViolatingRows, match=r"1 row of .* \(id = 7\)"):
                change.expand()
            assert types(change)["total"] == "character varying(40)"
            change.run("UPDATE caseapp_order SET total = 'short' WHERE number = 7")
            change.expand()
            change.contract()
            assert types(change) == {
                "id": "bigint",
                "number": "integer",
                "total": "character varying(10)",
            }

    def test_may_be_written_by_old_code_and_stop_the_contract(self) -> None:
        with started(shrink()) as change:
            change.expand()
            change.run(LONG)
            change.run("UPDATE caseapp_order SET total = 'x' || repeat('y', 30) WHERE id = 1")
            with pytest.raises(ViolatingRows, match="2 rows of"):
                change.contract()
            assert change.value("SELECT total FROM caseapp_order WHERE number = 7") == (
                "much too long for ten"
            )
            change.run("UPDATE caseapp_order SET total = left(total, 10)")
            change.contract()
            assert change.value("SELECT total FROM caseapp_order WHERE number = 7") == "much too l"

    def test_a_trailing_space_is_not_cut_either(self) -> None:
        with started(
            shrink(), "INSERT INTO caseapp_order (number, total) VALUES (7, '12345678  ' || '  ')"
        ) as change:
            with pytest.raises(ViolatingRows):
                change.expand()

    def test_a_number_is_not_rounded(self) -> None:
        case = retype(
            lambda: models.DecimalField(max_digits=10, decimal_places=3),
            lambda: models.DecimalField(max_digits=8, decimal_places=2),
        )
        with started(case, "UPDATE caseapp_order SET total = 1.005 WHERE id = 3") as change:
            with pytest.raises(ViolatingRows, match=r"\(id = 3\)"):
                change.expand()
            assert change.value("SELECT total FROM caseapp_order WHERE id = 3") is not None

    def test_are_kept_on_the_way_back_too(self) -> None:
        with started(widen()) as change:
            change.expand()
            change.run("UPDATE caseapp_order SET total = 3000000000 WHERE id = 2")
            assert (
                change.value(f'SELECT "{second(change)}" FROM caseapp_order WHERE id = 2') is None
            )
            with pytest.raises(ViolatingRows, match=r"\(id = 2\)"):
                change.back()
            assert change.value("SELECT total FROM caseapp_order WHERE id = 2") == 3_000_000_000
            change.run("UPDATE caseapp_order SET total = 3 WHERE id = 2")
            change.back()
            assert types(change) == {"id": "bigint", "number": "integer", "total": "integer"}

    def test_values_that_become_equal_stop_the_contract_before_the_swap(self) -> None:
        case = retype(
            lambda: models.DateTimeField(unique=True), lambda: models.DateField(unique=True)
        )
        with started(case, rows) as change:
            change.expand()
            with pytest.raises(ViolatingRows, match="equal keys"):
                change.contract()
            assert types(change)["total"] == "timestamp with time zone"


rows = (
    "INSERT INTO caseapp_order (number, total) VALUES (7, '2019-01-01 10:00+00'),"
    " (8, '2019-01-01 11:00+00')"
)


class TestBothColumns:
    def test_batches_do_not_take_from_the_old_column_what_only_it_can_hold(self) -> None:
        case = retype(
            lambda: models.DateTimeField(), lambda: models.DateField(db_column="total_date")
        )
        with started(case, rows) as change:
            before = change.rows("SELECT id, total FROM caseapp_order ORDER BY id")
            change.expand()
            assert change.rows("SELECT id, total FROM caseapp_order ORDER BY id") == before
            change.run("UPDATE caseapp_order SET total_date = total_date")
            assert change.rows("SELECT id, total FROM caseapp_order ORDER BY id") == before
            change.run("UPDATE caseapp_order SET total_date = '2020-02-02' WHERE number = 7")
            assert change.value(
                "SELECT total AT TIME ZONE 'UTC' FROM caseapp_order WHERE number = 7"
            ).isoformat() == ("2020-02-02T00:00:00")

    def test_the_time_zone_of_the_writer_does_not_matter(self) -> None:
        case = retype(
            lambda: models.DateTimeField(), lambda: models.DateField(db_column="total_date")
        )
        with started(case, rows) as change:
            change.expand()
            with connect() as session:
                session.execute("SET TimeZone = 'Pacific/Auckland'")
                session.execute(
                    "UPDATE caseapp_order SET total = '2020-05-05 23:30+00' WHERE id = 1"
                )
            found = change.value("SELECT total_date FROM caseapp_order WHERE id = 1")
            assert found.isoformat() == "2020-05-05"
            change.contract()

    def test_old_code_may_write_what_new_code_can_not_read_until_the_contract(self) -> None:
        case = retype(
            lambda: models.TextField(),
            lambda: models.IntegerField(db_column="total_int"),
            values={"total": str},
            new_values={"total": int},
        )
        with started(case) as change:
            change.expand()
            change.run("UPDATE caseapp_order SET total = 'n/a' WHERE id = 4")
            assert change.value("SELECT total_int FROM caseapp_order WHERE id = 4") is None
            with pytest.raises(ViolatingRows, match=r"\(id = 4\)"):
                change.contract()
            change.run("UPDATE caseapp_order SET total_int = 44 WHERE id = 4")
            assert change.value("SELECT total FROM caseapp_order WHERE id = 4") == "44"
            change.contract()
            change.back()
            assert change.value("SELECT total FROM caseapp_order WHERE id = 4") == "44"

    def test_grants_statistics_and_comments_go_over(self) -> None:
        dba = (
            "ALTER TABLE caseapp_order ALTER total SET STATISTICS 321",
            "ALTER TABLE caseapp_order ALTER total SET (n_distinct = -0.5)",
            "GRANT SELECT (total), UPDATE (total) ON caseapp_order TO PUBLIC",
            "COMMENT ON COLUMN caseapp_order.total IS 'it''s 100%'",
            "CREATE INDEX dba ON caseapp_order (total DESC NULLS LAST) WITH (fillfactor = 70)"
            " WHERE total > 0",
            "ALTER TABLE caseapp_order ADD CONSTRAINT dba_check CHECK (total > -1) NOT VALID",
        )
        with started(widen(), *dba) as change:
            change.expand()
            change.contract()
            found = change.objects("caseapp_order.total")
            (column,) = found.values()
            for part in ("100%", "-0.5", "grants"):
                assert part in column
            assert change.value(
                "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'caseapp_order'::regclass"
                " AND attname = 'total'"
            ) == (321)
            assert "fillfactor='70'" in change.objects("public.dba")["index public.dba"]
            assert "not validated" in next(iter(change.objects("dba_check").values()))
            change.back()
            change.assert_untouched()


class TestRefusals:
    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("CREATE VIEW totals AS SELECT total FROM caseapp_order", "view totals"),
            (
                "CREATE MATERIALIZED VIEW sums AS SELECT sum(total) FROM caseapp_order",
                "materialized view sums",
            ),
            (
                "ALTER TABLE caseapp_order ADD twice int GENERATED ALWAYS AS (total * 2) STORED",
                "twice",
            ),
            (
                "CREATE TRIGGER watch AFTER UPDATE OF total ON caseapp_order FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "trigger watch",
            ),
            ("CREATE POLICY few ON caseapp_order USING (total > 0)", "policy few"),
            (
                "ALTER TABLE caseapp_order ALTER total ADD GENERATED BY DEFAULT AS IDENTITY",
                "identity",
            ),
        ],
    )
    def test_what_depends_on_the_column_is_named_before_anything_is_done(
        self, sql: str, said: str
    ) -> None:
        with started(widen(), sql) as change:
            with pytest.raises(UnsupportedChange, match=said) as raised:
                change.expand()
            change.assert_untouched()
            assert "db_column" not in str(raised.value)

    def test_a_missing_cast_is_found_before_anything_is_done(self) -> None:
        case = retype(lambda: models.BigIntegerField(), lambda: models.DurationField())
        with started(case) as change:
            with pytest.raises(UnsupportedChange, match="can't cast bigint to interval"):
                change.expand()
            change.assert_untouched()

    def test_a_partitioned_table_is_refused(self) -> None:
        partitioned = (
            "DROP TABLE caseapp_order",
            "CREATE TABLE caseapp_order (id bigint, number int, total int) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF caseapp_order DEFAULT",
        )
        with started(widen(), *partitioned) as change:
            with pytest.raises(UnsupportedChange, match="is partitioned"):
                change.expand()
            change.assert_untouched()


class TestOddTypes:
    def test_json_without_an_equality(self) -> None:
        with started(json_case()) as change:
            change.expand()
            change.run('UPDATE caseapp_order SET total = \'{"b": 1,  "a": 2}\' WHERE id = 1')
            change.run("UPDATE caseapp_order SET number = number + 1")
            change.contract()
            assert change.value("SELECT total::text FROM caseapp_order WHERE id = 1") == (
                '{"b": 1,  "a": 2}'
            )
            change.back()

    def test_text_whose_case_does_not_matter(self) -> None:
        with started(citext_case(), "CREATE EXTENSION citext") as change:
            change.run("UPDATE caseapp_order SET total = 'ABC' WHERE id = 1")
            change.expand()
            change.run("UPDATE caseapp_order SET total = 'abc' WHERE id = 1")
            change.contract()
            assert (
                change.value("SELECT total::text FROM caseapp_order WHERE total = 'ABC'") == "abc"
            )
            change.back()
            assert change.value("SELECT total FROM caseapp_order WHERE id = 1") == "abc"


class Json(models.TextField):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "json"


class Citext(models.TextField):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "citext"


def json_case() -> Case:
    return retype(lambda: models.TextField(), lambda: Json(), values={"total": lambda n: f"[{n}]"})


def citext_case() -> Case:
    return retype(lambda: models.TextField(unique=True), lambda: Citext(unique=True))


def test_a_trigger_of_the_application_goes_on_working_in_open_sessions() -> None:
    """PL/pgSQL keeps the type of a column that it has compiled: "does not match that when …"."""
    function = (
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.total > 0 THEN NEW.number := NEW.total + 1; END IF; RETURN NEW; END'"
    )
    trigger = (
        "CREATE TRIGGER noted BEFORE INSERT ON caseapp_order FOR EACH ROW EXECUTE FUNCTION noted()"
    )
    insert = "INSERT INTO caseapp_order (number, total) VALUES (0, 5) RETURNING number"
    with started(widen(), function, trigger) as change, connect() as session:
        for work in (None, change.expand, change.contract, change.back):
            if work is not None:
                work()
            assert session.execute(insert).fetchone() == (6,)


def test_a_trigger_function_of_another_role_is_refused_before_anything_is_done() -> None:
    function = "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    trigger = (
        "CREATE TRIGGER noted BEFORE INSERT ON caseapp_order FOR EACH ROW EXECUTE FUNCTION noted()"
    )
    with started(widen(), function, trigger) as change:
        change.run("CREATE ROLE dsm_stranger")
        change.run("CREATE ROLE dsm_migrator")
        try:
            change.run("GRANT USAGE, CREATE ON SCHEMA public TO dsm_stranger, dsm_migrator")
            change.run("ALTER FUNCTION noted() OWNER TO dsm_stranger")
            change.run(
                "DO $$ DECLARE r text; BEGIN FOR r IN SELECT c.oid::regclass FROM pg_class c WHERE "
                "relnamespace = 'public'::regnamespace AND relkind IN ('r') LOOP EXECUTE "
                "'ALTER TABLE ' || r || ' OWNER TO dsm_migrator'; END LOOP; END $$"
            )
            change.run("SET ROLE dsm_migrator")
            with pytest.raises(
                UnsupportedChange, match=r"noted\(\), which belongs to another role"
            ):
                change.expand()
            change.run("RESET ROLE")
            assert "dsm_" not in "".join(types(change))
        finally:
            change.run("RESET ROLE")
            change.run("DROP OWNED BY dsm_migrator, dsm_stranger CASCADE")
            change.run("DROP ROLE dsm_stranger, dsm_migrator")
