"""Hazards of how a migration fits into a deploy: reversal, data, phases and raw SQL."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

FILL = """
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Order.objects.filter(reference="").update(reference="unknown")
"""

SYNC = (
    "from django_safemigrations.operations import "
    "AddSyncedColumns, BackfillSyncedColumns, Contract, DropSyncedColumns, Expand\n"
)

EXPAND_RENAME = """
atomic = False
operations = [
    Expand(
        state_operations=[migrations.RenameField("order", "total", "amount")],
        database_operations=[
            AddSyncedColumns(model_name="order", renames={"total": "amount"}),
            BackfillSyncedColumns(model_name="order", renames={"total": "amount"}),
        ],
    ),
]
"""

CONTRACT_RENAME = """
atomic = False
operations = [
    Contract(
        database_operations=[
            DropSyncedColumns(model_name="order", renames={"total": "amount"}),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM401",
        name="irreversible-operation",
        title="The operation can't be reversed, so the deploy can't be rolled back past it",
        severity=Severity.WARNING,
        why=(
            "Django refuses to reverse a `RunSQL` without `reverse_sql` and a `RunPython` without "
            "`reverse_code`. When the release has to go back, the database can't."
        ),
        lock="-",
        who_waits="Nobody; a rollback stops at this migration with IrreversibleError.",
        way_out=(
            "Say what reverses it; if nothing has to be undone, say that:\n\n"
            "```python\n"
            "migrations.RunPython(fill, migrations.RunPython.noop)\n"
            "migrations.RunSQL(sql, reverse_sql=migrations.RunSQL.noop)\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunPython(fill),
            ]
            """,
            setup=FILL,
            also=("DSM402",),
        ),
        good=Example(
            """
            operations = [
                # safemigrations: ignore DSM402 -- at most a few hundred orders lack a reference
                migrations.RunPython(fill, migrations.RunPython.noop),
            ]
            """,
            setup=FILL,
        ),
    ),
    Hazard(
        code="DSM402",
        name="unbatched-data-migration",
        title="A data migration that isn't known to run in batches",
        severity=Severity.WARNING,
        work=Work.UPDATE,
        why=(
            "PostgreSQL keeps each row that is changed locked until the transaction ends. One "
            "`update()` or `delete()` of as many rows as there are, or a loop over them in an "
            "atomic migration (or in one `transaction.atomic()`, which `bulk_update` has of its "
            "own), locks them for all of its time; vacuum can't clean up behind it, and replicas "
            "get it all at once. Batches in an atomic migration are one transaction as well. Rows "
            "picked by primary key or by unique fields, and functions that commit batch after "
            "batch, are not reported."
        ),
        lock="Row locks (FOR UPDATE) until the transaction ends",
        who_waits="Every UPDATE and DELETE of a row that the migration has changed.",
        way_out=(
            "`RunInBatches` works in short transactions, throttled and resumable; in a migration "
            "of its own with `atomic = False`:\n\n"
            "```python\n"
            'RunInBatches("order", UpdateRows({"reference": "unknown"}, where=Q(reference="")), '
            "RunInBatches.noop)\n"
            "```\n\n"
            "For NULLs to fill in before NOT NULL, there is `BackfillNulls`. By hand, walk the "
            "primary key:\n\n"
            "```python\n"
            "def fill(apps, schema_editor):\n"
            '    Order = apps.get_model("store", "Order")\n'
            "    last = 0\n"
            '    orders = Order.objects.filter(reference="").order_by("pk")\n'
            '    while keys := list(orders.filter(pk__gt=last).values_list("pk", '
            "flat=True)[:1000]):\n"
            "        last = keys[-1]\n"
            '        Order.objects.filter(pk__in=keys).update(reference="unknown")\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunPython(fill, migrations.RunPython.noop),
            ]
            """,
            setup=FILL,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunPython(fill, migrations.RunPython.noop),
            ]
            """,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    last = 0
    orders = Order.objects.filter(reference="").order_by("pk")
    while keys := list(orders.filter(pk__gt=last).values_list("pk", flat=True)[:1000]):
        last = keys[-1]
        Order.objects.filter(pk__in=keys).update(reference="unknown")
""",
        ),
    ),
    Hazard(
        code="DSM403",
        name="mixed-phases",
        title="One migration holds expand and contract operations",
        severity=Severity.ERROR,
        why=(
            "Expand runs while old code serves, contract when none is left. A migration is applied "
            "as a whole, so one file can't belong to both: either old code breaks, or new code "
            "waits for a column that isn't there. Only a squashed migration (with `replaces`) may "
            "hold both, since it runs where its tables don't exist yet."
        ),
        lock="-",
        who_waits="`safemigrate` refuses the file; plain `migrate` breaks old code.",
        way_out=(
            "Move the `Contract` operations into a migration of their own that depends on this "
            "one:\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            '    dependencies = [("store", "0003_rename_total_expand")]\n'
            "    operations = [\n"
            "        Contract(\n"
            '            database_operations=[DropSyncedColumns("order", {"total": "amount"})]\n'
            "        ),\n"
            "    ]\n"
            "```"
        ),
        bad=Example(
            EXPAND_RENAME.rstrip().removesuffix("]") + CONTRACT_RENAME.split("[\n", 1)[1],
            setup=SYNC,
        ),
        good=Example(CONTRACT_RENAME, setup=SYNC, before=EXPAND_RENAME),
    ),
    Hazard(
        code="DSM404",
        name="contract-without-expand",
        title="A contract operation undoes what no migration before it set up",
        severity=Severity.ERROR,
        why=(
            "`DropSyncedColumns` removes the trigger and the old column that "
            "`AddSyncedColumns` left; "
            "`StopFillingNulls` removes the trigger of `FillNullsOnWrite`. If no migration that "
            "this one depends on holds the first half, a file was deleted, renamed or merged "
            "wrongly, and the contract finds nothing to do, or runs before its expand."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Old code fails if the column goes before both columns were kept equal.",
        way_out=(
            "Restore the expand migration, or make this one depend on it:\n\n"
            "```python\n"
            'dependencies = [("store", "0003_rename_total_expand")]\n'
            "```"
        ),
        bad=Example(CONTRACT_RENAME, setup=SYNC),
        good=Example(CONTRACT_RENAME, setup=SYNC, before=EXPAND_RENAME),
    ),
    Hazard(
        code="DSM405",
        name="sql-not-inspected",
        title="What this operation does to the database was not inspected",
        severity=Severity.WARNING,
        why=(
            "The SQL of a `RunSQL` is read with PostgreSQL's own parser and judged like Django's own "
            'operations, if the extra is installed: `pip install "django-safemigrations[sql]"`. '
            "What is left is SQL that is only put together when it runs (`EXECUTE format(…)`), "
            "functions whose bodies no migration shows, and operations that neither Django nor this "
            "package ships. They can take any lock for any time: read them, or trace them in a "
            "rehearsal."
        ),
        lock="unknown",
        who_waits="Unknown.",
        way_out=(
            "Look the statements up in PostgreSQL's "
            "[table of "
            "locks](https://www.postgresql.org/docs/current/explicit-locking.html). Where "
            "Django or this package has an operation for it, use that. Otherwise say what you "
            "found:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM405 -- its function reads one row of a table of its own\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "SELECT archive_orders()", reverse_sql=migrations.RunSQL.noop
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "COMMENT ON TABLE store_order IS 'one row an order'",
                    reverse_sql="COMMENT ON TABLE store_order IS NULL",
                ),
                # safemigrations: ignore DSM405 -- reads one row of its own table
                migrations.RunSQL("SELECT refresh_counters()", migrations.RunSQL.noop),
            ]
            """
        ),
    ),
)
