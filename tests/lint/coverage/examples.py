"""One migration for each thing that other linters look for, with the code that it has to get."""

from __future__ import annotations

from dataclasses import dataclass

CONCURRENT = (
    "from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, "
    "RemoveIndexConcurrently, ValidateConstraint\n"
)
PYTHON = """

def fill(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for order in Order.objects.all():
        order.reference = f"A{order.pk}"
        order.save()


def update(apps, schema_editor):
    apps.get_model("store", "Order").objects.update(total=0)


def imports(apps, schema_editor):
    from django.contrib.auth.models import Group

    Group.objects.create(name="staff")
"""
OURS = (
    "from django_safemigrations.operations import BackfillNulls, Contract, DropColumn, "
    "DropSyncedColumns, Expand, RelaxColumn\n"
)


@dataclass(frozen=True)
class Example:
    """A migration of the examples' shop.

    Attributes:
        code: that is found in it.
        operations: what it holds.
        setup: module level source.
        atomic: whether it runs in a transaction.
        before: operations of the migration before it.
    """

    code: str
    operations: str
    setup: str = ""
    atomic: bool = True
    before: str = ""


def _sql(code: str, sql: str, *, atomic: bool = True) -> Example:
    return Example(code, f'migrations.RunSQL("""{sql}""", migrations.RunSQL.noop)', "", atomic)


def _field(code: str, field: str, name: str = "probe") -> Example:
    return Example(code, f'migrations.AddField("order", "{name}", {field})')


def _alter(code: str, field: str, name: str = "total") -> Example:
    return Example(code, f'migrations.AlterField("order", "{name}", {field})')


def _constraint(code: str, constraint: str, setup: str = "") -> Example:
    return Example(code, f'migrations.AddConstraint("order", {constraint})', setup)


PLACE = (
    'migrations.CreateModel("Place", [("id", models.AutoField(primary_key=True))]), '
    'migrations.CreateModel("Visit", [("id", models.BigAutoField(primary_key=True)), '
    '("place", models.ForeignKey("store.Place", models.CASCADE))])'
)

