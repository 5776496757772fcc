"""Renames of fields, models and tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ("total", ["DSM301"]),
        ("reference", ["DSM301"]),
        ("customer", ["DSM301", "DSM306"]),
        ("id", ["DSM302"]),
        ("tags", ["DSM302"]),
    ],
)
def test_a_renamed_field_is_judged_by_its_column(
    codes: Codes, old: str, expected: list[str]
) -> None:
    assert codes(f'migrations.RenameField("order", "{old}", "other")') == expected


def test_a_rename_that_keeps_its_column_has_no_work_in_the_database(codes: Codes) -> None:
    assert (
        codes(
            """
            migrations.AlterField("order", "total", models.IntegerField(db_column="total")),
            migrations.RenameField("order", "total", "amount"),
            migrations.AlterField(
                "order", "customer",
                models.ForeignKey("store.Customer", models.PROTECT, db_column="customer_id"),
            ),
            migrations.RenameField("order", "customer", "buyer"),
            migrations.AlterField(
                "order", "tags", models.ManyToManyField("store.Tag", db_table="store_order_tags")
            ),
            migrations.RenameField("order", "tags", "labels"),
            """
        )
        == []
    )


def test_a_foreign_key_without_constraint_is_not_validated_again(project: Project) -> None:
    project.add(
        "0002_field",
        """
        operations = [
            migrations.AddField("order", "tag", models.ForeignKey(
                "store.Tag", models.CASCADE, null=True, db_constraint=False)),
        ]
        """,
    )
    assert project.codes('migrations.RenameField("order", "tag", "label")') == ["DSM301"]


@pytest.mark.parametrize(
    ("setup", "operation"),
    [
        (
            "from django.contrib.postgres.constraints import ExclusionConstraint",
            (
                'migrations.AddConstraint("order", ExclusionConstraint(name="one_total", '
                'expressions=[("total", "=")]))'
            ),
        ),
        (
            "",
            (
                'migrations.CreateModel("Line", [("pk", models.CompositePrimaryKey("total", '
                '"no")), '
                '("total", models.IntegerField()), ("no", models.IntegerField())])'
            ),
        ),
        (
            "",
            (
                'migrations.CreateModel("Line", [("total", models.OneToOneField("store.Order", '
                "models.CASCADE, parent_link=True, primary_key=True))])"
            ),
        ),
        (
            "",
            (
                'migrations.CreateModel("Line", [("id", models.BigAutoField(primary_key=True)), '
                '("n", models.IntegerField()), ("total", models.GeneratedField('
                'expression=models.F("n"), output_field=models.IntegerField(), db_persist=True))])'
            ),
        ),
    ],
)
def test_a_column_that_cannot_be_doubled_says_why(
    project: Project, setup: str, operation: str
) -> None:
    project.add("0002_shape", f"operations = [{operation}]", setup=setup)
    model = "line" if "Line" in operation else "order"
    found = project.operations(f'migrations.RenameField("{model}", "total", "amount")')
    assert [finding.code for finding in found] == ["DSM302"]
    assert "db_column" in found[0].hint


def test_a_renamed_model_renames_its_table_and_validates_what_points_to_it(
    project: Project,
) -> None:
    found = project.operations('migrations.RenameModel("Customer", "Client")')
    assert [finding.code for finding in found] == ["DSM505"]
    assert "store_customer to store_client" in found[0].message
    assert "store.Order.customer" in found[0].message


def test_a_renamed_model_that_keeps_its_table_is_free(project: Project) -> None:
    project.add(
        "0002_table",
        """
        operations = [
            migrations.CreateModel(
                "Shelf", [("id", models.BigAutoField(primary_key=True))],
                options={"db_table": "shelves"},
            ),
        ]
        """,
    )
    assert project.codes('migrations.RenameModel("Shelf", "Board")') == []


def test_a_renamed_model_that_keeps_its_table_still_renames_columns_of_its_relations(
    project: Project,
) -> None:
    project.add(
        "0002_table",
        """
        operations = [
            migrations.CreateModel(
                "Shelf",
                [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("tags", models.ManyToManyField("store.Tag")),
                ],
                options={"db_table": "shelves"},
            ),
        ]
        """,
    )
    found = project.operations('migrations.RenameModel("Shelf", "Board")')
    assert [finding.code for finding in found] == ["DSM505"]
    assert "shelf_id" in found[0].message


def test_a_table_with_another_name_is_flagged_and_with_the_same_is_not(project: Project) -> None:
    assert project.codes('migrations.AlterModelTable("tag", "store_tag")') == []
    assert project.codes('migrations.AlterModelTable("tag", "labels")') == ["DSM505"]
    assert project.codes('migrations.AlterModelTable("tag", None)') == ["DSM505"]
