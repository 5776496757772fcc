"""Hazards of changing a column's type that staging alone does not remove."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

STAGES = (
    "from django_safemigrations.operations import AddShadowColumn, BackfillShadowColumn, "
    "CopyShadowConstraints, CopyShadowIndexes, DropReplacedColumn, Expand, SwapColumns\n"
)

HAZARDS = (
    Hazard(
        code="DSM525",
        name="no-column-for-both",
        title="No single column can take the statements of old and of new code",
        severity=Severity.ERROR,
        why=(
            "A staged change of type converts the rows while the application runs, and swaps the "
            "columns in an instant. But code is replaced one process after the other, and both "
            "generations use a column of the same name. For some pairs of types neither column "
            "serves both: `bulk_create` sends `UNNEST(text[])`, which a jsonb column refuses; "
            "`WHERE total = 5` finds no operator on a text column; a `DecimalField` that reads "
            "an integer column gives the code an `int`."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; one generation's statements fail, or it reads values of another kind.",
        way_out=(
            "Give new code a column of its own: add `db_column` to the field in the model, delete "
            "the migration and run `makemigrations` again. Both columns are then kept in step, "
            "each in its own type, until no old code is left:\n\n"
            "```python\n"
            'total = models.TextField(db_column="total_text")\n'
            "```\n\n"
            "Or keep the application down between old and new code: run the expand while it "
            "serves, stop it, run the contract (an instant), and start the new code."
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                Expand(
                    database_operations=[
                        AddShadowColumn(model_name="order", name="total", db_type="text"),
                        BackfillShadowColumn(model_name="order", name="total"),
                        CopyShadowIndexes(model_name="order", name="total"),
                        CopyShadowConstraints(model_name="order", name="total"),
                    ],
                ),
            ]
            """,
            setup=STAGES.replace(" DropReplacedColumn,", "").replace(", SwapColumns", ""),
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "order", "total", models.TextField(db_column="total_text")
                        ),
                    ],
                    database_operations=[
                        AddShadowColumn(
                            model_name="order",
                            name="total",
                            db_type="text",
                            columns={"total": "total_text"},
                        ),
                        BackfillShadowColumn(
                            model_name="order", name="total", columns={"total": "total_text"}
                        ),
                        CopyShadowIndexes(
                            model_name="order", name="total", columns={"total": "total_text"}
                        ),
                        CopyShadowConstraints(
                            model_name="order", name="total", columns={"total": "total_text"}
                        ),
                    ],
                ),
            ]
            """,
            setup=STAGES.replace(" DropReplacedColumn,", "").replace(", SwapColumns", ""),
        ),
    ),
)
