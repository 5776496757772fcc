"""What makemigrations makes of removed fields and deleted models: which files, which stages, which words."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.migrations import AddField, DeleteModel, Migration, RemoveField

from django_safemigrations.operations import (
    Contract,
    DropColumn,
    DropTable,
    Expand,
    RelaxColumn,
    RelaxTable,
)
from django_safemigrations.phases import Phase, migration_phase
from tests.hook.project import Project
from tests.invariants.removal_cases import char, computed, each_other, key_to, shop, tags
from tests.kit.case import LABEL, Case, define
from tests.kit.chain import make_chain


def written(old: Callable[[], object], new: Callable[[], object], **more: Any) -> list[Migration]:
    """Return what makemigrations writes for a change of models."""
    chain = make_chain(Case("removing", lambda: old() and None, lambda: new() and None, **more))
    return [chain.migration(name) for name in chain.change]


def order(**fields: Any) -> Any:
    return define("Order", number=models.IntegerField(), **fields)


def staged(migrations: list[Migration]) -> list[list[str]]:
    """Return the names of the stages, and of plain operations, of each file."""
    return [
        [
            type(part).__name__
            for operation in migration.operations
            for part in (
                operation.database_operations
                if isinstance(operation, Expand | Contract)
                else [operation]
            )
        ]
        for migration in migrations
    ]


def drops(migrations: list[Migration]) -> list[Any]:
    return [
        stage
        for migration in migrations
        for operation in migration.operations
        if isinstance(operation, Contract)
        for stage in operation.database_operations
    ]


def test_a_field_leaves_the_models_in_expand_and_the_database_in_contract() -> None:
    expand, contract = written(lambda: order(total=models.IntegerField()), order)
    assert staged([expand, contract]) == [["RelaxColumn"], ["DropColumn"]]
    (container,) = expand.operations
    assert isinstance(container, Expand)
    assert [type(operation) for operation in container.state_operations] == [RemoveField]
    assert [expand.name, contract.name] == [
        "0002_remove_order_total",
        "0003_remove_order_total_contract",
    ]
    assert expand.__doc__ is not None
    assert "remove caseapp.order.total" in expand.__doc__


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (models.BigAutoField(primary_key=True), "BigIntegerField"),
        (models.AutoField(primary_key=True), "IntegerField"),
        (models.SmallAutoField(primary_key=True), "SmallIntegerField"),
        (models.PositiveIntegerField(primary_key=True), "IntegerField"),
        (models.UUIDField(primary_key=True, default=uuid.uuid4), "UUIDField"),
        (models.CharField(primary_key=True, max_length=9), "CharField"),
    ],
    ids=lambda value: value if isinstance(value, str) else "to",
)
def test_a_foreign_key_is_written_as_its_bare_column(
    key: models.Field[Any, Any], kind: str
) -> None:
    """So that the way back needs no model that may be gone by then."""

    def old() -> None:
        order(customer=key_to(define("Customer", id=key.clone())))

    (drop,) = drops(written(old, lambda: (order(), define("Customer", id=key.clone()))))
    assert type(drop.field).__name__ == kind
    assert drop.field.remote_field is None
    _, _, _, kwargs = drop.field.deconstruct()
    assert kwargs.pop("max_length", 9) == 9
    assert kwargs == {"db_column": "customer_id", "db_index": True}


def test_a_foreign_key_to_a_key_that_is_a_relation_has_the_type_at_the_end() -> None:
    def old(customer: bool) -> None:
        person = define("Person", code=char(primary_key=True))
        key = models.OneToOneField(person, models.CASCADE, primary_key=True)
        worker = define("Worker", person=key)
        order(**({"worker": key_to(worker)} if customer else {}))

    (drop,) = drops(written(lambda: old(True), lambda: old(False)))
    assert type(drop.field) is models.CharField
    assert drop.field.max_length == 20


def test_a_model_goes_in_one_chain_with_everything_that_it_has() -> None:
    files = written(lambda: shop(line=True, tags=True), lambda: shop(line=False))
    assert staged(files) == [["RelaxTable", "RelaxTable"], ["DropTable", "DropTable"]]
    between, own = drops(files)
    assert (between.name, own.name) == ("tags", "")
    assert {name for name, _ in between.fields} == {"id", "line", "product"}
    assert dict(own.fields)["order"].db_column == "order_id"
    assert own.options["unique_together"] == {("order", "code")}
    assert [index.name for index in own.options["indexes"]] == ["line_amount"]
    assert [constraint.name for constraint in own.options["constraints"]] == ["line_positive"]


def test_models_that_refer_to_each_other_go_table_by_table() -> None:
    files = written(lambda: each_other(True), lambda: each_other(False))
    assert staged(files) == [
        ["RelaxColumn"],
        ["RelaxTable"],
        ["RelaxTable"],
        ["DropTable"],
        ["DropTable"],
    ]
    named = {drop.model_name: {name for name, _ in drop.fields} for drop in drops(files)}
    assert named == {"Left": {"id", "code", "right"}, "Right": {"id", "code", "left"}}


def test_a_generated_column_is_dropped_before_the_one_that_it_is_computed_from() -> None:
    files = written(
        lambda: computed(source=True, result=True), lambda: computed(source=False, result=False)
    )
    assert [migration_phase(migration) for migration in files] == [Phase.EXPAND, Phase.CONTRACT]
    double, value = drops(files)
    assert [double.name, value.name] == ["double", "value"]
    assert [name for name, _ in double.sources] == ["value"]


def test_a_column_that_another_takes_at_once_is_replaced_in_place_and_said() -> None:
    def other() -> Any:
        return order(
            total=models.GeneratedField(
                expression=models.F("number") + 1,
                output_field=models.IntegerField(),
                db_persist=True,
            )
        )

    files = written(lambda: order(tags=char(db_column="total")), other)
    (file,) = files
    assert {type(operation) for operation in file.operations} == {RemoveField, AddField}


def test_a_many_to_many_field_that_becomes_a_column_leaves_its_table_behind() -> None:
    files = written(
        lambda: tags(True),
        lambda: (define("Tag", code=char()), order(tags=models.IntegerField(null=True))),
    )
    kinds = staged(files)
    assert kinds[0] == ["RelaxTable"]
    assert kinds[-1] == ["DropTable"]


def test_a_primary_key_is_removed_in_place() -> None:
    files = written(
        lambda: order(code=models.CharField(max_length=9, primary_key=True)),
        lambda: order(),
        default=1,
    )
    assert RemoveField in {
        type(operation) for migration in files for operation in migration.operations
    }


def test_a_model_without_a_table_of_its_own_is_left_alone() -> None:
    def unmanaged() -> Any:
        return define("Report", meta={"managed": False}, number=models.IntegerField())

    def proxy() -> Any:
        return define("Reversed", bases=order(), meta={"proxy": True})

    for old in (lambda: (order(), unmanaged()), proxy):
        (file,) = written(old, order)
        assert [type(operation) for operation in file.operations] == [DeleteModel]


def test_setting_an_order_is_no_removal() -> None:
    def model(meta: dict[str, Any]) -> None:
        customer = define("Customer", code=char())
        define("Order", meta=meta, customer=key_to(customer))

    files = written(lambda: model({}), lambda: model({"order_with_respect_to": "customer"}))
    kinds = {name for names in staged(files) for name in names}
    assert not kinds & {"RelaxColumn", "DropColumn"}
    files = written(lambda: model({"order_with_respect_to": "customer"}), lambda: model({}))
    assert staged(files) == [["RelaxColumn"], ["DropColumn"]]
    (drop,) = drops(files)
    assert drop.name == "_order"


def test_the_stages_come_back_from_the_file_as_they_were_written() -> None:
    files = written(lambda: shop(line=True, tags=True), lambda: shop(line=False))
    for stage in drops(files):
        _, args, kwargs = stage.deconstruct()
        assert isinstance(stage, DropTable)
        assert DropTable(*args, **kwargs).deconstruct()[2].keys() == kwargs.keys()
    for kind in (RelaxColumn, RelaxTable, DropColumn, DropTable):
        assert kind.__module__ == "django_safemigrations.operations"


def test_an_operation_of_another_app_never_waits_for_the_contract(
    new_project: Callable[..., Project],
) -> None:
    made = new_project("django_safemigrations", "shop", "depot")
    made.begin()
    item = """
        from django.db import models

        class Item(models.Model):
            name = models.CharField(max_length=9)
    """
    key = "    order = models.ForeignKey('shop.Order', models.CASCADE, null=True)\n"
    made.models("depot", item.rstrip() + "\n        " + key)
    made.run("makemigrations", "depot", "-v0")
    made.models("depot", item)
    made.models("shop", "")
    made.run("makemigrations", "-v0")
    assert made.names("depot") == [
        "0001_initial",
        "0002_remove_item_order",
        "0003_remove_item_order_contract",
    ]
    assert made.names() == ["0001_initial", "0002_delete_order", "0003_delete_order_contract"]
    assert ("depot", "0002_remove_item_order") in made.migration("0002_delete_order").dependencies
    contract = made.migration("0003_delete_order_contract")
    assert contract.dependencies == [("shop", "0002_delete_order")]
    assert made.manage("makemigrations", "--check").code == 0
    assert LABEL not in made.text("0002_delete_order")
