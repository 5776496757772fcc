"""Indexes of partitioned tables: built on each partition concurrently, attached to the parent's.

PostgreSQL builds no index concurrently on a partitioned table. So the parent gets an
index of its own that has no parts yet and is INVALID (``ON ONLY``), each partition is
built as an ordinary table is, and attaching the last part makes the parent's index valid.
Partitions that are created meanwhile bring their part along. All names but the parent's
are chosen by PostgreSQL, so they are the ones that a plain CREATE INDEX would have given.
https://www.postgresql.org/docs/current/ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE
"""

from __future__ import annotations

from django.db import transaction

from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange
from django_safemigrations.postgres.catalog import Index, Table, quote
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.session import tablespace_for_new


def build_parts(runner: Runner, table: Table, name: str, statement: str) -> None:
    """Make the index of a partitioned table, or go on with one that was begun.

    Args:
        runner: the means to work with.
        table: the partitioned table.
        name: the name of its index.
        statement: CREATE INDEX, or ALTER TABLE … ADD CONSTRAINT … UNIQUE, for the table.

    Raises:
        InvalidIndex: a part is INVALID and can't be built anew, or is being built.

    Locks: SHARE on the parent (with a constraint ACCESS EXCLUSIVE) and ACCESS EXCLUSIVE on
    each part's index, for an instant each; SHARE UPDATE EXCLUSIVE on one partition at a time.
    """
    if runner.catalog.index(table, name) is None:
        runner.execute(on_only(statement, name))
    index = runner.catalog.index(table, name)
    assert index is not None, name
    _complete(runner, table, index)


def on_only(statement: str, name: str) -> str:
    """Return a statement that makes an index, or a constraint with one, without any parts."""
    if statement.startswith("ALTER TABLE "):
        return statement.replace("ALTER TABLE ", "ALTER TABLE ONLY ", 1)
    head, middle, tail = statement.partition(f"INDEX {quote(name)} ON ")
    assert head in ("CREATE ", "CREATE UNIQUE "), statement
    return f"{head}{middle}ONLY {tail}"


def partitions(runner: Runner, table: Table) -> list[Table]:
    """Return a table's own partitions, without those of its partitions."""
    rows = runner.catalog.rows(
        """
        SELECT c.oid::bigint, n.nspname, c.relname, c.relkind, c.relispartition,
               format('%%I.%%I', n.nspname, c.relname)
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE h.inhparent = %s AND NOT h.inhdetachpending
        ORDER BY c.oid
        """,
        [table.oid],
    )
    return [Table(*row) for row in rows]


def refuse_foreign(runner: Runner, table: Table) -> None:
    """Raise if a partition, or a partition's, lies on another server.

    Raises:
        UnsupportedChange: names it.
    """
    for partition in partitions(runner, table):
        if partition.kind == "f":
            raise UnsupportedChange(
                f"{partition.qualified}, a partition of {table.qualified}, is a foreign table, which "
                "can have no index here, so an index of the whole table would never be valid. "
                f"Detach it (ALTER TABLE {table.qualified} DETACH PARTITION {partition.qualified}) "
                "or fake this migration."
            )
        refuse_foreign(runner, partition)


def _complete(runner: Runner, table: Table, index: Index) -> None:
    """Give every partition its part of an index, until it is valid."""
    while True:
        missing = [p for p in partitions(runner, table) if not _has_part(runner, p, index)]
        if not missing:
            break
        # What somebody else has built is attached last: a part goes with the parent's index
        # when a unique build fails.
        for partition in sorted(missing, key=lambda p: _matching(runner, p, index) is not None):
            _add_part(runner, partition, index)
    found = runner.catalog.index(table, index.name)
    if found is None or not found.valid:
        raise InvalidIndex(
            f"Index {index.qualified} on {table.qualified} is not valid although each partition has "
            "its part. Run the command again."
        )


def _has_part(runner: Runner, partition: Table, index: Index) -> bool:
    """Whether a valid part is attached; what is attached and INVALID is completed, or refused."""
    for part in runner.catalog.indexes(partition):
        if part.part_of != index.oid:
            continue
        if not part.valid and part.partitioned:
            _complete(runner, partition, part)
        elif not part.valid:
            raise InvalidIndex(
                f"Index {part.qualified} on {partition.qualified} is INVALID and a part of "
                f"{index.qualified}, so it can't be dropped alone. Build it anew with "
                f"REINDEX INDEX CONCURRENTLY {part.qualified}, then run the command again."
            )
        return True
    return False


def _matching(runner: Runner, partition: Table, index: Index) -> Index | None:
    """Return an index of a partition that could be the part of an index, a valid one first."""
    found = [
        part
        for part in runner.catalog.indexes(partition)
        if part.part_of is None
        and (part.tail, part.unique) == (index.tail, index.unique)
        and (part.constraint is None or _same_constraint(part, index))
    ]
    return max(found, key=lambda part: part.valid, default=None)


