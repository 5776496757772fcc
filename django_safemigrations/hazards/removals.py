"""Hazards of columns and tables that go too early, or make room for others."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

SETUP = "from django_safemigrations.operations import Contract, DropColumn, Expand, RelaxColumn\n"
RELAX = """
atomic = False
operations = [
    Expand(
        state_operations=[migrations.RemoveField("customer", "email")],
        database_operations=[RelaxColumn(model_name="customer", name="email")],
    ),
]
"""
DROP = """
atomic = False
operations = [
    {phase}(
        database_operations=[
            DropColumn(
                model_name="customer",
                name="email",
                field=models.CharField(max_length=254, null=True),
            ),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM520",
        name="drop-before-contract",
        title="A stage of a contract runs while old code still uses what it drops",
        severity=Severity.ERROR,
        why=(
            "Django names every column in its SELECTs and INSERTs. In an `Expand`, where old code "
            "serves, dropping a column or a table makes each of its statements on that model fail. "
            "The same goes for whatever else is there for old code alone: the trigger that keeps two "
            "columns equal or fills in NULLs, the view under an old name, the old content type."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails on every statement that touches the model; the data is gone.",
        way_out=(
            "Move it into a `Contract`, in a migration of its own:\n\n"
            "```python\n"
            "Contract(\n"
            "    database_operations=[\n"
            '        DropColumn(model_name="customer", name="email", field=...),\n'
            "    ],\n"
            ")\n"
            "```"
        ),
        bad=Example(DROP.format(phase="Expand"), setup=SETUP, before=RELAX),
        good=Example(DROP.format(phase="Contract"), setup=SETUP, before=RELAX),
    ),
    Hazard(
        code="DSM521",
        name="replace-under-the-same-name",
        title="A field is removed and another one takes its column in the same migration",
        severity=Severity.ERROR,
        why=(
            "Some changes of a field Django can't make with `ALTER COLUMN`, such as another "
            "expression of a generated column; written as a removal and an addition, the old "
            "column is dropped with its values. Old code goes on reading and writing the column "
            "under its name, and meets another one. No two columns of a table can have one name, "
            "so there is no step at which both generations of code work."
        ),
        lock="ACCESS EXCLUSIVE, for an instant, or for as long as a generated column is written",
        who_waits="Old code fails or reads other values; the old ones are lost.",
        way_out=(
            "Give the new field another name, and remove the old one as `makemigrations` stages "
            "it:\n\n"
            "```python\n"
            'migrations.AddField("order", "total_text", models.CharField(max_length=20, '
            "null=True))\n"
            "```\n\n"
            "or another `db_column` under the same name, or add it in a later release, when the "
            "contract of the removal has run."
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveField("order", "total"),
                migrations.AddField(
                    "order", "total", models.CharField(max_length=20, null=True)
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.AddField(
                    "order", "total_text", models.CharField(max_length=20, null=True)
                ),
            ]
            """
        ),
    ),
)
