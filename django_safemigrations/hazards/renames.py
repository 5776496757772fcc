"""Hazards of renaming a field."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

SYNC = (
    "from django_safemigrations.operations import "
    "AddSyncedColumns, BackfillSyncedColumns, CopyConstraints, CopyIndexes, Expand\n"
)

STAGED_RENAME = """
atomic = False
operations = [
    Expand(
        state_operations=[migrations.RenameField("order", "{old}", "{new}")],
        database_operations=[
            AddSyncedColumns(model_name="order", renames={{"{old}": "{new}"}}),
            BackfillSyncedColumns(model_name="order", renames={{"{old}": "{new}"}}),
            CopyIndexes(model_name="order", renames={{"{old}": "{new}"}}),
            CopyConstraints(model_name="order", renames={{"{old}": "{new}"}}),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM301",
        name="rename-column",
        title="After a column is renamed, every statement of old code that names it fails",
        severity=Severity.ERROR,
        why=(
            "`RENAME COLUMN` is instant, but code is not replaced in the same instant. Until the "
            "last old process is gone its SELECTs, INSERTs and UPDATEs name a column that does not "
            "exist; and new code fails in the same way until the migration has run."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails on every statement that touches the model.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: it adds a second column, "
            "keeps both equal by a trigger, copies what is there in batches, and drops the old "
            "column in a contract migration. Where the column's name does not matter, keep it and "
            "do no work in the database at all:\n\n"
            "```python\n"
            'amount = models.IntegerField(db_column="total")\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RenameField("order", "total", "amount"),
            ]
            """
        ),
        good=Example(STAGED_RENAME.format(old="total", new="amount"), setup=SYNC),
    ),
    Hazard(
        code="DSM302",
        name="rename-not-stageable",
        title="This column's rename breaks old code and can't be staged by a second column",
        severity=Severity.ERROR,
        why=(
            "A rename is made safe by a second column that is kept equal. That can't be done for a "
            "primary key, a link to a parent model, a generated column, a column in an exclusion "
            "constraint, or a ManyToManyField, whose rename renames a table. Left as it is, the "
            "rename breaks old code like any other (DSM301)."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails on every statement that names the column or table.",
        way_out=(
            "The table of a ManyToManyField: run `makemigrations` with `django_safemigrations` "
            "installed, which renames it and puts a view under the old name. Otherwise keep the name "
            "in the database and change it in Python only:\n\n"
            "```python\n"
            'number = models.BigAutoField(primary_key=True, db_column="id")\n'
            'labels = models.ManyToManyField("store.Tag", db_table="store_order_tags")\n'
            "```\n\n"
            "With the `db_column` (or `db_table`) in a migration before the rename, "
            "no work is left for the database."
        ),
        bad=Example(
            """
            operations = [
                migrations.RenameField("order", "tags", "labels"),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.AlterField(
                    "order", "id", models.BigAutoField(db_column="id", primary_key=True)
                ),
                migrations.RenameField("order", "id", "number"),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM304",
        name="rename-null-default-ambiguous",
        title="In a synchronised rename, an explicit NULL can be taken for an omitted value",
        severity=Severity.WARNING,
        why=(
            "While both columns exist a trigger copies the one that was written. On a nullable "
            "column with a database default an explicit NULL and a value left out look alike to "
            "it: a NULL that the application wrote on INSERT can end as the default."
        ),
        lock="-",
        who_waits="Nobody; a NULL written on INSERT during the overlap may become the default.",
        way_out=(
            "If the application writes NULL to this field on purpose, drop the database default in "
            "an earlier release, or rename in Python only: "
            '`rebate = models.IntegerField(null=True, db_default=0, db_column="discount")`. '
            "If it never does, suppress this finding with that reason."
        ),
        bad=Example(STAGED_RENAME.format(old="discount", new="rebate"), setup=SYNC),
        good=Example(
            """
            operations = [
                migrations.AlterField(
                    "order",
                    "discount",
                    models.IntegerField(db_column="discount", db_default=0, null=True),
                ),
                migrations.RenameField("order", "discount", "rebate"),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM305",
        name="rename-as-remove-add",
        title="A field is removed and one like it is added: a rename would keep the data",
        severity=Severity.ERROR,
        why=(
            "`makemigrations` asks whether a field was renamed only if nothing else of it changes. A "
            "rename with any other change, a question answered with no, and a run without questions "
            "give a removal and an addition. The column's data is dropped with it, and old code "
            "fails on every statement that names it."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails; the data of the removed column is lost.",
        way_out=(
            "If it is a rename, delete the file, rename the field without any other change, run "
            "`makemigrations`, answer yes, and make the other change in a run of its own. Or write\n\n"
            "```python\n"
            'migrations.RenameField("order", "total", "amount")\n'
            "```\n\n"
            "which `makemigrations` with `django_safemigrations` stages. If it is not, put the "
            "removal into a migration of its own: it belongs to a later release anyway (DSM503)."
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveField("order", "total"),
                migrations.AddField("order", "amount", models.IntegerField(null=True)),
            ]
            """
        ),
        good=Example(STAGED_RENAME.format(old="total", new="amount"), setup=SYNC),
    ),
    Hazard(
        code="DSM306",
        name="rename-revalidates-foreign-key",
        title="Renaming a foreign key drops its constraint and checks every row again",
        severity=Severity.ERROR,
        work=Work.SCAN,
        why=(
            "For a rename of a foreign key Django drops the constraint, renames the column "
            "and adds "
            "the constraint again with validation, all in one transaction. That reads the whole "
            "table and looks up every row in the referenced one, while both are locked. It comes "
            "on top of what any rename does to old code (DSM301)."
        ),
        lock="ACCESS EXCLUSIVE on both tables, for as long as the validation takes",
        who_waits="Every statement on the table and on the referenced table, reads included.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: the second column gets a "
            "constraint that is added NOT VALID and validated without blocking. Or rename in "
            "Python "
            "only:\n\n"
            "```python\n"
            'buyer = models.ForeignKey("store.Customer", models.PROTECT, db_column="customer_id")\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RenameField("order", "customer", "buyer"),
            ]
            """,
            also=("DSM301",),
        ),
        good=Example(STAGED_RENAME.format(old="customer", new="buyer"), setup=SYNC),
    ),
)
