"""Work that is stored, made anew: what lets another process do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from django_safemigrations.backfill.work import Work
from django_safemigrations.exceptions import BackfillStopped

HERE = "here"
"""The kind of work that only the process that began it can do."""

KINDS = {
    "sql": "django_safemigrations.backfill.fills.fill_of",
    "statement": "django_safemigrations.backfill.statements.statement_work_of",
    "rows": "django_safemigrations.operations.batching.row_work_of",
}
"""Who makes work of each kind: a function of the connection and of what is stored.

Named by its path, for operations are a layer above. It is never read from the database.
"""


def work_of(connection: BaseDatabaseWrapper, stored: Mapping[str, Any]) -> Work:
    """Return the work that a ledger's row describes.

    Args:
        connection: the database.
        stored: `BackfillProgress.task`.

    Raises:
        BackfillStopped: it can't be done by this process.
    """
    kind = stored.get("kind", HERE)
    if kind not in KINDS:
        raise BackfillStopped(
            "This backfill makes its values in Python, in the process that began it, and no other "
            "process can: run safemigrate again without --no-wait."
            if kind == HERE
            else f"This version of the package knows no backfill of the kind {kind!r}: upgrade it."
        )
    work: Work = import_string(KINDS[kind])(connection, stored)
    return work
