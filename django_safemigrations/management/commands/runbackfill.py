"""Works on the backfills that are under way: any number of these may run, on any number of machines."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any, TextIO, cast

from django.core.management.base import (
    CommandError,
    no_translations,
)
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations import ledger
from django_safemigrations.backfill.control import Order, find, tell
from django_safemigrations.backfill.ending import Ending
from django_safemigrations.backfill.helping import Help
from django_safemigrations.backfill.listing import Listed, list_backfills
from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.backfill.store import State
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import (
    BackfillStopped,
    PooledConnection,
    SafeMigrationsError,
    SettingsError,
)
from django_safemigrations.management.announcing import Announced, Announcer
from django_safemigrations.management.backfills import (
    GOING_ON,
    Looks,
    backfill_lines,
    documents_of,
)
from django_safemigrations.management.checked import CheckedCommand
from django_safemigrations.management.display import Display
from django_safemigrations.management.exit_codes import FAILED, PENDING, USAGE
from django_safemigrations.management.targets import usage
from django_safemigrations.management.workers import OneAtATime, Silence, work
from django_safemigrations.postgres.session import refuse_transaction_pooling

UNITS = {"s": 1, "m": 60, "h": 3600}
SAID = {
    Order.PAUSE: "Paused",
    Order.RESUME: "Resumed",
    Order.CANCEL: "Cancelled",
    Order.RETRY: "To be tried again",
}


class Command(CheckedCommand):
    """The runbackfill command."""

    help = (
        "Works on pending backfills, range by range, until nothing is left. Any number of these "
        "commands may run at once, on any number of machines."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections))
        parser.add_argument(
            "--key",
            action="append",
            default=[],
            metavar="KEY",
            help="Works on this backfill only (the beginning of its key is enough); repeatable.",
        )
        parser.add_argument(
            "--workers",
            type=int,
            metavar="N",
            help="Works with so many sessions at once (default: BACKFILL['WORKERS'], which is 1).",
        )
        ends = parser.add_mutually_exclusive_group()
        ends.add_argument(
            "--once",
            action="store_true",
            help="Ends when no range is free, rather than wait for what other workers hold.",
        )
        ends.add_argument(
            "--forever",
            action="store_true",
            help="Stays when nothing is left, and takes on what comes: for a service.",
        )
        parser.add_argument(
            "--max-time",
            metavar="TIME",
            help="Ends after this time: seconds, or 90s, 15m, 2h. The batch is finished first.",
        )
        orders = parser.add_mutually_exclusive_group()
        for order, what in (
            (Order.PAUSE, "Has workers wait before their next batch."),
            (Order.RESUME, "Lets a paused or cancelled backfill go on."),
            (Order.CANCEL, "Has workers stop for good; what is filled stays filled."),
            (Order.RETRY, "Lets a failed backfill go on, first of all with the rows that failed."),
        ):
            orders.add_argument(f"--{order}", metavar="KEY", help=what)
        orders.add_argument("--list", action="store_true", help="Shows the backfills, and ends.")
        parser.add_argument("--reason", default="", help="Why; kept by the ledger.")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    @no_translations
    def handle(self, *_: Any, **options: Any) -> None:
        """Do what was asked for, and end with the exit code that fits."""
        self.options = options
        self.as_json = options["format"] == "json"
        self.document: dict[str, Any] = {"database": options["database"]}
        failure: CommandError | None = None
        code = 0
        try:
            code = self._route(options)
        except CommandError as error:
            failure = error
        except (SafeMigrationsError, DatabaseError, InterfaceError) as error:
            failure = CommandError(str(error).strip(), returncode=_exit_code(error))
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

    def _route(self, options: dict[str, Any]) -> int:
        get_settings()
        orders = [order for order in Order if options[order]]
        if options["reason"] and not orders:
            raise usage("--reason goes with --pause, --resume, --cancel or --retry.")
        connection = self._connect(options["database"])
        if orders:
            return self._tell(connection, orders[0], options[orders[0]])
        keys = self._keys(connection, options["key"])
        if options["list"]:
            self._show(connection, keys)
            return 0
        return self._work(connection, keys)

    def _connect(self, alias: str) -> BaseDatabaseWrapper:
        connection = connections[alias]
        if connection.vendor != "postgresql":
            raise usage(
                f"Backfills are for PostgreSQL; database {alias!r} is {connection.display_name}."
            )
        ledger.refuse_unrouted(alias)
        connection.ensure_connection()
        return connection

    def _keys(self, connection: BaseDatabaseWrapper, given: Sequence[str]) -> list[str]:
        found = list_backfills(connection)
        try:
            return [find(found, key).key for key in given]
        except BackfillStopped as error:
            raise usage(str(error)) from error

    # -- orders ----------------------------------------------------------------------------

    def _tell(self, connection: BaseDatabaseWrapper, order: Order, key: str) -> int:
        try:
            before = tell(connection, order, key, self.options["reason"])
        except BackfillStopped as error:
            raise usage(str(error)) from error
        self._show(connection, [before.key], quiet=True)
        said = f"{SAID[order]}: {before.key} (it was {before.state})"
        if order is Order.CANCEL:
            said += ". Its migration stays unapplied, and what contracts its columns is refused"
        self._lines([f"{said}."])
        return 0

    def _show(
        self, connection: BaseDatabaseWrapper, keys: Sequence[str], *, quiet: bool = False
    ) -> list[Listed]:
        looks = Looks(connection)
        found = looks.look(keys)
        self.document["backfills"] = documents_of(looks, found)
        if not quiet:
            self._lines(
                backfill_lines(self.document["backfills"]) if found else ["There are no backfills."]
            )
        return found

    # -- work ------------------------------------------------------------------------------

    def _work(self, connection: BaseDatabaseWrapper, keys: Sequence[str]) -> int:
        count = self.options["workers"]
        if count is None:
            count = get_settings().backfill.workers
        if count < 1:
            raise usage(f"--workers {count}: give the number of sessions, 1 or more.")
        refuse_transaction_pooling(connection)
        ending = Ending(_seconds(self.options["max_time"]))
        with ending.listening(), Display(cast("TextIO", self.stdout)) as display:
            # Nothing but the document may be written to standard output with JSON.
            observer = Silence() if self.as_json or self.options["verbosity"] < 1 else display
            announced = Announced(observer, Announcer(connection.alias))
            with reporting_to(OneAtATime(announced)):
                done = work(
                    self.options["database"],
                    count,
                    ending,
                    keys=keys,
                    once=self.options["once"],
                    forever=self.options["forever"],
                )
        return self._conclude(connection, keys, done, ending)

    def _conclude(
        self, connection: BaseDatabaseWrapper, keys: Sequence[str], done: Help, ending: Ending
    ) -> int:
        found = self._show(connection, keys, quiet=True)
        self.document.update(rows=done.rows, failed=done.failed, beyond=done.beyond)
        failed = [each for each in found if each.state is State.FAILED or each.key in done.failed]
        left = [each for each in found if each.state in GOING_ON and each not in failed]
        lines = [f"Changed {done.rows:,} row{'' if done.rows == 1 else 's'}."]
        if ending.signal is not None:
            lines.append("Told to end; the ranges that were held are free again.")
        for each in failed:
            lines.append(f"Failed: {each.key}: {done.failed.get(each.key) or each.reason}")
        for each in left:
            lines.append(f"Left: {each.key}: {done.beyond.get(each.key) or _why_left(each)}")
        if not failed and not left:
            lines.append("Nothing is left.")
        if self.options["verbosity"] >= 1:
            self._lines(["", *lines] if done.rows else lines)
        if failed:
            return FAILED
        return PENDING if left else 0

    def _lines(self, texts: Iterable[str]) -> None:
        if not self.as_json:
            for text in texts:
                self.stdout.write(text)


def _why_left(each: Listed) -> str:
    if each.state is State.PAUSED:
        return f"paused{f': {each.reason}' if each.reason else ''}"
    if each.workers:
        return f"held by {', '.join(each.workers)}"
    return f"{each.rows_seen:,} of about {each.rows_total:,} rows are done"


def _seconds(text: str | None) -> float | None:
    """Read a time.

    Raises:
        CommandError: it is none.
    """
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise usage(f"--max-time {text}: give a time above 0, as 90, 90s, 15m or 2h.")
    return seconds


def _exit_code(error: Exception) -> int:
    return USAGE if isinstance(error, SettingsError | PooledConnection) else FAILED
