"""The command line of lintmigrations."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS

from django_safemigrations.hazards import Severity


def add_arguments(parser: ArgumentParser, formats: Sequence[str]) -> None:
    """Declare all arguments and options."""
    parser.add_argument(
        "app_label", nargs="?", help="Only the migrations of this app; or a migration's file."
    )
    parser.add_argument(
        "migration_name", nargs="?", help="Only this one (or its prefix); or another file."
    )
    parser.add_argument("files", nargs="*", help="More files.")
    _add_scope(parser)
    _add_outcome(parser)
    _add_report(parser, formats)
    _add_catalogue(parser)


def _add_scope(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        metavar="REF",
        help="Only files that changed since the common ancestor with this git commit, "
        "uncommitted and untracked ones too.",
    )
    parser.add_argument(
        "--unapplied",
        action="store_true",
        help="Only migrations that the database has not applied (opens a connection).",
    )
    parser.add_argument(
        "--leftovers",
        action="store_true",
        help="Look also in the database for what faked or lost contracts left (opens a connection).",
    )
    parser.add_argument(
        "--database",
        default=DEFAULT_DB_ALIAS,
        help="The database that --unapplied, --leftovers and --export-stats ask.",
    )


def _add_outcome(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--fail-on",
        choices=[Severity.ERROR.value, Severity.WARNING.value],
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
    parser.add_argument(
        "--baseline", metavar="FILE", help="Hide the findings that this file accepts."
    )
    parser.add_argument(
        "--write-baseline",
        action="store_true",
        help="Write the --baseline file, so that it accepts all findings of today.",
    )
    parser.add_argument(
        "--stats",
        metavar="FILE",
        help="Sizes of production's tables, by which findings are weighed.",
    )


def _add_report(parser: ArgumentParser, formats: Sequence[str]) -> None:
    parser.add_argument("--format", choices=formats, default="text")
    parser.add_argument("--output", metavar="FILE", help="Write the report into this file.")


def _add_catalogue(parser: ArgumentParser) -> None:
    parser.add_argument("--explain", metavar="CODE", help="Explain one code and stop.")
    parser.add_argument("--list-rules", action="store_true", help="List all codes and stop.")
    parser.add_argument(
        "--export-stats",
        metavar="FILE",
        nargs="?",
        const="-",
        help="Write the sizes of all tables of --database for --stats, and stop (opens a "
        "connection; to standard output without FILE).",
    )
