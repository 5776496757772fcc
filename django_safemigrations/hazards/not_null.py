"""Hazards of turning a nullable column into one that is NOT NULL."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

HAZARDS = (
    Hazard(
        code="DSM201",
        name="set-not-null-scans",
        title="SET NOT NULL reads the whole table while nobody can use it",
        severity=Severity.ERROR,
        work=Work.SCAN,
        remains="old code that writes NULL fails",
        why=(
            "`ALTER COLUMN … SET NOT NULL` has to prove that no row holds NULL. Without a "
            "validated "
            "`CHECK (column IS NOT NULL)` it reads every row under ACCESS EXCLUSIVE. From then on "
            "old code that still writes NULL gets an IntegrityError: a database default does not "
            "help, because Django sends NULL explicitly."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the table takes to read",
        who_waits="Every statement on the table, reads included; writes of NULL by old code fail.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed. Without a default it "
            "writes a contract migration, run when no old code is left, that proves the column by "
            "a CHECK that is validated without blocking. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Contract(\n"
            "        state_operations=[migrations.AlterField(...)],\n"
            '        database_operations=[SetNotNull("customer", "email")],\n'
            "    )\n"
            "]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField("customer", "email", models.CharField(max_length=254)),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Contract(
                    state_operations=[
                        migrations.AlterField(
                            "customer", "email", models.CharField(max_length=254)
                        ),
                    ],
                    database_operations=[SetNotNull(model_name="customer", name="email")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Contract, SetNotNull\n",
        ),
    ),
    Hazard(
        code="DSM202",
        name="not-null-rejects-old-writes",
        title="The column becomes NOT NULL while old code still writes NULL to it",
        severity=Severity.ERROR,
        why=(
            "An expand migration runs while old code serves. Once it sets NOT NULL, every INSERT "
            "and UPDATE of old code that leaves the field empty fails, because Django sends NULL "
            "explicitly and no database default replaces that. The staging spares the scan "
            "(DSM201), not the old writers."
        ),
        lock="-",
        who_waits="Nobody waits; writes of NULL by old code fail with an IntegrityError.",
        way_out=(
            "With a value to fill in, let a trigger fill it until the contract:\n\n"
            "```python\n"
            "database_operations=[\n"
            '    FillNullsOnWrite("customer", "email", ""),\n'
            '    BackfillNulls("customer", "email", ""),\n'
            '    SetNotNull("customer", "email"),\n'
            "]\n"
            "```\n\n"
            "Without one, move `SetNotNull` into a `Contract`."
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "customer", "email", models.CharField(max_length=254)
                        ),
                    ],
                    database_operations=[SetNotNull(model_name="customer", name="email")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Expand, SetNotNull\n",
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "customer", "email", models.CharField(default="", max_length=254)
                        ),
                    ],
                    database_operations=[
                        FillNullsOnWrite(model_name="customer", name="email", value=""),
                        BackfillNulls(model_name="customer", name="email", value=""),
                        SetNotNull(model_name="customer", name="email"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import "
                "BackfillNulls, Expand, FillNullsOnWrite, SetNotNull\n"
            ),
        ),
    ),
    Hazard(
        code="DSM203",
        name="not-null-updates-whole-table",
        title="A default for a new NOT NULL is written to the whole table in one transaction",
        severity=Severity.ERROR,
        work=Work.UPDATE,
        remains="old code that writes NULL fails",
        why=(
            "For null → NOT NULL with a default Django runs `UPDATE … WHERE column IS NULL` over "
            "the whole table, between two `ALTER TABLE`s of the same transaction: the first has "
            "taken ACCESS EXCLUSIVE already. Then `SET NOT NULL` reads the table once more "
            "(DSM201) "
            "and from then on old code's writes of NULL fail (DSM202). With a callable such as "
            "`default=uuid4` the call is made once: every row gets the same value."
        ),
        lock="ACCESS EXCLUSIVE, for an update and a scan of the whole table",
        who_waits="Every statement on the table, reads included, until the transaction ends.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: it writes a trigger that "
            "fills NULLs as they are written, batches for the rows that are there, the staged "
            "NOT NULL, and a contract that drops the trigger. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Expand(\n"
            "        state_operations=[migrations.AlterField(...)],\n"
            "        database_operations=[\n"
            '            FillNullsOnWrite("customer", "email", ""),\n'
            '            BackfillNulls("customer", "email", ""),\n'
            '            SetNotNull("customer", "email"),\n'
            "        ],\n"
            "    )\n"
            "]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "customer", "email", models.CharField(default="", max_length=254)
                ),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "customer", "email", models.CharField(default="", max_length=254)
                        ),
                    ],
                    database_operations=[
                        FillNullsOnWrite(model_name="customer", name="email", value=""),
                        BackfillNulls(model_name="customer", name="email", value=""),
                        SetNotNull(model_name="customer", name="email"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import "
                "BackfillNulls, Expand, FillNullsOnWrite, SetNotNull\n"
            ),
        ),
    ),
)
