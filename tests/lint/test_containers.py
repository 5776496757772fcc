"""SeparateDatabaseAndState at any depth, and this package's own containers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

OURS = (
    "from django_safemigrations.operations import AddSyncedColumns, BackfillNulls, "
    "BackfillSyncedColumns, Contract, CreateIndexConcurrently, DropSyncedColumns, Expand, "
    "FillNullsOnWrite, SetNotNull, StopFillingNulls\n"
)
ADD_INDEX = 'migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx"))'
BUILD = 'CreateIndexConcurrently("order", "total_idx")'
FILL = 'FillNullsOnWrite("customer", "email", "")'
RENAME = '"order", {"total": "amount"}'
STAGED_RENAME = f"""
    Expand(
        state_operations=[migrations.RenameField("order", "total", "amount")],
        database_operations=[AddSyncedColumns({RENAME}), BackfillSyncedColumns({RENAME})],
    ),
"""
CONTRACT_RENAME = f"Contract(database_operations=[DropSyncedColumns({RENAME})])"


def test_what_a_container_runs_is_judged_at_any_depth_and_placed(project: Project) -> None:
    found = project.operations(
        f"""
        migrations.AlterModelOptions("order", {{}}),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel("Tag")],
            database_operations=[
                migrations.AlterModelOptions("order", {{}}),
                migrations.SeparateDatabaseAndState(
                    [
                        {ADD_INDEX},
                    ]
                ),
            ],
        ),
        """
    )
    assert [(finding.code, finding.operation) for finding in found] == [("DSM101", "1.1.0")]
    lines = Path(found[0].path).read_text(encoding="utf-8").splitlines()
    assert "AddIndex" in lines[found[0].line - 1]


def test_nested_operations_see_the_state_that_those_before_them_leave(codes: Codes) -> None:
    assert codes(
        """
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AddField("order", "extra", models.IntegerField(null=True)),
                migrations.AlterField("order", "extra", models.BigIntegerField(null=True)),
                migrations.RenameField("order", "extra", "other"),
            ],
        ),
        migrations.AddField("order", "extra", models.IntegerField(null=True)),
        """
    ) == ["DSM506", "DSM301"]


def test_a_table_created_by_the_database_operations_is_new(codes: Codes) -> None:
    create = (
        'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), '
        '("name", models.CharField(max_length=9))])'
    )
    index = 'migrations.AddIndex("shelf", models.Index(fields=["name"], name="shelf_name"))'
    assert (
        codes(
            f"""
            migrations.SeparateDatabaseAndState(
                database_operations=[{create}], state_operations=[{create}]
            ),
            {index},
            """
        )
        == []
    )


def test_a_table_that_only_the_state_creates_is_not_new(codes: Codes) -> None:
    create = (
        'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), '
        '("name", models.CharField(max_length=9))])'
    )
    index = 'migrations.AddIndex("shelf", models.Index(fields=["name"], name="shelf_name"))'
    assert codes(f"migrations.SeparateDatabaseAndState(state_operations=[{create}]), {index}") == [
        "DSM101"
    ]


def test_stages_in_an_atomic_migration_are_flagged(codes: Codes) -> None:
    operations = f"Expand(state_operations=[{ADD_INDEX}], database_operations=[{BUILD}])"
    assert codes(operations, setup=OURS) == ["DSM103"]


def test_batches_in_an_atomic_migration_are_flagged(codes: Codes) -> None:
    assert codes(STAGED_RENAME, setup=OURS) == ["DSM402"]


def test_not_null_in_the_expand_phase_needs_a_trigger_that_fills(project: Project) -> None:
    expand = 'Expand(database_operations=[{} SetNotNull("customer", "email")])'
    assert project.codes(expand.format(""), setup=OURS, atomic=False) == ["DSM202"]
    assert project.codes(expand.format(f"{FILL},"), setup=OURS, atomic=False) == []


def test_the_trigger_may_come_from_an_earlier_migration(project: Project) -> None:
    fill = f"Expand(database_operations=[{FILL}])"
    assert project.codes(fill, setup=OURS, atomic=False) == []
    expand = 'Expand(database_operations=[SetNotNull("customer", "email")])'
    assert project.codes(expand, setup=OURS, atomic=False) == []


def test_not_null_in_the_contract_phase_is_safe(codes: Codes) -> None:
    contract = 'Contract(database_operations=[SetNotNull("customer", "email")])'
    assert codes(contract, setup=OURS, atomic=False) == []


def test_expand_and_contract_in_one_file_are_mixed_phases(project: Project) -> None:
    found = project.operations(f"{STAGED_RENAME} {CONTRACT_RENAME}", setup=OURS, atomic=False)
    assert [(finding.code, finding.operation) for finding in found] == [("DSM403", "1")]


def test_a_contract_beside_a_plain_operation_is_mixed_too(project: Project) -> None:
    assert project.codes(STAGED_RENAME, setup=OURS, atomic=False) == []
    both = f'{CONTRACT_RENAME}, migrations.AddField("order", "x", models.TextField(null=True))'
    assert project.codes(both, setup=OURS, atomic=False) == ["DSM403"]


def test_a_squash_may_hold_both_phases(project: Project) -> None:
    project.add("0002_expand", f"atomic = False\noperations = [{STAGED_RENAME}]", setup=OURS)
    project.add("0003_contract", f"atomic = False\noperations = [{CONTRACT_RENAME}]", setup=OURS)
    project.add(
        "0002_squashed",
        'replaces = [("store", "0002_expand"), ("store", "0003_contract")]\n'
        f"atomic = False\noperations = [{STAGED_RENAME} {CONTRACT_RENAME}]",
        setup=OURS,
        after="0001_initial",
    )
    assert project.findings() == []


def test_a_contract_after_its_expand_is_safe(project: Project) -> None:
    assert project.codes(STAGED_RENAME, setup=OURS, atomic=False) == []
    assert project.codes(CONTRACT_RENAME, setup=OURS, atomic=False) == []


def test_a_contract_without_its_expand_is_flagged(codes: Codes) -> None:
    assert codes(CONTRACT_RENAME, setup=OURS, atomic=False) == ["DSM404"]
    stop = 'Contract(database_operations=[StopFillingNulls("customer", "email", "")])'
    assert codes(stop, setup=OURS, atomic=False) == ["DSM404"]


def test_a_contract_on_another_branch_than_its_expand_is_flagged(project: Project) -> None:
    project.add("0002_expand", f"atomic = False\noperations = [{STAGED_RENAME}]", setup=OURS)
    project.add(
        "0003_contract",
        f"atomic = False\noperations = [{CONTRACT_RENAME}]",
        setup=OURS,
        after="0001_initial",
    )
    project.add(
        "0004_merge",
        'dependencies = [("store", "0002_expand"), ("store", "0003_contract")]\noperations = []',
    )
    found = [finding for finding in project.findings() if finding.code == "DSM404"]
    assert [finding.migration for finding in found] == ["0003_contract"]
    assert "0002_expand" in found[0].hint


def test_a_contract_finds_its_expand_although_the_model_was_renamed(project: Project) -> None:
    assert project.codes(STAGED_RENAME, setup=OURS, atomic=False) == []
    assert project.codes('migrations.RenameModel("Order", "Purchase")') == ["DSM505"]
    renamed = CONTRACT_RENAME.replace('"order"', '"purchase"')
    assert project.codes(renamed, setup=OURS, atomic=False) == []


def test_a_contract_whose_expand_was_squashed_with_its_table_is_not_flagged(
    project: Project,
) -> None:
    project.add_file(
        "0001_initial",
        """
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("store", "0001_first"), ("store", "0002_expand")]
    dependencies = []
    operations = [
        migrations.CreateModel("Order", [
            ("id", models.BigAutoField(primary_key=True)),
            ("amount", models.IntegerField()),
        ]),
    ]
""",
    )
    assert project.codes(CONTRACT_RENAME, setup=OURS, atomic=False) == []
