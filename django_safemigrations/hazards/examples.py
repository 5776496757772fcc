"""The little shop that the examples change, and how an example becomes a migration file."""

from __future__ import annotations

from textwrap import dedent, indent

from django_safemigrations.hazards.hazard import Example

APP_LABEL = "store"
BASE_NAME = "0001_initial"
BEFORE_NAME = "0002_before"
EXAMPLE_NAME = "0003_example"

BASE = dedent(
    '''
    """The tables that the examples find in place."""

    from django.db import migrations, models


    class Migration(migrations.Migration):
        initial = True
        dependencies = []
        operations = [
            migrations.CreateModel(
                name="Customer",
                fields=[
                    ("id", models.BigAutoField(primary_key=True)),
                    ("name", models.CharField(max_length=100)),
                    ("email", models.CharField(max_length=254, null=True)),
                ],
            ),
            migrations.CreateModel(
                name="Tag",
                fields=[
                    ("id", models.BigAutoField(primary_key=True)),
                    ("label", models.CharField(max_length=50)),
                ],
            ),
            migrations.CreateModel(
                name="Order",
                fields=[
                    ("id", models.BigAutoField(primary_key=True)),
                    ("customer", models.ForeignKey("store.Customer", models.PROTECT)),
                    ("reference", models.CharField(max_length=20)),
                    ("total", models.IntegerField()),
                    ("discount", models.IntegerField(null=True, db_default=0)),
                    ("tags", models.ManyToManyField("store.Tag")),
                ],
                options={
                    "indexes": [models.Index(fields=["reference"], name="order_reference_idx")],
                },
            ),
        ]
    '''
).lstrip()


def migration_source(example: Example) -> str:
    """Return the text of the migration file that an example stands for."""
    previous = BEFORE_NAME if example.before else BASE_NAME
    if example.whole_file:
        return dedent(example.source).lstrip()
    return _file(example.setup, example.source, previous)


def rules_source(example: Example) -> str:
    """Return the text of ``store/lint.py``, if an example has rules of its own; else nothing."""
    return f"# store/lint.py\n{dedent(example.rules).lstrip()}" if example.rules else ""


def before_source(example: Example) -> str | None:
    """Return the text of the migration file that comes before, or None if none is needed."""
    return _file(example.setup, example.before, BASE_NAME) if example.before else None


def _file(setup: str, body: str, previous: str) -> str:
    lines = dedent(setup).strip("\n").splitlines()
    imports = ["from django.db import migrations, models"]
    imports += [line for line in lines if line.startswith("from ")]
    functions = "\n".join(lines[len(imports) - 1 :]).strip("\n")
    django = sorted(line for line in imports if line.startswith("from django."))
    ours = [_wrapped(line) for line in imports if not line.startswith("from django.")]
    head = "\n\n".join("\n".join(group) for group in (django, ours) if group)
    written = dedent(body).strip(chr(10))
    dependencies = f'    dependencies = [("{APP_LABEL}", "{previous}")]\n\n'
    if written.startswith("dependencies"):
        dependencies = ""
    return (
        f"{head}\n\n\n"
        f"{functions + chr(10) * 3 if functions else ''}"
        "class Migration(migrations.Migration):\n"
        f"{dependencies}"
        f"{indent(written, '    ')}\n"
    )


def _wrapped(line: str) -> str:
    if len(line) <= 88:
        return line
    module, _, names = line.partition(" import ")
    return f"{module} import (\n" + "".join(f"    {n},\n" for n in names.split(", ")) + ")"