def _same_constraint(part: Index, index: Index) -> bool:
    return (part.constraint_type, part.deferrable, part.deferred) == (
        index.constraint_type,
        index.deferrable,
        index.deferred,
    )


def _add_part(runner: Runner, partition: Table, index: Index) -> None:
    """Build a partition's part unless it is there, and attach it."""
    part = _matching(runner, partition, index)
    if partition.kind == "p":
        if part is None:
            runner.execute(_without_parts(runner, partition, index))
            part = _matching(runner, partition, index)
        assert part is not None
        _complete(runner, partition, part)
    else:
        if part is not None and not part.valid:
            drop_leftover(runner, partition, part)
            part = None
        if part is None:
            unique = "UNIQUE " if index.unique else ""
            how = "" if runner.in_transaction else "CONCURRENTLY "
            with tablespace_for_new(runner.catalog, index.tablespace):
                runner.execute(
                    f"CREATE {unique}INDEX {how}ON {partition.qualified} USING {index.tail}"
                )
    part = _matching(runner, partition, index)
    if part is None or not part.valid:
        raise InvalidIndex(
            f"The part of {index.qualified} on {partition.qualified} is not valid after its build. "
            "Run the command again: it drops what is left and builds anew."
        )
    if index.constraint is not None and part.constraint is None:
        part = _as_constraint(runner, partition, index, part)
    runner.execute(f"ALTER INDEX {index.qualified} ATTACH PARTITION {part.qualified}")


def _without_parts(runner: Runner, partition: Table, index: Index) -> str:
    """Return the statement that makes the part of a partition that has partitions itself."""
    if index.constraint is None:
        unique = "UNIQUE " if index.unique else ""
        return f"CREATE {unique}INDEX ON ONLY {partition.qualified} USING {index.tail}"
    definition = runner.catalog.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conindid = %s AND contype = 'u'",
        [index.oid],
    )
    return f"ALTER TABLE ONLY {partition.qualified} ADD {definition}"


def _as_constraint(runner: Runner, partition: Table, index: Index, part: Index) -> Index:
    """Make a unique index of a partition the constraint that the parent's index backs."""
    name = quote(_constraint_name(runner, partition, index))
    how = ""
    if index.deferrable:
        how = " DEFERRABLE INITIALLY " + ("DEFERRED" if index.deferred else "IMMEDIATE")
    runner.execute(
        f"ALTER TABLE {partition.qualified} ADD CONSTRAINT {name} UNIQUE "
        f"USING INDEX {quote(part.name)}{how}"
    )
    found = _matching(runner, partition, index)
    assert found is not None
    return found


class _Undo(Exception):
    """Rolls a question back."""


def _constraint_name(runner: Runner, partition: Table, index: Index) -> str:
    """Return the name that PostgreSQL would choose for a unique constraint of a partition."""
    rows = runner.catalog.rows
    columns = ", ".join(
        quote(name)
        for (name,) in rows(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s ORDER BY attnum", [index.oid]
        )
    )
    clone = f"pg_temp.{quote(partition.name)}"
    taken = """
        SELECT k.conname, EXISTS (SELECT FROM pg_class c WHERE c.relname = k.conname
                                  AND c.relnamespace = n.oid)
                          OR EXISTS (SELECT FROM pg_constraint o WHERE o.conname = k.conname
                                     AND o.connamespace = n.oid)
        FROM pg_constraint k, pg_namespace n
        WHERE k.conrelid = %s::regclass AND k.contype = 'u' AND n.nspname = %s
        ORDER BY k.oid DESC LIMIT 1
    """
    name = ""
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(
                f"CREATE TEMP TABLE {quote(partition.name)} (LIKE {partition.qualified})"
            )
            while True:
                # Each one more gets the next number, as it would beside what is there.
                cursor.execute(f"ALTER TABLE {clone} ADD UNIQUE ({columns})")
                name, is_taken = rows(taken, [clone, partition.schema])[0]
                if not is_taken:
                    raise _Undo
    except _Undo:
        return name


def drop_leftover(runner: Runner, partition: Table, part: Index) -> None:
    """Drop an INVALID index of a partition.

    Raises:
        InvalidIndex: another session is building it.
    """
    if part.being_built:
        raise InvalidIndex(
            f"Index {part.qualified} on {partition.qualified} is being built by another session. "
            "Wait until it is done (SELECT * FROM pg_stat_progress_create_index) and run again."
        )
    how = "" if runner.in_transaction else "CONCURRENTLY "
    runner.execute(f"DROP INDEX {how}IF EXISTS {part.qualified}")


def drop_leftovers(runner: Runner, table: Table, index: Index) -> None:
    """Drop the INVALID parts that a build which failed left on partitions."""
    for partition in partitions(runner, table):
        part = _matching(runner, partition, index)
        if partition.kind == "p":
            drop_leftovers(runner, partition, index)
            if part is not None and part.partitioned and not part.valid:
                runner.execute(f"DROP INDEX IF EXISTS {part.qualified}")
        elif part is not None and not part.valid:
            drop_leftover(runner, partition, part)
