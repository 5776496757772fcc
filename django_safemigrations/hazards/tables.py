"""Hazards of deleting and renaming tables, and of adding constraints to them."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

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
            "Take the model out of the models first, and drop its table when no old code is left. "
            "`makemigrations` writes it so:\n\n"
            "```python\n"
            "Expand(\n"
            '    state_operations=[migrations.DeleteModel("Tag")],\n'
            '    database_operations=[RelaxTable(model_name="Tag")],\n'
            ")\n"
            "# a file of its own\n"
            "Contract(\n"
            "    database_operations=[\n"
            '        DropTable(model_name="Tag", fields=[...], options={"db_table": "store_tag"}),\n'
            "    ],\n"
            ")\n"
            "```\n\n"
            "`RelaxTable` lets new code delete the rows that the table's foreign keys refer to; "
            "`DropTable` never drops what depends on the table, but names it."
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
            atomic = False
            operations = [
                Expand(
                    state_operations=[migrations.DeleteModel("Tag")],
                    database_operations=[RelaxTable(model_name="Tag")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Expand, RelaxTable\n",
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
            "Run `makemigrations` with `django_safemigrations` installed: it renames the table and "
            "puts an updatable view under the old name, so that old code goes on, and drops the "
            "view in a contract migration. Or keep the table's name and rename in Python only. Both "
            "operations in one state-only step:\n\n"
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
        work=Work.BUILD,
        remains="old code fails where it writes what the constraint forbids",
        why=(
            "A CHECK is validated against every row under ACCESS EXCLUSIVE. A unique "
            "constraint builds its index under ACCESS EXCLUSIVE; one with a condition, with "
            "expressions or with opclasses is a plain unique index, built under SHARE. A row that "
            "violates it makes the migration fail after all that, and from then on old code's "
            "violating writes fail."
        ),
        lock="ACCESS EXCLUSIVE (SHARE for a unique index)",
        who_waits="Every statement on the table, reads included; for SHARE, writes.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed. A CHECK becomes a contract "
            "migration, which runs when no old code is left: rows that violate it are counted, it "
            "is added NOT VALID, and validated without blocking. A unique constraint becomes an expand "
            "migration: duplicates are counted, its index is built concurrently and then made the "
            "constraint. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Contract(\n"
            "        state_operations=[migrations.AddConstraint(...)],\n"
            "        database_operations=[\n"
            '            AddCheckNotValid("order", "order_total_positive"),\n'
            '            ValidateCheck("order", "order_total_positive"),\n'
            "        ],\n"
            "    )\n"
            "]\n"
            "```\n\n"
            "For a UniqueConstraint it is an `Expand` with "
            '`AddUniqueConstraint("order", "order_once")`.'
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
            atomic = False
            operations = [
                Contract(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.CheckConstraint(
                                condition=models.Q(total__gte=0), name="order_total_positive"
                            ),
                        ),
                    ],
                    database_operations=[
                        AddCheckNotValid("order", "order_total_positive"),
                        ValidateCheck("order", "order_total_positive"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import "
                "AddCheckNotValid, Contract, ValidateCheck\n"
            ),
        ),
    ),
    Hazard(
        code="DSM508",
        name="unique-together",
        title="A new unique_together builds its index while nobody can use the table",
        severity=Severity.ERROR,
        work=Work.BUILD,
        why=(
            "`ALTER TABLE … ADD CONSTRAINT … UNIQUE` builds the index under ACCESS EXCLUSIVE, and "
            "fails at the end if there is one duplicate. When a set is replaced, Django drops the "
            "old constraint first: for a while nothing is enforced, and old code's "
            "`ON CONFLICT` on the old columns fails."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the index takes to build",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: it writes the new set as an "
            "expand migration that counts duplicates, builds the unique index concurrently and turns "
            "it into the constraint; a set that goes is dropped after that. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Expand(\n"
            "        state_operations=[migrations.AlterUniqueTogether(...)],\n"
            '        database_operations=[AddUniqueTogether("order", ["customer", "reference"])],\n'
            "    )\n"
            "]\n"
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
                Expand(
                    state_operations=[
                        migrations.AlterUniqueTogether("order", {("customer", "reference")}),
                    ],
                    database_operations=[
                        AddUniqueTogether("order", ["customer", "reference"]),
                    ],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import AddUniqueTogether, Expand\n",
        ),
    ),
)
