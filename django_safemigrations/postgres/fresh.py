"""Whether a run of migrate began on a database without any applied migration.

Such a database serves nobody, so changes run as plain Django would run them and
a test database costs nothing extra. Django's pre_migrate signal tells when a run
begins; https://docs.djangoproject.com/en/stable/ref/signals/#pre-migrate
"""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

_fresh: set[str] = set()


def is_fresh(alias: str) -> bool:
    """Whether the run under way on this database alias began with no migration applied."""
    return alias in _fresh


def note_start(alias: str) -> None:
    """Look whether any migration is applied, at the start of a run."""
    if MigrationRecorder(connections[alias]).applied_migrations():
        _fresh.discard(alias)
    else:
        _fresh.add(alias)


def note_end(alias: str) -> None:
    """Forget what was noted: the next run begins on a migrated database."""
    _fresh.discard(alias)


def _on_start(sender: Any, using: str, **kwargs: Any) -> None:
    # The signal is sent once an app; one look a run is enough.
    if sender.label == "django_safemigrations":
        note_start(using)


def _on_end(sender: Any, using: str, **kwargs: Any) -> None:
    note_end(using)


def install() -> None:
    """Listen to the start and the end of every run of migrate."""
    pre_migrate.connect(_on_start, dispatch_uid="django_safemigrations.fresh")
    post_migrate.connect(_on_end, dispatch_uid="django_safemigrations.fresh")
