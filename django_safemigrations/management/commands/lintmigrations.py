"""Finds what is unsafe in migration files and says what to write instead."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.conf import nearest
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import Severity, get
from django_safemigrations.lint import LintLoader, lint_migrations
from django_safemigrations.lint.report import Report, explanation, selected

USAGE = 2
FOUND = 1


class Command(BaseCommand):
    """Exit codes: 0 nothing (that fails) found, 1 findings, 2 wrong usage."""

    help = (
        "Finds what is unsafe in migration files: locks that block requests, changes that break "
        "the code still running, and data changed in one go. Needs no database."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("app_label", nargs="?", help="Only the migrations of this app.")
        parser.add_argument("migration_name", nargs="?", help="Only this one (or its prefix).")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--unapplied",
            action="store_true",
            help="Only migrations that the database has not applied (opens a connection).",
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, help="The database that --unapplied asks."
        )
        parser.add_argument(
            "--fail-on",
            choices=[severity.value for severity in Severity],
            default=Severity.ERROR.value,
            help="Least severity that makes the exit code 1 (default: error).",
        )
        for option, what in (("--select", "Only these codes"), ("--ignore", "All but these codes")):
            parser.add_argument(
                option,
                metavar="CODES",
                action="append",
                default=[],
                help=f"{what}, separated by commas.",
            )
        parser.add_argument("--explain", metavar="CODE", help="Explain one code and stop.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Lint, print, and exit with the code that fits."""
        try:
            if options["explain"]:
                self.stdout.write(explanation(get(options["explain"]), self.style))
                return
            select, ignore = _codes(options["select"]), _codes(options["ignore"])
            loader = LintLoader(None, ignore_no_migrations=True)
            keys = _wanted(loader, options["app_label"], options["migration_name"])
            if options["unapplied"]:
                keys -= _applied(options["database"])
            findings = selected(lint_migrations(loader, keys), select, ignore)
        except SafeMigrationsError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        report = Report(
            findings=findings,
            migrations=len(keys),
            fail_on=Severity(options["fail_on"]),
            named=options["app_label"],
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            self.stdout.write(report.as_text(self.style))
        if report.failed:
            sys.exit(FOUND)


def _codes(values: Iterable[str]) -> list[str]:
    written = [code for value in values for code in value.replace(",", " ").split()]
    return [get(code).code for code in written]


def _wanted(loader: LintLoader, app_label: str | None, name: str | None) -> set[tuple[str, str]]:
    everything = set(loader.disk_migrations) | {problem.key for problem in loader.problems}
    if app_label is None:
        return everything
    of_app = sorted(key for key in everything if key[0] == app_label)
    if not of_app:
        if app_label in {config.label for config in apps.get_app_configs()}:
            raise CommandError(f"App '{app_label}' has no migrations.", returncode=USAGE)
        labels = sorted({label for label, _ in everything})
        raise CommandError(
            f"There is no app '{app_label}'. {nearest(app_label, labels)}", returncode=USAGE
        )
    if name is None:
        return set(of_app)
    if (app_label, name) in everything:
        return {(app_label, name)}
    names = [key[1] for key in of_app]
    matching = [known for known in names if known.startswith(name)]
    if len(matching) == 1:
        return {(app_label, matching[0])}
    if matching:
        raise CommandError(
            f"'{name}' fits more than one migration of '{app_label}': {', '.join(matching)}.",
            returncode=USAGE,
        )
    raise CommandError(
        f"App '{app_label}' has no migration '{name}'. {nearest(name, names)}", returncode=USAGE
    )


def _applied(alias: str) -> set[tuple[str, str]]:
    if alias not in connections:
        raise CommandError(
            f"There is no database '{alias}'. {nearest(alias, list(connections))}",
            returncode=USAGE,
        )
    try:
        return set(MigrationRecorder(connections[alias]).applied_migrations())
    except DatabaseError as error:
        raise CommandError(
            f"--unapplied has to ask the database '{alias}', which doesn't answer: {error}",
            returncode=USAGE,
        ) from error
