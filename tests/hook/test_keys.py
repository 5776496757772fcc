"""Which changes of a primary key become a chain, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.footprints import migration_footprint
from django_safemigrations.operations import Contract, DropKeyColumns
from django_safemigrations.rewrites import Plain, rewrite
from django_safemigrations.rewrites.chain import Chain, Step
from tests.kit.case import Case, define
from tests.kit.chain import make_chain

APP = "shop"
STAGES = [
    "AddKeyColumns",
    "BackfillKeyColumns",
    "CopyKeyIndexes",
    "CopyKeyConstraints",
    "SwapKeyColumns",
]


def steps(
    old: Any, *new: Any, name: str = "id", models_: tuple[str, ...] = ("Order",)
) -> list[Step]:
    """Return what becomes of a key's change in each of some models."""
    state = ProjectState()
    for model in models_:
        state.add_model(ModelState(APP, model, [(name, old.clone())]))
    operations = [
        migrations.AlterField(model.lower(), name, field) for model in models_ for field in new
    ]
    return rewrite(APP, operations, state, Settings(), set())


def key(kind: Any, **options: Any) -> Any:
    return kind(primary_key=True, **options)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (models.SmallAutoField, models.AutoField),
        (models.SmallAutoField, models.BigAutoField),
        (models.AutoField, models.BigAutoField),
        (models.SmallIntegerField, models.IntegerField),
        (models.IntegerField, models.BigIntegerField),
        (models.PositiveIntegerField, models.PositiveBigIntegerField),
    ],
)
def test_a_wider_key_is_staged_with_the_replaced_columns_dropped_in_the_contract(
    old: Any, new: Any
) -> None:
    (chain,) = steps(key(old), key(new))
    assert isinstance(chain, Chain)
    (container,) = chain.expand
    assert [type(s).__name__ for s in container.database_operations] == STAGES  # type: ignore[attr-defined]
    (container,) = chain.contract
    (drop,) = container.database_operations  # type: ignore[attr-defined]
    assert isinstance(drop, DropKeyColumns)
    assert type(drop.old_field) is old
    assert not chain.note


def test_another_default_auto_field_gives_each_model_its_chain() -> None:
    chains = steps(
        key(models.AutoField), key(models.BigAutoField), models_=("Order", "Line", "Tag")
    )
    assert [step.name for step in chains if isinstance(step, Chain)] == [
        "widen_order_id",
        "widen_line_id",
        "widen_tag_id",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (key(models.BigAutoField), key(models.AutoField), "changes from BigAutoField to AutoField"),
        (key(models.AutoField), key(models.UUIDField), "changes from AutoField to UUIDField"),
        (
            key(models.IntegerField),
            key(models.BigAutoField),
            "changes from IntegerField to BigAuto",
        ),
        (models.IntegerField(), key(models.IntegerField), "becomes the primary key"),
        (key(models.IntegerField), models.IntegerField(), "is the primary key no more"),
        (key(models.CharField, max_length=9), key(models.CharField, max_length=5), "gets shorter"),
    ],
)
def test_a_key_that_becomes_another_is_left_alone_and_said_so(
    old: Any, new: Any, said: str
) -> None:
    (step,) = steps(old, new)
    assert isinstance(step, Plain)
    assert step.note.startswith(f"shop.Order.id {said}")
    assert "DSM533" in step.note


def test_a_longer_text_key_is_left_alone_with_a_word_on_its_foreign_keys() -> None:
    (step,) = steps(key(models.CharField, max_length=5), key(models.CharField, max_length=9))
    assert isinstance(step, Plain)
    assert "DSM506" in step.note


@pytest.mark.parametrize(
    "new",
    [
        key(models.AutoField, verbose_name="number"),
        key(models.AutoField, help_text="x"),
    ],
)
def test_what_leaves_the_key_as_it_is_is_left_alone_without_a_word(new: Any) -> None:
    (step,) = steps(key(models.AutoField), new)
    assert isinstance(step, Plain)
    assert not step.note


def test_a_comment_that_changes_too_comes_before() -> None:
    comment, chain = steps(key(models.AutoField), key(models.BigAutoField, db_comment="the key"))
    assert "comment" in str(comment)
    assert isinstance(chain, Chain)
    assert chain.name == "widen_order_id"


def test_the_files_say_what_they_are_about() -> None:
    def order(kind: Any) -> None:
        define("Order", id=key(kind), number=models.IntegerField())

    case = Case(
        "wider key in a file", lambda: order(models.AutoField), lambda: order(models.BigAutoField)
    )
    chain = make_chain(case)
    assert chain.change == ["0002_widen_order_id", "0003_widen_order_id_contract"]
    assert "widen the primary key caseapp.order.id from AutoField to BigAutoField" in " ".join(
        (chain.migration(chain.change[0]).__doc__ or "").split()
    )


def test_a_pending_contract_is_about_every_table_that_refers_to_the_key() -> None:
    state = ProjectState()
    state.add_model(
        ModelState(
            APP,
            "Order",
            [("id", key(models.AutoField)), ("tags", models.ManyToManyField("self"))],
        )
    )
    parent = models.OneToOneField("shop.Order", models.CASCADE, primary_key=True)
    state.add_model(ModelState("bills", "Bill", [("order", parent)]))
    bill = models.ForeignKey("bills.Bill", models.CASCADE, db_column="b")
    state.add_model(ModelState("bills", "Note", [("id", key(models.AutoField)), ("bill", bill)]))
    migration = migrations.Migration("0002", APP)
    migration.operations = [  # type: ignore[misc]
        Contract(
            database_operations=[
                DropKeyColumns("order", "id", old_field=key(models.AutoField)),
            ]
        )
    ]
    assert migration_footprint(migration, state).names >= {
        ("shop_order", "id"),
        ("bills_bill", "order_id"),
        ("bills_note", "b"),
        ("shop_order_tags", "order"),
    }
