"""Unique rules that rows forbid, that foreign keys depend on, and that upserts need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Deferrable, Q, UniqueConstraint
from django.db.models.functions import Lower
from django.db.utils import NotSupportedError, OperationalError, ProgrammingError

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from tests.kit.case import Case, define
from tests.kit.databases import connect
from tests.kit.statements import watch_changes
from tests.operations.constrained import TABLE, adding, field_unique, options, unique
from tests.operations.started import Started, started

ADDED: dict[str, tuple[Callable[[], Case], str]] = {
    "field": (field_unique, "(code)"),
    "set": (lambda: options({}, {"unique_together": [("code", "number")]}), "(code, number)"),
    "constraint": (lambda: adding(unique("code")), "(code)"),
    "deferrable": (lambda: adding(unique("code", deferrable=Deferrable.DEFERRED)), "(code)"),
    "partial": (lambda: adding(unique("code", condition=Q(number__gt=0))), "(code)"),
    "expression": (lambda: adding(unique(Lower("code"))), "(lower((code)::text))"),
}


class TestDuplicates:
    @pytest.mark.parametrize("kind", ADDED)
    def test_they_are_counted_and_named_before_anything_is_built(self, kind: str) -> None:
        make, keys = ADDED[kind]
        same = f"UPDATE {TABLE} SET code = 'Same', number = 7 WHERE id IN (1, 2, 4)"
        with started(make(), same) as change:
            statements: list[str] = []
            with (
                watch_changes(connection, after=statements.append),
                pytest.raises(ViolatingRows) as caught,
            ):
                change.contract()
            message = str(caught.value)
            assert message.startswith(f"1 value of {keys} occurs more than once in 3 rows"), message
            for part in ("same", "3 times", "as in rows 1 and 4", "GROUP BY"):
                assert part.lower() in message.lower(), message
            assert not any("UNIQUE" in sql for sql in statements if "dsm_clone" not in sql)
            change.assert_untouched()

    @pytest.mark.parametrize("kind", ADDED)
    def test_the_change_goes_on_when_they_are_mended(self, kind: str) -> None:
        with started(ADDED[kind][0](), f"UPDATE {TABLE} SET code = 'x', number = 1") as change:
            with pytest.raises(ViolatingRows):
                change.contract()
            change.run(f"UPDATE {TABLE} SET code = 'x ' || id")
            change.contract()
            with pytest.raises(IntegrityError), transaction.atomic():
                change.run(f"INSERT INTO {TABLE} (number, code) VALUES (1, 'x 1')")

    def test_the_query_in_the_message_lists_them(self) -> None:
        case = adding(unique(Lower("code"), "number", condition=Q(number__gt=0)))
        with started(case, f"UPDATE {TABLE} SET code = 'A%', number = 5") as change:
            with pytest.raises(ViolatingRows) as caught:
                change.expand()
            query = str(caught.value).partition("All of them: ")[2]
            assert change.rows(query) == [("a%", 5, 6)]

    def test_only_a_few_of_many_are_named(self) -> None:
        rows = f"INSERT INTO {TABLE} (number, code) SELECT 1, code FROM {TABLE}"
        with started(adding(unique("code")), rows, rows) as change:
            with pytest.raises(ViolatingRows, match=r"6 values of .* in 24 rows") as caught:
                change.expand()
            assert str(caught.value).count(" times") == 5

    def test_nulls_are_none_unless_they_are_not_distinct(self) -> None:
        nulls = f"UPDATE {TABLE} SET code = NULL"
        with started(adding(unique("code")), nulls) as change:
            change.expand()
        with started(adding(unique("code", nulls_distinct=False)), nulls) as change:
            with pytest.raises(ViolatingRows, match=r"\(NULL\) 6 times"):
                change.expand()
            change.assert_untouched()

    def test_rows_outside_of_the_condition_are_none(self) -> None:
        case = adding(unique("code", condition=Q(number__gt=0)))
        with started(case, f"UPDATE {TABLE} SET code = 'same', number = -1") as change:
            change.expand()

    def test_one_that_comes_during_the_build_ends_it_and_the_index_is_dropped_at_once(
        self,
    ) -> None:
        with started(field_unique()) as change:
            with (
                watch_changes(connection, before=_inserting_a_duplicate("CREATE UNIQUE")),
                pytest.raises(ViolatingRows, match="equal keys") as caught,
            ):
                change.expand()
            assert "dropped" in str(caught.value)
            assert change.objects("index").keys() == _indexes(change.before.schema)

    def test_they_are_met_on_the_way_back_too(self) -> None:
        case = options({"constraints": [unique("code")]}, {})
        with started(case) as change:
            change.expand()
            change.run(f"UPDATE {TABLE} SET code = 'same'")
            after = change.content()
            with pytest.raises(ViolatingRows, match="occurs more than once in 6 rows"):
                change.back()
            assert change.content().differences(after) == []
            change.run(f"UPDATE {TABLE} SET code = id")
            change.back()
            assert change.content().schema == change.before.schema


def _inserting_a_duplicate(words: str) -> Callable[[str], None]:
    def insert(sql: str) -> None:
        if sql.startswith(words) and "dsm_clone" not in sql:
            with connect() as other:
                other.execute(
                    f"INSERT INTO {TABLE} (number, code) SELECT number, code FROM {TABLE}"
                )

    return insert


def _indexes(schema: dict[str, str]) -> set[str]:
    return {name for name in schema if "index" in name}


def test_what_a_replacement_that_was_given_up_has_built_is_not_taken_for_another() -> None:
    case = options(
        {"constraints": [unique("code")]}, {"constraints": [unique("code", include=["id"])]}
    )
    with started(case) as change:

        class Stopped(Exception):
            pass

        def stop(sql: str) -> None:
            if "DROP CONSTRAINT" in sql:
                raise Stopped

        with watch_changes(connection, before=stop), pytest.raises(Stopped):
            change.expand()
        [left] = [name for name in change.objects("index") if "dsm_new" in name]
        left = left.removeprefix("index public.")
        change.run(f"DROP INDEX {left}")
        change.run(f"CREATE UNIQUE INDEX {left} ON {TABLE} (number)")
        change.expand()
        assert "dsm_new" not in str(change.objects())
        [definition] = change.objects("index public.order_unique").values()
        assert "(code) INCLUDE (id)" in definition


class TestForeignKeys:
    def referred(self, **new: Any) -> Case:
        """A field that foreign keys refer to, and that stops being unique by itself."""

        def define_models(more: dict[str, Any], code: Any) -> None:
            made = [
                UniqueConstraint(fields=["code"], name="order_unique", **m)
                for m in [more]
                if m is not None
            ]
            target = define("Customer", meta={"constraints": made}, code=code)
            define("Order", customer=models.ForeignKey(target, models.CASCADE, to_field="code"))

        return Case(
            "a unique field that is referred to",
            lambda: define_models(None, models.CharField(max_length=9, unique=True)),  # type: ignore[arg-type]
            lambda: define_models(new, models.CharField(max_length=9)),
        )

    def test_a_constraint_that_only_gets_another_name_keeps_them(self) -> None:
        with started(self.referred()) as change:
            change.expand()
            assert "order_unique" in str(change.objects("constraint"))
            change.back()
            change.assert_untouched()

    def test_a_constraint_that_has_to_go_is_kept_and_they_are_named(self) -> None:
        with started(self.referred(include=["id"])) as change:
            with pytest.raises(UnsupportedChange, match="caseapp_order refer to") as caught:
                change.expand()
            assert "customer_id" in str(caught.value)
            assert "caseapp_customer_code_key" in str(change.objects("constraint"))


class TestUpserts:
    """What DSM515 and DSM517 say is so."""

    def upsert(self, *fields: str) -> Callable[[Any], Any]:
        return lambda model: model.objects.bulk_create(
            [model(code="a", number=1)],
            update_conflicts=True,
            unique_fields=list(fields),
            update_fields=["number"],
        )

    def run(self, change: Started, call: Callable[[Any], Any]) -> None:
        model = change.chain.case.model("old", "order")
        with transaction.atomic():
            call(model)

    def test_old_code_can_not_upsert_on_fields_that_are_no_longer_unique(self) -> None:
        partial = {"constraints": [unique("code", condition=Q(number__gt=0))]}
        with started(options({"constraints": [unique("code")]}, partial)) as change:
            self.run(change, self.upsert("code"))
            change.expand()
            with pytest.raises(ProgrammingError, match="ON CONFLICT"):
                self.run(change, self.upsert("code"))

    def test_old_code_can_upsert_while_another_rule_takes_the_place(self) -> None:
        other = {"constraints": [unique("code", include=["number"])]}
        with started(options({"constraints": [unique("code")]}, other)) as change:
            failed: list[str] = []

            def upsert(sql: str) -> None:
                with connect() as session:
                    try:
                        session.execute(
                            f"INSERT INTO {TABLE} (code, number) VALUES ('a', 1) "
                            "ON CONFLICT (code) DO UPDATE SET number = 2"
                        )
                    except Exception as error:  # noqa: BLE001 - all are reported
                        failed.append(f"{sql}: {error}")

            with watch_changes(connection, durable=upsert):
                change.expand()
            assert failed == []
            assert change.value(f"SELECT number FROM {TABLE} WHERE code = 'a'") == 2

    def test_beside_a_deferrable_constraint_no_insert_can_ignore_conflicts(self) -> None:
        with started(adding(unique("code", deferrable=Deferrable.DEFERRED))) as change:

            def insert(model: Any) -> None:
                model.objects.bulk_create([model(number=1)], ignore_conflicts=True)

            self.run(change, insert)
            change.contract()
            with pytest.raises(
                (NotSupportedError, OperationalError, ProgrammingError), match="deferrable"
            ):
                self.run(change, insert)
