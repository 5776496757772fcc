"""Tells signals and ON_PROGRESS what a run does; whatever they do, the run goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.dispatch import Signal
from django.utils import timezone
from django.utils.module_loading import import_string

from django_safemigrations import signals
from django_safemigrations.backfill.report import Observer, Standing
from django_safemigrations.conf import get_settings
from django_safemigrations.ledger import APP_LABEL

logger = logging.getLogger("django_safemigrations.progress")

EVERY = 5.0
"""Seconds between two calls about the same backfill, which tells of every batch."""

STARTED = {
    "apply_start": "forwards",
    "contract_start": "forwards",
    "unapply_start": "backwards",
}
FINISHED = {
    "apply_success": "applied",
    "contract_success": "contract run",
    "step_over": "stepped over",
    "left": "left to workers",
    "failed": "failed",
    "unapply_success": "unapplied",
    "unapply_pending": "unapplied",
}


class Announcer:
    """Sends one event to its signal, and to ON_PROGRESS.

    Args:
        database: alias of the database.
        clock: injected by tests.
    """

    def __init__(self, database: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.database = database
        self.clock = clock
        self._started = clock()
        self._direction = "forwards"

    def tell(self, event: str, **facts: Any) -> None:
        """Tell an event; what raises is logged.

        Args:
            event: the name of the signal.
            facts: what it says, in JSON types.
        """
        signal: Signal = getattr(signals, event)
        # Django logs what receivers raise.
        signal.send_robust(sender=self.database, **facts)
        given = get_settings().on_progress
        if given is None:
            return
        try:
            function = import_string(given) if isinstance(given, str) else given
            function(
                {
                    "event": event,
                    "database": self.database,
                    "at": timezone.now().isoformat(),
                    **facts,
                }
            )
        except Exception:
            logger.exception("ON_PROGRESS failed at %s", event)

    def migration(self, action: str, app_label: str, name: str) -> None:
        """Tell what the executor tells of a migration; nothing of rendering, and of the ledger's own."""
        if app_label == APP_LABEL:
            return
        if action in STARTED:
            self._started, self._direction = self.clock(), STARTED[action]
            where = {"app_label": app_label, "name": name, "direction": self._direction}
            self.tell("migration_started", **where)
        elif action in FINISHED:
            # What is stepped over has no beginning.
            seconds = 0.0 if action == "step_over" else self.clock() - self._started
            self.tell(
                "migration_finished",
                app_label=app_label,
                name=name,
                direction=self._direction,
                outcome=FINISHED[action],
                seconds=round(seconds, 3),
            )


class Announced:
    """An observer of backfills that also tells signals and ON_PROGRESS, now and then.

    Args:
        shown: the observer that shows them.
        announcer: tells them.
    """

    def __init__(self, shown: Observer, announcer: Announcer) -> None:
        self.shown = shown
        self.announcer = announcer
        self._told: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Show it."""
        self.shown.line(text)

    def standing(self, standing: Standing) -> None:
        """Show it, and tell it if it is time."""
        self.shown.standing(standing)
        now = self.announcer.clock()
        if not standing.ended and now - self._told.get(standing.key, float("-inf")) < EVERY:
            return
        self._told[standing.key] = now
        self.announcer.tell(
            "step_progress",
            backfill=standing.key,
            title=standing.title,
            rows=standing.seen,
            changed=standing.changed,
            total=standing.total,
            rate=standing.rate,
            waiting=standing.waiting,
            failed=standing.failed,
            ended=standing.ended,
        )
