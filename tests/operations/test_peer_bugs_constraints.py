"""Bugs that other tools for safe migrations have with constraints, as regression tests of ours."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.db.models import CheckConstraint, Deferrable, Q, UniqueConstraint

from django_safemigrations.exceptions import ViolatingRows
from tests.kit.case import Case, define
from tests.operations.started import Started, started

TABLE = "caseapp_order"


def unique(table: str = TABLE, **more: Any) -> Case:
    """Return a case that adds a unique constraint."""

    def order(*made: UniqueConstraint) -> None:
        define(
            "Order",
            meta={"db_table": table, "constraints": list(made)},
            number=models.IntegerField(null=True),
            code=models.CharField(max_length=30),
        )

    return Case(
        "a unique constraint under test",
        lambda: order(),
        lambda: order(UniqueConstraint(name="order_unique", **{"fields": ["code"], **more})),
        values={"number": lambda n: n},
        nulls=False,
    )


def index(change: Started, schema: str = "public") -> str:
    return str(change.objects(f"index {schema}.order_unique")[f"index {schema}.order_unique"])


def test_included_columns_are_in_the_index_and_no_constraint_is_tried() -> None:
    with started(unique(include=["number"])) as change:
        change.expand()
        assert "(code) INCLUDE (number)" in index(change)
        assert change.objects(f"constraint public.{TABLE}.order_unique") == {}


def test_a_condition_and_nulls_not_distinct_go_together() -> None:
    case = unique(fields=["number"], condition=Q(code__gt="a"), nulls_distinct=False)
    with started(case) as change:
        change.expand()
        assert "NULLS NOT DISTINCT WHERE" in index(change)


@pytest.mark.parametrize("when", Deferrable)
def test_a_deferrable_constraint_is_deferrable_as_asked_for(when: Deferrable) -> None:
    with started(unique(deferrable=when)) as change:
        change.contract()
        found = change.rows(
            "SELECT condeferrable, condeferred FROM pg_constraint WHERE conname = 'order_unique'"
        )
        assert found == [(True, when is Deferrable.DEFERRED)]


def timeouts() -> list[Any]:
    names = ("lock_timeout", "statement_timeout", "default_tablespace")
    with connection.cursor() as cursor:
        found = []
        for name in names:
            cursor.execute(f"SHOW {name}")
            found.append(cursor.fetchone())
        return found


def test_timeouts_are_as_before_after_duplicates_were_found() -> None:
    with started(unique(), f"UPDATE {TABLE} SET code = 'same'") as change:
        change.run("SET lock_timeout = '2s'")
        change.run("SET statement_timeout = '90s'")
        before = timeouts()
        with pytest.raises(ViolatingRows):
            change.expand()
        assert timeouts() == before
        change.assert_untouched()


def test_timeouts_are_as_before_after_rows_violated_a_check() -> None:
    def order(*made: CheckConstraint) -> None:
        define("Order", meta={"constraints": list(made)}, number=models.IntegerField())

    case = Case(
        "a check under test",
        lambda: order(),
        lambda: order(CheckConstraint(condition=Q(number__lt=0), name="order_check")),
    )
    with started(case) as change:
        change.run("SET lock_timeout = '2s'")
        change.run("SET statement_timeout = '90s'")
        before = timeouts()
        with pytest.raises(ViolatingRows):
            change.contract()
        assert timeouts() == before
        change.assert_untouched()


def test_a_table_of_mixed_case_is_found() -> None:
    with started(unique("MyTable")) as change:
        change.expand()
        assert 'ON public."MyTable"' in index(change)
        assert 'constraint public."MyTable".order_unique' in change.objects()
        change.back()
        change.assert_untouched()


def test_an_index_of_the_same_name_in_another_schema_is_not_taken_for_ours() -> None:
    with started(
        unique(),
        "CREATE TABLE crm.other (code text)",
        "CREATE UNIQUE INDEX order_unique ON crm.other (code)",
    ) as change:
        change.expand()
        assert f"ON public.{TABLE}" in index(change)
        change.back()
        change.assert_untouched()


def test_an_index_of_another_schema_is_dropped_there_and_only_there() -> None:
    def order(*made: UniqueConstraint) -> None:
        define(
            "Order",
            meta={"db_table": 'crm"."order', "constraints": list(made)},
            number=models.IntegerField(),
        )

    made = UniqueConstraint(fields=["number"], name="order_unique", condition=Q(number__gt=0))
    case = Case("a partial index of another schema", lambda: order(made), lambda: order())
    with started(
        case,
        "CREATE TABLE other (number int)",
        "CREATE UNIQUE INDEX order_unique ON other (number)",
    ) as change:
        change.expand()
        assert "index crm.order_unique" not in change.objects()
        assert "index public.order_unique" in change.objects()
        change.back()
        assert "WHERE" in index(change, "crm")
