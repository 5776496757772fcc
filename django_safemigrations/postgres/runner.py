"""Runs the statements of one operation: through Django's schema editor, under the lock guard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table
from django_safemigrations.postgres.locks import LockGuard, guarded_execution

T = TypeVar("T")


class Runner:
    """The means an operation works with.

    Attributes:
        editor: Django's schema editor; under sqlmigrate it collects instead of executing.
        connection: its connection.
        catalog: reads the catalog.
        guard: bounds lock waits.
    """

    def __init__(self, editor: BaseDatabaseSchemaEditor, guard: LockGuard) -> None:
        self.editor = editor
        self.connection: BaseDatabaseWrapper = editor.connection
        self.catalog = Catalog(self.connection)
        self.guard = guard

    @property
    def in_transaction(self) -> bool:
        """Whether somebody else's transaction is open: nothing concurrent can run."""
        return self.connection.in_atomic_block

    def execute(self, sql: str) -> None:
        """Execute one statement as it stands; nothing is interpolated."""
        self.editor.execute(sql, params=None)

    def execute_with_params(self, sql: str, params: list[Any]) -> int:
        """Execute one data statement and return the number of rows it touched."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    def transaction(self, work: Callable[[], T], what: str) -> T:
        """Run `work` in one transaction, again from its start when a lock is not granted.

        Inside somebody else's transaction it runs once, as a part of it.

        Raises:
            LockNotGranted: the lock budget is spent.
        """
        if self.in_transaction:
            return work()

        def attempt() -> T:
            with transaction.atomic(using=self.connection.alias):
                return work()

        return self.guard.run(attempt, what)

    def refuse_in_transaction(self, table: Table, what: str) -> None:
        """Raise if a transaction is open, for `what` would hold its locks until the end.

        Raises:
            UnsupportedChange: a transaction is open and the table has rows.
        """
        if self.in_transaction and not self.catalog.is_empty(table):
            raise UnsupportedChange(
                f"{what} on {table.qualified} can't run inside a transaction while the table has "
                "rows. Set `atomic = False` on the migration (a squash loses it), or run the "
                "migrations that it replaces."
            )


@contextlib.contextmanager
def runner(editor: BaseDatabaseSchemaEditor) -> Iterator[Runner]:
    """Open a runner; the lock guard of an outer block is used if there is one."""
    with guarded_execution(editor.connection) as guard:
        yield Runner(editor, guard)
