"""Functions that take models from elsewhere, or ask them for what they haven't got."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

CASES = (
    Case(
        "an imported model",
        """
        from django.contrib.auth.models import Group

        def run(apps, schema_editor):
            Group.objects.get_or_create(name="x")
        """,
        ("DSM704",),
    ),
    Case(
        "a model imported inside",
        """
        def run(apps, schema_editor):
            from django.contrib.auth.models import User

            User.objects.filter(username="root").update(is_active=False)
        """,
        ("DSM704",),
    ),
    Case(
        "a module imported",
        """
        import django.contrib.auth.models

        def run(apps, schema_editor):
            django.contrib.auth.models.Group(name="x").save()
        """,
        ("DSM704",),
    ),
    Case(
        "a module imported under another name",
        """
        from django.contrib.auth import models as auth

        def run(apps, schema_editor):
            auth.Group.objects.create(name="x")
        """,
        ("DSM704",),
    ),
    Case(
        "the user model",
        """
        from django.contrib.auth import get_user_model

        def run(apps, schema_editor):
            get_user_model().objects.filter(username="root").update(is_active=False)
        """,
        ("DSM704",),
    ),
    Case(
        "today's registry",
        """
        from django.apps import apps

        def run(_, schema_editor):
            apps.get_model("auth", "Group").objects.create(name="x")
        """,
        ("DSM704",),
    ),
    Case(
        "today's registry under another name",
        """
        from django.apps import apps as registry

        def run(apps, schema_editor):
            Group = registry.get_model("auth.Group")
            Group.objects.get_or_create(name="x")
        """,
        ("DSM704",),
    ),
    Case(
        "a fixture",
        """
        from django.core.management import call_command

        def run(apps, schema_editor):
            call_command("loaddata", "categories.json")
        """,
        ("DSM704",),
    ),
    Case(
        "a helper with an imported model",
        """
        from django.contrib.contenttypes.models import ContentType

        def kind(model):
            return ContentType.objects.get_for_model(model)

        def run(apps, schema_editor):
            Tag = apps.get_model("store", "Tag")
            Tag.objects.create(label=str(kind(Tag).pk))
        """,
        ("DSM704",),
    ),
    Case(
        "all users through an import",
        """
        from django.contrib.auth.models import User

        def run(apps, schema_editor):
            for user in User.objects.all():
                user.first_name = user.first_name.strip()
                user.save()
        """,
        ("DSM402", "DSM702", "DSM704"),
    ),
    Case(
        "a model imported for its type",
        """
        from django.contrib.auth.models import Group

        def run(apps, schema_editor):
            group: Group = apps.get_model("auth", "Group").objects.get(name="x")
            group.name = "y"
            group.save()
        """,
    ),
    Case(
        "constants of the application",
        """
        from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX

        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            User.objects.filter(username="robot").update(password=UNUSABLE_PASSWORD_PREFIX)
        """,
    ),
    Case(
        "a helper that computes",
        """
        from django.contrib.auth.hashers import make_password

        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            User.objects.filter(username="robot").update(password=make_password(None))
        """,
    ),
    Case(
        "the user model by its setting",
        """
        from django.conf import settings

        def run(apps, schema_editor):
            User = apps.get_model(settings.AUTH_USER_MODEL)
            User.objects.filter(username="robot").update(is_active=False)
        """,
    ),
    Case(
        "a method of the real class",
        """
        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            user = User.objects.get(username="root")
            user.set_password("secret")
            user.save()
        """,
        ("DSM705",),
    ),
    Case(
        "a method of the real class in a loop",
        """
        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            Tag = apps.get_model("store", "Tag")
            names = [user.get_full_name() for user in User.objects.iterator()]
            Tag.objects.create(label=max(names))
        """,
        ("DSM705",),
    ),
    Case(
        "a property of the real class",
        """
        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            Tag = apps.get_model("store", "Tag")
            Tag.objects.create(label=str(User.objects.first().is_anonymous))
        """,
        ("DSM705",),
    ),
    Case(
        "a manager's method that doesn't migrate",
        """
        def run(apps, schema_editor):
            ContentType = apps.get_model("contenttypes", "ContentType")
            ContentType.objects.nothing_of_the_kind()
        """,
    ),
    Case(
        "a manager that migrates",
        """
        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            User.objects.create_user("robot")
        """,
    ),
    Case(
        "a method that is given to the historical class",
        """
        def run(apps, schema_editor):
            User = apps.get_model("auth", "User")
            User.get_full_name = lambda user: user.first_name
            User.objects.filter(pk=1).update(last_name=User.objects.get(pk=1).get_full_name())
        """,
    ),
    Case(
        "an annotation",
        """
        from django.db.models import Count

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            busiest = Order.objects.annotate(size=Count("lines")).order_by("-size").first()
            Tag.objects.create(label=str(busiest.size))
        """,
    ),
    Case(
        "names of relations",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Category = apps.get_model("store", "Category")
            order = Order.objects.filter(lines__product__category__slug="x").first()
            found = Category.objects.filter(product__line__order=order, parent__parent=None).count()
            Category.objects.create(slug="found", name=str(found))
        """,
    ),
    Case(
        "what every model has",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            order = Order.objects.filter(pk=1).first()
            if order and order._state.db and order.pk:
                order.refresh_from_db()
                order.full_clean()
                order.save()
        """,
    ),
    Case(
        "a misspelt model",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Ordr").objects.filter(pk=1).update(total=0)
        """,
        ("DSM706",),
    ),
    Case(
        "a misspelt app",
        """
        def run(apps, schema_editor):
            apps.get_model("stor", "Order").objects.filter(pk=1).update(total=0)
        """,
        ("DSM706",),
    ),
    Case(
        "a misspelt app and model in one string",
        """
        def run(apps, schema_editor):
            apps.get_model("store.Kategory").objects.get_or_create(slug="x")
        """,
        ("DSM706",),
    ),
    Case(
        "a field that isn't there",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.filter(pk=1).update(status="new")
        """,
        ("DSM706",),
    ),
    Case(
        "a filter on a field that isn't there",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.filter(state="new").exists()
        """,
        ("DSM706",),
    ),
    Case(
        "a Q on a field that isn't there",
        """
        from django.db.models import Q

        def run(apps, schema_editor):
            apps.get_model("store", "Order").objects.filter(Q(state="new") | Q(total=0)).exists()
        """,
        ("DSM706",),
    ),
    Case(
        "a field behind a relation that isn't there",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Line").objects.filter(order__customer__nick="x").exists()
        """,
        ("DSM706",),
    ),
    Case(
        "a new row with a field that isn't there",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.create(slug="x", title="X")
        """,
        ("DSM706",),
    ),
    Case(
        "values of a field that isn't there",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Category = apps.get_model("store", "Category")
            first = Order.objects.order_by("placed_at").values_list("placed_at", flat=True).first()
            Category.objects.create(slug=str(first))
        """,
        ("DSM706",),
    ),
    Case(
        "update_fields that aren't there",
        """
        def run(apps, schema_editor):
            category = apps.get_model("store", "Category").objects.get(slug="x")
            category.name = "X"
            category.save(update_fields=["title"])
        """,
        ("DSM706",),
    ),
    Case(
        "a model that may be missing",
        """
        def run(apps, schema_editor):
            try:
                Token = apps.get_model("authtoken", "Token")
            except LookupError:
                return
            Token.objects.filter(pk=1).delete()
        """,
    ),
    Case(
        "an app that may be missing",
        """
        from django.apps import apps as registry

        def run(apps, schema_editor):
            if not registry.is_installed("rest_framework.authtoken"):
                return
            apps.get_model("authtoken", "Token").objects.filter(pk=1).delete()
        """,
    ),
    Case(
        "a field that this migration adds",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").update(rank=1)
        """,
        operations="""
        migrations.AddField("category", "rank", models.IntegerField(null=True)),
        migrations.RunPython(run, migrations.RunPython.noop)
        """,
    ),
    Case(
        "a field that this migration has removed",
        """
        def run(apps, schema_editor):
            apps.get_model("store", "Category").objects.filter(slug="x").update(rank=1)
        """,
        ("DSM706", "DSM503"),
        operations="""
        migrations.RemoveField("category", "rank"),
        migrations.RunPython(run, migrations.RunPython.noop)
        """,
    ),
    Case(
        "lookups and transforms",
        """
        def run(apps, schema_editor):
            Event = apps.get_model("store", "Event")
            Product = apps.get_model("store", "Product")
            Event.objects.filter(created_at__date__year__gte=2020, kind__iexact="x").exists()
            Product.objects.filter(data__shelf__row=1, category_id__in=[1], photo="").exists()
            Product.objects.filter(category__isnull=True).order_by("-category__name", "?").first()
        """,
    ),
)
