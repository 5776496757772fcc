"""Functions about few rows, which lock nothing for long."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

CASES = (
    Case("does nothing", "def run(apps, schema_editor):\n    pass"),
    Case(
        "a default row",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.get_or_create(slug="none", defaults={"name": "None"})
        """,
    ),
    Case(
        "a few constant rows",
        """
        NAMES = ["books", "films", "music"]

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for name in NAMES:
                Category.objects.create(slug=name, name=name.title())
        """,
    ),
    Case(
        "constant rows in bulk",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.bulk_create(
                [Category(slug=slug, name=name) for slug, name in (("a", "A"), ("b", "B"))]
            )
        """,
    ),
    Case(
        "constant rows of a dict",
        """
        WANTED = {"books": "Books", "films": "Films"}

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for slug, name in WANTED.items():
                Category.objects.update_or_create(slug=slug, defaults={"name": name})
        """,
    ),
    Case(
        "one row by unique field",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="old").update(name="New")
        """,
    ),
    Case(
        "rows by a list of unique values",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            Category.objects.filter(slug__in=["a", "b"]).delete()
        """,
    ),
    Case(
        "one row by key",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Order.objects.filter(pk=1).update(reference="first")
        """,
    ),
    Case(
        "a row if it is there",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            try:
                category = Category.objects.get(slug="tutorial")
            except Category.DoesNotExist:
                return
            category.name = "Tutorial"
            category.save()
        """,
    ),
    Case(
        "the first row",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            product = Product.objects.order_by("pk").first()
            if product is not None:
                product.active = False
                product.save(update_fields=["active"])
        """,
    ),
    Case(
        "deletes one row",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            try:
                Category.objects.get(slug="gone").delete()
            except Category.DoesNotExist:
                pass
        """,
    ),
    Case(
        "together unique",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Line.objects.filter(order_id=1, product_id=2).update(quantity=3)
        """,
    ),
    Case(
        "content types",
        """
        def run(apps, schema_editor):
            ContentType = apps.get_model("contenttypes", "ContentType")
            ContentType.objects.filter(app_label="old").update(app_label="store")
        """,
    ),
    Case(
        "permissions for groups",
        """
        def run(apps, schema_editor):
            ContentType = apps.get_model("contenttypes", "ContentType")
            Permission = apps.get_model("auth", "Permission")
            Group = apps.get_model("auth", "Group")
            kind, _ = ContentType.objects.get_or_create(app_label="store", model="order")
            permission, _ = Permission.objects.get_or_create(
                content_type=kind, codename="ship", defaults={"name": "Can ship"}
            )
            for group in Group.objects.filter(name__in=["Sellers", "Packers"]):
                group.permissions.add(permission)
        """,
    ),
    Case(
        "reads only",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            missing = Order.objects.filter(reference="").count()
            if missing:
                raise ValueError(f"{missing} orders have no reference")
        """,
    ),
    Case(
        "asks whether there are any",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Category = apps.get_model("store", "Category")
            if Order.objects.filter(total__lt=0).exists():
                Category.objects.create(slug="refunds", name="Refunds")
        """,
    ),
    Case(
        "ten rows at most",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.order_by("-pk")[:10]:
                order.discount = 0
                order.save(update_fields=["discount"])
        """,
    ),
    Case(
        "an aggregate",
        """
        from django.db.models import Max

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Category = apps.get_model("store", "Category")
            highest = Order.objects.aggregate(highest=Max("total"))["highest"]
            Category.objects.create(slug="top", name=str(highest))
        """,
    ),
    Case(
        "a table made in the same migration",
        """
        def run(apps, schema_editor):
            Colour = apps.get_model("store", "Colour")
            Colour.objects.bulk_create([Colour(name="red"), Colour(name="blue")])
            Colour.objects.update(name="green")
        """,
        operations="""
        migrations.CreateModel(
            "Colour", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]
        ),
        migrations.RunPython(run, migrations.RunPython.noop)
        """,
    ),
    Case(
        "a helper in the same module",
        """
        def category(apps, slug):
            return apps.get_model("store", "Category").objects.get_or_create(slug=slug)[0]

        def run(apps, schema_editor):
            shelf = category(apps, "shelf")
            shelf.name = "Shelf"
            shelf.save()
        """,
    ),
    Case(
        "a handler for later",
        """
        from django.apps import apps as registry
        from django.db.models.signals import post_migrate

        def run(apps, schema_editor):
            def done(sender=None, **kwargs):
                from store.tasks import reindex

                reindex.delay()

            post_migrate.connect(done, weak=False, sender=registry.get_app_config("store"))
        """,
    ),
    Case(
        "rows of one parent",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            category = Category.objects.get(slug="books")
            for child in category.category_set.all():
                child.name = child.name.title()
                child.save()
        """,
    ),
    Case(
        "a guard for the vendor",
        """
        def run(apps, schema_editor):
            if schema_editor.connection.vendor != "postgresql":
                return
            Category = apps.get_model("store", "Category")
            Category.objects.using(schema_editor.connection.alias).get_or_create(slug="pg")
        """,
    ),
    Case(
        "a module level constant names the model",
        """
        APP, MODEL = "store", "Category"

        def run(apps, schema_editor):
            apps.get_model(APP, MODEL).objects.get_or_create(slug="x")
        """,
    ),
    Case(
        "related rows through a foreign key of one",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            line = Line.objects.filter(pk=7).select_related("order").first()
            if line:
                line.order.discount = 1
                line.order.save()
        """,
    ),
)
