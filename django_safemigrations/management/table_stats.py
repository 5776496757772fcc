"""The sizes of a database's tables as they are now, in the form in which the linter weighs by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.conf import Settings
from django_safemigrations.hazards import Hazard, Severity
from django_safemigrations.lint import Finding
from django_safemigrations.lint.rulebook import read_rulebook
from django_safemigrations.lint.stats import Scale, Size, Stats
from django_safemigrations.postgres.table_sizes import read_sizes

LEAST_ROW = 28
"""Bytes that a row takes at least: its header and its pointer.

https://www.postgresql.org/docs/current/storage-page-layout.html
"""


def stats_of(connection: BaseDatabaseWrapper) -> Stats:
    """Return the sizes of all tables.

    Raises:
        TableLocked: a table stays locked exclusively.
    """
    path, sizes = read_sizes(connection)
    return Stats(
        exported_at=datetime.now(UTC),
        search_path=path,
        tables={
            f"{size.schema}.{size.name}": Size(
                size.rows, size.bytes, size.index_bytes, size.writes_per_second
            )
            for size in sizes
        },
    )


def weighed(
    findings: tuple[Finding, ...], connection: BaseDatabaseWrapper, settings: Settings
) -> tuple[Finding, ...]:
    """Return findings, lighter where the table is so small that the work is done in an instant.

    Where something remains to be feared of old code they are warnings, elsewhere notes.

    Args:
        findings: what lintmigrations says.
        connection: the database that the plan will run on.
        settings: those in force.
    """
    if not any(finding.severity is Severity.ERROR and finding.table for finding in findings):
        return findings
    scale = Scale(
        _at_most(stats_of(connection)), settings.lint_small_rows, settings.lint_large_rows
    )
    hazards = read_rulebook(settings).hazards
    return tuple(_lighter(finding, scale, hazards[finding.code]) for finding in findings)


def _at_most(stats: Stats) -> Stats:
    """Return sizes with the most rows that tables can hold which were never analysed."""
    tables = {
        name: replace(size, rows=size.bytes // LEAST_ROW) if size.rows is None else size
        for name, size in stats.tables.items()
    }
    return replace(stats, tables=tables)


def _lighter(finding: Finding, scale: Scale, hazard: Hazard) -> Finding:
    found = scale.weigh(finding, hazard)
    return found if found.severity is not Severity.ERROR else finding
