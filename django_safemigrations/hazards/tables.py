"""Hazards of deleting and renaming tables, and of adding constraints to them."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

HAZARDS = (
    Hazard(
        code="DSM504",
        name="delete-model",
        title="A table is dropped while old code still uses it",
        severity=Severity.ERROR,
        why=(
            "Old code that still lists, joins or deletes (Django collects related rows before a "
            "delete) fails on the missing table. `DROP TABLE` also takes ACCESS EXCLUSIVE on every "
            "table that its foreign keys point to."
        ),
        lock="ACCESS EXCLUSIVE on the table and on every table it references",
        who_waits="Old code fails; statements on the referenced tables wait for an instant.",
        way_out=(
            "Leave the state first and drop the table one release later. First release:\n\n"
            "```python\n"
            "migrations.SeparateDatabaseAndState(\n"
            '    state_operations=[migrations.DeleteModel("Customer")]\n'
            ")\n"
            "```\n\n"
            "Next release: `RunSQL` with `DROP TABLE store_customer`."
        ),
        bad=Example(
            """
            operations = [
                migrations.DeleteModel("Tag"),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[migrations.DeleteModel("Tag")],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM505",
        name="rename-model-or-table",
        title="A table is renamed while old code still uses the old name",
        severity=Severity.ERROR,
        why=(
            "`RenameModel` and `AlterModelTable` rename the table, and with it the tables and "
            "columns of its ManyToManyFields. Old code fails on the old name at once, new code "
            "failed on the new one until then. `RenameModel` also drops every foreign key that "
            "points to the table and adds it again, with validation of all rows."
        ),
        lock="ACCESS EXCLUSIVE on the table and on every table that references it",
        who_waits="Old code fails; statements on all of them wait while keys are validated.",
        way_out=(
            "Keep the table's name and rename in Python only. Both operations in one state-only "
            "step:\n\n"
            "```python\n"
            "migrations.SeparateDatabaseAndState(\n"
            "    state_operations=[\n"
            '        migrations.RenameModel("Tag", "Label"),\n'
            '        migrations.AlterModelTable("Label", "store_tag"),\n'
            "    ]\n"
            ")\n"
            "```\n\n"
            'with `db_table = "store_tag"` in the model\'s Meta. A model with a ManyToManyField, '
            "or the target of one, needs a `through` model with its columns named, too."
        ),
        bad=Example(
            """
            operations = [
                migrations.RenameModel("Customer", "Client"),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.RenameModel("Customer", "Client"),
                        migrations.AlterModelTable("Client", "store_customer"),
                    ],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM507",
        name="add-constraint",
        title="Adding a constraint reads the whole table, or builds an index, under a lock",
        severity=Severity.ERROR,
        why=(
            "A CHECK is validated against every row under ACCESS EXCLUSIVE. A unique or exclusion "
            "constraint builds its index under ACCESS EXCLUSIVE; one with a condition, with "
            "expressions or with opclasses is a plain unique index, built under SHARE. A row that "
            "violates it makes the migration fail after all that, and from then on old code's "
            "violating writes fail."
        ),
        lock="ACCESS EXCLUSIVE (SHARE for a unique index)",
        who_waits="Every statement on the table, reads included; for SHARE, writes.",
        way_out=(
            "A CHECK: add it NOT VALID, and validate it in the next migration, which does not "
            "block:\n\n"
            "```python\n"
            'AddConstraintNotValid("order", models.CheckConstraint(...))\n'
            "# next file\n"
            'ValidateConstraint("order", "order_total_positive")\n'
            "```\n\n"
            "A unique constraint: build a unique index concurrently first, then "
            "`ALTER TABLE … ADD CONSTRAINT … UNIQUE USING INDEX …`."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddConstraint(
                    "order",
                    models.CheckConstraint(
                        condition=models.Q(total__gte=0), name="order_total_positive"
                    ),
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                ValidateConstraint("order", "order_total_positive"),
            ]
            """,
            setup=(
                "from django.contrib.postgres.operations import "
                "AddConstraintNotValid, ValidateConstraint\n"
            ),
            before="""
            operations = [
                AddConstraintNotValid(
                    "order",
                    models.CheckConstraint(
                        condition=models.Q(total__gte=0), name="order_total_positive"
                    ),
                ),
            ]
            """,
        ),
    ),
    Hazard(
        code="DSM508",
        name="unique-together",
        title="A new unique_together builds its index while nobody can use the table",
        severity=Severity.ERROR,
        why=(
            "`ALTER TABLE … ADD CONSTRAINT … UNIQUE` builds the index under ACCESS EXCLUSIVE, and "
            "fails at the end if there is one duplicate. When a set is replaced, Django drops the "
            "old constraint first: for a while nothing is enforced, and old code's "
            "`ON CONFLICT` on the old columns fails."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the index takes to build",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Build the unique index concurrently and turn it into the constraint, in a migration "
            "with `atomic = False`:\n\n"
            "```python\n"
            "migrations.SeparateDatabaseAndState(\n"
            '    state_operations=[migrations.AlterUniqueTogether("order", {("customer", '
            '"reference")})],\n'
            "    database_operations=[\n"
            "        migrations.RunSQL(\n"
            '            "CREATE UNIQUE INDEX CONCURRENTLY order_customer_reference_uniq "\n'
            '            "ON store_order (customer_id, reference)",\n'
            '            "DROP INDEX CONCURRENTLY IF EXISTS order_customer_reference_uniq",\n'
            "        ),\n"
            "        migrations.RunSQL(\n"
            '            "ALTER TABLE store_order ADD CONSTRAINT order_customer_reference_uniq "\n'
            '            "UNIQUE USING INDEX order_customer_reference_uniq",\n'
            '            "ALTER TABLE store_order DROP CONSTRAINT order_customer_reference_uniq",\n'
            "        ),\n"
            "    ],\n"
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterUniqueTogether("order", {("customer", "reference")}),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.AlterUniqueTogether("order", {("customer", "reference")}),
                    ],
                    database_operations=[
                        # safemigrations: ignore DSM405 -- concurrent, takes no blocking lock
                        migrations.RunSQL(
                            "CREATE UNIQUE INDEX CONCURRENTLY order_customer_reference_uniq "
                            "ON store_order (customer_id, reference)",
                            "DROP INDEX CONCURRENTLY IF EXISTS order_customer_reference_uniq",
                        ),
                        # safemigrations: ignore DSM405 -- instant, the index is there
                        migrations.RunSQL(
                            "ALTER TABLE store_order ADD CONSTRAINT order_customer_reference_uniq "
                            "UNIQUE USING INDEX order_customer_reference_uniq",
                            "ALTER TABLE store_order DROP CONSTRAINT order_customer_reference_uniq",
                        ),
                    ],
                ),
            ]
            """
        ),
    ),
)
