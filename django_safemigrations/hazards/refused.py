"""Hazards of alterations that Django writes and then refuses, or that leave rows behind."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

TAGGING = """
operations = [
    migrations.CreateModel(
        "Tagging",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("store.Order", models.CASCADE)),
            ("tag", models.ForeignKey("store.Tag", models.CASCADE)),
        ],
    ),
]
"""

TWO_TABLES = """
operations = [
    migrations.CreateModel(
        "Tagging",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("store.Order", models.CASCADE)),
            ("tag", models.ForeignKey("store.Tag", models.CASCADE)),
        ],
    ),
    migrations.CreateModel(
        "Marking",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("store.Order", models.CASCADE)),
            ("tag", models.ForeignKey("store.Tag", models.CASCADE)),
        ],
    ),
    migrations.AddField(
        "order", "marks", models.ManyToManyField("store.Tag", "+", through="store.Tagging")
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM545",
        name="alteration-refused",
        title="Django writes this AlterField and then refuses to run it",
        severity=Severity.ERROR,
        why=(
            "`makemigrations` writes an `AlterField` when the `through` model of a "
            "ManyToManyField is added or taken away, and when the expression of a generated "
            "column changes. `migrate` then ends with `ValueError`: Django's schema editor has "
            "no statement for either."
        ),
        lock="—",
        who_waits="Nobody; the deploy stops at this migration.",
        way_out=(
            "A `through` model for a table that Django made: give the model that table's name "
            "(`db_table`) and columns, and let the state alone change:\n\n"
            "```python\n"
            "migrations.SeparateDatabaseAndState(\n"
            "    state_operations=[\n"
            '        migrations.CreateModel("OrderTag", [...], options={"db_table": '
            '"store_order_tags"}),\n'
            '        migrations.AlterField("order", "tags", models.ManyToManyField("store.Tag", '
            'through="store.OrderTag")),\n'
            "    ]\n"
            ")\n"
            "```\n\n"
            "More fields of the model follow as `AddField` in the next migration.\n\n"
            "A generated column: add one with the new expression under another name, switch the "
            "code over, and remove the old one in the next release."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "order",
                    "tags",
                    models.ManyToManyField("store.Tag", through="store.Tagging"),
                ),
            ]
            """,
            before=TAGGING,
        ),
        good=Example(
            """
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.CreateModel(
                            "OrderTag",
                            [
                                ("id", models.BigAutoField(primary_key=True)),
                                ("order", models.ForeignKey("store.Order", models.CASCADE)),
                                ("tag", models.ForeignKey("store.Tag", models.CASCADE)),
                            ],
                            options={"db_table": "store_order_tags"},
                        ),
                        migrations.AlterField(
                            "order",
                            "tags",
                            models.ManyToManyField("store.Tag", through="store.OrderTag"),
                        ),
                    ],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM546",
        name="other-through-table",
        title="A ManyToManyField is read from another table, and the rows of the first stay behind",
        severity=Severity.ERROR,
        why=(
            "Django does nothing in the database when a ManyToManyField goes from one `through` "
            "model to another: new code sees what the other table holds, and what old code writes "
            "to the first is lost for it."
        ),
        lock="—",
        who_waits="Nobody; new code misses rows without an error.",
        way_out=(
            "Add a second ManyToManyField with the new `through` model, write to both, copy the "
            "rows in batches, and remove the first in a later release. Where the two models are "
            "one table, give the new one the `db_table` of the old one."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "order",
                    "marks",
                    models.ManyToManyField("store.Tag", "+", through="store.Marking"),
                ),
            ]
            """,
            before=TWO_TABLES,
        ),
        good=Example(
            """
            operations = [
                migrations.AddField(
                    "order",
                    "labels",
                    models.ManyToManyField("store.Tag", "+", through="store.Marking"),
                ),
            ]
            """,
            before=TWO_TABLES,
        ),
    ),
)
