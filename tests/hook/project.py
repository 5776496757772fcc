"""A Django project in files, driven through its manage.py as a developer would."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

import django_safemigrations

CHECKOUT = Path(django_safemigrations.__file__).resolve().parent.parent

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "project_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

ORDER = """
from django.db import models

class Order(models.Model):
    code = models.CharField(max_length=20)
    total = models.IntegerField(null=True)
    note = models.TextField(null=True)
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


class Project:
    """Apps with models.py and migrations, settings, and a database.

    Args:
        directory: where to put it.
        database: the name of its database.
        apps: the apps whose models the tests write, or dotted names of others, in the
            order of INSTALLED_APPS.
        settings: more settings, of values that have a repr.
    """

    def __init__(
        self,
        directory: Path,
        database: str,
        apps: Sequence[str],
        settings: Mapping[str, object],
    ) -> None:
        self.directory = directory
        self.own = [app for app in apps if app in ("shop", "depot", "shadow")]
        directory.mkdir(parents=True)
        known = connections["default"].settings_dict
        entry = {
            key: known[key] for key in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        }
        values: dict[str, object] = {
            "SECRET_KEY": "scratch",
            "USE_TZ": True,
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "DATABASES": {"default": {**entry, "NAME": database}},
            "INSTALLED_APPS": ["django.contrib.contenttypes", *apps],
            **settings,
        }
        lines = "".join(f"{key} = {value!r}\n" for key, value in values.items())
        self.write("project_settings.py", lines)
        self.write("manage.py", MANAGE)
        for app in self.own:
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/models.py", "")
            self.write(f"{app}/migrations/__init__.py", "")

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text))

    def models(self, app: str, text: str) -> None:
        """Write an app's models.py."""
        self.write(f"{app}/models.py", text)

    def manage(self, *args: str, typed: str = "") -> Result:
        """Run manage.py; `typed` is what the developer answers."""
        done = subprocess.run(
            [sys.executable, "-B", "manage.py", *args],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1"},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def run(self, *args: str, typed: str = "") -> str:
        """Run manage.py, which must succeed, and return what it said."""
        result = self.manage(*args, typed=typed)
        assert result.code == 0, result.said
        return result.said

    def names(self, app: str = "shop") -> list[str]:
        """Return the names of an app's migrations, in order."""
        return sorted(path.stem for path in (self.directory / app / "migrations").glob("0*.py"))

    def text(self, name: str, app: str = "shop") -> str:
        """Return the text of a migration file."""
        return (self.directory / app / "migrations" / f"{name}.py").read_text()

    def migration(self, name: str, app: str = "shop") -> Any:
        """Return the migration that a file defines."""
        path = self.directory / app / "migrations" / f"{name}.py"
        return runpy.run_path(str(path))["Migration"](name, app)

    def begin(self, app: str = "shop", models: str = ORDER) -> None:
        """Write the first models and their migration, as they were before the change."""
        self.models(app, models)
        self.run("makemigrations", app, "--no-input", "-v0")
