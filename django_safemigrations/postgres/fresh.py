"""Whether a run of migrate began on a database without any applied migration.

Such a database serves nobody, so changes run as plain Django would run them and
a test database costs nothing extra. Django's pre_migrate signal tells when a run
begins; https://docs.djangoproject.com/en/stable/ref/signals/#pre-migrate
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

# What begins otherwise may bring rows; these make and unmake tables, or only look.
NO_ROWS = frozenset(
    {
        "ALTER",
        "ANALYZE",
        "BEGIN",
        "COMMENT",
        "COMMIT",
        "CREATE",
        "DROP",
        "GRANT",
        "LOCK",
        "RELEASE",
        "RESET",
        "REVOKE",
        "ROLLBACK",
        "SAVEPOINT",
        "SELECT",
        "SET",
        "SHOW",
    }
)


class _Watch:
    """Notices, on one connection, whether any table may have got rows since a run began."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.may_hold_rows = _has_rows_already(connection)
        connection.execute_wrappers.append(self)

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if not self.may_hold_rows:
            words = str(sql).split(None, 3)
            book = words[:2] == ["INSERT", "INTO"] and words[2:3] == ['"django_migrations"']
            self.may_hold_rows = bool(words) and words[0].upper() not in NO_ROWS and not book
        return execute(sql, params, many, context)

    def end(self) -> None:
        if self in self.connection.execute_wrappers:
            self.connection.execute_wrappers.remove(self)


_fresh: dict[str, _Watch | None] = {}


def is_fresh(alias: str) -> bool:
    """Whether the run under way on this database alias began with no migration applied."""
    return alias in _fresh


def may_hold_rows(alias: str) -> bool:
    """Whether a table may have rows, in a run that began with no migration applied.

    A look at each table at each change costs a test database a tenth of its time.
    """
    watch = _fresh.get(alias)
    return watch is None or watch.may_hold_rows


def note_start(alias: str) -> None:
    """Look whether any migration is applied, at the start of a run."""
    note_end(alias)
    connection = connections[alias]
    if MigrationRecorder(connection).applied_migrations():
        return
    _fresh[alias] = _Watch(connection) if connection.vendor == "postgresql" else None


def note_end(alias: str) -> None:
    """Forget what was noted: the next run begins on a migrated database."""
    watch = _fresh.pop(alias, None)
    if watch is not None:
        watch.end()


def _has_rows_already(connection: BaseDatabaseWrapper) -> bool:
    """Whether somebody else's tables were written to, as before ``migrate --fake-initial``."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'
                  AND n.nspname <> 'information_schema' AND c.relname <> 'django_migrations'
                  AND pg_relation_size(c.oid) > 0
            )
            """
        )
        return bool(cursor.fetchone()[0])


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
