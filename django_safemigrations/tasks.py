"""Backfills as Django tasks, so that the workers that a team has already do the work.

A task works for a while, gives its range back, and enqueues itself again until nothing is
left: no task lasts long, and a fleet that is deployed anew loses nothing. It is Django's
own framework from 6.0 on, and the package django-tasks before.
https://docs.djangoproject.com/en/stable/topics/tasks/
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string

from django_safemigrations.backfill.ending import Ending
from django_safemigrations.backfill.helping import Helper
from django_safemigrations.backfill.listing import list_backfills
from django_safemigrations.backfill.store import State
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import SettingsError

logger = logging.getLogger("django_safemigrations.backfill")

COME_AGAIN = 30.0
"""Seconds until a task that found nothing to do looks again."""

# Django's own from 6.0 on comes first; the package works with it, too.
FRAMEWORKS = ("django.tasks", "django_tasks")


def _as_task(work: Callable[..., Any]) -> Any:
    """Make a task of a function; leave it as it is where there is no framework, or no backend.

    Workers import a task by the path of its function, so it has to be one when this module
    is imported; that nobody can enqueue it is said when somebody tries.
    """
    chosen = get_settings().backfill
    for framework in FRAMEWORKS:
        try:
            task = import_string(f"{framework}.task")
        except ImportError:
            continue
        try:
            return task(backend=chosen.task_backend, queue_name=chosen.task_queue)(work)
        except Exception as error:  # noqa: BLE001 - each framework has errors of its own
            return _Unusable(work, f"{type(error).__name__}: {error}")
    return _Unusable(work, "no framework is installed: use Django 6.0, or install django-tasks")


class _Unusable:
    """Stands for a task where there can be none."""

    def __init__(self, func: Callable[..., Any], why: str) -> None:
        self.func, self.why = func, why

    def enqueue(self, *_: Any, **__: Any) -> None:
        """Say why not.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "SAFE_MIGRATIONS BACKFILL['TASKS'] asks for Django tasks, but they can't be enqueued: "
            f"{self.why}. See BACKFILL['TASK_BACKEND'], BACKFILL['TASK_QUEUE'] and Django's TASKS, "
            "or set TASKS to 0 and type manage.py runbackfill."
        )


@_as_task
def work_on_backfill(database: str, key: str) -> dict[str, Any]:
    """Work on one backfill for TASK_SECONDS, and enqueue the same again if something is left.

    Args:
        database: alias of the database.
        key: what the ledger calls the backfill.

    Returns:
        ``{"rows": changed here, "state": of the backfill, "again": whether it was enqueued}``
    """
    ending = Ending(get_settings().backfill.task_seconds)
    connection = connections[database]
    done = Helper(connection, [key], once=True, stop=ending, sleep=ending.sleep).run()
    for why in (*done.failed.values(), *done.beyond.values()):
        logger.warning("%s", why)
    found = next((each for each in list_backfills(connection) if each.key == key), None)
    state = State.CANCELLED if found is None else found.state
    left = state in (State.PENDING, State.RUNNING, State.PAUSED)
    stuck = done.failed or done.beyond
    again = left and not stuck and _again(database, key, idle=not done.rows)
    return {"rows": done.rows, "state": str(state), "again": again}


def enqueue(database: str, key: str, count: int) -> int:
    """Enqueue some tasks that work on a backfill side by side; return how many.

    Raises:
        SettingsError: there is no task framework, or TASKS does not have the backend.
    """
    for _ in range(count):
        work_on_backfill.enqueue(database, key)
    return count


def _again(database: str, key: str, *, idle: bool) -> bool:
    if not idle:
        work_on_backfill.enqueue(database, key)
        return True
    # Nothing was free: later. A backend that can't put off would spin, and one that runs tasks
    # at once would never return.
    if not work_on_backfill.get_backend().supports_defer:
        return False
    later = timezone.now() + timedelta(seconds=COME_AGAIN)
    work_on_backfill.using(run_after=later).enqueue(database, key)
    return True
