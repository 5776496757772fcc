"""New columns: what is refused before anything is done, and what a killed or reversed run leaves."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import Error, connection, models
from django.db.migrations import AddField
from django.db.models.fields import NOT_PROVIDED

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.operations import (
    AddColumn,
    BackfillNulls,
    Contract,
    DropColumnDefault,
    Expand,
)
from django_safemigrations.postgres import domains
from tests.kit.case import Case, define
from tests.kit.databases import connect
from tests.operations.started import started

COLUMN = "column public.caseapp_order.value"
FILE = "SELECT pg_relation_filenode('caseapp_order')"
_codes = itertools.count(1)


def next_code() -> str:
    """Return another value each time, which PostgreSQL has no function for."""
    return f"code {next(_codes)}"


class Calls:
    """A default that looks a row up; counts how often."""

    made = 0


def first_customer() -> int:
    """Return a key, as a default that asks the database does."""
    Calls.made += 1
    return 1


def addition(
    field: Callable[[], models.Field[Any, Any]], default: Any = NOT_PROVIDED, **more: Any
) -> Case:
    """Return a case in which Order gets the field `value`."""

    def model(fields: Mapping[str, Any]) -> None:
        define("Customer", code=models.CharField(max_length=9))
        define("Order", number=models.IntegerField(), **fields)

    return Case(
        "addition under test",
        lambda: model({}),
        lambda: model({"value": field()}),
        default=default,
        **more,
    )


def to_customer(**options: Any) -> models.Field[Any, Any]:
    return models.ForeignKey("Customer", models.CASCADE, **options)


@pytest.mark.parametrize(
    "field",
    [
        lambda: models.UUIDField(default=uuid.uuid4),
        lambda: models.UUIDField(db_default=RandomUUID()),
        lambda: models.DateTimeField(auto_now=True),
        lambda: models.PositiveIntegerField(default=3, db_index=True),
        lambda: models.CharField(max_length=20, default=next_code, unique=True),
    ],
    ids=["uuid4", "random_uuid", "auto_now", "checked", "function"],
)
def test_the_table_is_never_written_anew(field: Callable[[], models.Field[Any, Any]]) -> None:
    with started(addition(field)) as change:
        before = change.value(FILE)
        change.expand()
        change.contract()
        assert change.value(FILE) == before


class NaturalField(models.IntegerField):  # type: ignore[type-arg]
    """A field of a domain that the database has."""

    def db_type(self, connection: Any) -> str:
        return "natural_number"


def test_a_field_of_a_domain_is_not_added_where_a_large_table_would_be_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domains, "SMALL", 0)
    case = addition(lambda: NaturalField(default=1))
    with started(case, "CREATE DOMAIN natural_number AS int CHECK (VALUE >= 0)") as change:
        before = change.value(FILE)
        with pytest.raises(UnsupportedChange, match=r"natural.*anew.*CheckConstraint"):
            change.expand()
        assert change.value(FILE) == before
        assert change.objects(COLUMN) == {}


def test_each_row_gets_a_unique_value_of_its_own_and_so_does_old_codes() -> None:
    with started(addition(lambda: models.UUIDField(default=uuid.uuid4, unique=True))) as change:
        change.expand()
        change.run("INSERT INTO caseapp_order (number) VALUES (1), (2)")
        assert change.rows("SELECT count(*), count(DISTINCT value) FROM caseapp_order") == [(8, 8)]
        change.contract()
        assert change.objects(COLUMN) == {COLUMN: "uuid, not null, storage p"}


def test_what_old_code_left_null_is_filled_by_the_contract() -> None:
    case = addition(lambda: models.CharField(max_length=20, default=next_code, unique=True))
    with started(case) as change:
        change.expand()
        change.run("INSERT INTO caseapp_order (number) VALUES (1), (2)")
        assert change.value("SELECT count(*) FROM caseapp_order WHERE value IS NULL") == 2
        change.contract()
        assert change.value("SELECT count(DISTINCT value) FROM caseapp_order") == 8


def test_old_code_that_goes_on_writing_does_not_keep_the_expand_from_its_end() -> None:
    """No trigger can make a value that only Python makes: there is always one more NULL."""
    case = addition(lambda: models.CharField(max_length=20, default=next_code))

    def write(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if str(sql).startswith("SELECT count(*)"):
            with connect() as old_code:
                old_code.execute("INSERT INTO caseapp_order (number) VALUES (1)")
        return execute(sql, params, many, context)

    with started(case) as change:
        with connection.execute_wrapper(write):
            change.expand()
        assert change.value("SELECT count(*) FROM caseapp_order WHERE value IS NULL") == 1
        change.contract()
        assert change.value("SELECT count(*) FROM caseapp_order WHERE value IS NULL") == 0


def test_one_value_for_several_rows_of_a_unique_field_is_refused_and_can_be_undone() -> None:
    case = addition(lambda: models.CharField(max_length=20, unique=True), "same")
    with started(case) as change:
        with pytest.raises(ViolatingRows, match="caseapp_order"):
            change.expand()
        change.run("INSERT INTO caseapp_order (number) VALUES (1)")
        change.run("DELETE FROM caseapp_order WHERE value = 'same'")
        change.expand()
        change.contract()
        assert change.value("SELECT value FROM caseapp_order") == "same"


def test_a_default_key_that_refers_to_nothing_is_refused_before_anything_is_done() -> None:
    with started(addition(to_customer, 77)) as change:
        with pytest.raises(
            ViolatingRows, match=r'default .* 77.*"id".*Nothing was changed'
        ) as told:
            change.expand()
        assert "caseapp_customer" in str(told.value)
        change.assert_untouched()


def test_an_empty_table_needs_no_row_for_the_default_key() -> None:
    with started(addition(to_customer, 77, rows=0)) as change:
        change.expand()
        change.contract()
        assert change.objects("value_id")


def test_a_function_that_finds_a_related_row_is_called_once_a_batch() -> None:
    with started(addition(lambda: to_customer(default=first_customer))) as change:
        Calls.made = 0
        change.expand()
        assert Calls.made == 1
        assert change.value("SELECT count(DISTINCT value_id) FROM caseapp_order") == 1


def test_a_column_of_another_type_is_not_taken_for_ours() -> None:
    case = addition(lambda: models.IntegerField(default=1))
    with started(case, "ALTER TABLE caseapp_order ADD COLUMN value text") as change:
        with pytest.raises(UnsupportedChange, match=r'column "value" already, of type text'):
            change.expand()
        change.assert_untouched()


def test_a_column_that_is_there_gets_what_it_lacks() -> None:
    case = addition(lambda: models.UUIDField(default=uuid.uuid4, db_comment="a key"))
    with started(case, "ALTER TABLE caseapp_order ADD COLUMN value uuid") as change:
        change.expand()
        (found,) = change.objects(COLUMN).values()
        assert found == ("uuid, not null, default gen_random_uuid(), storage p, comment 'a key'")


def test_the_way_back_of_the_contract_brings_the_default_back() -> None:
    with started(addition(lambda: models.IntegerField(default=5))) as change:
        operations = change.operations()
        where: dict[str, Any] = {"model_name": "order", "name": "value", "value": 5}
        operations.forwards(
            Expand(
                state_operations=[AddField("order", "value", models.IntegerField(default=5))],
                database_operations=[AddColumn(**where)],
            )
        )
        with_default = change.objects(COLUMN)
        operations.forwards(Contract(database_operations=[DropColumnDefault(**where)]))
        assert change.objects(COLUMN) != with_default
        operations.backwards()
        assert change.objects(COLUMN) == with_default
        operations.backwards()
        change.assert_untouched()


def test_stages_that_were_done_can_be_done_again() -> None:
    with started(addition(lambda: models.IntegerField(default=5, db_comment="x"))) as change:
        operations = change.operations()
        where: dict[str, Any] = {"model_name": "order", "name": "value", "value": 5}
        stages = [AddColumn(**where), AddColumn(**where)]
        operations.forwards(
            Expand(
                state_operations=[
                    AddField("order", "value", models.IntegerField(default=5, db_comment="x"))
                ],
                database_operations=[*stages],
            )
        )
        dropped = [DropColumnDefault(**where), DropColumnDefault(**where)]
        operations.forwards(Contract(database_operations=[*dropped]))
        operations.backwards()
        operations.backwards()
        change.assert_untouched()


def test_the_way_back_drops_no_view_that_was_made_meanwhile() -> None:
    with started(addition(lambda: models.IntegerField(default=5))) as change:
        change.expand()
        change.run("CREATE VIEW seen AS SELECT value FROM caseapp_order")
        with pytest.raises(Error, match="seen"):
            change.back()
        assert change.objects("view public.seen") or change.objects("seen")


def test_only_python_can_make_a_default_that_is_refused() -> None:
    with started(addition(lambda: models.CharField(max_length=20, default=next_code))) as change:
        operations = change.operations()
        with pytest.raises(UnsupportedChange, match="BackfillNulls"):
            operations.forwards(
                Expand(
                    state_operations=[
                        AddField("order", "value", models.CharField(max_length=20, null=True))
                    ],
                    database_operations=[AddColumn("order", "value", next_code)],
                )
            )
        change.assert_untouched()


def test_a_backfill_without_a_value_needs_a_database_default() -> None:
    with started(addition(lambda: models.IntegerField(null=True))) as change:
        operations = change.operations()
        with pytest.raises(UnsupportedChange, match="no value"):
            operations.forwards(
                Expand(
                    state_operations=[AddField("order", "value", models.IntegerField(null=True))],
                    database_operations=[
                        AddColumn("order", "value"),
                        BackfillNulls("order", "value"),
                    ],
                )
            )
