"""The rule for names that PostgreSQL cuts."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import migrations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import MAX_NAME_BYTES, is_migrated, options_are_migrated


def judge_names(operation: Operation, context: Context) -> Iterator[Observation]:
    """Yield the names that are longer than PostgreSQL keeps, of what an operation brings."""
    for what, name in _names(operation, context):
        size = len(name.encode())
        if size <= MAX_NAME_BYTES:
            continue
        kept = name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        yield Observation(
            "DSM553",
            f"The {what} {name} is {size} bytes long, and PostgreSQL cuts it to {kept}, without an "
            "error: whoever looks for it by its name doesn't find it, and a second one that begins "
            "alike can't be made.",
            f"Give it a name of at most {MAX_NAME_BYTES} bytes.",
        )


def _names(operation: Operation, context: Context) -> Iterator[tuple[str, str]]:
    if isinstance(operation, migrations.CreateModel):
        options = operation.options
        if not options_are_migrated(context.app_label, operation.name, options):
            return
        for item in (*options.get("constraints", ()), *options.get("indexes", ())):
            yield "constraint or index", str(item.name)
        yield "table", str(options.get("db_table") or "").strip('"').rpartition('"."')[2]
        for _, field in operation.fields:
            yield "column", str(getattr(field, "db_column", None) or "")
        return
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    model = context.state.models.get((context.app_label, str(name).lower()))
    if model is None or not is_migrated(model):
        return
    if isinstance(operation, migrations.AddConstraint):
        yield "constraint", operation.constraint.name
    elif isinstance(operation, migrations.AddIndex):
        yield "index", operation.index.name
    elif isinstance(operation, migrations.AlterModelTable):
        yield "table", str(operation.table or "").strip('"').rpartition('"."')[2]
    elif isinstance(operation, migrations.AddField | migrations.AlterField):
        yield "column", str(operation.field.db_column or "")
    elif isinstance(operation, migrations.RenameIndex):
        yield "index", operation.new_name
