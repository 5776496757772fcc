"""Functions that go through a whole table, or change it at once."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

CASES = (
    Case(
        "one update of all rows",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.update(discount=0)
        """,
        ("DSM402",),
    ),
    Case(
        "one update of filtered rows",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Order.objects.filter(reference="").exclude(total=0).update(reference="none")
        """,
        ("DSM402",),
    ),
    Case(
        "an update with an expression",
        """
        from django.db.models import F

        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Line.objects.filter(price__isnull=True).update(price=F("quantity") * 10)
        """,
        ("DSM402",),
    ),
    Case(
        "an update without a transaction is one statement",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Order.objects.filter(discount=None).update(discount=0)
        """,
        ("DSM402",),
        atomic=False,
    ),
    Case(
        "an update with a subquery",
        """
        from django.db.models import OuterRef, Subquery

        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Product = apps.get_model("store", "Product")
            prices = Product.objects.filter(pk=OuterRef("product_id")).values("price")[:1]
            Line.objects.update(price=Subquery(prices))
        """,
        ("DSM402",),
    ),
    Case(
        "a delete of filtered rows",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Event").objects.filter(kind="debug").delete()
        """,
        ("DSM402",),
    ),
    Case(
        "updates for a few values",
        """
        def run(apps, schema_editor):
            Event = apps.get_model("store", "Event")
            for old, new in (("a", "alpha"), ("b", "beta")):
                Event.objects.filter(kind=old).update(kind=new)
        """,
        ("DSM402",),
    ),
    Case(
        "rows by a list of values that aren't unique",
        """
        def run(apps, schema_editor):
            Event = apps.get_model("store", "Event")
            Event.objects.filter(kind__in=["a", "b"]).update(text="")
        """,
        ("DSM402",),
    ),
    Case(
        "the classic loop",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.all():
                order.reference = f"A{order.pk}"
                order.save()
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "the classic loop over some rows",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            for product in Product.objects.filter(slug=None):
                if product.name:
                    product.slug = product.name.lower()
                    product.save()
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "the loop with update_fields",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.iterator():
                order.total = abs(order.total)
                order.save(update_fields=["total"])
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "the loop without a transaction",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.filter(reference="").iterator():
                order.reference = f"A{order.pk}"
                order.save(update_fields=["reference"])
        """,
        ("DSM701",),
        atomic=False,
    ),
    Case(
        "the loop without a transaction, all columns",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.filter(reference="").iterator():
                order.reference = f"A{order.pk}"
                order.save()
        """,
        ("DSM702",),
        atomic=False,
    ),
    Case(
        "an update by key for each row",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for pk, reference in Order.objects.values_list("pk", "reference"):
                Order.objects.filter(pk=pk).update(reference=reference.strip())
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a delete for each row",
        """
        def run(apps, schema_editor):
            Event = apps.get_model("store", "Event")
            for event in Event.objects.iterator():
                if not event.text:
                    event.delete()
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a new row for each row",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Line = apps.get_model("store", "Line")
            for order in Order.objects.all():
                Line.objects.create(order=order, product_id=1)
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a new row made by hand for each row",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            for order in Order.objects.all():
                tag = Tag()
                tag.label = order.reference
                tag.save()
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a copy of each row",
        """
        def run(apps, schema_editor):
            Tag = apps.get_model("store", "Tag")
            for tag in Tag.objects.iterator():
                tag.pk = None
                tag.save()
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a many-to-many for each row",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            new, _ = Tag.objects.get_or_create(label="new")
            for order in Order.objects.iterator():
                order.tags.add(new)
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a get for each row",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Product = apps.get_model("store", "Product")
            prices = []
            for line in Line.objects.iterator():
                prices.append(Product.objects.get(pk=line.product_id).price)
            Product.objects.filter(pk=1).update(price=max(prices))
        """,
        ("DSM701",),
    ),
    Case(
        "a relation read for each row",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Category = apps.get_model("store", "Category")
            most = 0
            for line in Line.objects.iterator():
                most = max(most, line.product.price)
            Category.objects.create(slug="most", name=str(most))
        """,
        ("DSM701",),
    ),
    Case(
        "a relation read with the rows",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Category = apps.get_model("store", "Category")
            most = 0
            for line in Line.objects.select_related("product").iterator():
                most = max(most, line.product.price)
            Category.objects.create(slug="most", name=str(most))
        """,
    ),
    Case(
        "a relation's key for each row",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            Category = apps.get_model("store", "Category")
            seen = set()
            for line in Line.objects.iterator():
                seen.add(line.product_id)
            Category.objects.create(slug="seen", name=str(len(seen)))
        """,
    ),
    Case(
        "related rows for each row",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.iterator():
                total = 0
                for line in order.lines.all():
                    total += line.quantity
                Order.objects.filter(pk=order.pk).update(total=total)
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "related rows updated for each row",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            for product in Product.objects.filter(active=False):
                product.line_set.update(price=product.price)
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "the row behind a relation saved for each row",
        """
        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            for line in Line.objects.select_related("order").iterator():
                line.order.total = line.price
                line.order.save()
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "a helper saves each row",
        """
        def mend(order):
            order.reference = order.reference.strip()
            order.save(update_fields=["reference"])

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.iterator():
                mend(order)
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "a helper takes the model",
        """
        def mend(model):
            for row in model.objects.all():
                row.name = row.name.strip()
                row.save()

        def run(apps, schema_editor):
            mend(apps.get_model("store", "Product"))
            mend(apps.get_model("store", "Category"))
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "a nested function",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")

            def clear(rows):
                rows.update(reference="")

            clear(Order.objects.filter(total=0))
        """,
        ("DSM402",),
    ),
    Case(
        "a lambda",
        "",
        ("DSM402",),
        operations="""
        migrations.RunPython(
            lambda apps, schema_editor: apps.get_model("store", "Tag").objects.update(label=""),
            migrations.RunPython.noop,
        )
        """,
    ),
    Case(
        "two lambdas on one line, one of them harmless",
        """
        def count(apps): return apps.get_model("store", "Tag").objects.count()
        """,
        (),
        operations="""
        migrations.RunPython(lambda a, s: count(a), lambda a, s: a.get_model("store", "Tag").objects.all().delete())
        """,
    ),
    Case(
        "a partial",
        """
        from functools import partial

        def fill(name, apps, schema_editor):
            apps.get_model("store", name).objects.update(label="x")

        run = partial(fill, "Tag")
        """,
        ("DSM402",),
    ),
    Case(
        "a decorated function",
        """
        from functools import wraps

        def logged(function):
            @wraps(function)
            def inner(*args, **kwargs):
                return function(*args, **kwargs)
            return inner

        @logged
        def run(apps, schema_editor):
            apps.get_model("store", "Tag").objects.update(label="x")
        """,
        ("DSM402",),
    ),
    Case(
        "a decorator that hides the function",
        """
        def logged(function):
            def inner(apps, schema_editor):
                function(apps, schema_editor)
            return inner

        @logged
        def run(apps, schema_editor):
            apps.get_model("store", "Tag").objects.update(label="x")
        """,
        ("DSM402",),
    ),
    Case(
        "a factory",
        """
        def emptying(name):
            def run(apps, schema_editor):
                apps.get_model("store", name).objects.all().delete()
            return run

        run = emptying("Tag")
        """,
        ("DSM402",),
    ),
    Case(
        "a method",
        """
        class Fill:
            def __init__(self, label):
                self.label = label

            def run(self, apps, schema_editor):
                self.rows(apps).update(label="x")

            def rows(self, apps):
                return apps.get_model("store", "Tag").objects.all()

        run = Fill("x").run
        """,
        ("DSM402",),
    ),
    Case(
        "a static method",
        """
        class Fill:
            @staticmethod
            def run(apps, schema_editor):
                apps.get_model("store", "Tag").objects.update(label="x")

        run = Fill.run
        """,
        ("DSM402",),
    ),
    Case(
        "a callable object",
        """
        class Fill:
            def __call__(self, apps, schema_editor):
                apps.get_model("store", "Tag").objects.update(label="x")

        run = Fill()
        """,
        ("DSM402",),
    ),
    Case(
        "other names for the arguments",
        """
        def run(registry, _editor):
            registry.get_model("store", "Tag").objects.update(label="x")
        """,
        ("DSM402",),
    ),
    Case(
        "all rows in a list",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            Category = apps.get_model("store", "Category")
            products = list(Product.objects.all())
            Category.objects.create(slug="all", name=str(len(products)))
        """,
        ("DSM703",),
    ),
    Case(
        "all rows in one bulk_update",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            orders = []
            for order in Order.objects.iterator():
                order.total += 1
                orders.append(order)
            Order.objects.bulk_update(orders, ["total"])
        """,
        ("DSM402", "DSM703"),
    ),
    Case(
        "all rows in one bulk_update with batches",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            orders = []
            for order in Order.objects.iterator():
                order.total += 1
                orders.append(order)
            Order.objects.bulk_update(orders, ["total"], batch_size=500)
        """,
        ("DSM402",),
    ),
    Case(
        "bulk_update has a transaction of its own",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            orders = [order for order in Order.objects.iterator() if order.total < 0]
            for order in orders:
                order.total = 0
            Order.objects.bulk_update(orders, ["total"], batch_size=500)
        """,
        ("DSM402",),
        atomic=False,
    ),
    Case(
        "a queryset in bulk_update",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            orders = Order.objects.filter(total__lt=0)
            for order in orders:
                order.total = 0
            Order.objects.bulk_update(orders, ["total"], batch_size=1000)
        """,
        ("DSM402",),
    ),
    Case(
        "all rows in one bulk_create",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Event = apps.get_model("store", "Event")
            Event.objects.bulk_create(
                [Event(order_id=pk, kind="old") for pk in Order.objects.values_list("pk", flat=True)]
            )
        """,
        ("DSM402", "DSM703"),
    ),
    Case(
        "rows locked at once",
        """
        from django.db import transaction

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            with transaction.atomic():
                total = 0
                for order in Order.objects.select_for_update().iterator():
                    total += order.total
        """,
        ("DSM402",),
        atomic=False,
    ),
    Case(
        "one transaction around the loop",
        """
        from django.db import transaction

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            with transaction.atomic():
                for order in Order.objects.filter(total=None).iterator():
                    order.total = 0
                    order.save(update_fields=["total"])
        """,
        ("DSM402", "DSM701"),
        atomic=False,
    ),
    Case(
        "one transaction around the function",
        """
        from django.db import transaction

        @transaction.atomic
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.filter(total=None).iterator():
                order.total = 0
                order.save(update_fields=["total"])
        """,
        ("DSM402", "DSM701"),
        atomic=False,
    ),
    Case(
        "an atomic operation in a migration that isn't",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for order in Order.objects.filter(total=None).iterator():
                order.total = 0
                order.save(update_fields=["total"])
        """,
        ("DSM402", "DSM701"),
        atomic=False,
        operations="migrations.RunPython(run, migrations.RunPython.noop, atomic=True)",
    ),
    Case(
        "duplicates removed by value",
        """
        from django.db.models import Count, Min

        def run(apps, schema_editor):
            Tag = apps.get_model("store", "Tag")
            doubled = Tag.objects.values("label").annotate(n=Count("pk"), first=Min("pk")).filter(n__gt=1)
            for group in doubled:
                Tag.objects.filter(label=group["label"]).exclude(pk=group["first"]).delete()
        """,
        ("DSM402", "DSM701"),
    ),
    Case(
        "rows saved unchanged",
        """
        def run(apps, schema_editor):
            for order in apps.get_model("store", "Order").objects.all():
                order.save()
        """,
        ("DSM402", "DSM711"),
    ),
    Case(
        "rows saved unchanged without a transaction",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            for product in Product.objects.iterator():
                product.save()
        """,
        ("DSM711",),
        atomic=False,
    ),
    Case(
        "rows saved unchanged, some of them",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            # so that save() makes the slug
            for category in Category.objects.filter(name=""):
                category.save()
        """,
        ("DSM402", "DSM711"),
    ),
    Case(
        "rows changed by a helper are not unchanged",
        """
        def mend(row):
            row.name = row.name.strip()

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for category in Category.objects.iterator():
                mend(category)
                category.save()
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "rows changed by setattr",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for category in Category.objects.iterator():
                for name in ("name", "slug"):
                    setattr(category, name, getattr(category, name).strip())
                category.save()
        """,
        ("DSM402", "DSM702"),
    ),
    Case(
        "a cache of what was made",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            known = {}
            for reference in Order.objects.values_list("reference", flat=True).iterator():
                if reference not in known:
                    known[reference], _ = Tag.objects.get_or_create(label=reference)
        """,
        ("DSM402",),
    ),
)
