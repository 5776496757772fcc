"""Index builds that block nobody, and what a broken one leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.db import Error, IntegrityError

from django_safemigrations.exceptions import InvalidIndex, ViolatingRows
from django_safemigrations.postgres import partitions
from django_safemigrations.postgres.catalog import Index, Table, quote
from django_safemigrations.postgres.errors import UNIQUE_VIOLATION, sqlstate
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.session import tablespace_for_new


class Build(Protocol):
    """Runs the statement that builds an index."""

    def __call__(self, *, concurrently: bool) -> None:
        """Run it, with CONCURRENTLY or without."""


def build_index(
    runner: Runner,
    table: Table,
    name: str,
    build: Build,
    *,
    tablespace: str | None = None,
) -> None:
    """Build an index unless a valid one of its name is there.

    An INVALID leftover of an earlier build is dropped first. An empty table is built
    plainly under its lock, and so is any table inside somebody else's transaction if
    it is empty. On a partitioned table each partition is built, and attached.

    Args:
        runner: the means to work with.
        table: the table of the index.
        name: the index's name.
        build: runs the statement.
        tablespace: where to put it, if not where the database puts indexes.

    Raises:
        ViolatingRows: a unique index met equal keys; it is dropped again at once, for
            even an INVALID one refuses writes.
        InvalidIndex: the build ended with an index that is not valid, or somebody else
            is building it.
        UnsupportedChange: rows inside a transaction, or a partition is a foreign table.

    Locks: SHARE UPDATE EXCLUSIVE on the table (blocks no reads or writes), two scans; for a
    partitioned one see `partitions.build_parts`.
    """
    if table.kind == "p":
        statement = _printed(runner, lambda: build(concurrently=False))
        build_on_partitions(runner, table, name, statement)
        return
    if drop_invalid(runner, table, name):
        return
    runner.refuse_in_transaction(table, f"Building {quote(name)} concurrently")
    if runner.catalog.is_empty(table) and _built_while_empty(runner, table, build):
        return
    try:
        with tablespace_for_new(runner.catalog, tablespace):
            build(concurrently=True)
    except (IntegrityError, Error) as error:
        drop_invalid(runner, table, name)
        if sqlstate(error) == UNIQUE_VIOLATION:
            raise _equal_keys(table, name, error) from error
        raise
    built = runner.catalog.index(table, name)
    if built is None or not built.valid:
        raise InvalidIndex(
            f"Index {quote(name)} on {table.qualified} is not valid after its build. Run the "
            "command again: it drops what is left and builds anew."
        )


def build_on_partitions(runner: Runner, table: Table, name: str, statement: str) -> None:
    """Build an index, or a unique constraint with its index, on each partition of a table.

    Goes on with one that was begun, and does nothing if a valid one of its name is there.

    Args:
        runner: the means to work with.
        table: a partitioned table.
        name: the name of the index, and of its constraint.
        statement: CREATE INDEX, or ALTER TABLE … ADD CONSTRAINT … UNIQUE, for the table.

    Raises:
        ViolatingRows: a unique index met equal keys; it is dropped again at once.
        InvalidIndex: as in `partitions.build_parts`.
        UnsupportedChange: rows inside a transaction, or a partition is a foreign table.

    Locks: as in `partitions.build_parts`.
    """
    begun = runner.catalog.index(table, name)
    if begun is not None and begun.valid:
        return
    partitions.refuse_foreign(runner, table)
    runner.refuse_in_transaction(table, f"Building {quote(name)} on each partition")

    def build(*, concurrently: bool) -> None:
        runner.execute(statement)

    if (
        begun is None
        and runner.catalog.is_empty(table)
        and _built_while_empty(runner, table, build)
    ):
        return
    try:
        partitions.build_parts(runner, table, name, statement)
    except (IntegrityError, Error) as error:
        if sqlstate(error) != UNIQUE_VIOLATION:
            raise
        drop_unfinished(runner, table, name)
        raise _equal_keys(table, name, error) from error


def _equal_keys(table: Table, name: str, error: Exception) -> ViolatingRows:
    return ViolatingRows(
        f"{table.qualified} has rows with equal keys, so {quote(name)} can't be unique: "
        f"{error}".rstrip()
        + "\nThe unfinished index was dropped. Remove the duplicates and run again."
    )


def drop_invalid(runner: Runner, table: Table, name: str) -> bool:
    """Drop an INVALID index of that name; return whether a valid one is there.

    Raises:
        InvalidIndex: another session is building it.
    """
    existing = runner.catalog.index(table, name)
    if existing is None:
        return False
    if existing.valid:
        return True
    if existing.being_built:
        raise InvalidIndex(
            f"Index {quote(name)} on {table.qualified} is being built by another session. "
            "Wait until it is done (SELECT * FROM pg_stat_progress_create_index) and run again."
        )
    drop_index(runner, existing)
    return False


def drop_index(runner: Runner, index: Index) -> None:
    """Drop an index without blocking reads or writes, outside of transactions.

    Locks: SHARE UPDATE EXCLUSIVE on the table; PostgreSQL drops an index of a partitioned
    table only under ACCESS EXCLUSIVE on it and its partitions, for an instant.
    """
    how = "" if runner.in_transaction or index.partitioned else "CONCURRENTLY "
    runner.execute(f"DROP INDEX {how}IF EXISTS {index.qualified}")


def drop_unfinished(runner: Runner, table: Table, name: str) -> None:
    """Drop the index of a partitioned table that met equal keys, with the parts it has so far."""
    begun = runner.catalog.index(table, name)
    if begun is None or begun.valid:
        return
    partitions.drop_leftovers(runner, table, begun)
    if begun.constraint is not None:
        runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(begun.constraint)}")
    else:
        drop_index(runner, begun)


def _printed(runner: Runner, work: Callable[[], None]) -> str:
    """Return the one statement that `work` gives to the schema editor, which runs nothing."""
    editor: Any = runner.editor
    before = (editor.collect_sql, getattr(editor, "collected_sql", None))
    editor.collect_sql, editor.collected_sql = True, []
    try:
        work()
        [statement] = editor.collected_sql
    finally:
        editor.collect_sql, editor.collected_sql = before
    return str(statement).rstrip(";")


def _built_while_empty(runner: Runner, table: Table, build: Build) -> bool:
    """Build without CONCURRENTLY if the table is empty and stays so under its lock."""

    def work() -> bool:
        # SHARE stops writers, so that the table can't fill between the look and the build.
        runner.execute(f"LOCK TABLE {table.qualified} IN SHARE MODE")
        if not runner.catalog.is_empty(table):
            return False
        build(concurrently=False)
        return True

    return runner.transaction(work, f"an index on {table.qualified}")