EXAMPLES: dict[str, Example] = {
    # Columns
    "add not null": _field("DSM501", "models.IntegerField(default=0)"),
    "add not null without default": _field("DSM501", "models.DateTimeField(auto_now_add=True)"),
    "add volatile default": Example(
        "DSM510",
        'migrations.AddField("order", "probe", models.FloatField(db_default=Random()))',
        "from django.db.models.functions import Random\n",
    ),
    "add uuid default": Example(
        "DSM510",
        'migrations.AddField("order", "probe", models.UUIDField(db_default=RandomUUID()))',
        "from django.contrib.postgres.functions import RandomUUID\n",
    ),
    "add callable default": Example(
        "DSM501",
        'migrations.AddField("order", "probe", models.UUIDField(default=uuid.uuid4))',
        "import uuid\n",
    ),
    "add callable unique": Example(
        "DSM502",
        'migrations.AddField("order", "probe", models.UUIDField(default=uuid.uuid4, unique=True))',
        "import uuid\n",
    ),
    "add generated stored": Example(
        "DSM510",
        'migrations.AddField("order", "probe", models.GeneratedField('
        'expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=True))',
    ),
    "add serial": Example(
        "DSM510", 'migrations.AddField("order", "probe", models.AutoField(primary_key=True))'
    ),
    "add positive": _field("DSM502", "models.PositiveIntegerField(null=True)"),
    "add indexed": _field("DSM502", "models.IntegerField(null=True, db_index=True)"),
    "add unique field": _field("DSM502", "models.IntegerField(null=True, unique=True)"),
    "add reference": _field("DSM502", 'models.ForeignKey("store.Tag", models.CASCADE, null=True)'),
    "remove column": Example("DSM503", 'migrations.RemoveField("order", "total")'),
    "remove and add": Example(
        "DSM305",
        'migrations.RemoveField("order", "total"), '
        'migrations.AddField("order", "amount", models.IntegerField(null=True))',
    ),
    "remove many to many": Example("DSM503", 'migrations.RemoveField("order", "tags")'),
    "remove source of generated": Example(
        "DSM552",
        'migrations.RemoveField("line", "net")',
        before='migrations.CreateModel("Line", [("id", models.BigAutoField(primary_key=True)), '
        '("net", models.IntegerField()), ("gross", models.GeneratedField(expression='
        'models.F("net") * 2, output_field=models.IntegerField(), db_persist=True))])',
    ),
    "rename column": Example("DSM301", 'migrations.RenameField("order", "total", "amount")'),
    "rename key column": Example("DSM306", 'migrations.RenameField("order", "customer", "buyer")'),
    "change type": _alter("DSM506", "models.BigIntegerField()"),
    "shrink varchar": _alter("DSM506", "models.CharField(max_length=10)", "reference"),
    "change key type": Example(
        "DSM534",
        'migrations.AlterField("place", "id", models.BigAutoField(primary_key=True))',
        before=PLACE,
    ),
    "change primary key": _alter("DSM533", "models.IntegerField(primary_key=True)"),
    "composite primary key": Example(
        "DSM533", 'migrations.AddField("order", "pk", models.CompositePrimaryKey("id", "total"))'
    ),
    "key type in the state alone": Example(
        "DSM409",
        "migrations.SeparateDatabaseAndState(state_operations=[migrations.AlterField("
        '"customer", "id", models.UUIDField(primary_key=True))])',
    ),
    "set not null": Example(
        "DSM201", 'migrations.AlterField("customer", "email", models.CharField(max_length=254))'
    ),
    "set not null with default": Example(
        "DSM203",
        'migrations.AlterField("customer", "email", models.CharField(max_length=254, default=""))',
    ),
    "drop default": _alter("DSM543", "models.IntegerField(null=True)", "discount"),
    "toggle positive": _alter("DSM507", "models.PositiveIntegerField()"),
    "null of a foreign key": _alter(
        "DSM509", 'models.ForeignKey("store.Customer", models.PROTECT, null=True)', "customer"
    ),
    "unique on": _alter("DSM101", "models.IntegerField(unique=True)"),
    "index on": _alter("DSM101", "models.IntegerField(db_index=True)"),
    "column becomes key": _alter(
        "DSM509",
        'models.ForeignKey("store.Tag", models.CASCADE, db_column="total")',
    ),
    # Tables
    "delete model": Example("DSM504", 'migrations.DeleteModel("Order")'),
    "rename table": Example("DSM505", 'migrations.AlterModelTable("order", "orders")'),
    "rename model": Example("DSM505", 'migrations.RenameModel("Order", "Purchase")'),
    "key without index": _field(
        "DSM408",
        'models.ForeignKey("store.Tag", models.CASCADE, null=True, db_index=False)',
    ),
    "long name": _constraint(
        "DSM553", f'models.CheckConstraint(condition=models.Q(total__gt=0), name="{"n" * 64}")'
    ),
    # Indexes
    "add index": Example(
        "DSM101",
        'migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx"))',
    ),
    "remove index": Example("DSM102", 'migrations.RemoveIndex("order", "order_reference_idx")'),
    "concurrent in transaction": Example(
        "DSM103",
        'AddIndexConcurrently("order", models.Index(fields=["total"], name="total_idx"))',
        CONCURRENT,
    ),
    "concurrent drop in transaction": Example(
        "DSM103", 'RemoveIndexConcurrently("order", "order_reference_idx")', CONCURRENT
    ),
    "concurrent not rerunnable": Example(
        "DSM104",
        'AddIndexConcurrently("order", models.Index(fields=["total"], name="total_idx"))',
        CONCURRENT,
        atomic=False,
    ),
    "replace index": Example(
        "DSM551",
        'RemoveIndexConcurrently("order", "order_reference_idx"), AddIndexConcurrently("order", '
        'models.Index(fields=["reference", "total"], name="both_idx"))',
        CONCURRENT,
        atomic=False,
    ),
    # Constraints
    "add check": _constraint(
        "DSM507", 'models.CheckConstraint(condition=models.Q(total__gt=0), name="positive")'
    ),
    "add unique": _constraint("DSM507", 'models.UniqueConstraint(fields=["total"], name="once")'),
    "add exclusion": _constraint(
        "DSM516",
        'ExclusionConstraint(name="no_two", expressions=[("reference", "=")])',
        "from django.contrib.postgres.constraints import ExclusionConstraint\n",
    ),
    "unique together": Example(
        "DSM508", 'migrations.AlterUniqueTogether("order", {("total", "reference")})'
    ),
    "validate in transaction": Example(
        "DSM507",
        'AddConstraintNotValid("order", models.CheckConstraint(condition=models.Q(total__gt=0), '
        'name="positive")), ValidateConstraint("order", "positive")',
        CONCURRENT,
    ),
    # Several operations, phases and code
    "several heavy": Example(
        "DSM406",
        'migrations.AddField("order", "note", models.TextField(null=True)), '
        'migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx"))',
    ),
    "several tables": Example(
        "DSM406",
        'migrations.AddField("customer", "note", models.TextField(null=True)), '
        'migrations.AlterField("order", "total", models.BigIntegerField())',
    ),
    "half applied": Example(
        "DSM407",
        'migrations.AddField("order", "note", models.TextField(null=True)), '
        'AddIndexConcurrently("order", models.Index(fields=["total"], name="total_idx"))',
        CONCURRENT,
        atomic=False,
    ),
    "mixed phases": Example(
        "DSM403",
        'Expand(database_operations=[RelaxColumn("customer", "email")]), '
        'Contract(database_operations=[DropColumn("customer", "email", '
        "field=models.CharField(max_length=254, null=True))])",
        OURS,
        atomic=False,
    ),
    "contract alone": Example(
        "DSM404",
        'Contract(database_operations=[DropSyncedColumns("order", {"total": "amount"})])',
        OURS,
        atomic=False,
    ),
    "drop too early": Example(
        "DSM520",
        'Expand(database_operations=[RelaxColumn("customer", "email"), DropColumn("customer", '
        '"email", field=models.CharField(max_length=254, null=True))])',
        OURS,
        atomic=False,
    ),
    "python irreversible": Example("DSM401", "migrations.RunPython(update)", PYTHON),
    "python without batches": Example(
        "DSM402", "migrations.RunPython(update, migrations.RunPython.noop)", PYTHON
    ),
    "python save in a loop": Example(
        "DSM702", "migrations.RunPython(fill, migrations.RunPython.noop)", PYTHON
    ),
    "python imports a model": Example(
        "DSM704", "migrations.RunPython(imports, migrations.RunPython.noop)", PYTHON
    ),
    "schema and data": Example(
        "DSM707",
        'migrations.AddField("order", "note", models.TextField(null=True)), '
        "migrations.RunPython(update, migrations.RunPython.noop)",
        PYTHON,
    ),
    "sql irreversible": Example("DSM401", 'migrations.RunSQL("SELECT 1")'),
    # Raw SQL
    "sql index": _sql("DSM101", "CREATE INDEX total_idx ON store_order (total)"),
    "sql drop index": _sql("DSM102", "DROP INDEX order_reference_idx"),
    "sql concurrently in transaction": _sql(
        "DSM103", "CREATE INDEX CONCURRENTLY total_idx ON store_order (total)"
    ),
    "sql reindex": _sql("DSM607", "REINDEX TABLE store_order"),
    "sql vacuum full": _sql("DSM606", "VACUUM FULL store_order", atomic=False),
    "sql check": _sql("DSM507", "ALTER TABLE store_order ADD CONSTRAINT c CHECK (total > 0)"),
    "sql foreign key": _sql(
        "DSM509",
        "ALTER TABLE store_order ADD CONSTRAINT k FOREIGN KEY (total) REFERENCES store_tag (id)",
    ),
    "sql not null": _sql("DSM201", "ALTER TABLE store_customer ALTER email SET NOT NULL"),
    "sql type": _sql("DSM506", "ALTER TABLE store_order ALTER total TYPE bigint"),
    "sql rename column": _sql("DSM301", "ALTER TABLE store_order RENAME total TO amount"),
    "sql rename table": _sql("DSM505", "ALTER TABLE store_order RENAME TO store_purchase"),
    "sql drop column": _sql("DSM503", "ALTER TABLE store_order DROP COLUMN total"),
    "sql drop table": _sql("DSM504", "DROP TABLE store_order"),
    "sql add not null": _sql("DSM501", "ALTER TABLE store_order ADD probe int NOT NULL"),
    "sql add serial": _sql("DSM510", "ALTER TABLE store_order ADD probe serial"),
    "sql exclusion": _sql(
        "DSM516", "ALTER TABLE store_order ADD CONSTRAINT x EXCLUDE (reference WITH =)"
    ),
    "sql truncate": _sql("DSM604", "TRUNCATE store_order"),
    "sql cascade": _sql("DSM603", "TRUNCATE store_customer CASCADE"),
    "sql transaction": _sql("DSM616", "BEGIN; SELECT 1; COMMIT"),
    "sql enum": _sql(
        "DSM615",
        "ALTER TYPE mood ADD VALUE 'high'; UPDATE store_order SET reference = 'high'::mood",
    ),
    "sql rename enum value": _sql("DSM605", "ALTER TYPE mood RENAME VALUE 'low' TO 'down'"),
    "sql rename schema": _sql("DSM605", "ALTER SCHEMA shop RENAME TO store"),
    "sql domain": _sql("DSM507", "ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0)"),
    "sql json": _sql("DSM618", "ALTER TABLE store_order ADD probe json"),
    "sql short key": _sql("DSM619", "CREATE TABLE store_small (id serial PRIMARY KEY)"),
    "sql detach": _sql("DSM614", "ALTER TABLE store_order DETACH PARTITION store_order_old"),
    "sql update": _sql("DSM402", "UPDATE store_order SET total = 0"),
    "sql without parser": _sql("DSM601", "ALTER TABEL store_order ADD x int"),
    "sql drop constraint": _sql(
        "DSM602", "ALTER TABLE store_order DROP CONSTRAINT store_order_customer_id_fk"
    ),
    "sql lock": _sql("DSM610", "LOCK TABLE store_order"),
    "sql primary key": _sql("DSM507", "ALTER TABLE store_order ADD PRIMARY KEY (total)"),
}
