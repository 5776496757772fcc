"""Hazards of adding, removing and changing fields."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

HAZARDS = (
    Hazard(
        code="DSM501",
        name="add-field-not-null",
        title="A new NOT NULL column without a database default makes old code's INSERTs fail",
        severity=Severity.ERROR,
        why=(
            "Django adds the column with its default, so that existing rows get a value, and then "
            "drops that default. Old code does not know the column and leaves it out of its "
            "INSERTs, which fail from that moment. This includes `CharField(blank=True)`, for "
            "which `makemigrations` asks nothing. A callable default is called once: every "
            "existing row gets the same value."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; every INSERT by old code fails with an IntegrityError.",
        way_out=(
            "With this package installed, `makemigrations` writes an `AddColumn` whose default "
            "stays until no old code is left. By hand, give the field a database default:\n\n"
            "```python\n"
            'migrations.AddField("order", "points", models.IntegerField(db_default=0))\n'
            "```\n\n"
            "or make it nullable, and NOT NULL in a later release."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddField("order", "points", models.IntegerField(default=0)),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("order", "points", models.IntegerField(db_default=0)),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM502",
        name="add-field-scans-or-builds",
        title="The new column brings a check, a unique index, an index or a foreign key with it",
        severity=Severity.ERROR,
        work=Work.BUILD,
        why=(
            "A bare nullable column is added in an instant. What Django writes along with it is "
            "not: the inline CHECK of `PositiveIntegerField` and its kin reads the whole table "
            "under ACCESS EXCLUSIVE although the column is new; `unique=True` builds its index "
            "under it; `db_index=True` and the implicit index of a foreign key are built under "
            "SHARE before the transaction ends; a foreign key locks writes to the referenced table "
            "until then, and is validated if the column has a default."
        ),
        lock="ACCESS EXCLUSIVE or SHARE on the table; SHARE ROW EXCLUSIVE on a referenced table",
        who_waits="Writes at least, reads too for a check or unique; writes to a referenced table.",
        way_out=(
            "Add the bare column first, then what belongs to it, as `makemigrations` writes it with "
            "this package installed:\n\n"
            "```python\n"
            "Expand(\n"
            "    state_operations=[\n"
            '        migrations.AddField("order", "rank", models.PositiveIntegerField(null=True)),\n'
            "    ],\n"
            "    database_operations=[\n"
            '        AddColumn("order", "rank"),\n'
            '        AddFieldCheck("order", "rank"),\n'
            '        ValidateFieldCheck("order", "rank"),\n'
            "    ],\n"
            ")\n"
            "```\n\n"
            "`AddFieldUnique`, `CreateFieldIndexesConcurrently`, and `AddForeignKey` with "
            "`ValidateForeignKey` stand behind `AddColumn` in the same way."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddField("order", "rank", models.PositiveIntegerField(null=True)),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("order", "rank", models.IntegerField(null=True)),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM503",
        name="remove-field",
        title="A column is dropped while old code still selects and inserts it",
        severity=Severity.ERROR,
        why=(
            "Django names every column in its SELECTs and INSERTs. When the column is dropped, all "
            "statements of old code on that model fail. Removing a ManyToManyField drops its "
            "table. Dropping a foreign key also takes ACCESS EXCLUSIVE on the referenced table."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails on every statement that touches the model; the data is gone.",
        way_out=(
            "Take the field out of the models first, and drop the column when no old code is left. "
            "`makemigrations` writes it so:\n\n"
            "```python\n"
            "Expand(\n"
            '    state_operations=[migrations.RemoveField("customer", "email")],\n'
            '    database_operations=[RelaxColumn(model_name="customer", name="email")],\n'
            ")\n"
            "# a file of its own\n"
            "Contract(\n"
            "    database_operations=[\n"
            "        DropColumn(\n"
            '            model_name="customer", name="email", '
            "field=models.CharField(max_length=254, null=True)\n"
            "        ),\n"
            "    ],\n"
            ")\n"
            "```\n\n"
            "`RelaxColumn` lets new code's INSERTs leave the column out, and lets rows be deleted "
            "that a foreign key refers to. For a `ManyToManyField`: `RelaxTable` and `DropTable`."
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveField("customer", "email"),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[migrations.RemoveField("customer", "email")],
                    database_operations=[RelaxColumn(model_name="customer", name="email")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Expand, RelaxColumn\n",
        ),
    ),
    Hazard(
        code="DSM506",
        name="type-change",
        title="The change of type rewrites the table or its indexes while nobody can use them",
        severity=Severity.ERROR,
        work=Work.REWRITE,
        remains="old code may not be able to read or write the new type",
        why=(
            "Most changes of type rewrite the table and all its indexes under ACCESS EXCLUSIVE. "
            "Only a few are free: a longer or unlimited varchar, varchar to text, a numeric with "
            "more digits and the same scale, cidr to inet. Even those read the table again if a "
            "CHECK names the column, rebuild expression and partial indexes that name it, and "
            "validate foreign keys on it. Old code may not be able to read or write the new type "
            "at all."
        ),
        lock="ACCESS EXCLUSIVE (on both tables for a column with a foreign key)",
        who_waits="Every statement on the table, reads included, until the rewrite is done.",
        way_out=(
            "Delete the operation and run `makemigrations` with this package installed: it adds a "
            "second column, converts the rows in batches while a trigger keeps both in step, and "
            "swaps the columns in an instant. See [Change a type](../../how-to/change-a-type.md). "
            "Where it leaves the operation as Django wrote it, add a second field of the new "
            "type, fill it, switch the code over, and remove the old one in a later release:\n\n"
            "```python\n"
            'migrations.AddField("order", "total_big", models.BigIntegerField(null=True))\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField("order", "total", models.BigIntegerField()),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.AlterField("order", "reference", models.CharField(max_length=40)),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM509",
        name="foreign-key-change",
        title="A foreign key is added to an existing column, or dropped and added again",
        severity=Severity.ERROR,
        work=Work.SCAN,
        why=(
            "Adding a foreign key locks both tables against writes while every row is looked up in "
            "the referenced table. Django does this not only for a new target: almost any "
            "`AlterField` of a foreign key (null, default, unique, db_index, to OneToOneField) "
            "drops the constraint and adds it again in the same transaction, and the drop takes "
            "ACCESS EXCLUSIVE on both tables."
        ),
        lock="ACCESS EXCLUSIVE on both tables if re-created; SHARE ROW EXCLUSIVE if new",
        who_waits="Writes to both tables during the validation; reads too if it is re-created.",
        way_out=(
            "Add it NOT VALID and validate it in a transaction of its own, when no old code is "
            "left that writes what it forbids. `makemigrations` writes it so:\n\n"
            "```python\n"
            "Contract(\n"
            '    state_operations=[migrations.AlterField("order", "customer", ...)],\n'
            "    database_operations=[\n"
            '        AddForeignKey(model_name="order", name="customer"),\n'
            '        ValidateForeignKey(model_name="order", name="customer"),\n'
            "    ],\n"
            ")\n"
            "```\n\n"
            "For other changes of a foreign key, change that alone: `DropNotNull`, `SetNotNull`, "
            "`AddFieldUnique`, `AlterColumnDefault` leave the constraint where it is."
        ),
        bad=Example(
            """
            operations = [
                migrations.AlterField(
                    "order",
                    "customer",
                    models.ForeignKey("store.Customer", models.PROTECT, null=True),
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                Expand(
                    state_operations=[
                        migrations.AlterField(
                            "order",
                            "customer",
                            models.ForeignKey("store.Customer", models.PROTECT, null=True),
                        ),
                    ],
                    database_operations=[DropNotNull(model_name="order", name="customer")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import DropNotNull, Expand",
        ),
    ),
    Hazard(
        code="DSM510",
        name="volatile-default-or-stored-generated",
        title="The new column's value differs by row, so the whole table is rewritten",
        severity=Severity.ERROR,
        work=Work.REWRITE,
        why=(
            "PostgreSQL adds a column with a constant or stable default (`Now()`) without touching "
            "the rows. With a volatile one (`RandomUUID()`, `Random()`, `clock_timestamp()`, an "
            "identity column) or `GENERATED … STORED` it writes every row anew and builds all "
            "indexes again, under ACCESS EXCLUSIVE."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the rewrite takes",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "With this package installed, `makemigrations` writes it so: the column nullable and "
            "without default, the default set behind it (instant, and valid for new rows only), "
            "old rows filled in batches, then NOT NULL. By hand:\n\n"
            "```python\n"
            'migrations.AddField("order", "token", models.UUIDField(null=True))\n'
            "# next file\n"
            'migrations.AlterField("order", "token", '
            "models.UUIDField(null=True, db_default=RandomUUID()))\n"
            "```\n\n"
            "A generated column: `db_persist=False` on PostgreSQL 18, or a column kept by a "
            "trigger."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddField(
                    "order", "token", models.UUIDField(db_default=RandomUUID(), null=True)
                ),
            ]
            """,
            setup="from django.contrib.postgres.functions import RandomUUID",
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("order", "token", models.UUIDField(null=True)),
                migrations.AlterField(
                    "order", "token", models.UUIDField(db_default=RandomUUID(), null=True)
                ),
            ]
            """,
            setup="from django.contrib.postgres.functions import RandomUUID",
        ),
    ),
)
