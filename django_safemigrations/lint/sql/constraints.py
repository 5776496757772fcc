"""Judges constraints that SQL adds, validates, alters and drops."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.context import flattened
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.upserts import is_deferrable, lost_constraint
from django_safemigrations.lint.sql.columns import cascades, proofs_of, scans_for_nulls
from django_safemigrations.lint.sql.facts import Proof
from django_safemigrations.lint.sql.names import quoted, relation
from django_safemigrations.lint.sql.parser import parse, written
from django_safemigrations.lint.sql.run import ALL_WAIT, Run, paste
from django_safemigrations.lint.sql.tables import Table
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.lint.tables import is_foreign_key
from django_safemigrations.postgres.costs import Lock

STRONG = ("AddField", "RemoveField", "AlterField", "AddConstraintNotValid")
"""Operations of Django that leave ACCESS EXCLUSIVE behind, whatever else they do."""
KINDS = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "fkey",
    "CONSTR_UNIQUE": "key",
    "CONSTR_PRIMARY": "pkey",
    "CONSTR_NOTNULL": "not_null",
}


def add_constraint(
    command: Node, table: Table, run: Run, dropped: frozenset[str]
) -> Iterator[Observation]:
    """What is not NOT VALID reads the table, or builds an index, under a lock."""
    constraint = command.child("def")
    if constraint is None:
        return
    kind = constraint.choice("contype")
    before = _was_proven(constraint, table, dropped)
    remember_constraint(constraint, table, run)
    if kind == "CONSTR_FOREIGN":
        yield from _foreign_key(constraint, table, run)
        return
    if table.created:
        return
    if kind == "CONSTR_CHECK":
        if not constraint.flag("skip_validation") and _is_enforced(constraint):
            yield _check(constraint, table)
    elif kind == "CONSTR_NOTNULL":
        (column,) = _keys(constraint) or [""]
        if not constraint.flag("skip_validation") and not before:
            yield scans_for_nulls(column, table)
    elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        yield from _key(constraint, table, run, proven=before)
    elif kind == "CONSTR_EXCLUSION":
        name = constraint.text("conname") or "EXCLUDE"
        yield Observation(
            "DSM516",
            f"Adding EXCLUDE {name} builds its index on {table.name} under ACCESS EXCLUSIVE: "
            f"{ALL_WAIT}. PostgreSQL has no other way for an exclusion constraint.",
            "Add it while the table is small, in a maintenance window, or to a new table into "
            "which the rows are moved in batches.",
        )
        yield from _deferrable(constraint, table, run)
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def _is_enforced(constraint: Node) -> bool:
    return constraint.flag("is_enforced")


def _keys(constraint: Node) -> list[str]:
    return [key.text("sval") for key in constraint.children("keys")]


def _was_proven(constraint: Node, table: Table, dropped: frozenset[str]) -> bool:
    """Return whether the columns were known to hold no NULL before the statement."""
    columns = _keys(constraint)
    if constraint.text("indexname"):
        uniques = table.context.history.sql.index_columns.get(constraint.text("indexname"))
        if uniques is None:
            return False
        columns = list(uniques)
    return bool(columns) and all(
        table.is_not_null(name) or table.is_proven(name, dropped) for name in columns
    )


def _name(constraint: Node, table: Table) -> str:
    """Return the constraint's name, or the one that PostgreSQL would make up."""
    given = constraint.text("conname")
    if given:
        return given
    kind = constraint.choice("contype")
    columns = [
        key.text("sval") for key in [*constraint.children("fk_attrs"), *constraint.children("keys")]
    ]
    if kind == "CONSTR_PRIMARY":
        columns = []
    return "_".join([table.name, *columns, KINDS.get(kind, "excl")])


def remember_constraint(constraint: Node, table: Table, run: Run, *, inline: bool = False) -> None:
    """Remember what a constraint proves, and whether it is valid.

    Args:
        constraint: its definition.
        table: of it.
        run: of the statement.
        inline: whether it comes with CREATE TABLE, where NOT VALID means nothing.
    """
    kind, name = constraint.choice("contype"), _name(constraint, table)
    place = (table.name, name)
    valid = not constraint.flag("skip_validation") or inline
    if kind == "CONSTR_CHECK":
        run.facts.proofs[place] = Proof(proofs_of(constraint), valid)
    elif kind == "CONSTR_NOTNULL":
        if valid:
            for column in _keys(constraint):
                run.facts.nullable[table.name, column] = False
        run.facts.proofs[place] = Proof(frozenset(_keys(constraint)), valid=False)
    elif kind == "CONSTR_FOREIGN":
        run.facts.keys[place] = relation(constraint.child("pktable"))
    elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        columns = frozenset(_keys(constraint))
        if columns:
            run.facts.uniques.setdefault(table.name, set()).add(columns)
        run.facts.indexes[name] = table.name
        if kind == "CONSTR_PRIMARY":
            for column in columns:
                run.facts.nullable[table.name, column] = False
    if not valid:
        run.facts.unvalidated[place] = run.context.key
        if table.model is not None:
            # Django's ValidateConstraint is judged by the same book.
            key = (table.model.app_label, table.model.name_lower, name)
            run.context.history.not_valid[key] = run.context.key


