"""Hazards of what else the functions that RunPython runs rely on and do."""

from __future__ import annotations

from django_safemigrations.hazards.functions import IN_STEPS, run
from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

HAZARDS = (
    Hazard(
        code="DSM704",
        name="real-model-in-migration",
        title="A data migration uses today's models instead of those of its time",
        severity=Severity.WARNING,
        why=(
            "An imported model (also by `get_user_model()`, `django.apps.apps.get_model`, "
            "`call_command`, or a helper that imports it) has the columns of today. As soon as a "
            "later migration adds one, this one asks for a column that doesn't exist yet: it works "
            "where it has run already and fails on every new database, as in CI. It also runs "
            "today's `save()`, managers and signals."
        ),
        lock="-",
        who_waits="Nobody; `migrate` fails on new databases.",
        way_out=(
            "Take the model from the registry that the function is given:\n\n"
            "```python\n"
            "def fill(apps, schema_editor):\n"
            '    Order = apps.get_model("store", "Order")\n'
            "    User = apps.get_model(settings.AUTH_USER_MODEL)\n"
            "```"
        ),
        bad=Example(
            run("give"),
            setup="""
from django.contrib.auth.models import Group


def give(apps, schema_editor):
    Group.objects.get_or_create(name="Sellers")
""",
        ),
        good=Example(
            run("give"),
            setup="""
def give(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    Tag.objects.get_or_create(label="Sellers")
""",
        ),
    ),
    Hazard(
        code="DSM705",
        name="historical-model-lacks-it",
        title="A data migration uses a method, manager or property that historical models lack",
        severity=Severity.ERROR,
        why=(
            "`apps.get_model` builds a class from the fields in the migration files. Methods, "
            "properties, managers without `use_in_migrations`, and generic relations of the class "
            "in `models.py` are not there: AttributeError when the line runs, which on an empty "
            "database it may never do."
        ),
        lock="-",
        who_waits="Nobody waits; the deploy stops at this migration.",
        way_out=(
            "Write out in the migration what the method does:\n\n"
            "```python\n"
            "for user in User.objects.iterator():\n"
            '    name = f"{user.first_name} {user.last_name}".strip()\n'
            "```"
        ),
        bad=Example(
            f"""
dependencies = [("store", "0001_initial"), ("auth", "0001_initial")]
{run("greet").strip()}
""",
            setup="""
def greet(apps, schema_editor):
    User = apps.get_model("auth", "User")
    Tag = apps.get_model("store", "Tag")
    user = User.objects.order_by("pk").first()
    Tag.objects.create(label=user.get_full_name())
""",
        ),
        good=Example(
            f"""
dependencies = [("store", "0001_initial"), ("auth", "0001_initial")]
{run("greet").strip()}
""",
            setup="""
def greet(apps, schema_editor):
    User = apps.get_model("auth", "User")
    Tag = apps.get_model("store", "Tag")
    user = User.objects.order_by("pk").first()
    Tag.objects.create(label=f"{user.first_name} {user.last_name}")
""",
        ),
    ),
    Hazard(
        code="DSM706",
        name="not-in-state",
        title="A data migration names a model or field that isn't there at its place",
        severity=Severity.ERROR,
        why=(
            "The registry that the function is given holds what the migrations before it have "
            "made. A model or field that comes later, is gone already or is misspelt raises "
            "LookupError or FieldError; one of another app that this migration doesn't depend on "
            "is there on some databases and missing on others."
        ),
        lock="-",
        who_waits="Nobody waits; the deploy stops at this migration.",
        way_out=(
            "Use the names of that time, and declare what the function needs:\n\n"
            "```python\n"
            'dependencies = [("store", "0002_order_reference"), ("customers", "0001_initial")]\n'
            "```"
        ),
        bad=Example(
            run("mark"),
            setup="""
def mark(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Order.objects.filter(pk=1).update(refrence="first")
""",
        ),
        good=Example(
            run("mark"),
            setup="""
def mark(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Order.objects.filter(pk=1).update(reference="first")
""",
        ),
    ),
    Hazard(
        code="DSM707",
        name="schema-and-data-mixed",
        title="Schema and data are changed in one transaction",
        severity=Severity.ERROR,
        work=Work.UPDATE,
        remains="ALTER TABLE may fail on pending trigger events",
        why=(
            "PostgreSQL keeps every lock until the commit. `AddField` before `RunPython` holds "
            "ACCESS EXCLUSIVE on its table while the function goes through all rows, so that even "
            "SELECT waits. The other way round, requests wait for the rows that the function has "
            "changed while `AlterField` waits for those requests: a deadlock. And where a foreign "
            "key is checked at the commit, ALTER TABLE fails at once: `cannot ALTER TABLE … "
            "because it has pending trigger events` (never on an empty database)."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the data takes",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Three files, each with its own transaction: the schema that the data needs, the "
            "data, the schema that needs the data.\n\n"
            "```python\n"
            "# 0002: operations = [migrations.AddField(…, null=True)]\n"
            "# 0003: atomic = False; operations = [RunInBatches(…)]\n"
            "# 0004: operations = [migrations.AlterField(…)]\n"
            "```"
        ),
        bad=Example(
            """
operations = [
    migrations.AddField("order", "note", models.TextField(null=True)),
    migrations.RunPython(fill, migrations.RunPython.noop),
]
""",
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Order.objects.update(note="")
""",
            also=("DSM402",),
        ),
        good=Example(
            """
atomic = False
operations = [
    RunInBatches("order", UpdateRows({"note": ""}), RunInBatches.noop),
]
""",
            setup="from django_safemigrations.operations import RunInBatches, UpdateRows\n",
            before="""
operations = [
    migrations.AddField("order", "note", models.TextField(null=True)),
]
""",
        ),
    ),
    Hazard(
        code="DSM708",
        name="database-error-swallowed",
        title="A data migration goes on after a database error",
        severity=Severity.WARNING,
        why=(
            "After an error PostgreSQL aborts the transaction: every later statement fails with "
            "`current transaction is aborted, commands ignored until end of transaction block`, "
            "and the log shows that instead of the cause. Without a transaction, `except "
            "Exception: pass` leaves rows as they were while the migration counts as applied."
        ),
        lock="-",
        who_waits="Nobody; the migration fails with the wrong error, or seems to succeed.",
        way_out=(
            "Let it stop, or put a savepoint around the statement:\n\n"
            "```python\n"
            "try:\n"
            "    with transaction.atomic():\n"
            '        Tag.objects.create(label="new")\n'
            "except IntegrityError:\n"
            "    pass\n"
            "```"
        ),
        bad=Example(
            run("add"),
            setup="""
def add(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    try:
        Tag.objects.create(label="new")
    except Exception:
        pass
""",
        ),
        good=Example(
            run("add"),
            setup="""
from django.db import IntegrityError, transaction


def add(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    try:
        with transaction.atomic():
            Tag.objects.create(label="new")
    except IntegrityError:
        pass
""",
        ),
    ),
    Hazard(
        code="DSM709",
        name="waits-in-transaction",
        title="A data migration waits for something else inside its transaction",
        severity=Severity.WARNING,
        why=(
            "Network calls, `time.sleep`, other programs, mail, task queues and file operations "
            "inside a transaction keep its locks for as long as the other side takes, and a "
            "rollback doesn't undo them. A thread has a connection of its own and can wait for "
            "this transaction for ever; a worker runs the task before the commit. (Between "
            "batches that commit by themselves, `time.sleep` is a throttle and not reported.)"
        ),
        lock="Those that the transaction holds",
        who_waits="Whoever waits for the migration's locks.",
        way_out=(
            "Fetch before the deploy and keep the result in the repository, or do it in a "
            "management command afterwards; what has to follow the commit goes into "
            "`transaction.on_commit`:\n\n"
            "```python\n"
            "transaction.on_commit(lambda: reindex.delay())\n"
            "```"
        ),
        bad=Example(
            run("rate"),
            setup="""
from urllib.request import urlopen


def rate(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    with urlopen("https://rates.example.com/today") as answer:
        Tag.objects.create(label=answer.read().decode())
""",
        ),
        good=Example(
            run("rate"),
            setup="""
RATE = "1.09"


def rate(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    Tag.objects.create(label=RATE)
""",
        ),
    ),
    Hazard(
        code="DSM710",
        name="wrong-database",
        title="With several databases, a data migration may change the wrong one",
        severity=Severity.WARNING,
        why=(
            "`migrate --database other` runs the function for `other`, but `connection` of "
            "django.db is the default database, and a query without `.using()` goes where the "
            "routers send it. So rows of another database are changed, outside of the migration's "
            "own transaction. Only reported where more than one database is migrated."
        ),
        lock="-",
        who_waits="Nobody; the data of one database is changed twice, that of another not at all.",
        way_out=(
            "```python\n"
            "alias = schema_editor.connection.alias\n"
            'Order.objects.using(alias).filter(reference="")\n'
            "```"
        ),
        bad=Example(
            run("add"),
            setup="""
def add(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    Tag.objects.create(label="new")
""",
            databases=2,
        ),
        good=Example(
            run("add"),
            setup="""
def add(apps, schema_editor):
    Tag = apps.get_model("store", "Tag")
    Tag.objects.using(schema_editor.connection.alias).create(label="new")
""",
            databases=2,
        ),
    ),
    Hazard(
        code="DSM712",
        name="not-reentrant",
        title="Stopped half-way, a data migration without a transaction does its work twice",
        severity=Severity.WARNING,
        why=(
            "With `atomic = False` what is done stays done when the migration is stopped (a "
            "cancelled deploy, a lock timeout, a restart), and `migrate` runs the function again "
            "from its start. Inserting for each row, or adding to a column, then happens twice."
        ),
        lock="-",
        who_waits="Nobody; rows are doubled, or the second run fails with IntegrityError.",
        way_out=(
            "Leave out what is done, or leave it to `RunInBatches`, which stores its progress with "
            "each batch:\n\n"
            "```python\n"
            "Tag.objects.bulk_create(batch, ignore_conflicts=True)\n"
            "Order.objects.filter(total__isnull=True)\n"
            "```"
        ),
        bad=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Tag = apps.get_model("store", "Tag")
    batch = []
    for order in Order.objects.iterator():
        batch.append(Tag(label=order.reference))
        if len(batch) >= 1000:
            Tag.objects.bulk_create(batch)
            batch = []
    Tag.objects.bulk_create(batch)
""",
        ),
        good=Example(
            IN_STEPS,
            setup="""
def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Tag = apps.get_model("store", "Tag")
    known = set(Tag.objects.values_list("label", flat=True))
    batch = []
    for order in Order.objects.iterator():
        if order.reference in known:
            continue
        batch.append(Tag(label=order.reference))
        if len(batch) >= 1000:
            Tag.objects.bulk_create(batch)
            batch = []
    Tag.objects.bulk_create(batch)
""",
        ),
    ),
)
