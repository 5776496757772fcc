"""Hazards of what stands in one migration together, and of keys without an index or of another type."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

BUILT = """
atomic = False
operations = [
    Expand(
        state_operations=[
            migrations.AddIndex("order", models.Index(fields=["total"], name="order_total_idx")),
        ],
        database_operations=[CreateIndexConcurrently("order", "order_total_idx")],
    ),
]
"""
BUILD = "from django_safemigrations.operations import CreateIndexConcurrently, Expand\n"

CONCURRENTLY = (
    "from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently\n"
)

LINE = """
operations = [
    migrations.CreateModel(
        "Line",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("net", models.IntegerField()),
            (
                "gross",
                models.GeneratedField(
                    expression=models.F("net") * 2,
                    output_field=models.IntegerField(),
                    db_persist=True,
                ),
            ),
        ],
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM406",
        name="locks-held-together",
        title="While one table is worked through, the locks on others are held, too",
        severity=Severity.ERROR,
        why=(
            "An atomic migration is one transaction, and PostgreSQL keeps every lock until its "
            "end. An `ALTER TABLE` that takes a millisecond blocks its table for as long as the "
            "index build, the validation or the rewrite that follows it. On the same table, the "
            "`ACCESS EXCLUSIVE` of the first operation makes readers wait for an index build that "
            "by itself only keeps writers waiting. Changes that are all instant are not reported: "
            "they may stand together."
        ),
        lock="ACCESS EXCLUSIVE or SHARE on the other tables, until the transaction ends",
        who_waits="Every statement on the tables that were locked before.",
        way_out=(
            "Give what takes long a migration of its own, and write it in stages there "
            "(makemigrations does both):\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            "    operations = [\n"
            "        Expand(\n"
            "            state_operations=[\n"
            '                migrations.AddIndex("order", models.Index(fields=["total"], name="by_total")),\n'
            "            ],\n"
            '            database_operations=[CreateIndexConcurrently("order", "by_total")],\n'
            "        ),\n"
            "    ]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AddField("customer", "phone", models.TextField(null=True)),
                migrations.AddIndex(
                    "order", models.Index(fields=["total"], name="order_total_idx")
                ),
            ]
            """,
            also=("DSM101",),
        ),
        good=Example(
            BUILT,
            setup=BUILD,
            before="""
            operations = [
                migrations.AddField("customer", "phone", models.TextField(null=True)),
                migrations.AddField("tag", "colour", models.TextField(null=True)),
            ]
            """,
        ),
        work=Work.SCAN,
    ),
    Hazard(
        code="DSM407",
        name="half-applied",
        title="A migration without a transaction can't be run again after it stopped half way",
        severity=Severity.WARNING,
        why=(
            "With `atomic = False` each statement is committed by itself. If the process is "
            "killed, or a later operation fails, Django doesn't record the migration, and the next "
            "run starts with its first operation: the column, table or constraint that it adds is "
            "there already, or what it drops is gone, and it fails every time. The operations of "
            "this package look first, and can be run again."
        ),
        lock="-",
        who_waits="The deploy, until somebody mends the database by hand.",
        way_out=(
            "Leave schema operations of Django in an atomic migration, and move only what must not "
            "run in a transaction into one with `atomic = False`:\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            '    dependencies = [("store", "0003_order_note")]\n'
            "    operations = [\n"
            "        Expand(\n"
            "            state_operations=[\n"
            '                migrations.AddIndex("order", models.Index(fields=["total"], name="by_total")),\n'
            "            ],\n"
            '            database_operations=[CreateIndexConcurrently("order", "by_total")],\n'
            "        ),\n"
            "    ]\n"
            "```"
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                migrations.AddField("customer", "phone", models.TextField(null=True)),
                Expand(
                    state_operations=[
                        migrations.AddIndex(
                            "order", models.Index(fields=["total"], name="order_total_idx")
                        ),
                    ],
                    database_operations=[CreateIndexConcurrently("order", "order_total_idx")],
                ),
            ]
            """,
            setup=BUILD,
        ),
        good=Example(
            BUILT,
            setup=BUILD,
            before="""
            operations = [
                migrations.AddField("customer", "phone", models.TextField(null=True)),
            ]
            """,
        ),
    ),
    Hazard(
        code="DSM408",
        name="foreign-key-without-index",
        title="No index begins with the column of a foreign key",
        severity=Severity.WARNING,
        why=(
            "PostgreSQL has no index for a foreign key by itself. When a row of the other table is "
            "deleted, or its key changes, it looks for rows that refer to it; without an index it "
            "reads the whole table, once for each row. It is judged by what all migrations lead "
            "to: an index that a later one builds counts, as do the primary key, unique "
            "constraints and `unique_together` that begin with the column."
        ),
        lock="FOR KEY SHARE and row locks on the deleted rows while the table is read",
        who_waits="Deletions from the other table, and everybody who waits for these rows.",
        way_out=(
            "Leave `db_index` at its default; makemigrations builds the index concurrently:\n\n"
            "```python\n"
            "agent = models.ForeignKey(Customer, models.SET_NULL, null=True)\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.CreateModel(
                    "Visit",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        (
                            "customer",
                            models.ForeignKey("store.Customer", models.CASCADE, db_index=False),
                        ),
                        ("day", models.DateField()),
                    ],
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.CreateModel(
                    "Visit",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        (
                            "customer",
                            models.ForeignKey("store.Customer", models.CASCADE, db_index=False),
                        ),
                        ("day", models.DateField()),
                    ],
                    options={"unique_together": {("customer", "day")}},
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM409",
        name="foreign-key-type-mismatch",
        title="A key gets another type and the columns that refer to it keep theirs",
        severity=Severity.ERROR,
        why=(
            "Django's `AlterField` of a primary key also alters all columns that refer to it. Where "
            "the state alone is altered and the SQL is written by hand, those columns are easily "
            "forgotten: the key becomes `bigint`, they stay `integer`. With the first value above "
            "2,147,483,647 every INSERT that refers to it fails, and the models say that all is "
            "well."
        ),
        lock="-",
        who_waits="Nobody yet; INSERTs fail when the narrower type is used up.",
        way_out=(
            "Leave the change to makemigrations, which widens the key and everything that refers "
            "to it in stages:\n\n"
            "```python\n"
            "id = models.BigAutoField(primary_key=True)\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.AlterField(
                            "customer", "id", models.UUIDField(primary_key=True)
                        ),
                    ],
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
                            "tag", "label", models.CharField(max_length=80)
                        ),
                    ],
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM551",
        name="index-gone-before-replacement",
        title="An index is dropped before the one that takes its place is there",
        severity=Severity.WARNING,
        why=(
            "In a migration without a transaction each operation takes effect at once. Between the "
            "drop and the end of the build, which may take hours on a large table, queries that "
            "used the index read the whole table."
        ),
        lock="-",
        who_waits="Queries that used the index become slow.",
        way_out=(
            "Build first, drop later, in another release:\n\n"
            "```python\n"
            "operations = [\n"
            '    AddIndexConcurrently("order", models.Index(fields=["reference", "total"], name="both")),\n'
            '    RemoveIndexConcurrently("order", "order_reference_idx"),\n'
            "]\n"
            "```"
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                RemoveIndexConcurrently("order", "order_reference_idx"),
                AddIndexConcurrently(
                    "order",
                    models.Index(fields=["reference", "total"], name="order_reference_total_idx"),
                ),
            ]
            """,
            setup=CONCURRENTLY,
            also=("DSM104",),
        ),
        good=Example(
            """
            atomic = False
            operations = [
                # safemigrations: ignore DSM104 -- a build that failed is dropped by the deploy
                AddIndexConcurrently(
                    "order",
                    models.Index(fields=["reference", "total"], name="order_reference_total_idx"),
                ),
                RemoveIndexConcurrently("order", "order_reference_idx"),
            ]
            """,
            setup=CONCURRENTLY,
        ),
    ),
    Hazard(
        code="DSM552",
        name="drop-of-generated-source",
        title="A column is dropped that a generated column is computed from",
        severity=Severity.ERROR,
        why=(
            "PostgreSQL refuses to drop a column that another one is generated from, and Django "
            "drops without CASCADE: the migration fails, on every database."
        ),
        lock="-",
        who_waits="Nobody: the migration fails.",
        way_out=(
            "Remove the generated field in an earlier operation, or give it another expression:\n\n"
            "```python\n"
            'migrations.RemoveField("line", "gross"),\n'
            'migrations.RemoveField("line", "net"),\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveField("line", "net"),
            ]
            """,
            before=LINE,
            also=("DSM503",),
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[migrations.RemoveField("line", "gross")],
                    database_operations=[RelaxColumn(model_name="line", name="gross")],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Expand, RelaxColumn\n",
            before=LINE,
        ),
    ),
    Hazard(
        code="DSM553",
        name="name-too-long",
        title="A name is longer than PostgreSQL keeps",
        severity=Severity.WARNING,
        why=(
            "PostgreSQL keeps 63 bytes of a name and cuts the rest with a notice that nobody sees. "
            "Two names that begin alike become one, and the second can't be made; statements and "
            "tools that compare names with the catalog, this package's stages among them, don't "
            "find the one that was cut."
        ),
        lock="-",
        who_waits="Nobody.",
        way_out=(
            "Choose a shorter name:\n\n"
            "```python\n"
            'models.UniqueConstraint(fields=["name"], name="tag_label_once")\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.CreateModel(
                    "Label",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("name", models.CharField(max_length=20)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=["name"],
                                name="the_name_of_a_label_is_there_only_once_in_the_whole_of_this_shop",
                            ),
                        ],
                    },
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.CreateModel(
                    "Label",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("name", models.CharField(max_length=20)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(fields=["name"], name="label_name_once"),
                        ],
                    },
                ),
            ]
            """
        ),
    ),
)
