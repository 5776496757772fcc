"""How much CPU and memory lintmigrations takes: against plain Django's makemigrations --check.

A project with a long history is generated (or one of installed packages is taken), then both commands
run in turn, each in a process of its own, and the ratio is taken pair by pair. Django's command
runs on the project without this package.

    python -m benchmarks.lint_speed [--migrations 1500] [--models 150] [--pairs 5]
    python -m benchmarks.lint_speed --apps wagtail.users,wagtail.documents,…
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generated_project import History, write_settings
from testproject.database import server

CHECKOUT = Path(__file__).resolve().parent.parent
OURS = "django_safemigrations"
CONTRIB = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres"]


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of CPU, and megabytes at its peak."""

    cpu: float
    memory: float


def run(directory: Path, settings: str, *arguments: str) -> Cost:
    """Run a management command and return what it took.

    Raises:
        SystemExit: the command failed in another way than by finding something.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "django", *arguments],
        cwd=directory,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": f"{directory}{os.pathsep}{CHECKOUT}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    complaint = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) or "Error" in complaint:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{complaint}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Generate the project, run both commands in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--migrations", type=int, default=1_500)
    parser.add_argument("--models", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--apps", help="installed apps to take instead, separated by commas")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.apps:
            apps = options.apps.split(",")
        else:
            apps = History(directory, migrations=options.migrations, models=options.models).apps
        database = server().django("postgres")
        write_settings(directory, "plain", database, [*CONTRIB, *apps])
        write_settings(directory, "ours", database, [*CONTRIB, OURS, *apps])
        pairs = []
        for number in range(options.pairs + 1):
            pair = (
                run(directory, "ours", "lintmigrations"),
                run(directory, "plain", "makemigrations", "--check", "--dry-run"),
            )
            if number:  # the first one writes byte code
                pairs.append(pair)
    server().stop()
    for what in ("cpu", "memory"):
        ratios = sorted(getattr(a, what) / getattr(b, what) for a, b in pairs)
        ours = statistics.median(getattr(a, what) for a, _ in pairs)
        plain = statistics.median(getattr(b, what) for _, b in pairs)
        print(f"{what}: lintmigrations {ours:.2f}, makemigrations --check {plain:.2f}", end="; ")
        print(
            f"ratio: median {statistics.median(ratios):.2f}, "
            f"from {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


if __name__ == "__main__":
    main()
