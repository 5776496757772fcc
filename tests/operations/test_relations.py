"""Foreign keys among rows, names and constraints that no model tells of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import models, transaction

from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.operations import (
    AddForeignKey,
    DropForeignKey,
    DropNotNull,
    ReplaceForeignKey,
    ValidateForeignKey,
)
from tests.kit.case import Case, define
from tests.kit.databases import connect
from tests.kit.statements import watch_changes
from tests.operations.started import OneOff, Started, started

KEY = "caseapp_order_customer_id_ae3f932b_fk_caseapp_customer_id"
WHERE = {"model_name": "order", "name": "customer"}
ORPHANS = "INSERT INTO caseapp_order (number, customer_id) VALUES (1, 91), (2, 92), (3, NULL)"


def order(**options: Any) -> None:
    customer = define("Customer", code=models.CharField(max_length=20, unique=True))
    on_delete = options.pop("on_delete", models.CASCADE)
    kind = options.pop("kind", models.ForeignKey)
    define(
        "Order",
        number=models.IntegerField(),
        customer=kind(options.pop("to", customer), on_delete, null=True, **options),
    )


def change(old: dict[str, Any], new: dict[str, Any], **more: Any) -> Case:
    return Case("relation under test", lambda: order(**old), lambda: order(**new), **more)


CONSTRAIN = change({"db_constraint": False}, {})
FREE = change({}, {"db_constraint": False})


KEYS = (
    "SELECT conname, convalidated FROM pg_constraint"
    " WHERE conrelid = 'caseapp_order'::regclass AND contype = 'f'"
)


def keys(case: Started) -> dict[str, bool]:
    """Return the names of the table's foreign keys, and whether they are valid."""
    return dict(case.rows(KEYS))


def seen_by(session: psycopg.Connection[Any]) -> dict[str, bool]:
    """Return the same as another session sees it."""
    return dict(session.execute(KEYS).fetchall())


def name(case: Started) -> str:
    """Return the name of a case's database."""
    return str(case.connection.settings_dict["NAME"])


@contextmanager
def reported() -> Iterator[list[str]]:
    lines: list[str] = []
    with reporting_to(lines.append):
        yield lines


class TestAdding:
    """A constraint on a column that had none."""

    def test_rows_that_refer_to_nothing_are_counted_and_named(self) -> None:
        with started(CONSTRAIN, ORPHANS) as case:
            with pytest.raises(ViolatingRows) as caught:
                case.contract()
            message = str(caught.value)
            assert message.startswith("2 rows of public.caseapp_order have a value in")
            assert 'public.caseapp_customer ("id") does not have (id = 7; 8)' in message
            # New rows are checked from now on.
            assert keys(case) == {KEY: False}
            with pytest.raises(psycopg.IntegrityError), connect(name(case)) as other:
                other.execute("INSERT INTO caseapp_order (number, customer_id) VALUES (4, 93)")

    def test_it_goes_on_when_they_are_mended(self) -> None:
        with started(CONSTRAIN, ORPHANS) as case:
            with pytest.raises(ViolatingRows):
                case.contract()
            case.run("UPDATE caseapp_order SET customer_id = 1 WHERE customer_id > 90")
            case.contract()
            assert keys(case) == {KEY: True}

    def test_one_row_is_told_of_in_the_singular(self) -> None:
        orphan = "INSERT INTO caseapp_order (number, customer_id) VALUES (1, 91)"
        with (
            started(CONSTRAIN, orphan) as case,
            pytest.raises(ViolatingRows, match=r"1 row of .* has"),
        ):
            case.contract()

    def test_rows_of_a_table_that_refers_to_itself_are_named(self) -> None:
        itself = change({"to": "self", "db_constraint": False}, {"to": "self"})
        with started(itself, ORPHANS) as case, pytest.raises(ViolatingRows, match=r"\(id = 7; 8\)"):
            case.contract()

    def test_no_statement_validates_while_it_adds(self) -> None:
        seen: list[str] = []
        with started(CONSTRAIN) as case:
            with watch_changes(case.connection, durable=seen.append):
                case.contract()
        added = [sql for sql in seen if "FOREIGN KEY" in sql]
        assert [sql.endswith(" NOT VALID") for sql in added] == [True]
        assert sum("VALIDATE CONSTRAINT" in sql for sql in seen) == 1

    def test_a_constraint_of_another_kind_with_the_name_is_left_and_told_of(self) -> None:
        taken = f"ALTER TABLE caseapp_order ADD CONSTRAINT {KEY} CHECK (number IS NOT NULL)"
        with started(CONSTRAIN, taken) as case:
            with pytest.raises(UnsupportedChange, match="another constraint named"):
                case.contract()
            case.assert_untouched()

    def test_a_foreign_key_with_the_name_and_another_target_is_left_and_told_of(self) -> None:
        taken = (
            f"ALTER TABLE caseapp_order ADD CONSTRAINT {KEY} FOREIGN KEY (customer_id)"
            " REFERENCES caseapp_order (id)"
        )
        with started(CONSTRAIN, "UPDATE caseapp_order SET customer_id = NULL", taken) as case:
            with pytest.raises(UnsupportedChange, match="another constraint named"):
                case.contract()
            case.assert_untouched()

    def test_a_constraint_that_was_added_before_is_only_validated(self) -> None:
        with started(CONSTRAIN) as case:
            one = case.operations()
            after = OneOff(case_state(case))
            after.forwards(AddForeignKey(**WHERE))
            assert keys(case) == {KEY: False}
            after.forwards(AddForeignKey(**WHERE))
            after.forwards(ValidateForeignKey(**WHERE))
            after.forwards(ValidateForeignKey(**WHERE))
            assert keys(case) == {KEY: True}
            one.forwards(AddForeignKey(**WHERE))
            assert keys(case) == {KEY: True}


