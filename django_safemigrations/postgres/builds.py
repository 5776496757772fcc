"""Index builds that block nobody, and what a broken one leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from django.db import Error, IntegrityError

from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.catalog import Index, Table, quote
from django_safemigrations.postgres.errors import UNIQUE_VIOLATION, sqlstate
from django_safemigrations.postgres.runner import Runner


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
    it is empty.

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
        UnsupportedChange: partitioned table, or rows inside a transaction.

    Locks: SHARE UPDATE EXCLUSIVE on the table (blocks no reads or writes), two scans.
    """
    if table.kind == "p":
        raise UnsupportedChange(
            f"{table.qualified} is partitioned: PostgreSQL builds no index concurrently on it. "
            "Build the index on each partition and attach it by hand, then fake this migration."
        )
    if drop_invalid(runner, table, name):
        return
    runner.refuse_in_transaction(table, f"Building {quote(name)} concurrently")
    if runner.catalog.is_empty(table) and _built_while_empty(runner, table, name, build):
        return
    try:
        _in_tablespace(runner, tablespace, lambda: build(concurrently=True))
    except (IntegrityError, Error) as error:
        drop_invalid(runner, table, name)
        if sqlstate(error) == UNIQUE_VIOLATION:
            raise ViolatingRows(
                f"{table.qualified} has rows with equal keys, so {quote(name)} can't be unique: "
                f"{error}".rstrip()
                + "\nThe unfinished index was dropped. Remove the duplicates and run again."
            ) from error
        raise
    built = runner.catalog.index(table, name)
    if built is None or not built.valid:
        raise InvalidIndex(
            f"Index {quote(name)} on {table.qualified} is not valid after its build. Run the "
            "command again: it drops what is left and builds anew."
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
    """Drop an index without blocking reads or writes, outside of transactions."""
    how = "" if runner.in_transaction else "CONCURRENTLY "
    runner.execute(f"DROP INDEX {how}IF EXISTS {index.qualified}")


def _built_while_empty(runner: Runner, table: Table, name: str, build: Build) -> bool:
    """Build without CONCURRENTLY if the table is empty and stays so under its lock."""

    def work() -> bool:
        # SHARE stops writers, so that the table can't fill between the look and the build.
        runner.execute(f"LOCK TABLE {table.qualified} IN SHARE MODE")
        if not runner.catalog.is_empty(table):
            return False
        build(concurrently=False)
        return True

    return runner.transaction(work, f"index {quote(name)} on {table.qualified}")


def _in_tablespace(runner: Runner, tablespace: str | None, build: Callable[[], None]) -> None:
    if tablespace is None:
        build()
        return
    # pg_get_indexdef leaves the tablespace out, and its place is in the middle.
    before = runner.catalog.value("SELECT current_setting('default_tablespace')")
    runner.catalog.rows("SELECT set_config('default_tablespace', %s, false)", [tablespace])
    try:
        build()
    finally:
        runner.catalog.rows("SELECT set_config('default_tablespace', %s, false)", [before])
