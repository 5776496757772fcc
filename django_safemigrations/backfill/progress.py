"""How far a backfill is, stored in the ledger with each batch's own commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone


@dataclass(frozen=True)
class Progress:
    """What is known of a backfill.

    Attributes:
        last_key: the key up to which rows are filled, as PostgreSQL prints it.
        rows_done: rows changed so far.
        finished: whether its last batch has run.
    """

    last_key: list[str] | None = None
    rows_done: int = 0
    finished: bool = False


class ProgressStore(Protocol):
    """Keeps the progress of one backfill."""

    def load(self) -> Progress:
        """Return what is stored, or an empty progress."""

    def save(self, progress: Progress) -> None:
        """Store it; called inside the batch's transaction."""


class MemoryProgress:
    """Keeps progress for this process only: where the ledger's table is not there (yet)."""

    def __init__(self) -> None:
        self.progress = Progress()

    def load(self) -> Progress:
        """Return what was saved in this process."""
        return self.progress

    def save(self, progress: Progress) -> None:
        """Keep it."""
        self.progress = progress


class LedgerProgress:
    """Keeps progress in the ledger's BackfillProgress."""

    def __init__(self, connection: BaseDatabaseWrapper, key: str, table: str) -> None:
        # By name: the ledger is a layer above.
        self.model = apps.get_model("django_safemigrations", "BackfillProgress")
        self.alias = connection.alias
        self.key = key
        self.table = table

    def load(self) -> Progress:
        """Return the stored progress."""
        row = self.model._default_manager.using(self.alias).filter(key=self.key).first()
        if row is None:
            return Progress()
        return Progress(row.last_key, row.rows_done, row.finished_at is not None)

    def save(self, progress: Progress) -> None:
        """Store it in the transaction that is open."""
        now = timezone.now()
        values = {
            "table": self.table,
            "last_key": progress.last_key,
            "rows_done": progress.rows_done,
            "finished_at": now if progress.finished else None,
            "updated_at": now,
        }
        rows = self.model._default_manager.using(self.alias)
        if not rows.filter(key=self.key).update(**values):
            rows.create(key=self.key, started_at=now, **values)


def progress_store(connection: BaseDatabaseWrapper, key: str, table: str) -> ProgressStore:
    """Return the ledger's store, or one in memory where the ledger's table does not exist."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_safemigrations_backfillprogress') IS NOT NULL")
        if cursor.fetchone()[0]:
            return LedgerProgress(connection, key, table)
    return MemoryProgress()
