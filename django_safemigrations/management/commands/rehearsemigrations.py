"""Tries migrations on a copy of the database: forwards, backwards, forwards again."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.conf import Settings, get_settings
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.management.exit_codes import UNMET
from django_safemigrations.management.gate import judge
from django_safemigrations.management.preparing import Preparing
from django_safemigrations.management.rehearsing.planned import plan_of
from django_safemigrations.management.rehearsing.recorded import rehearse_and_record
from django_safemigrations.management.rehearsing.told import rehearsal_lines
from django_safemigrations.management.targets import usage
from django_safemigrations.phases import Phase


class Command(Preparing):
    """Exit codes: 0 passed or nothing to try, 1 it could not be tried, 2 usage, 3 not passed."""

    help = (
        "Tries migrations on a copy of the database before they run: old and new code at every "
        "step, locks and rewrites of every statement, the way back. Writes a report, and the "
        "evidence that safemigrate asks for."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line; only what has a meaning here."""
        parser.add_argument(
            "app_label", nargs="?", help="App whose migrations are tried; all by default."
        )
        parser.add_argument("migration_name", nargs="?", help="Up to which migration.")
        parser.add_argument("--database", default="default", help="Alias of the database.")
        parser.add_argument(
            "--keep-copy", action="store_true", help="Leaves the copy behind, and says where."
        )
        parser.add_argument(
            "--report", metavar="DIR", help="Where reports are written, in place of the setting."
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Asks nothing; there is nothing to ask.",
        )

    def route(self, **options: Any) -> int:
        """Do what the options ask for and return the exit code."""
        self.options = {**options, "phase": None, "run_syncdb": False}
        self.waivers = {}
        self.database = options["database"]
        settings = self._settings()
        connection = self._connect()
        self.document["database"] = self.database
        executor = self._executor(connection)
        owed = self._owed(executor)
        target = self._target(executor, owed)
        if target.backwards:
            raise usage(
                "The way back is a part of every rehearsal. Name the migration to go to: "
                "manage.py rehearsemigrations APP_LABEL MIGRATION_NAME"
            )
        words = tuple(w for w in (options["app_label"], options["migration_name"]) if w)
        planned = plan_of(executor, target, owed, words)
        if not planned.migrations:
            self.lines([f"Database {self.database!r}: no migrations to rehearse."])
            self.document["result"] = "nothing to do"
            return 0
        self._require_ledger(connection)
        phase = Phase.EXPAND if planned.has(Phase.EXPAND) else Phase.CONTRACT
        schedule = self._schedule(executor, target, phase, owed)
        self.options["phase"] = "contract" if phase is Phase.CONTRACT else None
        done = rehearse_and_record(
            executor,
            planned,
            settings,
            judge=lambda: judge(
                executor, schedule, command=self._typed(), waivers={}, fake=False, fresh=False
            ),
            next_command=self._typed(),
            progress=self.line,
            now=timezone.now,
        )
        self.document.update(done.document())
        self.lines(rehearsal_lines(done, unicode=self.can_print_unicode))
        return 0 if done.rehearsal.passed else UNMET

    def _settings(self) -> Settings:
        settings = get_settings()
        rehearsal = settings.rehearsal
        if self.options["keep_copy"]:
            rehearsal = dataclasses.replace(rehearsal, keep_copy=True)
        if self.options["report"]:
            rehearsal = dataclasses.replace(rehearsal, reports=self.options["report"])
        return dataclasses.replace(settings, rehearsal=rehearsal)

    def _require_ledger(self, connection: BaseDatabaseWrapper) -> None:
        if not ledger.is_whole(connection):
            raise SafeMigrationsError(
                f"The ledger's tables do not exist on {self.database!r} yet, so no evidence can be "
                "kept. Nothing was done. Create them first: "
                f"manage.py safemigrate {ledger.APP_LABEL} --database {self.database}"
            )
