"""Judges ALTER TABLE, command by command, in the order in which PostgreSQL works."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql import columns, constraints, new_columns
from django_safemigrations.lint.sql.names import quoted, relation
from django_safemigrations.lint.sql.run import (
    ALL_WAIT,
    Run,
    not_in_transaction,
    paste,
    way_out_of_transaction,
)
from django_safemigrations.lint.sql.tables import Table
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

REWRITES = {
    "AT_SetTableSpace": "SET TABLESPACE",
    "AT_SetLogged": "SET LOGGED",
    "AT_SetUnLogged": "SET UNLOGGED",
    "AT_SetAccessMethod": "SET ACCESS METHOD",
}
TRIGGERS = {
    "AT_DisableTrig": "DISABLE TRIGGER",
    "AT_DisableTrigAll": "DISABLE TRIGGER ALL",
    "AT_DisableTrigUser": "DISABLE TRIGGER USER",
    "AT_EnableTrig": "ENABLE TRIGGER",
    "AT_EnableAlwaysTrig": "ENABLE ALWAYS TRIGGER",
    "AT_EnableReplicaTrig": "ENABLE REPLICA TRIGGER",
    "AT_EnableTrigAll": "ENABLE TRIGGER ALL",
    "AT_EnableTrigUser": "ENABLE TRIGGER USER",
    "AT_EnableRule": "ENABLE RULE",
    "AT_EnableAlwaysRule": "ENABLE ALWAYS RULE",
    "AT_EnableReplicaRule": "ENABLE REPLICA RULE",
    "AT_DisableRule": "DISABLE RULE",
}
WEAK = frozenset(
    {
        "AT_SetStatistics",
        "AT_SetOptions",
        "AT_ResetOptions",
        "AT_SetRelOptions",
        "AT_ResetRelOptions",
        "AT_ClusterOn",
        "AT_DropCluster",
        "AT_ValidateConstraint",
        "AT_AttachPartition",
    }
)
"""Commands that let reads and writes go on."""
ONLY_TABLES = ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE")


def alter_table(node: Node, run: Run) -> Iterator[Observation]:
    """Judge each command; drops come first, as in PostgreSQL."""
    kind = node.choice("objtype")
    name = relation(node.child("relation"))
    commands = node.children("cmds")
    if kind not in ONLY_TABLES:
        yield from _other(kind, name, commands, run)
        return
    table = run.table(name)
    dropped = frozenset(
        command.text("name")
        for command in commands
        if command.choice("subtype") == "AT_DropConstraint"
    )
    for command in commands:
        yield from _command(command, table, run, dropped)


def _command(
    command: Node, table: Table, run: Run, dropped: frozenset[str]
) -> Iterator[Observation]:
    what, name = command.choice("subtype"), command.text("name")
    match what:
        case "AT_AddColumn":
            yield from new_columns.add_column(command, table, run)
        case "AT_DropColumn":
            yield from columns.drop_column(command, table, run)
        case "AT_AlterColumnType":
            yield from columns.change_type(command, table, run)
        case "AT_SetNotNull":
            yield from columns.set_not_null(name, table, run, dropped)
        case "AT_DropNotNull":
            run.facts.nullable[table.name, name] = True
        case "AT_ColumnDefault" if not command.has("def"):
            yield from columns.drop_default(name, table, run)
        case "AT_DropIdentity":
            yield from columns.drop_default(name, table, run)
        case "AT_SetExpression":
            yield from _expression(name, table)
        case "AT_AddConstraint":
            yield from constraints.add_constraint(command, table, run, dropped)
        case "AT_ValidateConstraint":
            yield from constraints.validate_constraint(command, table, run)
        case "AT_AlterConstraint":
            yield from constraints.alter_constraint(command, table, run)
        case "AT_DropConstraint":
            yield from constraints.drop_constraint(command, table, run)
        case "AT_AttachPartition":
            yield from _attach(command, table, run)
        case "AT_DetachPartition":
            yield from _detach(command, table, run)
        case "AT_EnableRowSecurity" | "AT_ForceRowSecurity":
            yield from _row_security(what, table)
        case _ if what in REWRITES:
            yield from _rewrite(REWRITES[what], table)
        case _ if what in TRIGGERS:
            yield from _triggers(TRIGGERS[what], name, table)
    if what not in WEAK and not table.created and what != "AT_AddConstraint":
        run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def _expression(name: str, table: Table) -> Iterator[Observation]:
    if table.created:
        return
    yield Observation(
        "DSM510",
        f"SET EXPRESSION of {table.name}.{name} computes a stored column anew: the table and all "
        f"its indexes are written under ACCESS EXCLUSIVE on {table.name}: {ALL_WAIT}.",
        "Add a second column, kept by a trigger, fill the old rows in batches, and let the code "
        "use that one.",
    )


def _rewrite(what: str, table: Table) -> Iterator[Observation]:
    if not table.created:
        yield rewritten(f"ALTER TABLE {table.name} {what}", table.name)


def rewritten(what: str, table: str) -> Observation:
    """Say that a table is written anew where it stands."""
    return Observation(
        "DSM606",
        f"{what} writes {table} anew, or copies it, under ACCESS EXCLUSIVE: {ALL_WAIT}, and there "
        "has to be room for a second copy.",
        "Do it outside of migrations with a tool that works beside the traffic, such as pg_repack "
        "or pg_squeeze, or in a maintenance window.",
    )


def _triggers(what: str, name: str, table: Table) -> Iterator[Observation]:
    if table.created:
        return
    yield Observation(
        "DSM611",
        f"{what} {name} on {table.name}".replace("  ", " ")
        + ": the writes of code that is running do something else from now on, and those of other "
        "sessions wait for an instant (SHARE ROW EXCLUSIVE).",
        "See that old code's writes are right with and without it. If they are, say so: "
        "# safemigrations: ignore DSM611 -- why",
    )


def _row_security(what: str, table: Table) -> Iterator[Observation]:
    if table.created:
        return
    force = what == "AT_ForceRowSecurity"
    who = "its owner, too," if force else "every role but its owner"
    yield Observation(
        "DSM612",
        f"From now on {who} sees and writes only rows of {table.name} that a policy allows, and "
        "none if there is no policy: old code finds no rows, without an error.",
        "Create the policies first, in the same transaction, and see that the role of the "
        "application passes them: CREATE POLICY … ON "
        f"{quoted(table.name)} USING (…)",
    )


def _attach(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    inner = command.child("def")
    part = relation(inner.child("name")) if inner is not None else ""
    if run.used(part) is None:
        return
    yield Observation(
        "DSM613",
        f"ATTACH PARTITION {part} reads all of it under ACCESS EXCLUSIVE, unless a valid CHECK "
        f"says that its rows fit; a default partition of {table.name} is locked and read, too.",
        "Add the partition's bounds as a CHECK before, and drop it afterwards:\n"
        + paste(
            f"ALTER TABLE {quoted(part)} ADD CONSTRAINT {quoted(part + '_bounds')} CHECK (…) "
            "NOT VALID",
            f"ALTER TABLE {quoted(part)} VALIDATE CONSTRAINT {quoted(part + '_bounds')}",
            f"ALTER TABLE {quoted(table.name)} ATTACH PARTITION {quoted(part)} FOR VALUES …",
            atomic=False,
        ),
    )


def _detach(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    inner = command.child("def")
    if inner is None or table.created:
        return
    part = relation(inner.child("name"))
    detach = f"ALTER TABLE {quoted(table.name)} DETACH PARTITION {quoted(part)} CONCURRENTLY"
    if inner.flag("concurrent"):
        if run.in_transaction:
            yield Observation(
                "DSM103",
                f"DETACH PARTITION {part} CONCURRENTLY {not_in_transaction(run)}",
                way_out_of_transaction(run, detach),
            )
        return
    yield Observation(
        "DSM614",
        f"DETACH PARTITION {part} needs ACCESS EXCLUSIVE on {table.name}: it waits for every query "
        "that is running on any partition, and every other query waits behind it.",
        paste(detach, atomic=False),
    )


def _other(kind: str, name: str, commands: list[Node], run: Run) -> Iterator[Observation]:
    """Indexes, views and materialised views are altered by the same statement."""
    if kind not in ("OBJECT_INDEX", "OBJECT_MATVIEW") or name in run.session.created:
        return
    for command in commands:
        what = command.choice("subtype")
        if what in REWRITES:
            word = "INDEX" if kind == "OBJECT_INDEX" else "MATERIALIZED VIEW"
            yield rewritten(f"ALTER {word} {name} {REWRITES[what]}", name)


def move_all(node: Node, _run: Run) -> Iterator[Observation]:
    """ALTER TABLE ALL IN TABLESPACE copies them all."""
    place = node.text("orig_tablespacename")
    yield rewritten(f"ALTER TABLE ALL IN TABLESPACE {place}", "every table in it")