def case_state(case: Started) -> Any:
    """Return the state at the end of a case's chain."""
    with case.chain.installed():
        return case.chain.loader().project_state(("caseapp", case.chain.change[-1]))


class TestDropping:
    """A constraint that goes while the column stays."""

    @pytest.mark.parametrize(
        "older", ["customer_id_refs_id_8e1", "Old %s key", "caseapp_order_customer_id_fk"]
    )
    def test_it_is_found_whatever_older_djangos_called_it(self, older: str) -> None:
        renamed = f'ALTER TABLE caseapp_order RENAME CONSTRAINT {KEY} TO "{older}"'
        with started(FREE, renamed) as case:
            case.expand()
            assert keys(case) == {}

    def test_a_foreign_key_over_several_columns_stays(self) -> None:
        both = (
            "ALTER TABLE caseapp_customer ADD COLUMN shop int, ADD UNIQUE (id, shop)",
            "ALTER TABLE caseapp_order ADD COLUMN shop int, ADD CONSTRAINT both_fk"
            " FOREIGN KEY (customer_id, shop) REFERENCES caseapp_customer (id, shop)",
        )
        with started(FREE, *both) as case:
            case.expand()
            assert keys(case) == {"both_fk": True}

    def test_the_way_back_validates_it(self) -> None:
        with started(FREE) as case:
            case.expand()
            case.back()
            case.assert_untouched()

    def test_the_way_back_leaves_it_not_valid_if_rows_forbid_it_and_says_so(self) -> None:
        with started(FREE) as case, reported() as lines:
            case.expand()
            case.run(ORPHANS)
            case.back()
            assert keys(case) == {KEY: False}
        [line] = [line for line in lines if "NOT VALID" in line]
        assert line.startswith("2 rows of public.caseapp_order")

    def test_it_is_dropped_inside_a_transaction_with_unchecked_rows(self) -> None:
        # As in a squashed migration that writes rows before it.
        with started(FREE) as case, transaction.atomic():
            case.run("INSERT INTO caseapp_order (number, customer_id) VALUES (1, 1)")
            case.operations().forwards(DropForeignKey(**WHERE))
            assert keys(case) == {}

    def test_a_constraint_that_is_gone_is_none_to_drop(self) -> None:
        with started(FREE, f"ALTER TABLE caseapp_order DROP CONSTRAINT {KEY}") as case:
            case.expand()
            assert keys(case) == {}


class TestReplacing:
    """Another ON DELETE; without Django 6.1 an operator's own is put right."""

    CASCADE = (
        f"ALTER TABLE caseapp_order DROP CONSTRAINT {KEY}",
        f"ALTER TABLE caseapp_order ADD CONSTRAINT {KEY} FOREIGN KEY (customer_id)"
        " REFERENCES caseapp_customer ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
    )

    def definition(self, case: Started) -> str:
        return str(
            case.value(
                f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{KEY}'"
            )
        )

    def test_at_no_time_rows_are_unchecked(self) -> None:
        found: list[dict[str, bool]] = []
        with started(FREE, *self.CASCADE) as case:
            with (
                connect(name(case)) as other,
                watch_changes(case.connection, durable=lambda _: found.append(seen_by(other))),
            ):
                case.operations().forwards(ReplaceForeignKey(**WHERE))
            assert "CASCADE" not in self.definition(case)
        assert found
        assert all(any(valid for valid in names.values()) for names in found), found
        assert found[-1] == {KEY: True}

    def test_it_goes_on_where_it_was_stopped(self) -> None:
        with started(FREE, *self.CASCADE) as case:
            once = case.operations()
            stop = ["NOT VALID", "VALIDATE"]
            for words in stop:
                with (
                    pytest.raises(KeyboardInterrupt),
                    watch_changes(case.connection, durable=stopping(words)),
                ):
                    once.forwards(ReplaceForeignKey(**WHERE))
                assert len(keys(case)) == 2
            once.forwards(ReplaceForeignKey(**WHERE))
            assert keys(case) == {KEY: True}
            assert "CASCADE" not in self.definition(case)

    def test_a_second_run_does_nothing(self) -> None:
        with started(FREE) as case:
            seen: list[str] = []
            with watch_changes(case.connection, durable=seen.append):
                case.operations().forwards(ReplaceForeignKey(**WHERE))
            assert seen == []

    def test_a_key_of_an_older_django_gets_todays_name(self) -> None:
        renamed = f"ALTER TABLE caseapp_order RENAME CONSTRAINT {KEY} TO old_fk"
        with started(FREE, renamed) as case:
            case.operations().forwards(ReplaceForeignKey(**WHERE))
            assert keys(case) == {KEY: True}


