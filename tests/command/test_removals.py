"""A pending drop and a later migration that makes the same column or table anew."""

from __future__ import annotations

import pytest

from tests.command.project import Project

EXPAND = """
Expand(
    state_operations=[migrations.RemoveField("item", "total")],
    database_operations=[RelaxColumn(model_name="item", name="total")],
),
"""
CONTRACT = """
Contract(
    database_operations=[
        DropColumn(model_name="item", name="total", field=models.IntegerField(null=True)),
    ],
),
"""
EXPAND_BOX = """
Expand(
    state_operations=[migrations.DeleteModel("Box")],
    database_operations=[RelaxTable(model_name="Box")],
),
"""
CONTRACT_BOX = """
Contract(
    database_operations=[
        DropTable(
            model_name="Box",
            fields=[("id", models.BigAutoField(primary_key=True))],
            options={"db_table": "store_box"},
        ),
    ],
),
"""
IMPORT = (
    "from django_safemigrations.operations import DropColumn, DropTable, RelaxColumn, RelaxTable"
)


def removal(project: Project, expand: str = EXPAND, contract: str = CONTRACT) -> None:
    for name, operations in (("0002_remove", expand), ("0003_drop", contract)):
        project.write("store", name, operations, atomic=False, before=IMPORT)


@pytest.mark.parametrize(
    "again",
    [
        'migrations.AddField("item", "total", models.TextField(null=True)),',
        'migrations.AddField("item", "sum", models.TextField(null=True, db_column="total")),',
        'migrations.RenameField("item", "name", "total"),',
    ],
)
def test_a_column_of_the_name_that_is_still_to_be_dropped_is_refused(
    project: Project, again: str
) -> None:
    removal(project)
    project.write("store", "0004_again", again)
    result = project.safely()
    assert result.code != 0
    assert "store.0003_drop" in result.said
    assert "store.0004_again" in result.said
    assert "total" in project.columns("store_item")


def test_another_column_of_the_table_steps_over_the_drop_which_runs_later(
    project: Project,
) -> None:
    removal(project)
    other = 'migrations.AddField("item", "note", models.TextField(null=True)),'
    project.write("store", "0004_other", other)
    result = project.safely()
    assert result.code == 0, result.said
    assert project.pending() == ["store.0003_drop"]
    assert {"total", "note"} <= set(project.columns("store_item"))
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.pending() == []
    assert "total" not in project.columns("store_item")
    assert "note" in project.columns("store_item")


def test_a_table_of_the_name_that_is_still_to_be_dropped_is_refused(project: Project) -> None:
    removal(project, EXPAND_BOX, CONTRACT_BOX)
    again = """
    migrations.CreateModel(
        "Crate", [("id", models.BigAutoField(primary_key=True))], options={"db_table": "store_box"}
    ),
    """
    project.write("store", "0004_again", again)
    result = project.safely()
    assert result.code != 0
    assert "store.0003_drop" in result.said
    assert "store.0004_again" in result.said
    assert "size" in project.columns("store_box")


def test_a_dropped_column_can_be_made_anew_when_its_contract_has_run(project: Project) -> None:
    removal(project)
    assert project.safely().code == 0
    assert project.safely("--phase", "contract").code == 0
    again = 'migrations.AddField("item", "total", models.TextField(null=True)),'
    project.write("store", "0004_again", again)
    result = project.safely()
    assert result.code == 0, result.said
    assert "total" in project.columns("store_item")
