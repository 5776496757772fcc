"""Judges what ALTER TABLE does to columns that are there: changed and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django.db import models

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.changes import Change
from django_safemigrations.lint.sql.expressions import column_of, not_null_columns
from django_safemigrations.lint.sql.names import dotted, quoted, strings, type_text
from django_safemigrations.lint.sql.run import ALL_WAIT, Run, paste
from django_safemigrations.lint.sql.tables import Table, removed_earlier
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.lint.types import rebuilds_indexes, rewrites
from django_safemigrations.postgres.costs import Lock
from django_safemigrations.postgres.type_changes import same_type


def set_not_null(
    column: str, table: Table, run: Run, dropped: frozenset[str]
) -> Iterator[Observation]:
    """SET NOT NULL reads the table unless something proves it."""
    free = table.is_not_null(column) or table.is_proven(column, dropped)
    run.facts.nullable[table.name, column] = False
    if table.created:
        return
    if not free:
        yield scans_for_nulls(column, table)
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def scans_for_nulls(column: str, table: Table) -> Observation:
    """Say that every row is looked at under ACCESS EXCLUSIVE."""
    name, own = quoted(table.name), quoted(column)
    proof = quoted(f"{table.name}_{column}_not_null")
    field = table.field(column)
    ours = ""
    if field is not None and table.model_name is not None:
        ours = (
            "\nor, in a migration with `atomic = False`: Contract(database_operations=["
            f'SetNotNull(model_name="{table.model_name}", name="{field[0]}")])'
        )
    return Observation(
        "DSM201",
        f"SET NOT NULL reads all of {table.name} under ACCESS EXCLUSIVE to look for NULLs in "
        f"{column}: {ALL_WAIT}. After it, old code's writes of NULL fail.",
        paste(
            f"ALTER TABLE {name} ADD CONSTRAINT {proof} CHECK ({own} IS NOT NULL) NOT VALID",
            f"ALTER TABLE {name} VALIDATE CONSTRAINT {proof}",
            f"ALTER TABLE {name} ALTER COLUMN {own} SET NOT NULL",
            f"ALTER TABLE {name} DROP CONSTRAINT {proof}",
            atomic=False,
        )
        + ours,
    )


def drop_default(column: str, table: Table, run: Run) -> Iterator[Observation]:
    """A default that goes is missed by code that leaves the column out."""
    if table.created or run.contract:
        return
    place = (table.name, column)
    shown = f"{table.name}.{column}"
    if place in run.session.added:
        if run.session.added[place]:
            yield Observation(
                "DSM501",
                f"The new column {shown} is NOT NULL and loses its default at once: every INSERT "
                "of old code, which does not know the column, fails.",
                "Leave the default until no old code is left, and drop it in a later release.",
            )
        return
    found = table.field(column)
    if table.model is not None and found is not None:
        field = found[1]
        # Code that gives a value for each INSERT does not miss the default.
        if not field.has_db_default() and not isinstance(field, models.AutoField):
            return
    if not table.is_not_null(column) and found is None and table.model is None:
        harm = "store NULL, or fail if it is NOT NULL"
    else:
        harm = "fail" if found is None or table.is_not_null(column) else "store NULL"
    yield Observation(
        "DSM543",
        f"{shown} loses its default: INSERTs of code that relies on it {harm}.",
        "Drop it when no code is left that leaves the column out: "
        "Contract(database_operations=[migrations.RunSQL(…)]) in a migration of its own.",
    )
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def drop_column(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """Old code still names the column."""
    column = command.text("name")
    run.facts.types.pop((table.name, column), None)
    if table.created:
        return
    target = table.target_of(column)
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    if (table.name, column) in run.session.added:
        return
    if not run.contract and not removed_earlier(table.name, column, run.context):
        also = f" {target} is locked, too, for its foreign key goes." if target else ""
        found = table.field(column)
        name = found[0] if found is not None else column
        ours = f'DropColumn(model_name="{table.model_name}", name="{name}", field=…)'
        yield Observation(
            "DSM503",
            f"DROP COLUMN {table.name}.{column}: old code still selects and inserts it, and every "
            f"statement of it on the table fails.{also}",
            "Take the field out of the models first, and drop the column when no old code is left: "
            "Contract(database_operations=["
            f"{ours if table.model_name else 'migrations.RunSQL(…)'}]) in a migration of its own.",
        )
    if command.choice("behavior") == "DROP_CASCADE":
        yield cascades(f"DROP COLUMN {table.name}.{column}")


def cascades(what: str) -> Observation:
    """Say that nobody knows what else goes."""
    return Observation(
        "DSM603",
        f"{what} CASCADE also drops whatever depends on it, such as views and foreign keys, under "
        "ACCESS EXCLUSIVE on each: nothing here says which.",
        "Leave CASCADE out: PostgreSQL then names what depends on it. Drop that by name, or let "
        "it be.",
    )


def change_type(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """Most changes of type rewrite the table; compare with what the state says."""
    definition = command.child("def")
    if definition is None:
        return
    column = command.text("name")
    new = type_text(definition.child("type_name"))
    old = table.type_of(column)
    using = definition.child("raw_default")
    trivial = using is None or _is_cast_of(using, column, new)
    before, found = table.column(column), table.field(column)
    place = (table.name, column)
    run.facts.types[place] = new
    if table.created:
        return
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    shown = f"{table.name}.{column}"
    if trivial and old and before is not None and found is not None and table.model is not None:
        collation = definition.child("coll_clause")
        name = dotted(strings(collation.children("collname"))) if collation is not None else None
        was = replace(before, type=old)
        if same_type(old, new) and (name or None) == before.collation:
            after = replace(was, type=old)
        else:
            after = replace(was, type=new, collation=name)
        change = Change(run.context, table.model, found[0], found[1], found[1], was, after)
        harms = list(change.type())
        yield from harms
        if not harms:
            yield from _validated_again(change, table, run)
        return
    reason = _unknown_change(old, new, trivial=trivial)
    if reason is not None:
        yield Observation(
            "DSM506",
            f"Changing {shown} to {new} {reason} under ACCESS EXCLUSIVE on {table.name}: "
            f"{ALL_WAIT}.",
            f"Add a second column of type {new}, keep it equal by a trigger, fill it in batches, "
            f"switch the code over, and drop {column} in a later release.",
        )


def _validated_again(change: Change, table: Table, run: Run) -> Iterator[Observation]:
    target = table.target_of(change.before.name)
    why = None
    if change._is_checked():
        why = "validates a CHECK that names it against every row"
    elif target:
        why = f"drops its foreign key to {target} and validates it again, with {target} locked,"
    elif change._is_in_special_index():
        why = "builds an expression or partial index that names it anew"
    if why is not None:
        yield Observation(
            "DSM506",
            f"Setting the type of {change.column} {why} under ACCESS EXCLUSIVE on {table.name}: "
            f"{ALL_WAIT}.",
            "Leave the statement out if the type stays the same; otherwise drop the constraint or "
            "index first, and add it NOT VALID or build it CONCURRENTLY afterwards.",
        )


def _unknown_change(old: str | None, new: str, *, trivial: bool) -> str | None:
    if not trivial:
        return "computes every row anew and writes the table and all its indexes"
    if old is None:
        return "from a type that isn't known here may write the table and all its indexes anew"
    if rewrites(old, new):
        return f"from {old} writes the table and all its indexes anew"
    if rebuilds_indexes(old, new):
        return f"from {old} builds the indexes on it anew, if there are any,"
    return None


def _is_cast_of(node: Node, column: str, kind: str) -> bool:
    """Return whether USING says only what PostgreSQL does without it."""
    if column_of(node) == column:
        return True
    if not node.is_a("TypeCast") or column_of(node.child("arg")) != column:
        return False
    return same_type(type_text(node.child("type_name")), kind)


def proofs_of(check: Node) -> frozenset[str]:
    """Return the columns that a CHECK constraint proves NOT NULL."""
    return not_null_columns(check.child("raw_expr"))
