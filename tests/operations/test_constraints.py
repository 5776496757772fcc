"""Constraints that rows forbid, that others depend on, and that are stopped half way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, models, transaction
from django.db.models import F, Q

from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange, ViolatingRows
from django_safemigrations.operations import AddFieldCheck, AddFieldUnique
from django_safemigrations.postgres.constraints import inline_name
from django_safemigrations.postgres.runner import Runner, runner
from tests.kit.case import Case
from tests.kit.databases import connect
from tests.kit.statements import watch_changes
from tests.operations.constrained import TABLE, adding, check, field_unique, options, order, unique
from tests.operations.started import started


@pytest.fixture
def means(case_app: None) -> Iterator[Runner]:
    with connection.schema_editor(atomic=False) as editor, runner(editor) as found:
        yield found


class TestChecks:
    def test_rows_that_violate_one_are_counted_and_named_and_nothing_is_left(self) -> None:
        case = adding(check(Q(number__gte=0) | Q(code="it's 100%")))
        with started(case, f"UPDATE {TABLE} SET number = -1 WHERE id > 2") as change:
            with pytest.raises(ViolatingRows) as caught:
                change.contract()
            message = str(caught.value)
            assert message.startswith(
                '4 rows of public.caseapp_order (id = 3; 4; 5; 6) violate "order_check"'
            ), message
            assert change.rows(message.partition("All of them: ")[2])
            change.assert_untouched()
            change.run(f"UPDATE {TABLE} SET number = 1 WHERE number < 0")
            change.contract()
            assert "order_check" in str(change.objects("constraint"))

    def test_a_row_that_is_written_after_the_count_ends_it_and_nothing_is_left(self) -> None:
        case = adding(check(Q(number__gte=0)))

        def insert(sql: str) -> None:
            if "NOT VALID" in sql:
                with connect() as other:
                    other.execute(f"INSERT INTO {TABLE} (number) VALUES (-5)")

        with started(case) as change:
            with (
                watch_changes(connection, before=insert),
                pytest.raises(ViolatingRows, match="1 row of"),
            ):
                change.contract()
            assert "order_check" not in str(change.objects("constraint"))
            change.run(f"UPDATE {TABLE} SET code = 'still free' WHERE number = -5")

    def test_one_that_new_rows_violate_comes_back_not_valid_and_is_reported(self) -> None:
        with started(options({"constraints": [check(Q(number__gte=0))]}, {})) as change:
            change.expand()
            change.run(f"UPDATE {TABLE} SET number = -1 WHERE id = 3")
            lines: list[str] = []
            with reporting_to(lines.append):
                change.back()
            [line] = lines
            assert line.startswith("1 row of")
            assert "NOT VALID" in line
            [definition] = change.objects("order_check").values()
            assert "not validated" in definition

    def test_one_of_another_definition_is_not_taken_for_ours(self) -> None:
        with started(
            adding(check(Q(number__gte=0))),
            f"ALTER TABLE {TABLE} ADD CONSTRAINT order_check CHECK (number > -9)",
        ) as change:
            with pytest.raises(
                UnsupportedChange, match=r"number > '?-9.* instead of .*number >= 0"
            ):
                change.contract()
            change.assert_untouched()

    def test_one_that_is_there_but_not_valid_is_validated(self) -> None:
        with started(
            adding(check(Q(number__gte=0))),
            f"ALTER TABLE {TABLE} ADD CONSTRAINT order_check CHECK (number >= 0) NOT VALID",
        ) as change:
            change.contract()
            [definition] = change.objects("order_check").values()
            assert "not validated" not in definition

    def test_no_row_is_read_under_a_lock_that_blocks_anybody(self) -> None:
        """VALIDATE waits for nobody who reads or writes, and they do not wait for it."""
        with started(adding(check(Q(number__gte=0)))) as change, connect() as writer:
            writer.execute("BEGIN")

            def write(sql: str) -> None:
                if "VALIDATE" in sql:
                    writer.execute(f"UPDATE {TABLE} SET number = number + 1")

            with watch_changes(connection, before=write):
                change.contract()
            writer.execute("COMMIT")


class TestNames:
    def test_an_index_of_another_definition_is_not_taken_for_ours(self) -> None:
        index = f"CREATE UNIQUE INDEX order_unique ON {TABLE} (number)"
        with started(adding(unique("code")), index) as change:
            with pytest.raises(InvalidIndex, match=r"\(number\) instead of unique, btree \(code\)"):
                change.expand()
            change.assert_untouched()

    def test_an_index_that_is_there_becomes_the_constraint(self) -> None:
        index = f"CREATE UNIQUE INDEX order_unique ON {TABLE} (code)"
        with started(adding(unique("code")), index) as change:
            oid = change.value("SELECT 'order_unique'::regclass::oid")
            change.expand()
            assert change.value("SELECT 'order_unique'::regclass::oid") == oid
            assert "UNIQUE (code)" in str(change.objects("constraint"))

    def test_a_check_of_the_name_is_in_the_way(self) -> None:
        with started(
            adding(unique("code")),
            f"ALTER TABLE {TABLE} ADD CONSTRAINT order_unique CHECK (number > -9)",
        ) as change:
            with pytest.raises(UnsupportedChange, match="another constraint named"):
                change.expand()
            change.assert_untouched()

    def test_a_constraint_is_found_by_its_fields_whoever_named_it(self) -> None:
        case = options({"unique_together": [("code", "number")]}, {})
        with started(case) as change:
            [name] = [n.rpartition(".")[2] for n in change.objects("constraint") if "uniq" in n]
            change.run(f"ALTER TABLE {TABLE} RENAME CONSTRAINT {name} TO by_hand")
            change.expand()
            assert "by_hand" not in str(change.objects())

    @pytest.mark.parametrize("table", ["short", "t" * 63, "ä" * 31, "Mixed Case"])
    @pytest.mark.parametrize("column", ["value", "c" * 63, "ü" * 30, "The Value"])
    def test_inline_names_are_those_of_postgresql(
        self, means: Runner, table: str, column: str
    ) -> None:
        with connection.cursor() as cursor:
            try:
                # One of the names is taken already.
                for kind in ("UNIQUE", "UNIQUE CHECK (%s > 0)"):
                    cursor.execute(f'DROP TABLE IF EXISTS "{table}"')
                    words = kind.replace("%s", f'"{column}"')
                    cursor.execute(f'CREATE TABLE "{table}" ("{column}" int {words})')
                    found = means.catalog.table(table)
                    wanted = dict(
                        means.catalog.rows(
                            "SELECT contype, conname FROM pg_constraint WHERE contype IN ('u', 'c') "
                            "AND conrelid = %s",
                            [found.oid],
                        )
                    )
                    for label, type_ in (("key", "u"), ("check", "c")):
                        if type_ in wanted:
                            taken = inline_name(means, found, column, label)
                            assert taken != wanted[type_]
                            ours = f"coalesce(k.conrelid, {found.oid}) = {found.oid}"
                            name = inline_name(means, found, column, label, ours)
                            assert name == wanted[type_]
            finally:
                cursor.execute(f'DROP TABLE IF EXISTS "{table}"')

    def test_a_number_is_added_to_an_inline_name_that_is_taken(self) -> None:
        case = Case(
            "an inline name under test",
            lambda: order() and None,
            lambda: order(value=models.PositiveIntegerField(null=True, unique=True)) and None,
        )
        taken = f"CREATE TABLE taken (a int CONSTRAINT {TABLE}_value_key UNIQUE CONSTRAINT {TABLE}_value_check CHECK (a > 0))"
        with started(case, taken) as change:
            change.contract()
            names = str(change.objects(f"constraint public.{TABLE}"))
            assert f"{TABLE}_value_key1" in names
            # Checks of different tables may share a name, but PostgreSQL avoids it, too.
            assert f"{TABLE}_value_check1" in names


def test_a_unique_build_on_rows_inside_a_transaction_is_refused() -> None:
    with started(field_unique()) as change:
        steps = change.operations()
        [operation] = change.chain.migration(change.chain.change[-1]).operations
        with pytest.raises(UnsupportedChange, match="atomic = False"), transaction.atomic():
            steps.forwards(operation)
        change.assert_untouched()


def test_stages_of_a_field_without_what_they_are_about_do_nothing() -> None:
    with started(field_unique()) as change:
        steps = change.operations()
        steps.forwards(AddFieldUnique("order", "number"))
        steps.forwards(AddFieldCheck("order", "number"))
        steps.backwards()
        steps.backwards()
        change.assert_untouched()


def test_a_partitioned_table_gets_a_unique_constraint_part_by_part() -> None:
    with started(
        options({}, {"unique_together": [("id", "code")]}),
        f"ALTER TABLE {TABLE} RENAME TO was",
        f"CREATE TABLE {TABLE} (id bigint, number int, code text) PARTITION BY RANGE (id)",
        f"CREATE TABLE part PARTITION OF {TABLE} FOR VALUES FROM (0) TO (1000000)",
        f"INSERT INTO {TABLE} VALUES (1, 1, 'a'), (2, 2, 'a')",
    ) as change:
        change.expand()
        assert "UNIQUE (id, code)" in str(change.objects(f"constraint public.{TABLE}"))
        change.back()
        assert "UNIQUE" not in str(change.objects(f"constraint public.{TABLE}"))


def test_a_set_that_takes_the_place_of_another_stands_before_that_goes() -> None:
    case = options({"unique_together": [("code", "number")]}, {"unique_together": [("code", "id")]})
    with started(case) as change:
        statements: list[str] = []
        with watch_changes(connection, after=statements.append):
            change.expand()
        kinds = [sql for sql in statements if "ADD CONSTRAINT" in sql or "DROP CONSTRAINT" in sql]
        assert "USING INDEX" in kinds[0]
        assert "DROP CONSTRAINT" in kinds[1]


def test_a_check_over_two_columns_is_read_as_postgresql_reads_it() -> None:
    case = adding(check(Q(number__lte=F("id") + 10_000)))
    with started(case) as change:
        change.contract()
        change.back()
        change.assert_untouched()
