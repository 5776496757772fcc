"""Migrations that change schema and data in one transaction."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

FILL = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Order.objects.update(note="")
"""
ADD = 'migrations.AddField("order", "note{n}", models.TextField(null=True))'
RUN = "migrations.RunPython(run, migrations.RunPython.noop)"

CASES = (
    Case(
        "a column added and filled",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.update(note1="")
        """,
        ("DSM402", "DSM707"),
        operations=f"{ADD.format(n=1)},\n{RUN}",
    ),
    Case(
        "a column added, while another table is read",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            total = 0
            for line in Line.objects.iterator():
                total += line.quantity
        """,
        ("DSM707",),
        operations=f"{ADD.format(n=2)},\n{RUN}",
    ),
    Case(
        "a column added, and one row written",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.filter(pk=1).update(note3="x")
        """,
        operations=f"{ADD.format(n=3)},\n{RUN}",
    ),
    Case(
        "a column added and filled without a transaction",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            missing = Order.objects.filter(note4=None)
            while keys := list(missing.values_list("pk", flat=True)[:1000]):
                Order.objects.filter(pk__in=keys).update(note4="")
        """,
        ("DSM407",),
        False,
        operations=f"{ADD.format(n=4)},\n{RUN}",
    ),
    Case(
        "filled, and then changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Event").objects.filter(text=None).update(text="")
        """,
        ("DSM402", "DSM707"),
        operations=f"""
        {RUN},
        migrations.AddField("event", "extra1", models.TextField(null=True))
        """,
    ),
    Case(
        "filled, and then another table changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Event").objects.filter(text=None).update(text="")
        """,
        ("DSM402",),
        operations=f"""
        {RUN},
        migrations.AddField("tag", "extra2", models.TextField(null=True))
        """,
    ),
    Case(
        "filled, and then only the state changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Event").objects.filter(text=None).update(text="")
        """,
        ("DSM402",),
        operations=f"""
        {RUN},
        migrations.AlterField("event", "text", models.TextField(default="", help_text="words"))
        """,
    ),
    Case(
        "inserted with a foreign key, and then changed",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.create(slug="new", parent=Category.objects.first())
        """,
        ("DSM707",),
        operations=f"""
        {RUN},
        migrations.AddField("category", "extra3", models.TextField(null=True))
        """,
    ),
    Case(
        "inserted without a foreign key, and then changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Tag").objects.create(label="x")
        """,
        operations=f"""
        {RUN},
        migrations.AddField("tag", "extra4", models.TextField(null=True))
        """,
    ),
    Case(
        "deleted where others point to, and then changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").delete()
        """,
        ("DSM707",),
        operations=f"""
        {RUN},
        migrations.AddField("category", "extra5", models.TextField(null=True))
        """,
    ),
    Case(
        "a foreign key emptied, and then changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").update(parent=None)
        """,
        operations=f"""
        {RUN},
        migrations.AddField("category", "extra8", models.TextField(null=True))
        """,
    ),
    Case(
        "a foreign key written, and then changed",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.filter(slug="x").update(parent=Category.objects.order_by("-pk").first())
        """,
        ("DSM707",),
        operations=f"""
        {RUN},
        migrations.AddField("category", "extra6", models.TextField(null=True))
        """,
    ),
    Case(
        "a plain column of one row written, and then changed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").update(name="X")
        """,
        operations=f"""
        {RUN},
        migrations.AddField("category", "extra7", models.TextField(null=True))
        """,
    ),
    Case(
        "an index that Django puts off until after the data",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.create(slug="newer", parent=Category.objects.first(), rank2=1)
        """,
        ("DSM707", "DSM502"),
        operations=f"""
        migrations.AddField("category", "rank2", models.IntegerField(null=True, db_index=True)),
        {RUN}
        """,
    ),
)
