"""Where the progress of a backfill is kept."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.leases import LedgerProgress, ledger_has_ranges
from django_safemigrations.backfill.memory import MemoryProgress
from django_safemigrations.backfill.store import ProgressStore


def progress_store(connection: BaseDatabaseWrapper, key: str, table: str) -> ProgressStore:
    """Return the ledger's store, or one in memory where the ledger's tables do not exist (yet).

    Args:
        connection: the database.
        key: what the backfill is called, the same in every run.
        table: the table, quoted, for people.
    """
    if ledger_has_ranges(connection):
        return LedgerProgress(connection, key, table)
    return MemoryProgress(key)