def _check(constraint: Node, table: Table) -> Observation:
    name = _name(constraint, table)
    return Observation(
        "DSM507",
        f"Adding CHECK {name} reads all of {table.name} under ACCESS EXCLUSIVE: {ALL_WAIT}; a row "
        "that violates it makes the statement fail.",
        _not_valid(constraint, table, name),
    )


def _not_valid(constraint: Node, table: Table, name: str) -> str:
    body = written(_alone(constraint, table))
    ending = "" if " NOT VALID" in body else " NOT VALID"
    own = quoted(table.name)
    return paste(
        f"{body}{ending}",
        f"ALTER TABLE {own} VALIDATE CONSTRAINT {quoted(name)}",
        atomic=False,
        reverse=f"ALTER TABLE {own} DROP CONSTRAINT {quoted(name)}",
    )


def _alone(constraint: Node, table: Table) -> Node:
    """Return an ALTER TABLE that adds the constraint and nothing else."""
    (statement,) = parse(f"ALTER TABLE {quoted(table.name)} ADD CONSTRAINT x CHECK (true)")
    node: Node = statement.node  # type: ignore[union-attr]
    command = node.message.cmds[0].alter_table_cmd
    copy = getattr(command, "def").constraint
    copy.CopyFrom(constraint.message)
    copy.conname = _name(constraint, table)
    return node


def _foreign_key(constraint: Node, table: Table, run: Run) -> Iterator[Observation]:
    other = relation(constraint.child("pktable"))
    name = _name(constraint, table)
    run.hold(other, Lock.SHARE_ROW_EXCLUSIVE)
    if table.created:
        # Empty: the referenced table is locked against writes for an instant, as by CREATE TABLE.
        return
    run.hold(table.name, Lock.SHARE_ROW_EXCLUSIVE)
    if constraint.flag("skip_validation") or not _is_enforced(constraint):
        return
    columns = [key.text("sval") for key in constraint.children("fk_attrs")]
    field = table.field(columns[0]) if len(columns) == 1 else None
    ours = ""
    if field is not None and table.model_name is not None and is_foreign_key(field[1]):
        names = f'model_name="{table.model_name}", name="{field[0]}"'
        ours = (
            "\nor, for the field's own foreign key: Contract(database_operations=["
            f"AddForeignKey({names}), ValidateForeignKey({names})])"
        )
    yield Observation(
        "DSM509",
        f"Adding {name} looks every row of {table.name} up in {other} under SHARE ROW EXCLUSIVE on "
        "both tables: every INSERT, UPDATE and DELETE on both waits.",
        _not_valid(constraint, table, name) + ours,
    )


def _key(constraint: Node, table: Table, run: Run, *, proven: bool) -> Iterator[Observation]:
    index, name = constraint.text("indexname"), _name(constraint, table)
    primary = constraint.choice("contype") == "CONSTR_PRIMARY"
    kind = "PRIMARY KEY" if primary else "UNIQUE"
    columns = ", ".join(quoted(key) for key in _keys(constraint)) or "…"
    if not index:
        own = quoted(table.name)
        yield Observation(
            "DSM507",
            f"Adding {kind} {name} builds its index on {table.name} under ACCESS EXCLUSIVE: "
            f"{ALL_WAIT}; one duplicate makes it fail.",
            paste(
                f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}",
                f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {own} ({columns})",
                f"ALTER TABLE {own} ADD CONSTRAINT {quoted(name)} {kind} USING INDEX "
                f"{quoted(name)}",
                atomic=False,
                reverse=f"ALTER TABLE {own} DROP CONSTRAINT {quoted(name)}",
            ),
        )
    elif primary and not proven:
        yield Observation(
            "DSM201",
            f"PRIMARY KEY USING INDEX {index} sets its columns NOT NULL, for which all of "
            f"{table.name} is read under ACCESS EXCLUSIVE: {ALL_WAIT}.",
            "Prove it first: CHECK (… IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT, each in "
            "a statement of its own; drop the CHECK afterwards.",
        )
    yield from _deferrable(constraint, table, run)


