"""Which tables the project's own operations wrote to, told by the server's counters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation

from django_safemigrations.operations.base import Stage
from django_safemigrations.operations.batches import RunInBatches
from django_safemigrations.operations.leaves import leaves
from django_safemigrations.operations.row_functions import RowChange
from django_safemigrations.operations.row_statements import UpdateRows
from django_safemigrations.rehearsal.results import StepKey

# Of this session alone what is not yet reported, and of all sessions what is.
# https://www.postgresql.org/docs/current/monitoring-stats.html
COUNTS = """
SELECT format('%I.%I', n.nspname, c.relname),
       pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
       + pg_stat_get_tuples_deleted(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid),
       pg_stat_get_tuples_updated(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""
PARENTS = """
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, r.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     pg_partition_root(c.oid) p JOIN pg_class r ON r.oid = p JOIN pg_namespace m ON m.oid = r.relnamespace
WHERE c.relispartition AND c.relkind = 'r'
"""


@dataclass(frozen=True)
class Writer:
    """An operation of the project that changes rows, or may.

    Attributes:
        title: migration, place and what it does.
        columns: names of the only fields or columns that it updates; None if nobody can say.
        changes_count: whether it may insert and delete rows.
        gives_back: whether its way back is more than doing nothing.
    """

    title: str
    columns: frozenset[str] | None
    changes_count: bool
    gives_back: bool

    def may_write(self, *names: str | None) -> bool:
        """Whether it may update a column that goes by one of these names."""
        return self.columns is None or not self.columns.isdisjoint(filter(None, names))


class OwnWrites:
    """Hears of the steps of a plan, and looks what the project's own ones wrote.

    Args:
        connection: the session that runs the plan.
        migrations: those of the plan.
    """

    def __init__(self, connection: BaseDatabaseWrapper, migrations: Sequence[Migration]) -> None:
        self.connection = connection
        self.writers = dict(_writers(migrations))
        self.by_table: dict[str, set[Writer]] = {}
        self._before: dict[str, tuple[int, int]] = {}

    def step_begins(self, key: StepKey) -> None:
        """Note where the counters are."""
        if _place(key) in self.writers:
            self._before = self._counts()

    def step_ends(self, key: StepKey) -> None:
        """See which of them went on."""
        writer = self.writers.get(_place(key))
        if writer is None:
            return
        for table, counts in self._counts().items():
            if self._before.get(table, (0, 0)) != counts:
                self.by_table.setdefault(table, set()).add(writer)

    def committed(self, key: StepKey) -> None:
        """Nothing to do."""

    def of(self, *tables: str | None) -> list[Writer]:
        """Return who wrote to a table, by any of its names."""
        found = {writer for table in tables for writer in self.by_table.get(table or "", ())}
        return sorted(found, key=lambda writer: writer.title)

    def _counts(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        with self.connection.cursor() as cursor:
            # Counters of ended transactions are reported once a second, unless asked for.
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(COUNTS)
            counted = cursor.fetchall()
            cursor.execute(PARENTS)
            parents = dict(cursor.fetchall())
        for table, came_or_went, updated in counted:
            root = parents.get(table, table)
            earlier = found.get(root, (0, 0))
            found[root] = (earlier[0] + came_or_went, earlier[1] + updated)
        return found


def _place(key: StepKey) -> tuple[str, str, str]:
    return key.app_label, key.migration, key.operation


def _writers(migrations: Sequence[Migration]) -> Iterator[tuple[tuple[str, str, str], Writer]]:
    for migration in migrations:
        for place, leaf in leaves(migration):
            writer = _writer(leaf, f"{migration} {place} ({leaf.describe()})")
            if writer is not None:
                yield (migration.app_label, migration.name, place), writer


def _writer(operation: Operation, title: str) -> Writer | None:
    if isinstance(operation, RunInBatches):
        return Writer(title, *_declared(operation), operation.undo is not None)
    if isinstance(operation, Stage):
        return None
    if isinstance(operation, operations.RunPython):
        noop = operation.reverse_code in (None, operations.RunPython.noop)
        return Writer(title, None, changes_count=True, gives_back=not noop)
    if isinstance(operation, operations.RunSQL):
        noop = operation.reverse_sql in (None, operations.RunSQL.noop)
        return Writer(title, None, changes_count=True, gives_back=not noop)
    if type(operation).__module__.startswith("django."):
        return None
    return Writer(title, None, changes_count=True, gives_back=True)


def _declared(operation: RunInBatches) -> tuple[frozenset[str] | None, bool]:
    """Return the fields that a data migration in batches updates, and whether rows come or go."""
    change: Any = operation.change
    if isinstance(change, UpdateRows) and not callable(change.values):
        return _with_columns(change.values), False
    if isinstance(change, RowChange):
        # A row function may delete its row.
        return _with_columns(change.spec.writes), True
    return None, True


def _with_columns(names: Any) -> frozenset[str]:
    return frozenset(name for given in names for name in (given, f"{given}_id"))
