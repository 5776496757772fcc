"""The files that lintmigrations reads and writes besides migrations: sizes, baseline, report."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from django_safemigrations.lint.baseline import Entry, accept, read_baseline, written
from django_safemigrations.lint.finding import Finding
from django_safemigrations.lint.leftovers import leftovers
from django_safemigrations.lint.rulebook import Rulebook
from django_safemigrations.management.exit_codes import USAGE
from django_safemigrations.management.lint_targets import Targets, check_alias
from django_safemigrations.management.table_stats import stats_of

Key = tuple[str, str]


def write_file(path: str, text: str) -> None:
    """Write a file as UTF-8.

    Raises:
        CommandError: it can't be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{path} can't be written: {error.strerror}.", returncode=USAGE
        ) from error


def exported_stats(alias: str) -> str:
    """Return the sizes of a database's tables as a file holds them.

    Raises:
        CommandError: the database doesn't exist, doesn't answer or isn't PostgreSQL.
        TableLocked: a table stays locked exclusively.
    """
    check_alias(alias)
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise CommandError(
            f"The database '{alias}' is not PostgreSQL; sizes can't be read.", returncode=USAGE
        )
    try:
        stats = stats_of(connection)
    except DatabaseError as error:
        raise CommandError(
            f"--export-stats has to ask the database '{alias}', which doesn't answer: {error}",
            returncode=USAGE,
        ) from error
    return json.dumps(stats.as_dict(), indent=2) + "\n"


def leftovers_of(alias: str, targets: Targets, book: Rulebook) -> list[Finding]:
    """Return what faked or lost contracts left in a database, in the apps that are looked at.

    Raises:
        CommandError: the database doesn't exist, doesn't answer or isn't PostgreSQL.
    """
    # Files are linted without this app installed, too; its models can't be imported then.
    from django_safemigrations import ledger

    check_alias(alias)
    connection = connections[alias]
    try:
        rows = ledger.open_contracts(alias) if ledger.exists(connection) else []
        found = leftovers(connection, [(row.app_label, row.name) for row in rows])
    except DatabaseError as error:
        raise CommandError(
            f"--leftovers has to ask the database '{alias}', which can't answer: {error}",
            returncode=USAGE,
        ) from error
    labels = {app_label for app_label, _ in targets.keys}
    return [
        replace(finding, severity=severity)
        for finding in found
        if (severity := book.severity(finding.code)) is not None
        and (not targets.partial or finding.app_label in labels)
    ]


def apply_baseline(
    path: str, findings: Sequence[Finding], keys: Collection[Key], *, whole: bool
) -> tuple[list[Finding], list[Entry]]:
    """Hide what a baseline accepts; return all findings, and the entries that match none.

    Args:
        path: of the baseline.
        findings: what was found.
        keys: the migrations that were looked at.
        whole: whether these are all; if not, entries of other migrations are left alone.
    """
    entries = [
        entry
        for entry in read_baseline(path)
        if whole or (entry.app_label, entry.migration) in keys
    ]
    return accept(findings, entries)


def write_baseline(
    path: str, findings: Sequence[Finding], keys: Collection[Key], *, whole: bool
) -> int:
    """Write a baseline that accepts the findings; return the number of its entries.

    Reasons stay, and so do entries of migrations that were not looked at.
    """
    earlier = read_baseline(path) if Path(path).exists() else ()
    kept = [
        entry for entry in earlier if not whole and (entry.app_label, entry.migration) not in keys
    ]
    accepted = [finding for finding in findings if finding.hidden is None]
    write_file(path, written(accepted, [entry for entry in earlier if entry not in kept], kept))
    return len(accepted) + len(kept)
