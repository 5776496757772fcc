"""Counts, before a contract, the rows in which the two columns of a pair still differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.operations import DropReplacedColumn, DropSyncedColumns, Stage
from django_safemigrations.operations.leaves import leaves
from django_safemigrations.operations.shadows import UNKNOWN
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.pairs import Pairs
from django_safemigrations.postgres.runner import Runner, runner
from django_safemigrations.postgres.swaps import typed_pairs
from django_safemigrations.schedule import Entry, dotted

PATIENCE = 5.0
"""Seconds for all counts of a run together; the contract itself counts without a limit."""
SHORTEST = 0.1
QUERY_CANCELED = "57014"
ENOUGH = 1000


def differing_rows(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    contracts: Sequence[Entry],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what speaks against some contracts, and what there is to say besides.

    Args:
        connection: the database; nothing is written.
        loader: the migrations.
        contracts: contracts whose expands have been applied.
        clock: injected by tests.

    Locks: ACCESS SHARE while it counts, for at most PATIENCE seconds.
    """
    problems: list[str] = []
    notes: list[str] = []
    until = clock() + PATIENCE
    for entry in contracts:
        stages = [
            operation
            for _, operation in leaves(entry.migration)
            if isinstance(operation, DropSyncedColumns | DropReplacedColumn)
        ]
        if not stages:
            continue
        for pairs in _pairs(connection, loader, entry, stages):
            count = _count(connection, pairs, max(SHORTEST, until - clock()))
            name = f"{dotted(entry.key)}: {pairs.title}"
            if count is None:
                notes.append(
                    f"{name}: not counted within {PATIENCE:g} s; the contract counts before it "
                    "drops anything"
                )
            elif count:
                some = f"at least {count}" if count >= ENOUGH else str(count)
                problems.append(
                    f"{name}: the columns differ in {some} row{'s' if count != 1 else ''}; find "
                    "out what writes past the trigger, and make them equal"
                )
            else:
                notes.append(f"{name}: equal in every row")
    return tuple(problems), tuple(notes)


def _pairs(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    entry: Entry,
    stages: Sequence[DropSyncedColumns | DropReplacedColumn],
) -> Iterator[Pairs]:
    if entry.key not in loader.graph.nodes:
        loader = MigrationLoader(connection, replace_migrations=False)
    state = loader.project_state(entry.key)
    with (
        connection.schema_editor(collect_sql=True, atomic=False) as editor,
        runner(editor) as means,
    ):
        for stage in stages:
            try:
                _, after = Stage.models(stage, entry.migration.app_label, state, state)
                found = _pair(means, stage, after)
            except (SafeMigrationsError, LookupError):
                # What does not fit is told by the contract itself, with what to do.
                continue
            if found is not None:
                yield found


def _pair(
    means: Runner, stage: DropSyncedColumns | DropReplacedColumn, after: object
) -> Pairs | None:
    if isinstance(stage, DropSyncedColumns):
        pairs = stage.old_to_new(means, after)
    elif stage.columns:
        pairs = stage.under_way(means, after)
    else:
        table, column, _, aside = stage.where(means, after)
        if means.catalog.column(table, aside) is None:
            return None
        pairs = typed_pairs(means, table, column, aside, UNKNOWN)
    there = pairs and all(means.catalog.column(pairs.table, name) for name in pairs.targets)
    return pairs if there else None


def _count(connection: BaseDatabaseWrapper, pairs: Pairs, seconds: float) -> int | None:
    """Return how many rows differ, up to a number; None if there was no time to count."""
    differing = f"SELECT 1 FROM {pairs.table.qualified} WHERE {pairs.where_different}"
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true)", [str(round(seconds * 1000))]
            )
            # Without parameters: a type's conversion may hold percent signs.
            cursor.execute(f"SELECT count(*) FROM ({differing} LIMIT {ENOUGH}) differing")
            return int(cursor.fetchone()[0])
    except Error as error:
        if sqlstate(error) == QUERY_CANCELED:
            return None
        raise
