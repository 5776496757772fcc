"""Functions that wait for something else, swallow errors, or send SQL."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

CASES = (
    Case(
        "a request to another server",
        """
        from urllib.request import urlopen

        def run(apps, schema_editor):
            Tag = apps.get_model("store", "Tag")
            Tag.objects.create(label=urlopen("https://example.com").read().decode())
        """,
        ("DSM709",),
    ),
    Case(
        "a request for each row",
        """
        import http.client

        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            for product in Product.objects.iterator():
                server = http.client.HTTPSConnection("example.com")
                server.request("GET", f"/{product.pk}")
                product.name = server.getresponse().read().decode()
                product.save(update_fields=["name"])
        """,
        ("DSM402", "DSM701", "DSM709"),
    ),
    Case(
        "a pause in a transaction",
        """
        import time

        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").update(name="X")
            time.sleep(5)
        """,
        ("DSM709",),
    ),
    Case(
        "another program",
        """
        import subprocess

        def run(apps, schema_editor):
            subprocess.run(["true"], check=True)
        """,
        ("DSM709",),
        False,
    ),
    Case(
        "threads",
        """
        from concurrent.futures import ThreadPoolExecutor

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            with ThreadPoolExecutor() as pool:
                pool.map(lambda slug: Category.objects.get_or_create(slug=slug), ["a", "b"])
        """,
        ("DSM709",),
    ),
    Case(
        "mail",
        """
        from django.core.mail import send_mail

        def run(apps, schema_editor):
            send_mail("Done", "", None, ["root@example.com"])
        """,
        ("DSM709",),
    ),
    Case(
        "a task for a worker",
        """
        def task():
            pass

        task.delay = task

        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.get_or_create(slug="x")
            task.delay()
        """,
        ("DSM709",),
    ),
    Case(
        "a task after the commit",
        """
        from django.db import transaction

        def task():
            pass

        task.delay = task

        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.get_or_create(slug="x")
            transaction.on_commit(lambda: task.delay())
        """,
    ),
    Case(
        "files of each row",
        """
        def run(apps, schema_editor):
            Product = apps.get_model("store", "Product")
            for product in Product.objects.exclude(photo=None).iterator():
                product.photo.delete(save=False)
        """,
        ("DSM709",),
    ),
    Case(
        "a file that comes with the code",
        """
        import json
        from pathlib import Path

        def run(apps, schema_editor):
            path = Path(__file__).with_name("categories.json")
            if path.exists():
                with open(path) as file:
                    print(json.load(file))
        """,
    ),
    Case(
        "every error ignored",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            try:
                Category.objects.create(slug="x")
            except Exception:
                pass
        """,
        ("DSM708",),
    ),
    Case(
        "a conflict ignored",
        """
        from django.db import IntegrityError

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for slug in ("a", "b"):
                try:
                    Category.objects.create(slug=slug)
                except IntegrityError:
                    print("there already")
        """,
        ("DSM708",),
    ),
    Case(
        "a conflict ignored inside a savepoint",
        """
        from django.db import IntegrityError, transaction

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            for slug in ("a", "b"):
                try:
                    with transaction.atomic():
                        Category.objects.create(slug=slug)
                except IntegrityError:
                    print("there already")
        """,
    ),
    Case(
        "a missing table probed",
        """
        from django.db.utils import ProgrammingError

        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            try:
                Category.objects.first()
            except ProgrammingError:
                return
        """,
        ("DSM708",),
    ),
    Case(
        "an error told and raised again",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            try:
                Category.objects.create(slug="x")
            except Exception as error:
                print(error)
                raise
        """,
    ),
    Case(
        "an error of Python's ignored",
        """
        def run(apps, schema_editor):
            Category = apps.get_model("store", "Category")
            category = Category.objects.filter(slug="x").first()
            try:
                number = int(category.name)
            except Exception:
                number = 0
            Category.objects.filter(slug="x").update(name=str(number))
        """,
    ),
    Case(
        "errors of batches ignored",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for start in range(0, 1_000_000, 1000):
                try:
                    Order.objects.filter(pk__range=(start, start + 999)).update(total=0)
                except Exception:
                    pass
        """,
        ("DSM708",),
        False,
    ),
    Case(
        "errors of batches told",
        """
        import logging

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for start in range(0, 1_000_000, 1000):
                try:
                    Order.objects.filter(pk__range=(start, start + 999)).update(total=0)
                except Exception:
                    logging.exception("orders from %s", start)
        """,
        (),
        False,
    ),
    Case(
        "SQL that is put together",
        """
        def run(apps, schema_editor):
            table = apps.get_model("store", "Order")._meta.db_table
            schema_editor.execute(f"ANALYZE {table}")
        """,
        ("DSM405",),
    ),
    Case(
        "SQL of constants that are put together",
        """
        def run(apps, schema_editor):
            for table in ("store_order", "store_line"):
                with schema_editor.connection.cursor() as cursor:
                    cursor.execute("ANALYZE " + table)
        """,
    ),
    Case(
        "SQL of a cursor that is put together",
        """
        def run(apps, schema_editor):
            with schema_editor.connection.cursor() as cursor:
                for model in apps.get_models():
                    cursor.execute("ANALYZE " + model._meta.db_table)
        """,
        ("DSM405",),
    ),
    Case(
        "SQL that changes a whole table",
        """
        def run(apps, schema_editor):
            schema_editor.execute("UPDATE store_order SET discount = 0 WHERE discount IS NULL")
        """,
        ("DSM402",),
    ),
    Case(
        "SQL with parameters that changes a whole table",
        """
        def run(apps, schema_editor):
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("UPDATE store_order SET discount = %s", [0])
        """,
        ("DSM402",),
    ),
    Case(
        "SQL that builds an index",
        """
        from django.db import connection

        SQL = "CREATE INDEX order_total_idx ON store_order (total)"

        def run(apps, schema_editor):
            with connection.cursor() as cursor:
                cursor.execute(SQL)
        """,
        ("DSM101",),
    ),
    Case(
        "SQL that reads",
        """
        def run(apps, schema_editor):
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM store_order")
                print(cursor.fetchone())
        """,
    ),
    Case(
        "the schema changed by hand",
        """
        from django.db import models

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            field = models.IntegerField(null=True)
            field.set_attributes_from_name("rank")
            schema_editor.add_field(Order, field)
        """,
        ("DSM405",),
    ),
    Case(
        "a function of another package",
        """
        from json import dumps as helper

        def run(apps, schema_editor):
            helper(apps)
        """,
        ("DSM405",),
    ),
    Case(
        "a builtin",
        "run = print",
        ("DSM405",),
    ),
    Case(
        "a function from text",
        """
        space = {}
        exec("def run(apps, schema_editor): pass", space)
        run = space["run"]
        """,
        ("DSM405",),
    ),
)
