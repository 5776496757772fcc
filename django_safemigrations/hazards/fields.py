"""Hazards of adding, removing and changing fields."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

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
            "Give the field a database default, which stays:\n\n"
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
            "Add the bare column first, then what belongs to it, each in its own migration:\n\n"
            "```python\n"
            'migrations.AddField("order", "rank", models.IntegerField(null=True))\n'
            "# next file: AddConstraintNotValid, then ValidateConstraint in one more file\n"
            "# next file: AlterField with db_index=True, built by CreateFieldIndexesConcurrently\n"
            "```\n\n"
            "For a foreign key: `db_constraint=False, db_index=False` first."
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
            "Remove the field from the models first and drop the column one release later. First "
            "release (make the column nullable, or give it a `db_default`, before this):\n\n"
            "```python\n"
            "migrations.SeparateDatabaseAndState(\n"
            '    state_operations=[migrations.RemoveField("customer", "email")]\n'
            ")\n"
            "```\n\n"
            "Next release: `RunSQL` with `ALTER TABLE store_customer DROP COLUMN email`."
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
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[migrations.RemoveField("customer", "email")],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM506",
        name="type-change",
        title="The change of type rewrites the table or its indexes while nobody can use them",
        severity=Severity.ERROR,
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
            "Add a second field of the new type, fill it, switch the code over, and remove the old "
            "one in a later release:\n\n"
            "```python\n"
            'migrations.AddField("order", "total_big", models.BigIntegerField(null=True))\n'
            "```\n\n"
            "To make a varchar shorter, add a CHECK with `AddConstraintNotValid` instead and "
            "validate it in a later migration."
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
            "Add it NOT VALID and validate it in a transaction of its own:\n\n"
            "```python\n"
            "migrations.RunSQL(\n"
            '    "ALTER TABLE store_order ADD CONSTRAINT order_customer_fk "\n'
            '    "FOREIGN KEY (customer_id) REFERENCES store_customer DEFERRABLE INITIALLY '
            'DEFERRED "\n'
            '    "NOT VALID",\n'
            '    "ALTER TABLE store_order DROP CONSTRAINT order_customer_fk",\n'
            ")\n"
            "# next file\n"
            'migrations.RunSQL("ALTER TABLE store_order VALIDATE CONSTRAINT '
            'order_customer_fk", "")\n'
            "```\n\n"
            "To relax NOT NULL, change the column alone: a `SeparateDatabaseAndState` with the "
            "AlterField as its state and `ALTER COLUMN customer_id DROP NOT NULL` as its SQL."
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
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.AlterField(
                            "order",
                            "customer",
                            models.ForeignKey("store.Customer", models.PROTECT, null=True),
                        ),
                    ],
                    database_operations=[
                        # safemigrations: ignore DSM405 -- DROP NOT NULL is instant
                        migrations.RunSQL(
                            "ALTER TABLE store_order ALTER COLUMN customer_id DROP NOT NULL",
                            "ALTER TABLE store_order ALTER COLUMN customer_id SET NOT NULL",
                        ),
                    ],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM510",
        name="volatile-default-or-stored-generated",
        title="The new column's value differs by row, so the whole table is rewritten",
        severity=Severity.ERROR,
        why=(
            "PostgreSQL adds a column with a constant or stable default (`Now()`) without touching "
            "the rows. With a volatile one (`RandomUUID()`, `Random()`, `clock_timestamp()`, an "
            "identity column) or `GENERATED … STORED` it writes every row anew and builds all "
            "indexes again, under ACCESS EXCLUSIVE."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the rewrite takes",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Add the column nullable and without default, set the default in the next migration "
            "(instant, and valid for new rows only), fill the old rows in batches, then make it "
            "NOT NULL:\n\n"
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
