"""Judges CREATE INDEX, DROP INDEX and REINDEX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.names import (
    object_name,
    quoted,
    relation,
)
from django_safemigrations.lint.sql.parser import written
from django_safemigrations.lint.sql.run import (
    Run,
    not_in_transaction,
    paste,
    way_out_of_transaction,
)
from django_safemigrations.lint.sql.tables import table_of_index
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock


def create_index(node: Node, run: Run) -> Iterator[Observation]:
    """A plain build blocks writes; a concurrent one needs to be alone, and leaves a leftover."""
    table = relation(node.child("relation"))
    name = node.text("idxname")
    shown = name or f"on {table}"
    _remember(node, table, run)
    if not node.flag("concurrent"):
        if table in run.facts.views:
            # Nobody writes to a materialised view, and it can be read meanwhile.
            return
        if run.used(table) is not None and not _is_on_only(node):
            run.hold(table, Lock.SHARE)
            yield Observation(
                "DSM101",
                f"CREATE INDEX {shown} reads all of {table} under a SHARE lock: every INSERT, "
                "UPDATE and DELETE on the table waits until it is built"
                + (" and the migration is committed." if run.in_transaction else "."),
                _concurrently(node, name),
            )
        return
    if run.in_transaction:
        yield Observation(
            "DSM103",
            f"CREATE INDEX CONCURRENTLY {shown} {not_in_transaction(run)}",
            way_out_of_transaction(run, run.statement.text),
        )
    elif run.used(table) is not None and name not in run.session.dropped_indexes:
        skips = node.flag("if_not_exists")
        yield Observation(
            "DSM104",
            f"If building {shown} on {table} fails, an INVALID index "
            + ("of that name stays behind, and " if name else "stays behind, and ")
            + (
                "IF NOT EXISTS takes it for the index on every further run: the migration "
                "passes, and no query can use it."
                if skips
                else "every further run of this migration fails because the name is taken."
                if name
                else "every further run builds one more under another name."
            ),
            _concurrently(node, name),
        )


def _is_on_only(node: Node) -> bool:
    """Return whether a partitioned table gets the index without its partitions."""
    target = node.child("relation")
    return target is not None and not target.flag("inh")


def _concurrently(node: Node, name: str) -> str:
    columns = [part.text("name") or "expr" for part in node.children("index_params")]
    name = name or "_".join([relation(node.child("relation")), *columns, "idx"])[:63]

    def change(message: Any) -> None:
        message.concurrent = True
        message.if_not_exists = False
        message.idxname = name

    create = written(node, change)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}"
    return (
        paste(drop, create, atomic=False, reverse=drop)
        + "\nor give the model the index in Meta.indexes and run makemigrations."
    )


def _remember(node: Node, table: str, run: Run) -> None:
    name = node.text("idxname")
    if name:
        run.facts.indexes[name] = table
    columns = [part.text("name") for part in node.children("index_params")]
    if name and all(columns):
        run.facts.index_columns[name] = tuple(columns)
    if node.flag("unique") and not node.has("where_clause") and all(columns):
        run.facts.uniques.setdefault(table, set()).add(frozenset(columns))


def drop_index(node: Node, run: Run) -> Iterator[Observation]:
    """A plain drop needs ACCESS EXCLUSIVE on the table; a concurrent one needs to be alone."""
    for item in node.children("objects"):
        name = object_name(item)
        table = table_of_index(name, run.context)
        run.facts.indexes.pop(name, None)
        if node.flag("missing_ok"):
            run.session.dropped_indexes.add(name)
        if node.flag("concurrent"):
            if run.in_transaction:
                yield Observation(
                    "DSM103",
                    f"DROP INDEX CONCURRENTLY {name} {not_in_transaction(run)}",
                    way_out_of_transaction(run, run.statement.text),
                )
            continue
        if table is not None and run.used(table) is None:
            continue
        if table is not None:
            run.hold(table, Lock.ACCESS_EXCLUSIVE)
        yield Observation(
            "DSM102",
            f"DROP INDEX {name} needs ACCESS EXCLUSIVE on {table or 'its table'}: it waits for "
            "every query that is running, and every other query waits behind it, reads included.",
            paste(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}", atomic=False),
        )


def reindex(node: Node, run: Run) -> Iterator[Observation]:
    """REINDEX locks what it builds anew."""
    kind = node.choice("kind").removeprefix("REINDEX_OBJECT_")
    name = relation(node.child("relation")) or node.text("name")
    options = {option.text("defname"): option for option in node.children("params")}
    shown = f"REINDEX {kind} {name}".strip()
    if "concurrently" in options:
        if run.in_transaction:
            yield Observation(
                "DSM103",
                f"{shown} CONCURRENTLY {not_in_transaction(run)}",
                way_out_of_transaction(run, run.statement.text),
            )
        return
    if kind in ("DATABASE", "SYSTEM", "SCHEMA") and run.in_transaction:
        yield Observation(
            "DSM608",
            f"{shown} {not_in_transaction(run)}",
            way_out_of_transaction(run, f"REINDEX {kind} CONCURRENTLY {quoted(name)}"),
        )
        return
    table = table_of_index(name, run.context) if kind == "INDEX" else name
    if table is not None and run.used(table) is None:
        return
    if table is not None:
        run.hold(table, Lock.SHARE)
    yield Observation(
        "DSM607",
        f"{shown} builds under a SHARE lock on {table or 'the table'} and ACCESS EXCLUSIVE on the "
        "index: writes wait, and so does every query that is planned, for the planner looks at "
        "all indexes.",
        paste(f"REINDEX {kind} CONCURRENTLY {quoted(name)}", atomic=False, reverse=""),
    )
