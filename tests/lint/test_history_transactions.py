"""Operations of one migration together: locks that add up, half a file applied, indexes that gap."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

CONTRIB = (
    "from django.contrib.postgres.operations import "
    "AddConstraintNotValid, AddIndexConcurrently, RemoveIndexConcurrently, ValidateConstraint\n"
)
NULLABLE = 'migrations.AddField("customer", "phone", models.TextField(null=True))'
OTHER = 'migrations.AddField("tag", "colour", models.TextField(null=True))'
INDEX = 'models.Index(fields=["total"], name="total_idx")'
BUILD = f'migrations.AddIndex("order", {INDEX})'
SHELF = (
    'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), '
    '("name", models.CharField(max_length=9))])'
)


@pytest.mark.parametrize(
    "operations",
    [
        # Instant changes may stand together.
        [NULLABLE, OTHER],
        [NULLABLE, 'migrations.AlterField("order", "total", models.IntegerField(null=True))'],
        [SHELF, NULLABLE],
        [SHELF, 'migrations.AddField("shelf", "extra", models.IntegerField(default=0))', OTHER],
        [NULLABLE, 'migrations.AlterModelOptions("order", {"ordering": ["total"]})'],
        [NULLABLE, 'migrations.AlterField("order", "total", models.IntegerField(help_text="x"))'],
        # What is done to a table that is made here keeps nobody waiting.
        [NULLABLE, SHELF, 'migrations.AddIndex("shelf", models.Index(fields=["name"], name="n"))'],
    ],
)
def test_what_may_stand_together_is_not_reported(codes: Codes, operations: list[str]) -> None:
    assert codes(", ".join(operations)) == []


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([BUILD], ["DSM101"]),
        # The build comes first: what follows is held for an instant.
        ([BUILD, 'migrations.AlterModelOptions("order", {})'], ["DSM101"]),
        ([NULLABLE, BUILD], ["DSM101", "DSM406"]),
        ([SHELF, BUILD], ["DSM101"]),
        # Only once a file, whatever follows.
        (
            [NULLABLE, BUILD, BUILD.replace("total_idx", "second").replace("order", "order")],
            ["DSM101", "DSM101", "DSM406"],
        ),
        # Two builds: writes to the first table wait for the second one.
        (
            [BUILD, 'migrations.AddIndex("tag", models.Index(fields=["label"], name="label_idx"))'],
            ["DSM101", "DSM101", "DSM406"],
        ),
        # On one table an instant ACCESS EXCLUSIVE makes readers wait for the build.
        (
            ['migrations.AddField("order", "note", models.TextField(null=True))', BUILD],
            ["DSM101", "DSM406"],
        ),
        # Both are reported under ACCESS EXCLUSIVE anyway.
        (
            [
                'migrations.AddField("order", "note", models.TextField(null=True))',
                'migrations.AlterField("order", "total", models.BigIntegerField())',
            ],
            ["DSM506"],
        ),
        # A new column's index is built at the end, whatever stands behind it.
        (
            [
                'migrations.AddField("order", "note", models.CharField(max_length=9, null=True, '
                "db_index=True))",
                OTHER,
            ],
            ["DSM406", "DSM502"],
        ),
        # A foreign key keeps writes to the other table waiting.
        (
            [
                'migrations.AddField("order", "tag", models.ForeignKey("store.Tag", '
                "models.CASCADE, null=True, db_index=True))",
                'migrations.AlterField("customer", "name", models.CharField(max_length=9))',
            ],
            ["DSM406", "DSM502", "DSM506"],
        ),
    ],
)
def test_locks_that_are_held_during_long_work_are_reported_once(
    codes: Codes, operations: list[str], expected: list[str]
) -> None:
    assert sorted(codes(", ".join(operations))) == sorted(expected)


def test_the_tables_that_wait_are_named(project: Project) -> None:
    found = project.operations(f"{NULLABLE}, {OTHER}, {BUILD}")
    [held] = [f for f in found if f.code == "DSM406"]
    assert held.operation == "2"
    assert "reads of and writes to store_customer, reads of and writes to store_tag" in held.message
    assert held.table == "store_order"


def test_what_runs_in_containers_counts(codes: Codes) -> None:
    inside = f"migrations.SeparateDatabaseAndState(database_operations=[{NULLABLE}])"
    assert codes(f"{inside}, {BUILD}") == ["DSM101", "DSM406"]
    alone = f"migrations.SeparateDatabaseAndState(state_operations=[{NULLABLE}])"
    assert codes(f"{alone}, {BUILD.replace('total_idx', 'b')}") == ["DSM101"]


def test_a_squash_runs_where_nobody_waits(project: Project) -> None:
    project.add("0002_a", f"operations = [{NULLABLE}]")
    project.add(
        "0002_squashed",
        f'replaces = [("store", "0002_a")]\noperations = [{NULLABLE}, {OTHER}, {BUILD}]',
        after="0001_initial",
    )
    assert [f.code for f in project.findings()] == ["DSM101"]


@pytest.mark.parametrize(
    "operations",
    [
        # One statement, or one that can be repeated.
        [f'AddIndexConcurrently("order", {INDEX})'],
        ['RemoveIndexConcurrently("order", "order_reference_idx")'],
        ['RemoveIndex("order", "order_reference_idx")'],
        [NULLABLE],
        ['migrations.AlterModelOptions("order", {})', f'AddIndexConcurrently("order", {INDEX})'],
        [
            'migrations.AlterField("order", "total", models.IntegerField(help_text="x"))',
            f'AddIndexConcurrently("order", {INDEX})',
        ],
        [f'AddIndexConcurrently("order", {INDEX})', NULLABLE],
        ["migrations.RunPython(fill, migrations.RunPython.noop)", NULLABLE],
        [
            'migrations.AlterField("order", "total", models.IntegerField(null=True))',
            "migrations.RunPython(fill, migrations.RunPython.noop)",
        ],
    ],
)
def test_what_can_be_run_again_without_a_transaction_is_not_reported(
    codes: Codes, operations: list[str]
) -> None:
    setup = f"{CONTRIB}\n\ndef fill(apps, schema_editor): pass\n"
    source = (
        ", ".join(operations)
        .replace("['RemoveIndex(", "")
        .replace('RemoveIndex("order"', 'migrations.RemoveIndex("order"')
    )
    assert "DSM407" not in codes(source, setup=setup, atomic=False)


@pytest.mark.parametrize(
    "operations",
    [
        [NULLABLE, f'AddIndexConcurrently("order", {INDEX})'],
        [NULLABLE, "migrations.RunPython(fill, migrations.RunPython.noop)"],
        [NULLABLE, OTHER],
        [SHELF, f'AddIndexConcurrently("order", {INDEX})'],
        ['migrations.RenameField("order", "total", "amount")', OTHER],
        ['migrations.RemoveField("order", "total")', OTHER],
        ['migrations.RenameModel("Order", "Purchase")', OTHER],
        ['migrations.AlterUniqueTogether("order", {("total", "reference")})', OTHER],
        [BUILD, OTHER],
        # Django runs more than one statement for each of these.
        ['migrations.AddField("order", "x", models.IntegerField(default=0))'],
        ['migrations.AddField("order", "x", models.IntegerField(null=True, db_index=True))'],
        [
            'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), '
            '("name", models.CharField(max_length=9, db_index=True))])'
        ],
    ],
)
def test_what_cannot_be_run_again_without_a_transaction_is_reported_once(
    codes: Codes, operations: list[str]
) -> None:
    setup = f"{CONTRIB}\n\ndef fill(apps, schema_editor): pass\n"
    found = codes(", ".join(operations), setup=setup, atomic=False)
    assert found.count("DSM407") == 1
    assert "DSM407" not in codes(", ".join(operations), setup=setup)


def test_the_operation_that_stands_in_the_way_and_why_are_said(project: Project) -> None:
    found = project.operations(
        f'{NULLABLE}, AddIndexConcurrently("order", {INDEX})', setup=CONTRIB, atomic=False
    )
    [half] = [f for f in found if f.code == "DSM407"]
    assert half.operation == "0"
    assert "AddIndexConcurrently after it (operation 1)" in half.message
    assert "store_customer.phone already exists" in half.message


GONE = 'RemoveIndexConcurrently("order", "order_reference_idx")'
NEW = 'AddIndexConcurrently("order", models.Index(fields=["reference", "total"], name="both_idx"))'


def test_an_index_that_goes_before_its_replacement_is_reported(codes: Codes) -> None:
    assert codes(f"{GONE}, {NEW}", setup=CONTRIB, atomic=False) == ["DSM104", "DSM551"]


@pytest.mark.parametrize(
    "operations",
    [
        f"{NEW}, {GONE}",
        GONE + ", " + NEW.replace('"reference", "total"', '"total", "reference"'),
        f'{GONE}, AddIndexConcurrently("tag", models.Index(fields=["label"], name="l"))',
    ],
)
def test_an_index_that_something_else_takes_the_place_of_is_not_reported(
    codes: Codes, operations: str
) -> None:
    assert "DSM551" not in codes(operations, setup=CONTRIB, atomic=False)
