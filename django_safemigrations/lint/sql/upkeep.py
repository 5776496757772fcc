"""Judges statements that maintain tables, and LOCK."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.alter_table import rewritten
from django_safemigrations.lint.sql.names import quoted, relation
from django_safemigrations.lint.sql.run import (
    ALL_WAIT,
    WRITES_WAIT,
    Run,
    not_in_transaction,
    paste,
    way_out_of_transaction,
)
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

MODES = dict(enumerate(Lock, start=1))
OFF = ("false", "off", "0")


def vacuum(node: Node, run: Run) -> Iterator[Observation]:
    """VACUUM can't run in a transaction, and FULL writes the table anew; ANALYZE is free."""
    if not node.flag("is_vacuumcmd"):
        return
    tables = [relation(part.child("relation")) for part in node.children("rels")]
    shown = f"VACUUM {', '.join(tables)}".strip()
    if run.in_transaction:
        yield Observation(
            "DSM608",
            f"{shown} {not_in_transaction(run)}",
            way_out_of_transaction(run, run.statement.text),
        )
        return
    full = [part for part in node.children("options") if part.text("defname") == "full"]
    if full and not _is_off(full[-1]):
        for table in tables or ["every table"]:
            if not tables or run.used(table) is not None:
                yield rewritten("VACUUM FULL", table)


def _is_off(option: Node) -> bool:
    value = option.child("arg")
    if value is None:
        return False
    if value.is_a("String"):
        return value.text("sval").lower() in OFF
    return value.is_a("Boolean") and not value.flag("boolval")


def cluster(node: Node, run: Run) -> Iterator[Observation]:
    """CLUSTER writes the table anew in the order of an index."""
    name = relation(node.child("relation"))
    if not name:
        if run.in_transaction:
            yield Observation(
                "DSM608",
                f"CLUSTER of all tables {not_in_transaction(run)}",
                "Leave it out: it writes every clustered table anew.",
            )
        else:
            yield rewritten("CLUSTER", "every clustered table")
    elif run.used(name) is not None:
        run.hold(name, Lock.ACCESS_EXCLUSIVE)
        yield rewritten(f"CLUSTER {name}", name)


def refresh(node: Node, run: Run) -> Iterator[Observation]:
    """A plain refresh keeps readers out until the query is done."""
    name = relation(node.child("relation"))
    if node.flag("concurrent") or run.used(name) is None:
        return
    run.hold(name, Lock.ACCESS_EXCLUSIVE)
    empty = node.flag("skip_data")
    harm = (
        "empties it: every SELECT on it fails until it is refreshed."
        if empty
        else f"runs its query under ACCESS EXCLUSIVE: {ALL_WAIT}."
    )
    yield Observation(
        "DSM609",
        f"REFRESH MATERIALIZED VIEW {name} {harm}",
        "With a unique index over plain columns it can be refreshed beside its readers:\n"
        + paste(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {quoted(name)}", reverse=""),
    )


def lock_table(node: Node, run: Run) -> Iterator[Observation]:
    """An explicit lock is held until the transaction ends."""
    mode = MODES.get(node.number("mode"), Lock.ACCESS_EXCLUSIVE)
    for item in node.children("relations"):
        name = relation(item)
        if run.used(name) is None:
            continue
        run.hold(name, mode)
        if list(Lock).index(mode) < list(Lock).index(Lock.SHARE):
            continue
        waits = ALL_WAIT if mode is Lock.ACCESS_EXCLUSIVE else WRITES_WAIT
        yield Observation(
            "DSM610",
            f"LOCK TABLE {name} IN {mode} MODE: {waits} until the transaction of the migration "
            "ends, and all that comes after it in the migration counts.",
            "Leave it out where the statements behind it take the lock that they need. Otherwise "
            "put it, with what needs it, into a migration of its own that is over in an instant.",
        )


def outside_only(node: Node, run: Run) -> Iterator[Observation]:
    """Statements about the whole cluster are refused inside transactions."""
    if run.in_transaction:
        yield Observation(
            "DSM608",
            f"{run.statement.words} {not_in_transaction(run)}",
            way_out_of_transaction(run, run.statement.text),
        )
