"""How an added field is split into stages, which are left plain, and what is said of them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.migrations import AddField, AlterOrderWithRespectTo, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import F
from django.db.models.functions import Now, Random
from django.utils import timezone

from django_safemigrations.conf import Settings
from django_safemigrations.operations import AddColumn, BackfillNulls, DropColumnDefault
from django_safemigrations.rewrites import Chain, Plain, rewrite

BATCHED = ["AddColumn", "BackfillNulls"]
CHECK = ["AddFieldCheck", "ValidateFieldCheck"]
KEY = ["AddForeignKey", "ValidateForeignKey"]


def only_in_python() -> str:
    return "x"


def steps(operation: Operation) -> list[Any]:
    """Return what becomes of an operation on Order, which may hold rows."""
    state = ProjectState()
    for made in (
        CreateModel("Customer", [("id", models.BigAutoField(primary_key=True))]),
        CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("number", models.IntegerField()),
                ("customer", models.ForeignKey("shop.Customer", models.CASCADE)),
            ],
        ),
    ):
        made.state_forwards("shop", state)
    return rewrite("shop", [operation], state, Settings(), set())


def add(field: models.Field[Any, Any], **more: Any) -> Any:
    (step,) = steps(AddField("order", "value", field, **more))
    return step


def stages(containers: tuple[Any, ...]) -> list[str]:
    return [type(stage).__name__ for found in containers for stage in found.database_operations]


def state_of(containers: tuple[Any, ...]) -> list[Operation]:
    return [operation for found in containers for operation in found.state_operations]


PLAIN: dict[str, Any] = {
    "nullable": lambda: models.IntegerField(null=True),
    "nullable, constant default": lambda: models.IntegerField(null=True, default=1),
    "nullable, stable default": lambda: models.DateTimeField(null=True, default=timezone.now),
    "constant db_default": lambda: models.IntegerField(db_default=1),
    "stable db_default": lambda: models.DateTimeField(db_default=Now()),
    "no index, no constraint": lambda: models.ForeignKey(
        "shop.Customer", models.CASCADE, null=True, db_index=False, db_constraint=False
    ),
    "many to many": lambda: models.ManyToManyField("shop.Customer"),
    "virtual": lambda: models.GeneratedField(
        expression=F("number") + 1, output_field=models.IntegerField(), db_persist=False
    ),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_what_is_added_in_an_instant_is_left_as_django_wrote_it(kind: str) -> None:
    step = add(PLAIN[kind]())
    assert isinstance(step, Plain)
    assert step.note == ""


STAGED: dict[str, tuple[Any, list[str], list[str]]] = {
    "constant": (lambda: models.IntegerField(default=1), ["AddColumn"], ["DropColumnDefault"]),
    "blank": (lambda: models.TextField(blank=True), ["AddColumn"], ["DropColumnDefault"]),
    "blank binary": (lambda: models.BinaryField(blank=True), ["AddColumn"], ["DropColumnDefault"]),
    "auto_now": (lambda: models.TimeField(auto_now=True), ["AddColumn"], ["DropColumnDefault"]),
    "dict": (lambda: models.JSONField(default=dict), ["AddColumn"], ["DropColumnDefault"]),
    "uuid4": (
        lambda: models.UUIDField(default=uuid.uuid4),
        [*BATCHED, "SetNotNull"],
        ["DropColumnDefault"],
    ),
    "uuid4, nullable": (lambda: models.UUIDField(default=uuid.uuid4, null=True), BATCHED, []),
    "uuid4, unique": (
        lambda: models.UUIDField(default=uuid.uuid4, unique=True),
        [*BATCHED, "SetNotNull", "AddFieldUnique"],
        ["DropColumnDefault"],
    ),
    "function": (
        lambda: models.TextField(default=only_in_python),
        BATCHED,
        ["BackfillNulls", "SetNotNull"],
    ),
    "function, nullable": (
        lambda: models.TextField(default=only_in_python, null=True),
        BATCHED,
        [],
    ),
    "volatile db_default": (
        lambda: models.FloatField(db_default=Random()),
        [*BATCHED, "SetNotNull"],
        [],
    ),
    "volatile db_default, nullable": (
        lambda: models.UUIDField(db_default=RandomUUID(), null=True),
        BATCHED,
        [],
    ),
    "check": (lambda: models.PositiveIntegerField(null=True), ["AddColumn", *CHECK], []),
    "check, constant": (
        lambda: models.PositiveIntegerField(default=1),
        ["AddColumn", *CHECK],
        ["DropColumnDefault"],
    ),
    "check, constant, nullable": (
        lambda: models.PositiveIntegerField(default=1, null=True),
        ["AddColumn", "DropColumnDefault", *CHECK],
        [],
    ),
    "index": (
        lambda: models.SlugField(null=True),
        ["AddColumn", "CreateFieldIndexesConcurrently"],
        [],
    ),
    "unique": (
        lambda: models.IntegerField(null=True, unique=True),
        ["AddColumn", "AddFieldUnique"],
        [],
    ),
    "unique, one value": (
        lambda: models.IntegerField(default=1, unique=True),
        [*BATCHED, "AddFieldUnique"],
        ["BackfillNulls", "SetNotNull"],
    ),
    "foreign key": (
        lambda: models.ForeignKey("shop.Customer", models.CASCADE, null=True),
        ["AddColumn", "CreateFieldIndexesConcurrently", *KEY],
        [],
    ),
    "one to one": (
        lambda: models.OneToOneField("shop.Customer", models.CASCADE, null=True),
        ["AddColumn", "AddFieldUnique", *KEY],
        [],
    ),
    "no constraint": (
        lambda: models.ForeignKey("shop.Customer", models.CASCADE, null=True, db_constraint=False),
        ["AddColumn", "CreateFieldIndexesConcurrently"],
        [],
    ),
}


@pytest.mark.parametrize("kind", STAGED)
def test_everything_else_is_staged_behind_the_bare_column(kind: str) -> None:
    field, expand, contract = STAGED[kind]
    step = add(field())
    assert isinstance(step, Chain)
    assert (stages(step.expand), stages(step.contract)) == (expand, contract)
    assert state_of(step.expand)
    assert not state_of(step.contract)


def test_a_one_off_default_is_written_into_the_stages() -> None:
    step = add(models.IntegerField(default=7), preserve_default=False)
    added, dropped = step.expand[0].database_operations[0], step.contract[0].database_operations[0]
    assert isinstance(added, AddColumn)
    assert isinstance(dropped, DropColumnDefault)
    assert (added.value, dropped.value) == (7, 7)


class Size(models.TextChoices):
    LARGE = "l"


def test_a_choice_is_written_as_its_value() -> None:
    step = add(models.CharField(max_length=1, default=Size.LARGE))
    (added,) = step.expand[0].database_operations
    assert type(added.value) is str


def test_a_volatile_default_is_not_a_part_of_add_column() -> None:
    step = add(models.UUIDField(default=uuid.uuid4))
    added, filled, _ = step.expand[0].database_operations
    assert added.empty
    assert added.value is uuid.uuid4
    assert isinstance(filled, BackfillNulls)


REFUSED: dict[str, Any] = {
    "stored": (
        lambda: models.GeneratedField(
            expression=F("number") + 1, output_field=models.IntegerField(), db_persist=True
        ),
        ["shop.order.value", "DSM510", "db_persist=False", "trigger"],
    ),
    "primary key": (
        lambda: models.AutoField(primary_key=True),
        ["shop.order.value", "DSM510", "unique"],
    ),
    "no value": (lambda: models.IntegerField(), ["shop.order.value", "no default"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_postgresql_can_not_add_online_stays_plain_and_is_said(kind: str) -> None:
    field, words = REFUSED[kind]
    step = add(field())
    assert isinstance(step, Plain)
    assert [word for word in words if word not in step.note] == []


def test_one_default_for_a_unique_field_is_told_of() -> None:
    step = add(models.IntegerField(default=1, unique=True))
    assert "shop.order.value is unique" in step.note
    assert add(models.UUIDField(default=uuid.uuid4, unique=True)).note == ""


def test_order_with_respect_to_adds_its_column_with_a_default_for_old_code() -> None:
    (step,) = steps(AlterOrderWithRespectTo("order", "customer"))
    assert isinstance(step, Chain)
    assert stages(step.expand) == ["AddColumn"]
    assert stages(step.contract) == ["DropColumnDefault"]
    containers: Any = step.expand
    assert containers[0].database_operations[0].name == "_order"
