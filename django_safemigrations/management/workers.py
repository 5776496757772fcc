"""Workers in threads of one process, each with a session of its own."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from typing import Any

from django.db import connections

from django_safemigrations.backfill.ending import Ending
from django_safemigrations.backfill.helping import Help, Helper
from django_safemigrations.backfill.report import Observer, Standing


class Silence:
    """An observer that shows nothing."""

    def line(self, text: str) -> None:
        """Show nothing."""

    def standing(self, standing: Standing) -> None:
        """Show nothing."""


class OneAtATime:
    """Passes on to an observer what several threads tell.

    Args:
        observer: the observer.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Pass it on."""
        with self._lock:
            self.observer.line(text)

    def standing(self, standing: Standing) -> None:
        """Pass it on."""
        with self._lock:
            self.observer.standing(standing)


def work(alias: str, count: int, ending: Ending, **options: Any) -> Help:
    """Work with some sessions until nothing is left, or the end; return what they did.

    Args:
        alias: the database.
        count: how many sessions; this thread works with the connection that it has.
        ending: when to end.
        options: `Helper`'s.

    Raises:
        OperationalError, InterfaceError: the database is out of reach.
        SettingsError: SAFE_MIGRATIONS can't be used.
    """
    helps: list[Help] = []
    errors: list[Exception] = []

    def one() -> None:
        helper = Helper(connections[alias], stop=ending, sleep=ending.sleep, **options)
        helps.append(helper.help)
        try:
            helper.run()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked
            errors.append(error)

    def alone() -> None:
        try:
            one()
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(alone,), name=f"worker-{n}")
        for n in range(1, count)
    ]
    for thread in threads:
        thread.start()
    one()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return added(helps)


def added(helps: Sequence[Help]) -> Help:
    """Return what several workers did together."""
    whole = Help()
    for each in helps:
        whole.rows += each.rows
        whole.failed.update(each.failed)
        whole.beyond.update(each.beyond)
    return whole
