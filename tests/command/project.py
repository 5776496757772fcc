"""A Django project whose migration files a test writes, and a database of its own to run them on."""

from __future__ import annotations

import importlib
import io
import itertools
import json
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.management.commands.safemigrate import Command
from django_safemigrations.models import Evidence, PendingContract, Run

_numbers = itertools.count(1)

WAIVERS = tuple(f"--waive={item}=tested here" for item in ("rehearsed", "backup", "rollback_plan"))
INITIAL = """
migrations.CreateModel("Item", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=50, default="")),
    ("total", models.IntegerField(null=True)),
]),
migrations.CreateModel("Box", [
    ("id", models.BigAutoField(primary_key=True)),
    ("size", models.IntegerField(null=True)),
]),
"""


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@dataclass
class Project:
    """Two apps, `store` and `depot`, with migration files in a directory of the test.

    Attributes:
        directory: where the packages with migrations are.
        modules: the value of MIGRATION_MODULES.
    """

    directory: Path
    modules: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = next(_numbers)
        for app in ("store", "depot"):
            self.modules[app] = f"{app}_migrations_{number}"
            package = self.directory / self.modules[app]
            package.mkdir()
            (package / "__init__.py").write_text("")

    # -- files -----------------------------------------------------------------------

    def path(self, app: str, name: str) -> Path:
        return self.directory / self.modules[app] / f"{name}.py"

    def write(
        self,
        app: str,
        name: str,
        operations: str,
        *,
        after: Iterable[tuple[str, str]] | str | None = None,
        atomic: bool = True,
        more: str = "",
        before: str = "",
    ) -> None:
        """Write a migration that depends on the one before it in its app, or on `after`."""
        if after is None:
            earlier = sorted(path.stem for path in self.path(app, name).parent.glob("0*.py"))
            after = [(app, earlier[-1])] if earlier else []
        elif isinstance(after, str):
            after = [(app, after)] if after else []
        source = textwrap.dedent(
            f"""\
            from django.db import migrations, models
            from django_safemigrations.operations import Contract, Expand
            import time

            {{before}}

            class Migration(migrations.Migration):
                atomic = {atomic}
                dependencies = {list(after)!r}
                {more}
                operations = [
            {{operations}}
                ]
            """
        )
        text = source.replace("{operations}", operations).replace("{before}", before)
        self.put(app, name, text)

    def put(self, app: str, name: str, text: str) -> None:
        self.path(app, name).write_text(text)
        sys.modules.pop(f"{self.modules[app]}.{name}", None)
        importlib.invalidate_caches()

    def remove(self, app: str, name: str) -> None:
        self.path(app, name).unlink()
        sys.modules.pop(f"{self.modules[app]}.{name}", None)
        importlib.invalidate_caches()

    def sql(
        self, app: str, name: str, sql: str | list[str], reverse: str = "SELECT 1", **more: Any
    ) -> None:
        """Write a plain migration of raw SQL."""
        self.write(app, name, f"migrations.RunSQL({sql!r}, {reverse!r}),", **more)

    def expand(
        self, app: str, name: str, sql: str | list[str], reverse: str = "SELECT 1", **more: Any
    ) -> None:
        operation = f"Expand(database_operations=[migrations.RunSQL({sql!r}, {reverse!r})]),"
        self.write(app, name, operation, **more)

    def contract(
        self, app: str, name: str, sql: str | list[str], reverse: str = "SELECT 1", **more: Any
    ) -> None:
        operation = f"Contract(database_operations=[migrations.RunSQL({sql!r}, {reverse!r})]),"
        self.write(app, name, operation, **more)

    # -- commands --------------------------------------------------------------------

    def run(self, *args: str) -> Result:
        """Run safemigrate as it would be typed where it gathers nothing by itself."""
        return self.gathering("--no-gather", *args)

    def gathering(self, *args: str) -> Result:
        """Run safemigrate as it would be typed."""
        return self.type(Command, "safemigrate", *args)

    def safely(self, *args: str) -> Result:
        """Run safemigrate with the waivers that it needs today."""
        return self.run(*args, *WAIVERS)

    def plainly(self, *args: str) -> Result:
        """Run Django's migrate as it would be typed."""
        return self.type(migrate.Command, "migrate", *args)

    def type(self, command: type[BaseCommand], name: str, *args: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        code = 0
        try:
            command(stdout=out, stderr=err, no_color=True).run_from_argv(["manage.py", name, *args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Result(code, out.getvalue(), err.getvalue())

    def begin(self) -> None:
        """Have the tables in use: every migration of the store written so far is applied."""
        call_command("migrate", "store", verbosity=0)

    # -- what is in the database -------------------------------------------------------

    def applied(self, app: str) -> list[str]:
        recorder = MigrationRecorder(connection)
        return sorted(name for label, name in recorder.applied_migrations() if label == app)

    def columns(self, table: str) -> set[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s)"
                " AND attnum > 0 AND NOT attisdropped",
                [table],
            )
            return {row[0] for row in cursor.fetchall()}

    def execute(self, sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def value(self, sql: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
        return row[0] if row else None

    def rows_of(self, sql: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def pending(self) -> list[str]:
        return [str(row) for row in PendingContract.objects.filter(resolved_at=None)]

    def last_run(self) -> Run:
        run = Run.objects.order_by("-pk").first()
        assert run is not None
        return run

    def evidence(self) -> list[Evidence]:
        return list(Evidence.objects.order_by("pk"))
