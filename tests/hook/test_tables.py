"""What the hook makes of renamed models, tables and many-to-many fields."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import models
from django.db.migrations import AddField, AlterModelTable, CreateModel, RenameField, RenameModel
from django.db.migrations.exceptions import InvalidBasesError
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.footprints import migration_footprint
from django_safemigrations.lint import lint_migrations
from django_safemigrations.rewrites import Chain, Plain, Step, rewrite
from tests.kit import chain as chains
from tests.kit.case import LABEL, Case, define
from tests.kit.chain import make_chain, make_plain_chain
from tests.kit.databases import scratch_database
from tests.kit.prepared import base_template

ID = ("id", models.BigAutoField(primary_key=True))


def state(*more: Operation) -> ProjectState:
    """Return a shop with tags on orders, and boxes of orders."""
    found = ProjectState()
    for operation in (
        CreateModel("Tag", [ID, ("title", models.TextField())]),
        CreateModel("Order", [ID, ("tags", models.ManyToManyField("shop.Tag"))]),
        CreateModel("Box", [ID, ("orders", models.ManyToManyField("shop.Order"))]),
        *more,
    ):
        operation.state_forwards("shop", found)
    return found


def steps(*operations: Operation, before: ProjectState | None = None) -> list[Step]:
    return rewrite("shop", list(operations), before or state(), Settings(), set())


def stages(chain: Step) -> list[str]:
    assert isinstance(chain, Chain)
    return [
        " ".join([type(stage).__name__, getattr(stage, "old_table", getattr(stage, "table", ""))])
        for container in chain.operations
        for stage in container.database_operations  # type: ignore[attr-defined]
    ]


def test_a_renamed_model_takes_its_relations_tables_along() -> None:
    (chain,) = steps(RenameModel("Order", "Purchase"))
    assert stages(chain) == [
        "AddSyncedColumns shop_box_orders",
        "BackfillSyncedColumns shop_box_orders",
        "CopyIndexes shop_box_orders",
        "CopyConstraints shop_box_orders",
        "RenameTableBehindView shop_order",
        "RenameTableBehindView shop_order_tags",
        "RenameForeignKeys ",
        "RenameContentType ",
        "DropOldNameView shop_order",
        "DropOldNameView shop_order_tags",
        "DropSyncedColumns shop_box_orders",
        "MergeContentTypes ",
    ]


def test_a_model_whose_table_keeps_its_name_has_no_view() -> None:
    before = state(AlterModelTable("Order", "orders"), AlterModelTable("Box", "boxes"))
    (chain,) = steps(RenameModel("Order", "Purchase"), before=before)
    assert not any("Behind" in stage for stage in stages(chain))
    assert "AddSyncedColumns orders_tags" in stages(chain)
    assert "AddSyncedColumns boxes_orders" in stages(chain)


def test_a_db_table_that_keeps_the_tables_name_belongs_to_the_rename() -> None:
    (chain,) = steps(RenameModel("Order", "Purchase"), AlterModelTable("Purchase", "shop_order"))
    assert not any("Behind" in stage for stage in stages(chain))


def test_a_model_that_changes_only_in_case_is_left_alone() -> None:
    operation = RenameModel("Order", "ORDER")
    assert steps(operation) == [Plain(operation)]


def test_without_tables_and_content_types_to_rename_nothing_is_staged() -> None:
    before = ProjectState()
    CreateModel("Tag", [ID], {"db_table": "tags"}).state_forwards("shop", before)
    operation = RenameModel("Tag", "Label")
    assert steps(operation, before=before) == [Plain(operation)]


def test_models_that_share_a_many_to_many_table_share_a_chain_and_others_do_not() -> None:
    before = state(CreateModel("Other", [ID]))
    found = steps(
        RenameModel("Other", "Another"),
        RenameModel("Tag", "Label"),
        RenameModel("Order", "Purchase"),
        before=before,
    )
    titles = [step.title for step in found if isinstance(step, Chain)]
    assert titles == [
        "rename model shop.Other to Another",
        "rename model shop.Tag to Label and rename model shop.Order to Purchase",
    ]


def test_a_column_kept_twice_is_dropped_from_its_table_under_the_name_it_has_then() -> None:
    found = steps(RenameModel("Tag", "Label"), RenameField("Order", "tags", "labels"))
    first, second = map(stages, found)
    assert "AddSyncedColumns shop_order_tags" in first
    assert "DropSyncedColumns shop_order_labels" in first
    assert second == ["RenameTableBehindView shop_order_tags", "DropOldNameView shop_order_tags"]


def test_a_relation_with_a_table_of_its_own_name_is_renamed_in_python_only() -> None:
    before = state(AddField("Box", "tags", models.ManyToManyField("shop.Tag", db_table="box_tags")))
    operation = RenameField("Box", "tags", "labels")
    assert steps(operation, before=before) == [Plain(operation)]


TAKEN: list[list[Operation]] = [
    [RenameModel("Order", "Purchase"), CreateModel("Order", [ID])],
    [AlterModelTable("Order", "orders"), CreateModel("New", [ID], {"db_table": "shop_order"})],
]


@pytest.mark.parametrize("operations", TAKEN)
def test_a_name_that_another_model_takes_in_the_same_run_is_not_served_by_a_view(
    operations: list[Operation],
) -> None:
    first = steps(*operations)[0]
    assert isinstance(first, Plain)
    assert "shop_order" in first.note
    assert "DSM505" in first.note


def parent(name: str, **link: Any) -> None:
    base = define(name, code=models.CharField(max_length=20))
    fields = {key: models.OneToOneField(base, models.CASCADE, parent_link=True) for key in link}
    define("Cafe", bases=base, seats=models.IntegerField(), **fields)


@pytest.mark.parametrize("link", [{}, {"place": True}])
def test_a_parent_of_other_tables_is_told_of_for_django_itself_fails(
    case_app: None, link: dict[str, bool]
) -> None:
    case = Case(
        "parent",
        lambda: parent("Place", **link),
        lambda: parent("Location", **link),
        renames={"Place": "Location"},
    )
    for make in (make_chain, make_plain_chain):
        chain = make(case)
        with scratch_database(base_template()):
            chains.migrate(chain, chain.initial[-1])
            with pytest.raises((FieldError, InvalidBasesError, ValueError)):
                chains.migrate(chain, chain.change[-1])
        with chain.installed():
            keys = [(LABEL, name) for name in chain.change]
            codes = {finding.code for finding in lint_migrations(chain.loader(), keys)}
        assert "DSM538" in codes


def test_what_a_contract_touches_leaves_room_for_new_columns(case_app: None) -> None:
    case = Case(
        "footprint",
        lambda: define("Order", n=models.IntegerField()) and None,
        lambda: define("Purchase", n=models.IntegerField()) and None,
        renames={"Order": "Purchase"},
    )
    chain = make_chain(case)
    expand, contract = (chain.migration(name) for name in chain.change)
    with chain.installed():
        before = chain.loader().project_state((LABEL, chain.initial[-1]))
    wholly = migration_footprint(expand, before)
    assert {"caseapp_order", "caseapp_purchase"} <= wholly.whole
    left = migration_footprint(contract, before)
    later: Any = expand.__class__("later", LABEL)
    later.operations = [AddField("Purchase", "more", models.IntegerField(null=True))]
    assert migration_footprint(later, before.clone()).touches(left) is None
    later.operations = [RenameField("Purchase", "n", "m")]
    assert migration_footprint(later, before.clone()).touches(left) == "caseapp_purchase.n"


def test_a_relation_whose_old_name_is_taken_again_is_renamed_in_place_and_that_is_told() -> None:
    first, _ = steps(
        RenameField("order", "tags", "labels"),
        AddField("order", "tags", models.ManyToManyField("shop.Tag", "+")),
    )
    assert isinstance(first, Plain)
    assert "DSM505" in first.note
    assert "shop_order_tags" in first.note
