"""What a labelled function is, and the models that all of them work on."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent

RUN = "migrations.RunPython(run, migrations.RunPython.noop)"


@dataclass(frozen=True)
class Case:
    """A function and its labels.

    Attributes:
        name: what is peculiar about it.
        source: text of the module above the class; the function that runs is called `run`.
        codes: what lintmigrations should say of the migration.
        atomic: of the migration.
        operations: if there is more than the one RunPython.
    """

    name: str
    source: str
    codes: tuple[str, ...] = ()
    atomic: bool = True
    operations: str = RUN

    def text(self, after: str) -> str:
        """Return the migration's file."""
        parts = [
            "from django.db import migrations, models",
            dedent(self.source).strip("\n"),
            "",
            "class Migration(migrations.Migration):",
            f'    dependencies = [("store", "{after}"), ("auth", "0012_alter_user_first_name_max_length")]',
            f"    atomic = {self.atomic}",
            "    operations = [",
            indent(dedent(self.operations).strip("\n"), " " * 8) + ",",
            "    ]",
        ]
        return "\n".join(parts) + "\n"


MODELS = """
import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Category",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
                ("slug", models.SlugField(unique=True)),
                ("parent", models.ForeignKey("store.Category", models.CASCADE, null=True)),
            ],
        ),
        migrations.CreateModel(
            "Product",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
                ("slug", models.SlugField(null=True)),
                ("price", models.IntegerField(default=0)),
                ("active", models.BooleanField(default=True)),
                ("data", models.JSONField(default=dict)),
                ("photo", models.FileField(null=True)),
                ("category", models.ForeignKey("store.Category", models.CASCADE, null=True)),
                ("successor", models.ForeignKey("store.Product", models.CASCADE, null=True)),
            ],
        ),
        migrations.CreateModel(
            "Line",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("order", models.ForeignKey("store.Order", models.CASCADE, related_name="lines")),
                ("product", models.ForeignKey("store.Product", models.CASCADE)),
                ("quantity", models.IntegerField(default=1)),
                ("price", models.IntegerField(null=True)),
            ],
            options={"unique_together": {("order", "product")}},
        ),
        migrations.CreateModel(
            "Event",
            [
                ("id", models.UUIDField(primary_key=True, default=uuid.uuid4)),
                ("order", models.ForeignKey("store.Order", models.CASCADE)),
                ("kind", models.CharField(max_length=20)),
                ("created_at", models.DateTimeField(null=True)),
                ("text", models.TextField(default="")),
            ],
        ),
    ]
"""
