"""Hazards of changing a primary key."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

INVOICE = """
operations = [
    migrations.CreateModel(
        "Invoice",
        [
            ("id", models.AutoField(primary_key=True)),
            ("number", models.CharField(max_length=20)),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM533",
        name="key-change",
        title="A primary key becomes another column or another kind of value",
        severity=Severity.ERROR,
        why=(
            "Every foreign key to the table, every URL, cache entry and message that names a row "
            "holds the old key. While both generations of code run, a row would need two keys at "
            "once: old code looks it up by one and new code by the other, so no second column and "
            "no trigger can serve both. Besides, Django changes the column and those of all "
            "foreign keys in place, or builds the new index, under ACCESS EXCLUSIVE."
        ),
        lock="ACCESS EXCLUSIVE on the table and on every table that refers to it",
        who_waits="Every statement on these tables; afterwards old code fails on them.",
        way_out=(
            "Give the new key a column of its own, unique and filled, and leave the primary key "
            "where it is; let relations and URLs move over to it release by release:\n\n"
            "```python\n"
            'migrations.AddField("invoice", "uuid", models.UUIDField(default=uuid.uuid4, '
            "unique=True))\n"
            "```\n\n"
            "A key that only gets wider (`AutoField` to `BigAutoField`) is another matter: "
            "`makemigrations` stages it."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "invoice", "id", models.UUIDField(primary_key=True)
                ),
            ]
            """,
            before=INVOICE,
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("invoice", "uuid", models.UUIDField(null=True)),
            ]
            """,
            before=INVOICE,
        ),
    ),
    Hazard(
        code="DSM534",
        name="key-widened-in-place",
        title="A wider primary key rewrites its table and every table that refers to it",
        severity=Severity.ERROR,
        why=(
            "Django drops every foreign key to the table, changes the type of the key and of all "
            "columns that refer to it (of other apps, of many-to-many tables, of child models "
            "too), and adds the foreign keys again. Each `ALTER COLUMN … TYPE` writes a whole "
            "table and all its indexes anew, and each foreign key is validated row by row, all in "
            "one transaction that holds ACCESS EXCLUSIVE on all these tables until the end. A new "
            "`DEFAULT_AUTO_FIELD` does this to every model at once."
        ),
        lock="ACCESS EXCLUSIVE on the table and on every table that refers to it",
        who_waits="Every statement on all of them, reads included, until the last is rewritten.",
        way_out=(
            "`makemigrations` writes it in stages: a second column beside each, filled in batches, "
            "with copies of the indexes and constraints, swapped in table by table in an instant:\n\n"
            "```python\n"
            "Expand(\n"
            '    state_operations=[migrations.AlterField("invoice", "id", ...)],\n'
            "    database_operations=[\n"
            '        AddKeyColumns(model_name="invoice", name="id"),\n'
            '        BackfillKeyColumns(model_name="invoice", name="id"),\n'
            '        CopyKeyIndexes(model_name="invoice", name="id"),\n'
            '        CopyKeyConstraints(model_name="invoice", name="id"),\n'
            '        SwapKeyColumns(model_name="invoice", name="id"),\n'
            "    ],\n"
            ")\n"
            "```\n\n"
            "See the how-to on `BigAutoField`."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField("invoice", "id", models.BigAutoField(primary_key=True)),
            ]
            """,
            before=INVOICE,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "invoice", "id", models.BigAutoField(primary_key=True)
                        ),
                    ],
                    database_operations=[
                        AddKeyColumns(model_name="invoice", name="id"),
                        BackfillKeyColumns(model_name="invoice", name="id"),
                        CopyKeyIndexes(model_name="invoice", name="id"),
                        CopyKeyConstraints(model_name="invoice", name="id"),
                        SwapKeyColumns(model_name="invoice", name="id"),
                    ],
                ),
            ]
            """,
            before=INVOICE,
            setup="""
            from django_safemigrations.operations import (
                AddKeyColumns,
                BackfillKeyColumns,
                CopyKeyConstraints,
                CopyKeyIndexes,
                Expand,
                SwapKeyColumns,
            )
            """,
        ),
    ),
)
