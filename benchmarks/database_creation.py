"""How long a test database takes to create: a staged history against plain Django's.

The same models are edited one by one, round by round, by two projects, one with this package in
INSTALLED_APPS and one without, so that each has the migrations that its makemigrations wrote.
Then both create their test databases in turn, and the ratio is taken pair by pair.

    python -m benchmarks.database_creation [--models 8] [--pairs 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from testproject.database import server

CHECKOUT = Path(__file__).resolve().parent.parent

# What each round makes of a model, a line a field; {n} is its number.
ROUNDS = [
    # as it began
    """
    code = models.CharField(max_length=20)
    total = models.IntegerField(null=True)
    note = models.TextField(null=True)
    customer = models.ForeignKey("Customer", models.CASCADE)
""",
    # an index, and NOT NULL
    """
    code = models.CharField(max_length=20, db_index=True)
    total = models.IntegerField(default=0)
    note = models.TextField(null=True)
    customer = models.ForeignKey("Customer", models.CASCADE)
""",
    # a rename
    """
    code = models.CharField(max_length=20, db_index=True)
    amount = models.IntegerField(default=0)
    note = models.TextField(null=True)
    customer = models.ForeignKey("Customer", models.CASCADE)
""",
    # fields added, with a default, a foreign key and a check
    """
    code = models.CharField(max_length=20, db_index=True)
    amount = models.IntegerField(default=0)
    note = models.TextField(null=True)
    customer = models.ForeignKey("Customer", models.CASCADE)
    payer = models.ForeignKey("Customer", models.CASCADE, null=True, related_name="+")
    state = models.CharField(max_length=10, default="new")
    pieces = models.PositiveIntegerField(default=1)
""",
    # a type, a unique field, a field removed
    """
    code = models.CharField(max_length=20, unique=True)
    amount = models.BigIntegerField(default=0)
    customer = models.ForeignKey("Customer", models.CASCADE)
    payer = models.ForeignKey("Customer", models.CASCADE, null=True, related_name="+")
    state = models.CharField(max_length=10, default="new")
    pieces = models.PositiveIntegerField(default=1)
""",
    # a constraint
    """
    code = models.CharField(max_length=20, unique=True)
    amount = models.BigIntegerField(default=0)
    customer = models.ForeignKey("Customer", models.CASCADE)
    payer = models.ForeignKey("Customer", models.CASCADE, null=True, related_name="+")
    state = models.CharField(max_length=10, default="new")
    pieces = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="order{n}_amount"),
            models.UniqueConstraint(fields=["customer", "state"], name="order{n}_once"),
        ]
""",
]

HEAD = """from django.db import models

class Customer(models.Model):
    name = models.TextField()
"""

SETTINGS = """
SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {database!r}}}
INSTALLED_APPS = {apps!r}
"""

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmark_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

CREATE = """
import os, time
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmark_settings"
import django
django.setup()
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
begun = time.perf_counter()
created = setup_databases(verbosity=0, interactive=False)
print(time.perf_counter() - begun)
teardown_databases(created, verbosity=0)
"""


class Project:
    """A project whose history its own makemigrations has written."""

    def __init__(self, directory: Path, apps: list[str]) -> None:
        self.directory = directory
        (directory / "shop" / "migrations").mkdir(parents=True)
        (directory / "shop" / "__init__.py").touch()
        (directory / "shop" / "migrations" / "__init__.py").touch()
        database = {
            **server().django("postgres"),
            "TEST": {"NAME": f"benchmark_{os.getpid()}_{directory.name}"},
        }
        settings = SETTINGS.format(database=database, apps=["shop", *apps])
        (directory / "benchmark_settings.py").write_text(settings)
        (directory / "manage.py").write_text(MANAGE)
        (directory / "create.py").write_text(CREATE)

    def write_history(self, models: int) -> int:
        """Edit the models round by round; return the number of migrations."""
        written: list[str] = []
        for fields in ROUNDS:
            for n in range(models):
                # As developers do: a model is edited, and makemigrations is run.
                written[n : n + 1] = [
                    f"class Order{n}(models.Model):" + fields.replace("{n}", str(n))
                ]
                lines = "\n".join([HEAD, *written])
                (self.directory / "shop" / "models.py").write_text(lines)
                # A rename is asked about, and nothing else is.
                self.run("manage.py", "makemigrations", "-v0", typed="y\n")
        return len(list((self.directory / "shop" / "migrations").glob("0*.py")))

    def create(self) -> float:
        """Create the test database and drop it; return the seconds of its creation."""
        return float(self.run("create.py").split()[-1])

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run Python in the project and return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout


def main() -> None:
    """Write both histories, time them in turn, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        plain = Project(Path(name) / "plain", [])
        ours = Project(Path(name) / "ours", ["django_safemigrations"])
        for label, project in (("plain Django", plain), ("staged", ours)):
            print(f"{label}: {project.write_history(options.models)} migrations", flush=True)
        pairs = []
        for number in range(options.pairs + 1):
            pair = ours.create(), plain.create()
            if number:  # the first one warms up
                pairs.append(pair)
    server().stop()
    ratios = sorted(a / b for a, b in pairs)
    middle = statistics.median(ratios)
    print(f"seconds, staged {statistics.median(a for a, _ in pairs):.2f}", end=", ")
    print(f"plain {statistics.median(b for _, b in pairs):.2f}")
    print(f"ratio: median {middle:.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