def _deferrable(constraint: Node, table: Table, run: Run) -> Iterator[Observation]:
    if not constraint.flag("deferrable") or run.contract:
        return
    named = table.model.options.get("constraints") or () if table.model is not None else ()
    if any(map(is_deferrable, named)):
        return
    yield Observation(
        "DSM517",
        f"{_name(constraint, table)} is deferrable: bulk_create(…, ignore_conflicts=True) on "
        f"{table.name} fails from then on, whatever rows it inserts, in old code too.",
        "If old code does that, put this into a Contract, which runs when no old code is left, "
        "and let new code do without it.",
    )


def validate_constraint(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """Validation doesn't block, unless the transaction holds a stronger lock."""
    name = command.text("name")
    place = (table.name, name)
    run.facts.unvalidated.pop(place, None)
    proof = run.facts.proofs.get(place)
    if proof is not None:
        run.facts.proofs[place] = Proof(proof.columns, valid=True)
    added = None
    if table.model is not None:
        key = (table.model.app_label, table.model.name_lower, name)
        added = run.context.history.not_valid.pop(key, None)
    if table.created:
        return
    is_key = table.foreign_key(name) is not None
    held = run.held(table.name, Lock.SHARE)
    by = held.words if held is not None else None
    lock = held.lock if held is not None else Lock.ACCESS_EXCLUSIVE
    if held is None and run.context.is_atomic():
        by = _django_locked(table, run)
        if by is None and added == run.context.key:
            by = "AddConstraintNotValid"
    if by is None:
        return
    waits = ALL_WAIT if lock is Lock.ACCESS_EXCLUSIVE else "every write to it waits"
    yield Observation(
        "DSM509" if is_key else "DSM507",
        f"{name} is validated in a transaction that holds {lock} on {table.name} already (by "
        f"{by}): while all rows are read, {waits}.",
        "Validate in a migration of its own, or in one with `atomic = False`:\n"
        f'migrations.RunSQL("ALTER TABLE {quoted(table.name)} VALIDATE CONSTRAINT {quoted(name)}", '
        "reverse_sql=migrations.RunSQL.noop)",
    )


def _django_locked(table: Table, run: Run) -> str | None:
    """Return the earlier operation of an atomic migration that holds ACCESS EXCLUSIVE."""
    for operation in flattened(run.context.migration.operations):
        if operation is run.operation:
            return None
        about = getattr(operation, "model_name_lower", None)
        name = type(operation).__name__
        if table.model_name is not None and about == table.model_name and name in STRONG:
            return name
    return None


def alter_constraint(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """A foreign key that is enforced from now on is checked against every row."""
    inner = command.child("def")
    enforced = (
        inner is not None
        and "alter_enforceability" in inner.message.DESCRIPTOR.fields_by_name
        and inner.flag("alter_enforceability")
        and inner.flag("is_enforced")
    )
    if enforced and not table.created and inner is not None:
        name = inner.text("conname")
        other = table.foreign_key(name) or "the referenced table"
        yield Observation(
            "DSM509",
            f"Enforcing {name} looks every row of {table.name} up in {other} under ACCESS "
            "EXCLUSIVE on both tables: every statement on both waits, reads included.",
            "Drop it, add it again NOT VALID, and validate it in a transaction of its own.",
        )
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def drop_constraint(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """Instant, but a foreign key locks both tables, and upserts may need a unique one."""
    name = command.text("name")
    place = (table.name, name)
    target = table.foreign_key(name)
    run.facts.proofs.pop(place, None)
    run.facts.unvalidated.pop(place, None)
    added_here = run.facts.keys.pop(place, None) is not None and table.created
    if table.created or added_here:
        return
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    if target is not None:
        other = target or "the referenced table"
        if run.table(target).created:
            return
        if target:
            run.hold(target, Lock.ACCESS_EXCLUSIVE)
        yield Observation(
            "DSM602",
            f"Dropping the foreign key {name} takes ACCESS EXCLUSIVE on {other}, too: it waits for "
            "every query that is running on either table, and all others wait behind it.",
            "Keep it in a short transaction of its own, under a lock_timeout, as safemigrate sets "
            "one; lock the busier table first:\n"
            + paste(
                *([f"LOCK TABLE {quoted(target)} IN ACCESS EXCLUSIVE MODE"] if target else []),
                f"ALTER TABLE {quoted(table.name)} DROP CONSTRAINT {quoted(name)}",
            ),
        )
    elif table.model is not None and not run.contract:
        yield from lost_constraint(name, table.model, run.context)
    if command.choice("behavior") == "DROP_CASCADE":
        yield cascades(f"DROP CONSTRAINT {name}")
