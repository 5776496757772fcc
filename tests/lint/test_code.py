"""RunSQL, RunPython, operations of other packages, and reversal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

SETUP = """
from django.db.migrations.operations.base import Operation

def fill(apps, schema_editor):
    apps.get_model("store", "Order").objects.update(total=0)

class Own(Operation):
    reversible = {reversible}
    def state_forwards(self, app_label, state):
        pass

class OwnIndex(migrations.AddIndex):
    def database_forwards(self, *args):
        pass

class Renamed(migrations.RunPython):
    pass
"""


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ('migrations.RunSQL("SELECT secret()", "SELECT 1")', ["DSM405"]),
        ('migrations.RunSQL("SELECT secret()")', ["DSM401", "DSM405"]),
        ('migrations.RunSQL(["SELECT 1", ("SELECT secret(%s)", [1])], reverse_sql="")', ["DSM405"]),
        ('migrations.RunSQL("SELECT 1")', ["DSM401"]),
        ('migrations.RunSQL(migrations.RunSQL.noop, "DROP TABLE x")', []),
        ('migrations.RunSQL([], "")', []),
        ("migrations.RunPython(fill, fill)", ["DSM402"]),
        ("migrations.RunPython(fill)", ["DSM401", "DSM402"]),
        ("migrations.RunPython(fill, migrations.RunPython.noop)", ["DSM402"]),
        ("migrations.RunPython(migrations.RunPython.noop, fill)", []),
        ("Renamed(fill, fill)", ["DSM402"]),
        ("Own()", ["DSM405"]),
        (
            'OwnIndex("order", models.Index(fields=["total"], name="total_idx"))',
            ["DSM405"],
        ),
    ],
)
def test_code_is_said_not_to_be_inspected(
    codes: Codes, operation: str, expected: list[str]
) -> None:
    assert codes(operation, setup=SETUP.format(reversible=True)) == expected


def test_an_irreversible_operation_of_another_package_is_flagged(codes: Codes) -> None:
    assert codes("Own()", setup=SETUP.format(reversible=False)) == ["DSM401", "DSM405"]


def test_an_irreversible_operation_is_found_inside_a_container_once(project: Project) -> None:
    found = project.operations(
        'migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL("SELECT f()")])'
    )
    assert [(finding.code, finding.operation) for finding in found] == [
        ("DSM401", "0.0"),
        ("DSM405", "0.0"),
    ]


def test_an_operation_whose_judgement_fails_is_said_not_to_be_inspected(project: Project) -> None:
    found = project.operations(
        'migrations.AddField("order", "strange", Strange(null=True))',
        setup="""
        class Strange(models.Field):
            def db_type(self, connection):
                raise RuntimeError("needs a connection")
        """,
    )
    assert [finding.code for finding in found] == ["DSM405"]
    assert "needs a connection" in found[0].message


def test_a_field_that_cannot_be_taken_apart_ends_nothing(project: Project) -> None:
    setup = """
class Odd(models.IntegerField):
    def deconstruct(self):
        raise RuntimeError("odd")
"""
    found = project.operations(
        'migrations.AlterField("order", "total", Odd(null=True)),'
        'migrations.RemoveIndex("order", "order_reference_idx")',
        setup=setup,
    )
    codes = [finding.code for finding in found if finding.operation == "0"]
    assert codes
    assert set(codes) <= {"DSM405", "DSM904"}
    assert "DSM102" in [finding.code for finding in found if finding.operation == "1"]
