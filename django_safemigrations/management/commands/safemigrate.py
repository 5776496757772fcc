"""Runs migrations by phases, only when the checklist is met, and without making anybody wait."""

from __future__ import annotations

from typing import Any, TextIO, cast

from django.core.management.commands import migrate
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations import ledger
from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.conf import get_settings
from django_safemigrations.management.announcing import Announced, Announcer
from django_safemigrations.management.display import Display
from django_safemigrations.management.evidence_first import EvidenceFirst
from django_safemigrations.management.looking import Looking
from django_safemigrations.management.targets import parse_resolutions, parse_waivers, usage
from django_safemigrations.management.workers import Silence
from django_safemigrations.models import PendingContract
from django_safemigrations.postgres.locks import guarded_execution
from django_safemigrations.postgres.session import migrator_lock, refuse_transaction_pooling
from django_safemigrations.schedule import dotted


class Command(Looking, EvidenceFirst):
    """The safemigrate command."""

    announcer_class = Announcer

    def route(self, **options: Any) -> int:
        """Do what the options ask for and return the exit code."""
        self.options = options
        self.database = options["database"]
        self.waivers = parse_waivers(options["waive"])
        self.resolutions = parse_resolutions(options["resolve_contract"])
        self._refuse_combinations()
        get_settings()
        connection = self._connect()
        self.document["database"] = self.database
        if options["status"]:
            return self._status(connection)
        if options["history"] is not None:
            return self._history(connection)
        if options["check_unapplied"] and not options["plan"]:
            return self._check(connection)
        refuse_transaction_pooling(connection)
        if options["plan"]:
            return self._plan(connection)
        self._gather(connection)
        with migrator_lock(connection):
            self.announcer = self.announcer_class(self.database)
            if self.resolutions:
                return self._resolve(connection)
            if options["prune"]:
                # Django's own; what it unrecords stays pending in the ledger if it is owed.
                migrate.Command.handle(self, **options)
                return 0
            with (
                guarded_execution(connection) as guard,
                Display(cast("TextIO", self.stdout)) as display,
                reporting_to(
                    Announced(display if self.verbosity >= 1 else Silence(), self.announcer)
                ),
            ):
                if options["rollback"] is not None:
                    return self._roll_back(connection, guard)
                return self._migrate(connection, guard)

    def _resolve(self, connection: BaseDatabaseWrapper) -> int:
        pending = ledger.reconcile(connection) if ledger.exists(connection) else []
        rows = {(row.app_label, row.name): row for row in pending}
        for key in self.resolutions:
            if key not in rows:
                names = ", ".join(map(dotted, rows)) or "none"
                raise usage(f"{dotted(key)} is not a pending contract. Pending are: {names}.")
        for key, reason in self.resolutions.items():
            how = PendingContract.Resolution.BY_HAND
            ledger.resolve(rows[key], how, self.database, reason)
            self.line(f"Resolved {dotted(key)}: {reason}")
        self.document["resolved"] = [dotted(key) for key in self.resolutions]
        return 0
