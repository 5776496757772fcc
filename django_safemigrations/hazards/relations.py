"""Hazards of foreign keys that point elsewhere, and of a column's default and comment."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

PAYMENT = """
operations = [
    migrations.CreateModel(
        "Payment",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("cents", models.PositiveIntegerField()),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM542",
        name="foreign-key-new-target",
        title="A foreign key points to another table, and old code takes its values for the old one's",
        severity=Severity.WARNING,
        why=(
            "The column keeps its name and its values. While both generations of code run, old "
            "code looks its rows up in the old table and new code in the new one, and each reads "
            "what the other wrote as a key of its own. No statement fails for it, and no "
            "constraint can tell: a key that both tables have is right for both."
        ),
        lock="—",
        who_waits="Nobody waits; both generations read rows that are not meant.",
        way_out=(
            "Add a second foreign key, fill it in batches, switch the code over, and remove the "
            "first in a later release:\n\n"
            "```python\n"
            'migrations.AddField("order", "tag", models.ForeignKey("store.Tag", models.PROTECT, '
            "null=True))\n"
            "```\n\n"
            "If the keys of both tables are the same on purpose (a table that was split or "
            "copied), the change is staged by `makemigrations`: the old constraint is dropped in "
            "expand, the new one is added NOT VALID and validated in contract."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "order", "customer", models.ForeignKey("store.Tag", models.PROTECT)
                ),
            ]
            """,
            also=("DSM509",),
        ),
        good=Example(
            """
            operations = [
                migrations.AddField(
                    "order",
                    "tag",
                    models.ForeignKey(
                        "store.Tag",
                        models.PROTECT,
                        null=True,
                        db_constraint=False,
                        db_index=False,
                    ),
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM543",
        name="drop-db-default",
        title="A database default is dropped while old code's INSERTs rely on it",
        severity=Severity.ERROR,
        why=(
            "Code that knows a `db_default` and gives no value writes the keyword DEFAULT. When "
            "the column has no default any more, that is NULL: the INSERT fails if the column is "
            "NOT NULL, and stores NULL without a word if it is not."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; old code's INSERTs fail, or store NULL.",
        way_out=(
            "Drop it when no old code is left. `makemigrations` writes it so:\n\n"
            "```python\n"
            "Contract(\n"
            '    state_operations=[migrations.AlterField("order", "discount", '
            "models.IntegerField(null=True))],\n"
            '    database_operations=[AlterColumnDefault(model_name="order", name="discount")],\n'
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField("order", "discount", models.IntegerField(null=True)),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                Contract(
                    state_operations=[
                        migrations.AlterField("order", "discount", models.IntegerField(null=True)),
                    ],
                    database_operations=[
                        AlterColumnDefault(model_name="order", name="discount"),
                    ],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import AlterColumnDefault, Contract",
        ),
    ),
    Hazard(
        code="DSM544",
        name="comment-sets-type",
        title="A changed comment sets the column's type anew, which reads the table or builds indexes",
        severity=Severity.ERROR,
        work=Work.BUILD,
        why=(
            "For a changed `db_comment` Django writes `ALTER COLUMN … TYPE` with the type that the "
            "column has, and then the comment. PostgreSQL rewrites nothing for it, but validates "
            "every CHECK that names the column against all rows, builds expression and partial "
            "indexes that name it anew, and fails if a view uses the column."
        ),
        lock="ACCESS EXCLUSIVE",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Set the comment alone. `makemigrations` writes it so:\n\n"
            "```python\n"
            "Expand(\n"
            '    state_operations=[migrations.AlterField("payment", "cents", '
            'models.PositiveIntegerField(db_comment="without tax"))],\n'
            '    database_operations=[SetColumnComment(model_name="payment", name="cents")],\n'
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "payment", "cents", models.PositiveIntegerField(db_comment="without tax")
                ),
            ]
            """,
            before=PAYMENT,
        ),
        good=Example(
            """
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "payment", "cents", models.PositiveIntegerField(db_comment="without tax")
                        ),
                    ],
                    database_operations=[SetColumnComment(model_name="payment", name="cents")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Expand, SetColumnComment",
            before=PAYMENT,
        ),
    ),
)
