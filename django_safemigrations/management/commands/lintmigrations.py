"""Finds what is unsafe in migration files and says what to write instead."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style

from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import Hazard, Severity, get
from django_safemigrations.lint import Finding, LintLoader, lint_migrations
from django_safemigrations.lint.baseline import Entry
from django_safemigrations.lint.formats import (
    FORMATS,
    as_github,
    as_json,
    as_junit,
    as_sarif,
    as_text,
    last_line,
)
from django_safemigrations.lint.formats.catalogue import explanation, listed, listed_as_json
from django_safemigrations.lint.loader import migration_path
from django_safemigrations.lint.report import Read, Report, plural
from django_safemigrations.lint.rulebook import Rulebook, read_rulebook
from django_safemigrations.lint.stats import Stats, read_stats, said_age
from django_safemigrations.management.exit_codes import USAGE
from django_safemigrations.management.lint_arguments import add_arguments
from django_safemigrations.management.lint_files import (
    apply_baseline,
    exported_stats,
    leftovers_of,
    write_baseline,
    write_file,
)
from django_safemigrations.management.lint_targets import Targets, find_targets

FOUND = 1
One = TypeVar("One", Finding, Entry)
MAKERS = {"json": as_json, "github": as_github, "sarif": as_sarif, "junit": as_junit}


class Command(BaseCommand):
    """Exit codes: 0 nothing (that fails) found, 1 findings, 2 wrong usage."""

    help = (
        "Finds what is unsafe in migration files: locks that block requests, changes that break "
        "the code still running, and data changed in one go. Needs no database."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        add_arguments(parser, FORMATS)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Lint, print, and exit with the code that fits."""
        try:
            failed = self._run(options)
        except SafeMigrationsError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        if failed:
            sys.exit(FOUND)

    def _run(self, options: Mapping[str, Any]) -> bool:
        if options["export_stats"] is not None:
            self._export(options["export_stats"], options["database"])
            return False
        book = read_rulebook(get_settings())
        if options["explain"]:
            hazard = get(options["explain"], book.hazards)
            self.stdout.write(explanation(hazard, self.style, book.severity(hazard.code)))
            return False
        if options["list_rules"]:
            self._list(book, as_json=options["format"] == "json")
            return False
        return self._lint(book, options)

    def _lint(self, book: Rulebook, options: Mapping[str, Any]) -> bool:
        select = _codes(options["select"], book.hazards)
        ignore = _codes(options["ignore"], book.hazards)
        writing = options["write_baseline"]
        if writing and not options["baseline"]:
            raise CommandError("Say where: --baseline FILE --write-baseline", returncode=USAGE)
        if writing and (select or ignore):
            raise CommandError(
                "--write-baseline accepts all findings; leave --select and --ignore out.",
                returncode=USAGE,
            )
        stats = read_stats(options["stats"]) if options["stats"] else None
        loader = LintLoader(None, ignore_no_migrations=True)
        words = [options["app_label"], options["migration_name"], *(options["files"] or ())]
        targets = find_targets(
            loader,
            [word for word in words if word is not None],
            since=options["since"],
            unapplied=options["database"] if options["unapplied"] else None,
            excluded=book.excluded,
        )
        findings = lint_migrations(
            loader,
            targets.keys,
            stats=stats,
            details=True,
            fingerprints=bool(options["baseline"]) or options["format"] == "sarif",
            book=book,
        )
        if options["leftovers"]:
            findings += leftovers_of(options["database"], targets, book)
        report = Report(
            findings=tuple(findings),
            read=_read(loader, targets),
            fail_on=Severity(options["fail_on"]),
            named=targets.named,
            hazards=book.hazards,
            notices=_notices(stats, options["stats"], targets),
        )
        if writing:
            return self._write_baseline(options["baseline"], report, targets)
        if options["baseline"]:
            found, stale = apply_baseline(
                options["baseline"], findings, targets.keys, whole=not targets.partial
            )
            report = replace(report, findings=tuple(found), stale=tuple(stale))
        report = replace(
            report,
            findings=selected(report.findings, select, ignore),
            stale=selected(report.stale, select, ignore),
        )
        self._print(report, options["format"], options["output"])
        return report.failed

    def _print(self, report: Report, form: str, output: str | None) -> None:
        total = last_line(report, self.style)
        if output:
            text = as_text(report, no_style()) if form == "text" else MAKERS[form](report)
            write_file(output, f"{text}\n")
            self.stdout.write("\n".join([*report.notices, f"{total} The report is in {output}."]))
        elif form == "text":
            self.stdout.write(as_text(report, self.style, self._width()))
        elif form == "github":
            # The total is for those who read the log.
            lines = [as_github(report), *report.notices, last_line(report, no_style())]
            self.stdout.write("\n".join(line for line in lines if line))
        else:
            self.stdout.write(MAKERS[form](report))
            # Standard output is read by a machine.
            for notice in report.notices:
                self.stderr.write(notice, self.style.NOTICE)

    def _width(self) -> int | None:
        """Return where to wrap; None where no person looks at a terminal."""
        if self.stdout.isatty() or "COLUMNS" in os.environ:
            return max(shutil.get_terminal_size().columns, 40)
        return None

    def _write_baseline(self, path: str, report: Report, targets: Targets) -> bool:
        own = [finding for finding in report.findings if not report.is_foreign(finding)]
        number = write_baseline(path, own, targets.keys, whole=not targets.partial)
        said = f"{path} accepts {plural(number, 'finding')}."
        self.stdout.write(f"{self.style.SUCCESS(said)} Write reasons into it where you know them.")
        return False

    def _export(self, path: str, alias: str) -> None:
        text = exported_stats(alias)
        if path == "-":
            self.stdout.write(text, ending="")
        else:
            write_file(path, text)
            self.stdout.write(f"The sizes of the tables of '{alias}' are in {path}.")

    def _list(self, book: Rulebook, *, as_json: bool) -> None:
        rules = [(hazard, book.severity(code)) for code, hazard in sorted(book.hazards.items())]
        self.stdout.write(listed_as_json(rules) if as_json else listed(rules, self.style))


def selected(found: Iterable[One], select: list[str], ignore: list[str]) -> tuple[One, ...]:
    """Return what has a code that is selected (all if none is named) and not ignored."""
    return tuple(
        one for one in found if (not select or one.code in select) and one.code not in ignore
    )


def _codes(values: Iterable[str], known: Mapping[str, Hazard]) -> list[str]:
    written = [code for value in values for code in value.replace(",", " ").split()]
    return [get(code, known).code for code in written]


def _read(loader: LintLoader, targets: Targets) -> tuple[Read, ...]:
    paths = {problem.key: problem.path for problem in loader.problems}
    unreadable = loader.unreadable
    for key, migration in loader.disk_migrations.items():
        if key not in unreadable:
            paths[key] = migration_path(migration)
    return tuple(Read(*key, paths[key]) for key in sorted(targets.keys))


def _notices(stats: Stats | None, path: str | None, targets: Targets) -> tuple[str, ...]:
    notices = [f"{path} is not a migration of an installed app." for path in targets.unknown]
    notices += [f"{app} is left out by LINT_EXCLUDE_APPS." for app in sorted(targets.excluded)]
    if stats is not None and path:
        notices.append(f"{said_age(stats, path, datetime.now(UTC))}.")
    return tuple(notices)
