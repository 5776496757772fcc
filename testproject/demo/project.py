"""Copies of the shop in a scratch directory: one of the old code, one of the new for each way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testproject.cluster import CHECKOUT

APPS = ("customers", "catalogue", "shop")

SETTINGS = '''"""Settings of one copy of the shop; the demo says which database it uses."""

import json
import os

SECRET_KEY = "only-for-the-demo"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{**json.loads(os.environ["DEMO_DATABASE"]), "CONN_MAX_AGE": None}}}}
INSTALLED_APPS = {apps!r}
'''

# The change that a developer makes to shop/models.py: (what it says, what it will say).
EDITS = (
    (
        "    total = models.DecimalField(max_digits=12, decimal_places=2)\n",
        "    amount = models.DecimalField(max_digits=12, decimal_places=2)\n",
    ),
    (
        "    channel = models.CharField(max_length=16, null=True, blank=True)\n",
        '    channel = models.CharField(max_length=16, default="web")\n',
    ),
    (
        'indexes = [models.Index(fields=["customer", "-placed_at"], name="order_of_customer")]\n',
        """indexes = [
            models.Index(fields=["customer", "-placed_at"], name="order_of_customer"),
            models.Index(fields=["status", "placed_at"], name="order_by_status"),
        ]
""",
    ),
)


@dataclass(frozen=True)
class Project:
    """A copy of the shop, and the database that its processes use.

    Args:
        directory: holds the copy's package `testproject`.
        database: its DATABASES entry.
    """

    directory: Path
    database: dict[str, Any]

    @property
    def migrations(self) -> Path:
        return self.directory / "testproject" / "shop" / "migrations"

    def environment(self) -> dict[str, str]:
        """What makes a Python process run this copy: its package comes before the checkout's."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.directory), str(CHECKOUT)]),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "DEMO_DATABASE": json.dumps(self.database),
        }

    def edit_models(self) -> None:
        """Make the developer's three edits in shop/models.py."""
        path = self.directory / "testproject" / "shop" / "models.py"
        text = path.read_text()
        for before, after in EDITS:
            if text.count(before) != 1:
                raise ValueError(
                    f"{path} does not hold this once, so it cannot be edited: {before}"
                )
            text = text.replace(before, after)
        path.write_text(text)

    def manage(self, *arguments: str, say: Callable[[str], None], answers: str = "") -> int:
        """Run a management command, hand its output on line by line, return its exit code."""
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "django", *arguments],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(answers)
            process.stdin.close()
            for line in process.stdout:
                say(line.rstrip("\n"))
        return process.returncode


def make_project(directory: Path, database: dict[str, Any], *, safe: bool) -> Project:
    """Copy the shop's apps, with or without django_safemigrations in INSTALLED_APPS."""
    package = directory / "testproject"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for app in APPS:
        shutil.copytree(
            CHECKOUT / "testproject" / app,
            package / app,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    installed = ["django.contrib.contenttypes", "django.contrib.auth"]
    installed += ["django_safemigrations"] if safe else []
    installed += [f"testproject.{app}" for app in APPS]
    (package / "settings.py").write_text(SETTINGS.format(apps=installed))
    return Project(directory, database)