def stopping(words: str) -> Any:
    """Return a callback that ends the operation after a statement with these words."""

    def stop(sql: str) -> None:
        if words in sql:
            raise KeyboardInterrupt

    return stop


class TestTheRest:
    """Other changes leave the constraint where it is."""

    def test_a_nullable_foreign_key_keeps_its_constraint_and_its_name(self) -> None:
        def model(null: bool) -> None:
            customer = define("Customer", code=models.TextField())
            define(
                "Order",
                number=models.IntegerField(),
                customer=models.ForeignKey(customer, models.CASCADE, null=null),
            )

        case_ = Case("nullable", lambda: model(False), lambda: model(True))
        renamed = f"ALTER TABLE caseapp_order RENAME CONSTRAINT {KEY} TO old_fk"
        with started(case_, renamed) as case:
            oid = case.value("SELECT oid::bigint FROM pg_constraint WHERE conname = 'old_fk'")
            case.expand()
            case.back()
            assert oid == case.value(
                "SELECT oid::bigint FROM pg_constraint WHERE conname = 'old_fk'"
            )

    def test_a_way_back_to_not_null_counts_the_nulls(self) -> None:
        with started(FREE) as case:
            once = case.operations()
            once.forwards(DropNotNull(**WHERE))
            with pytest.raises(ViolatingRows, match="NULL in"):
                once.backwards()

    def test_a_one_to_one_counts_the_duplicates(self) -> None:
        to_one = change({}, {"kind": models.OneToOneField})
        with started(to_one) as case:
            with pytest.raises(ViolatingRows, match="customer_id"):
                case.expand()
            case.assert_untouched()

    def test_a_comment_is_set_where_a_view_uses_the_column(self) -> None:
        commented = change({}, {"db_comment": 'it\'s 100% "ours"'})
        view = "CREATE VIEW customers AS SELECT customer_id FROM caseapp_order"
        with started(commented, view) as case:
            case.expand()
            column = case.objects("column public.caseapp_order.customer_id")
            assert any("it''s 100% \"ours\"" in text for text in column.values())
            case.back()
            case.assert_untouched()


class TestPartitions:
    """A partitioned table, on which older servers add no foreign key NOT VALID."""

    PARTITIONED = (
        "DROP TABLE caseapp_order",
        "CREATE TABLE caseapp_order (id bigint NOT NULL, number int NOT NULL, customer_id bigint,"
        " PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE order_1 PARTITION OF caseapp_order FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE order_2 PARTITION OF caseapp_order FOR VALUES FROM (10) TO (20)"
        " PARTITION BY RANGE (id)",
        "CREATE TABLE order_21 PARTITION OF order_2 FOR VALUES FROM (10) TO (15)",
        "INSERT INTO caseapp_order VALUES (1, 1, 1), (2, 2, NULL), (12, 3, 2)",
    )
    PARTS = (
        "SELECT conrelid::regclass::text, conname, convalidated FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid::regclass::text ~ 'order' ORDER BY 1"
    )

    def test_no_statement_reads_rows_under_a_lock_that_blocks(self) -> None:
        seen: list[str] = []
        with started(CONSTRAIN, *self.PARTITIONED) as case:
            with watch_changes(case.connection, durable=seen.append):
                case.contract()
            names = ["caseapp_order", "order_1", "order_2", "order_21"]
            assert case.rows(self.PARTS) == [(name, KEY, True) for name in names]
        # Without NOT VALID only the whole is given it, when every part has a valid one.
        plain = [sql for sql in seen if "FOREIGN KEY" in sql and not sql.endswith("NOT VALID")]
        assert all('"caseapp_order"' in sql for sql in plain)

    def test_rows_that_refer_to_nothing_are_named(self) -> None:
        orphan = "INSERT INTO caseapp_order VALUES (13, 1, 99)"
        with (
            started(CONSTRAIN, *self.PARTITIONED, orphan) as case,
            pytest.raises(ViolatingRows, match=r"1 row of .*\(id = 13\)"),
        ):
            case.contract()

    def test_it_goes_there_and_back_and_there(self) -> None:
        with started(CONSTRAIN, *self.PARTITIONED) as case:
            case.contract()
            case.back()
            case.assert_untouched()
            case.contract()
            assert keys(case) == {KEY: True}

    def test_another_on_delete_gets_the_same_name_everywhere(self) -> None:
        cascade = (
            f"ALTER TABLE caseapp_order ADD CONSTRAINT {KEY} FOREIGN KEY (customer_id)"
            " REFERENCES caseapp_customer ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        )
        with started(FREE, *self.PARTITIONED, cascade) as case:
            case.operations().forwards(ReplaceForeignKey(**WHERE))
            names = ["caseapp_order", "order_1", "order_2", "order_21"]
            assert case.rows(self.PARTS) == [(name, KEY, True) for name in names]
