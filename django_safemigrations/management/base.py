"""What safemigrate does around its work: arguments, exit codes, JSON, progress lines."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.core.management.commands import migrate
from django.db import DatabaseError, InterfaceError
from django.db.migrations import Migration
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)

from django_safemigrations.exceptions import (
    ChecklistUnmet,
    MixedPhases,
    PooledConnection,
    SafeMigrationsError,
    SettingsError,
)
from django_safemigrations.management.announcing import Announcer
from django_safemigrations.management.checked import CheckedCommand
from django_safemigrations.management.exit_codes import FAILED, UNMET, USAGE
from django_safemigrations.phases import Phase

PHASES: dict[str, Phase | None] = {"expand": Phase.EXPAND, "contract": Phase.CONTRACT, "all": None}

# What was typed, or what is on disk, can't be run at all.
USAGE_ERRORS = (
    SettingsError,
    PooledConnection,
    MixedPhases,
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)


class SafeMigrateBase(CheckedCommand, migrate.Command):
    """Django's migrate command, with exit codes that say what happened.

    Attributes:
        document: what ``--format json`` prints at the end.
        announcer: tells signals and ON_PROGRESS; None while nothing runs.
    """

    help = (
        "Runs migrations by phases on PostgreSQL: expand before a deploy, contract after it, "
        "and only when the checklist is met."
    )
    guarded_by_plain_migrate = False

    verbosity = 1
    interactive = True
    as_json = False
    announcer: Announcer | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add ours to Django's."""
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--phase",
            choices=tuple(PHASES),
            help="expand (default): what old code can live with; contract: what needs that no old "
            "code is left; all: both, in the order of the graph.",
        )
        parser.add_argument(
            "--status",
            action="store_true",
            help="Shows what is applied, what is pending, backfills, runs and evidence.",
        )
        parser.add_argument(
            "--watch",
            action="store_true",
            help="With --status: shows backfills again and again until all have ended.",
        )
        parser.add_argument(
            "--no-wait",
            action="store_true",
            help="Gets backfills ready and leaves them to workers (runbackfill); exits with 4 until "
            "they are done.",
        )
        parser.add_argument(
            "--rollback",
            nargs="?",
            type=int,
            const=1,
            metavar="N",
            help="Takes back the last N runs (default 1).",
        )
        parser.add_argument(
            "--waive",
            action="append",
            default=[],
            metavar="ITEM=REASON",
            help="Runs although a checklist item is unmet; the ledger keeps the reason.",
        )
        parser.add_argument(
            "--history",
            nargs="?",
            type=int,
            const=20,
            metavar="N",
            help="Shows the last N runs (default 20): who, when, what, and with which waivers.",
        )
        parser.add_argument(
            "--backup-id",
            metavar="ID[@TIME]",
            help='Names the backup that there is, where BACKUP["STRATEGY"] is "attested", and when '
            "it was begun (default: now), such as snap-0d1e@2026-11-23T06:00+00:00.",
        )
        parser.add_argument(
            "--no-gather",
            action="store_false",
            dest="gather",
            help="Gathers no evidence: what is not recorded already is unmet.",
        )
        parser.add_argument(
            "--rollback-plan",
            metavar="FILE",
            help="Writes the way back of the plan into a file that only its owner can read.",
        )
        parser.add_argument(
            "--resolve-contract",
            action="append",
            default=[],
            metavar="APP.NAME=REASON",
            help="Says of a pending contract that its work was done by hand.",
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")

    @no_translations
    def handle(self, *_: Any, **options: Any) -> None:
        """Run, and end with the exit code that fits."""
        self.verbosity = options["verbosity"]
        self.interactive = options["interactive"]
        self.as_json = options["format"] == "json"
        self.document: dict[str, Any] = {}
        if self.as_json:
            self.verbosity = 0
        failure: CommandError | None = None
        try:
            code = self.route(**options)
        except CommandError as error:
            failure = error
        except (SafeMigrationsError, DatabaseError, InterfaceError, *USAGE_ERRORS) as error:
            failure = CommandError(str(error).strip(), returncode=exit_code(error))
            failure.__cause__ = error
        if failure is not None:
            code = failure.returncode
        if self.as_json:
            if failure is not None:
                self.document["error"] = str(failure)
            self.stdout.write(json.dumps({**self.document, "exit_code": code}, indent=2))
        if failure is not None:
            raise failure
        if code:
            sys.exit(code)

    def route(self, **options: Any) -> int:
        """Do what the options ask for and return the exit code."""
        raise NotImplementedError

    # -- output ----------------------------------------------------------------------

    def line(self, text: str = "", style: Any = None) -> None:
        """Print one line, unless JSON or silence is wanted."""
        if self.verbosity >= 1:
            self.stdout.write(text, style)

    def lines(self, texts: Iterable[str]) -> None:
        """Print lines that were asked for, at any verbosity."""
        if not self.as_json:
            for text in texts:
                self.stdout.write(text)

    @property
    def can_print_unicode(self) -> bool:
        """Whether marks beyond ASCII can be printed."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        return "utf" in str(encoding).lower()

    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        """Print progress as migrate does, and the actions that only we know."""
        self._print_progress(action, migration, fake)
        if self.announcer is not None and migration is not None:
            self.announcer.migration(action, migration.app_label, migration.name)

    def _print_progress(self, action: str, migration: Migration | None, fake: bool) -> None:
        if self.verbosity < 1:
            return
        started = {
            "contract_start": f"  Running contract {migration}...",
            "unapply_start": f"  Unapplying {migration}...",
        }
        if action in started:
            self.start = time.monotonic()
            self.stdout.write(started[action], ending="")
            self.stdout.flush()
        elif action == "contract_success":
            super().migration_progress_callback("apply_success", migration, fake)
        elif action == "step_over":
            self.stdout.write(
                f"  Stepping over {migration}..." + self.style.WARNING(" PENDING CONTRACT")
            )
        elif action == "unapply_pending":
            self.stdout.write(self.style.SUCCESS(" OK") + " (it had not run)")
        elif action == "left":
            self.stdout.write(self.style.WARNING(" LEFT TO WORKERS"))
        elif action == "failed":
            self.stdout.write(self.style.ERROR(" FAILED"))
        else:
            super().migration_progress_callback(action, migration, fake)


def exit_code(error: Exception) -> int:
    """Return the exit code of an error that was expected."""
    if isinstance(error, ChecklistUnmet):
        return UNMET
    return USAGE if isinstance(error, USAGE_ERRORS) else FAILED
