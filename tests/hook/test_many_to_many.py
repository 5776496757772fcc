"""What the hook makes of ManyToManyFields and generated columns that are altered."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.db.migrations import AddField, AlterField, CreateModel, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.rewrites import Chain, Plain, Step, rewrite

ID = ("id", models.BigAutoField(primary_key=True))


def key(to: str) -> models.ForeignKey[models.Model]:
    return models.ForeignKey(to, models.CASCADE)


def tags(to: str = "mart.Tag", through: str | None = None, table: str | None = None) -> AlterField:
    return AlterField("order", "tags", models.ManyToManyField(to, through=through, db_table=table))


def before() -> list[Operation]:
    """A shop with tags on orders, and models that could hold them as well."""
    return [
        CreateModel("Tag", [ID, ("title", models.TextField())]),
        CreateModel("Label", [ID, ("title", models.TextField())]),
        CreateModel(
            "Order",
            [
                ID,
                ("total", models.IntegerField()),
                ("twice", generated(2)),
                ("tags", models.ManyToManyField("mart.Tag")),
            ],
        ),
        CreateModel("Tagging", [ID, ("order", key("mart.Order")), ("tag", key("mart.Tag"))]),
        CreateModel(
            "Marking",
            [ID, ("order", key("mart.Order")), ("tag", key("mart.Tag"))],
            options={"db_table": "mart_tagging"},
        ),
        AddField("order", "marks", models.ManyToManyField("mart.Tag", "+", through="mart.Tagging")),
    ]


def generated(factor: int) -> models.GeneratedField:
    return models.GeneratedField(
        expression=models.F("total") * factor, output_field=models.IntegerField(), db_persist=True
    )


def step(operation: Operation) -> Step:
    state = ProjectState()
    for earlier in before():
        earlier.state_forwards("mart", state)
    [found] = rewrite("mart", [operation], state, Settings(), set())
    return found


def note(operation: Operation) -> str:
    found = step(operation)
    assert isinstance(found, Plain)
    assert found.operation is operation
    return found.note


def test_another_db_table_is_a_rename_behind_a_view() -> None:
    chain = step(tags(table="order_tags"))
    assert isinstance(chain, Chain)
    names = [
        type(stage).__name__
        for container in chain.operations
        for stage in container.database_operations  # type: ignore[attr-defined]
    ]
    assert names == ["RenameTableBehindView", "DropOldNameView"]


def test_options_that_python_alone_knows_are_left_without_a_word() -> None:
    assert note(AlterField("order", "tags", models.ManyToManyField("mart.Tag", blank=True))) == ""


def test_a_through_model_that_comes_or_goes_is_refused_by_django_and_the_note_names_the_table() -> (
    None
):
    said = note(tags(through="mart.Tagging"))
    assert "DSM545" in said
    assert 'db_table = "mart_order_tags"' in said
    gone = note(AlterField("order", "marks", models.ManyToManyField("mart.Tag", "+")))
    assert 'db_table = "mart_order_marks"' in gone


def test_rows_that_stay_in_another_through_table_are_told_of() -> None:
    other = models.ManyToManyField("mart.Tag", "+", through="mart.Label")
    said = note(AlterField("order", "marks", other))
    assert "DSM546" in said
    assert "read from mart_label from now on, and the rows of mart_tagging stay behind" in said


def test_two_through_models_of_one_table_are_one() -> None:
    other = models.ManyToManyField("mart.Tag", "+", through="mart.Marking")
    assert note(AlterField("order", "marks", other)) == ""


def test_another_target_is_told_of() -> None:
    assert "points to mart.label instead of mart.tag (DSM509)" in note(tags("mart.Label"))


def test_another_expression_is_refused_by_django_and_said_to_be() -> None:
    assert "DSM545" in note(AlterField("order", "twice", generated(3)))
    assert note(AlterField("order", "twice", generated(2))) == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "operation",
    [tags(through="mart.Tagging"), AlterField("order", "twice", generated(3))],
    ids=["through", "expression"],
)
def test_django_does_refuse_them(operation: Operation) -> None:
    state = built()
    after = state.clone()
    operation.state_forwards("mart", after)
    with (
        connection.schema_editor(atomic=False) as editor,
        pytest.raises(ValueError, match=r"Cannot alter field|not supported"),
    ):
        operation.database_forwards("mart", editor, state, after)


@pytest.mark.django_db
def test_the_way_out_keeps_the_rows_and_more_fields_follow() -> None:
    state = built()
    order, tag = state.apps.get_model("mart", "Order"), state.apps.get_model("mart", "Tag")
    order.objects.create(total=1).tags.add(tag.objects.create(title="red"))
    with connection.cursor() as cursor:
        # The test's own transaction would keep the foreign keys' checks waiting.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    ours = CreateModel(
        "OrderTag",
        [ID, ("order", key("mart.Order")), ("tag", key("mart.Tag"))],
        options={"db_table": "mart_order_tags"},
    )
    state = run(SeparateDatabaseAndState([], [ours, tags(through="mart.OrderTag")]), state)
    state = run(AddField("ordertag", "note", models.TextField(null=True)), state)
    found = state.apps.get_model("mart", "Order").objects.get()
    assert [t.title for t in found.tags.all()] == ["red"]
    state.apps.get_model("mart", "OrderTag").objects.update(note="by hand")


def built() -> ProjectState:
    state = ProjectState()
    for operation in before():
        if isinstance(operation, CreateModel) and operation.name == "Marking":
            operation.state_forwards("mart", state)
        else:
            state = run(operation, state)
    return state


def run(operation: Operation, state: ProjectState) -> ProjectState:
    after = state.clone()
    operation.state_forwards("mart", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("mart", editor, state, after)
    return after
