"""Hazards of how the functions that RunPython runs go through the rows of a table."""

from __future__ import annotations

from django_safemigrations.hazards.functions import IN_BATCHES, IN_STEPS, ROW, run
from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

HAZARDS = (
    Hazard(
        code="DSM701",
        name="row-by-row-queries",
        title="A data migration sends a query for each row of a table",
        severity=Severity.WARNING,
        work=Work.UPDATE,
        why=(
            "A query inside a loop over a table is a round trip for each row: reading a relation, "
            "`get()`, `create()`, `save(update_fields=…)`, `delete()`. At half a millisecond each, "
            "ten million rows take well over an hour. In an atomic migration all locks taken so "
            "far are held for that long. Queries inside a loop over a *batch* are not reported."
        ),
        lock="Those that the transaction holds already, for longer",
        who_waits="Whoever waits for the migration's locks; and the deploy.",
        way_out=(
            "Let one statement do many rows: read relations with `select_related` or "
            "`prefetch_related`, write with `bulk_update` and `bulk_create` whenever a thousand "
            "rows are together, or leave it to `RunInBatches`:\n\n"
            "```python\n"
            'RunInBatches("order", UpdateRows({"reference": Upper("reference")}), '
            "RunInBatches.noop)\n"
            "```"
        ),
        bad=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for order in Order.objects.filter(reference="").iterator():
        order.reference = f"A{order.pk}"
        order.save(update_fields=["reference"])
""",
        ),
        good=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    batch = []
    for order in Order.objects.filter(reference="").iterator():
        order.reference = f"A{order.pk}"
        batch.append(order)
        if len(batch) >= 1000:
            Order.objects.bulk_update(batch, ["reference"])
            batch = []
    Order.objects.bulk_update(batch, ["reference"])
""",
        ),
    ),
    Hazard(
        code="DSM702",
        name="stale-rows-written-back",
        title="save() in a loop writes every column back as it was when the row was read",
        severity=Severity.WARNING,
        work=Work.UPDATE,
        remains="what requests write between the loop's read and its save() is lost",
        why=(
            "Without `update_fields`, `save()` writes all columns. The loop has read them before "
            "(all rows at its start, or 2,000 at a time with `.iterator()`), so a request that "
            "changes a row in between has its change undone, and nobody notices. It is also one "
            "round trip a row."
        ),
        lock="FOR UPDATE on each row",
        who_waits="Nobody is kept waiting; writes of requests are lost.",
        way_out=(
            "Write only the columns that change. `RunInBatches` with a function of one row also "
            "computes a row again that was changed in between:\n\n"
            "```python\n"
            '@row_function(writes=["reference"])\n'
            "def fill(order):\n"
            '    order.reference = f"A{order.pk}"\n'
            "    return order\n"
            "```"
        ),
        bad=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for order in Order.objects.filter(reference="").iterator():
        order.reference = f"A{order.pk}"
        order.save()
""",
        ),
        good=Example(IN_BATCHES, setup=ROW),
    ),
    Hazard(
        code="DSM703",
        name="whole-table-in-memory",
        title="A data migration gathers a whole table in memory",
        severity=Severity.WARNING,
        work=Work.SCAN,
        why=(
            "`list(queryset)` makes an object of every row; `bulk_update` and `bulk_create` "
            "without `batch_size` send one statement that names every row, and PostgreSQL needs "
            "the memory as well. A Django model instance takes about a kilobyte: ten million rows "
            "are 10 GB. When the process is killed, the deploy stops half-way."
        ),
        lock="-",
        who_waits="Nobody; the migration is killed.",
        way_out=(
            "Go through `.iterator()` and write whenever a thousand rows are together, or through "
            "slices by primary key:\n\n"
            "```python\n"
            "for order in Order.objects.iterator(chunk_size=2000):\n"
            "    batch.append(order)\n"
            "    if len(batch) >= 1000:\n"
            '        Order.objects.bulk_update(batch, ["reference"])\n'
            "        batch = []\n"
            "```"
        ),
        bad=Example(
            run("count"),
            setup="""
def count(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Tag = apps.get_model("store", "Tag")
    orders = list(Order.objects.all())
    total = sum(order.total for order in orders)
    Tag.objects.create(label=f"total {total}")
""",
        ),
        good=Example(
            run("count"),
            setup="""
def count(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Tag = apps.get_model("store", "Tag")
    total = sum(order.total for order in Order.objects.iterator())
    Tag.objects.create(label=f"total {total}")
""",
        ),
    ),
    Hazard(
        code="DSM711",
        name="rows-saved-unchanged",
        title="A data migration saves rows unchanged, for code that doesn't run there",
        severity=Severity.WARNING,
        work=Work.UPDATE,
        remains="it doesn't do what it was written for",
        why=(
            "`for order in Order.objects.all(): order.save()` is written so that `save()` or a "
            "`post_save` receiver computes something. The historical model has no `save()` of "
            "yours, and receivers that name the real class as their sender aren't called. What is "
            "left is a rewrite of the whole table as it was."
        ),
        lock="FOR UPDATE on each row",
        who_waits="Every UPDATE and DELETE of a row that was saved; and nothing is computed.",
        way_out=(
            "Write out what should be computed:\n\n"
            "```python\n"
            '@row_function(writes=["reference"])\n'
            "def fill(order):\n"
            '    order.reference = f"A{order.pk}"\n'
            "    return order\n"
            "```"
        ),
        bad=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for order in Order.objects.iterator():
        order.save()
""",
        ),
        good=Example(IN_BATCHES, setup=ROW),
    ),
)
