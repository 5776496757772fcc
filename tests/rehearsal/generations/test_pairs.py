"""Which field of new code is which of old code, and which values mean the same in both."""

from __future__ import annotations

import decimal
import uuid
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.rehearsal.generations.pairs import Pairs, independent, pair
from django_safemigrations.rehearsal.generations.values import agree, make

ORDER = ("shop", "order")


def paired(*operations: Operation, other_app: Operation | None = None) -> Pairs:
    """Follow a plan that begins with one model."""
    old = ProjectState()
    fields: list[tuple[str, Any]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("total", models.IntegerField()),
        ("note", models.TextField()),
    ]
    old.add_model(ModelState("shop", "Order", fields))
    new, plan = old.clone(), []
    for app, mine in (("shop", operations), ("depot", (other_app,) if other_app else ())):
        migration = migrations.Migration("0002_change", app)
        vars(migration)["operations"] = list(mine)
        new = migration.mutate_state(new, preserve=False)
        plan.append(migration)
    return pair(old, new, plan)


def test_renamed_models_and_fields_are_the_same_ones() -> None:
    found = paired(
        migrations.RenameField("order", "total", "sum"),
        migrations.RenameModel("Order", "Purchase"),
        migrations.RenameField("purchase", "sum", "amount"),
    )
    assert found.models == {ORDER: ("shop", "purchase")}
    assert found.fields == {ORDER: {"id": "id", "total": "amount", "note": "note"}}
    assert found.reversed().fields["shop", "purchase"]["amount"] == "total"


def test_a_field_that_was_removed_and_added_again_is_another_one() -> None:
    found = paired(
        migrations.RemoveField("order", "total"),
        migrations.AddField("order", "total", models.TextField(default="")),
    )
    assert "total" not in found.fields[ORDER]


def test_a_field_that_takes_the_place_of_another_is_not_it() -> None:
    found = paired(
        migrations.AddField("order", "total2", models.IntegerField(default=0)),
        migrations.RemoveField("order", "total"),
        migrations.RenameField("order", "total2", "total"),
    )
    assert "total" not in found.fields[ORDER]


def test_operations_on_the_state_alone_are_followed() -> None:
    found = paired(
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RenameField("order", "total", "amount")]
        )
    )
    assert found.fields[ORDER]["total"] == "amount"


def test_a_model_that_moves_to_another_app_with_its_table_is_the_same() -> None:
    moved = migrations.CreateModel(
        "Order",
        [("id", models.BigAutoField(primary_key=True)), ("total", models.IntegerField())],
        {"db_table": "shop_order"},
    )
    found = paired(migrations.DeleteModel("Order"), other_app=moved)
    assert found.models == {ORDER: ("depot", "order")}
    assert found.fields[ORDER] == {"id": "id", "total": "total"}


def test_a_model_that_was_deleted_has_no_partner() -> None:
    assert paired(migrations.DeleteModel("Order")).models == {}


def test_an_independent_state_keeps_what_a_rename_changes_in_place() -> None:
    state = ProjectState()
    code: list[tuple[str, Any]] = [("code", models.TextField(unique=True))]
    pointer = models.ForeignKey("shop.item", models.CASCADE, to_field="code")
    state.add_model(ModelState("shop", "Item", code))
    state.add_model(ModelState("shop", "Order", [("item", pointer)]))
    kept = independent(state)
    migration = migrations.Migration("0002_change", "shop")
    vars(migration)["operations"] = [migrations.RenameField("item", "code", "sku")]
    migration.mutate_state(state)
    assert kept.apps.get_model("shop", "order")._meta.get_field("item").to_fields == ["code"]


def field(kind: type[Any], **options: Any) -> Any:
    made = kind(**options)
    made.set_attributes_from_name("value")
    return made


TEXT = field(models.TextField)
CHAR = field(models.CharField, max_length=5)
INT = field(models.IntegerField)
UUID = field(models.UUIDField)
MONEY = field(models.DecimalField, max_digits=6, decimal_places=2)
COARSE = field(models.DecimalField, max_digits=6, decimal_places=1)
FLAG = field(models.BooleanField)
DAY = field(models.DateField)


@pytest.mark.parametrize(
    ("first", "second", "one", "other", "same"),
    [
        (3, 3, INT, INT, True),
        (1_000_000_000, 1_000_000_001, INT, INT, False),
        (3, "3", INT, TEXT, True),
        (3, "4", INT, TEXT, False),
        ("a", None, TEXT, TEXT, False),
        ("abcdefgh", "abcde", TEXT, CHAR, True),
        ("abcdefgh", "abcdx", TEXT, CHAR, False),
        (uuid.UUID(int=5), str(uuid.UUID(int=5)), UUID, TEXT, True),
        (True, "true", FLAG, TEXT, True),
        (decimal.Decimal("1.25"), decimal.Decimal("1.3"), MONEY, COARSE, True),
        (decimal.Decimal("1.25"), decimal.Decimal("2.3"), MONEY, COARSE, False),
        (decimal.Decimal("1.25"), decimal.Decimal("1.24"), MONEY, MONEY, False),
    ],
)
def test_values_agree_when_they_are_the_same_converted(
    first: Any, second: Any, one: Any, other: Any, same: bool
) -> None:
    assert agree(first, second, one, other) is same
    assert agree(second, first, other, one) is same


@pytest.mark.parametrize(
    ("one", "other"), [(TEXT, INT), (INT, TEXT), (TEXT, UUID), (TEXT, DAY), (CHAR, TEXT)]
)
def test_values_that_are_made_for_a_field_mean_something_in_the_other_type(
    one: Any, other: Any
) -> None:
    value = make(one, 12_345_678, other)
    assert agree(value, other.to_python(value), one, other)
    assert len(str(value)) <= 5 if one is CHAR else value


def test_texts_of_new_code_fit_into_the_shorter_column() -> None:
    assert len(make(TEXT, 12_345, CHAR)) <= 5
