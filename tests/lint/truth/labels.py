"""The rules by which facts become hazard codes; they know nothing of the linter.

Each rule asks one thing of what PostgreSQL did, on tables that were there before the migration:

==========  =====================================================================================
code        the label is given when …
==========  =====================================================================================
DSM101      an index of its own (db_index, Meta.indexes, a unique field) was built, not concurrently
DSM102      an index that no constraint owns was dropped, not concurrently, and no constraint with it
DSM103      CONCURRENTLY was refused because of the transaction
DSM104      a concurrent build can't be run a second time
DSM201      a column became NOT NULL, all rows were read (or one refused), and no UPDATE was sent
DSM203      a column became NOT NULL, and Django sent an UPDATE in the same transaction
DSM301      a column has another name, and old code fails
DSM302      the same, of a primary key, a generated column, one in an exclusion constraint, or of a
            many-to-many table
DSM305      the same, and the migration adds another one of the same kind
DSM306      with a column's rename, a foreign key was dropped and added again
DSM501      old code's INSERT fails because of a new column
DSM502      with a new column came an index or a constraint
DSM503      a column, or a many-to-many table, is gone that the models had
DSM504      a table is gone that was there before the migration
DSM505      a table (or a column of a many-to-many table) has another name, and old code fails
DSM506      a change of type wrote the table or an index anew, or read all rows
DSM507      a CHECK or UNIQUE constraint read all rows under a lock that stops writes
DSM508      a unique_together built its index
DSM509      a foreign key was added to a column that was there, or dropped and added again
DSM510      a new column had the table written anew
DSM515      an upsert of old code finds no unique index any more when the migration is done
DSM516      an exclusion constraint built its index
DSM517      old code's ON CONFLICT DO NOTHING is refused because of a deferrable constraint
DSM521      a column is gone, and the migration adds another one under its name
DSM533      another column becomes the models' key, or the key becomes another kind of value
DSM534      a primary key's integer type got wider and the table was written anew
DSM538      Django can't render the models after the parent of others was renamed
DSM542      a foreign key points to another table
DSM543      a default is gone from a column for which old code's INSERTs ask for the default
DSM544      a comment alone made PostgreSQL read rows or build indexes
==========  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres import operations as postgres_operations
from django.db import models
from django.db.migrations import operations

from tests.lint.truth.cases import APP, Case
from tests.lint.truth.facts import STOPS_READS, Column, Facts
from tests.lint.truth.tracer import Traced

REFUSED_ROWS = frozenset({"22001", "22003", "22P02", "23502", "23503", "23505", "23514", "23P01"})
"""SQLSTATEs of an operation that read rows and met one that it can't take."""

INTEGERS = ("smallint", "integer", "bigint")
TEXTS = ("character varying", "text")
DATES = ("date", "timestamp with time zone")

TRACED = tuple(
    word for line in __doc__.splitlines() if (word := line.partition(" ")[0]).startswith("DSM")
)
"""The codes that this module can give."""

UNEXPLAINED = "old code fails"
"""Given where old code fails and no hazard of the catalogue says so."""


def labels(case: Case, traced: list[Traced]) -> list[set[str]]:
    """Return the codes of each operation of a case.

    Args:
        case: what was run.
        traced: what it did.
    """
    found: list[set[str]] = [set() for _ in case.operations]
    for one in traced:
        codes = set(_codes(one, traced))
        lasting = {
            statement
            for statement in one.facts.harmed
            if not statement[1].startswith(("upsert", "ignore"))
            or statement in one.facts.still_broken
        }
        if not codes and lasting:
            codes = {UNEXPLAINED}
        found[one.index] |= codes
    return found


def _codes(one: Traced, everything: list[Traced]) -> Iterator[str]:
    facts, operation = one.facts, one.operation
    yield from _upserts(facts)
    match operation:
        case postgres_operations.AddIndexConcurrently():
            if facts.error == "25001":
                yield "DSM103"
            elif facts.again:
                yield "DSM104"
        case postgres_operations.RemoveIndexConcurrently():
            if facts.error == "25001":
                yield "DSM103"
        case operations.AddIndex() | operations.RemoveIndex() | operations.AlterIndexTogether():
            yield from _indexes(facts)
        case postgres_operations.ValidateConstraint():
            refused = facts.error in REFUSED_ROWS
            if any(
                STOPS_READS in facts.held.get(table, ()) and (facts.read(table) or refused)
                for table in facts.used
            ):
                yield "DSM507"
        case postgres_operations.AddConstraintNotValid():
            return
        case operations.AddConstraint():
            yield from _constraint(facts)
        case operations.AlterUniqueTogether():
            if facts.built():
                yield "DSM508"
        case operations.AddField():
            yield from _added(facts)
        case operations.RemoveField():
            yield from _removed(one, everything)
        case operations.RenameField():
            yield from _renamed(one)
        case operations.AlterField():
            yield from _altered(one)
        case operations.AlterOrderWithRespectTo():
            yield from _added(facts)
            if facts.dropped_columns() and facts.harmed:
                yield "DSM503"
        case operations.DeleteModel():
            if facts.dropped_tables():
                yield "DSM504"
        case operations.RenameModel():
            if facts.error == "FieldError":
                yield "DSM538"
            elif facts.harmed:
                yield "DSM505"
        case operations.AlterModelTable():
            if facts.renamed_tables() and facts.harmed:
                yield "DSM505"


def _upserts(facts: Facts) -> Iterator[str]:
    for (table, kind), state in facts.still_broken.items():
        if (table, kind) not in facts.harmed:
            continue
        if kind.startswith("upsert") and state == "42P10":
            yield "DSM515"
        elif kind == "ignore" and state == "55000":
            yield "DSM517"


def _indexes(facts: Facts) -> Iterator[str]:
    if facts.built():
        yield "DSM101"
    if any(not index.owned for index in facts.dropped()):
        yield "DSM102"


def _constraint(facts: Facts) -> Iterator[str]:
    if facts.new_constraints("x"):
        yield "DSM516"
    elif facts.new_constraints("cu") or facts.built():
        yield "DSM507"


def _added(facts: Facts) -> Iterator[str]:
    if facts.rewritten():
        yield "DSM510"
    if any(kind == "insert" and state == "23502" for (_, kind), state in facts.harmed.items()):
        yield "DSM501"
    elif facts.failed_before and any(
        c.not_null and not c.has_default and not c.generated for c in facts.added_columns()
    ):
        # Nothing could insert, since the models lack a key for a while.
        yield "DSM501"
    if facts.added_columns() and (facts.built() or facts.new_constraints("cufpx")):
        yield "DSM502"


def _removed(one: Traced, everything: list[Traced]) -> Iterator[str]:
    facts = one.facts
    operation: Any = one.operation
    if facts.dropped_tables():
        old = one.before.models[APP, operation.model_name_lower].fields[operation.name]
        if any(
            isinstance(other.operation, operations.AddField)
            and other.operation.field.many_to_many
            and _gained(other.facts)
            and other.operation.model_name_lower == operation.model_name_lower
            and _target(other.operation.field) == _target(old)
            and not _gained(other.facts)
            & {facts.before.tables[t].name for t in facts.dropped_tables()}
            for other in everything
        ):
            yield "DSM305"
            return
        same = any(
            isinstance(other.operation, operations.AddField)
            and _gained(other.facts) & {facts.before.tables[t].name for t in facts.dropped_tables()}
            for other in everything
        )
        yield "DSM521" if same else "DSM503"
        return
    gone = facts.dropped_columns()
    if not gone:
        return
    table, column = gone[0]
    name = facts.before.tables[table].name
    old = one.before.models[APP, operation.model_name_lower].fields[operation.name]
    added = [
        (other.operation, new)
        for other in everything
        if isinstance(other.operation, operations.AddField)
        for new in _columns_of(other.facts, name)
    ]
    if any(new.name == column.name for _, new in added):
        yield "DSM521"
    elif any(
        _family(new.type) == _family(column.type)
        and isinstance(new_operation.field, models.FileField) == isinstance(old, models.FileField)
        and new.generated == column.generated
        and _target(new_operation.field) == _target(old)
        for new_operation, new in added
    ):
        yield "DSM305"
    else:
        yield "DSM503"


def _family(kind: str) -> str:
    """Return what types have in common whose values a developer would move over."""
    base = kind.partition("(")[0]
    for family in (TEXTS, (*INTEGERS, "numeric", "double precision"), DATES):
        if base in family:
            return family[0]
    return base


def _target(field: Any) -> str | None:
    return str(field.remote_field.model).lower() if field.remote_field else None


def _gained(facts: Facts) -> set[str]:
    return {t.name for oid, t in facts.after.tables.items() if oid not in facts.before.tables}


def _columns_of(facts: Facts, table: str) -> list[Column]:
    return [
        column
        for key, column in facts.after.columns.items()
        if key not in facts.before.columns and facts.after.tables[key[0]].name == table
    ]


def _renames(facts: Facts) -> list[tuple[tuple[int, int], Column, Column]]:
    return [change for change in facts.changed_columns() if change[1].name != change[2].name]


def _renamed(one: Traced) -> Iterator[str]:
    facts = one.facts
    if not facts.harmed:
        return
    if facts.renamed_tables():
        yield "DSM302"
        return
    for key, old, _ in _renames(facts):
        yield "DSM302" if _cant_be_doubled(facts, key, old) else "DSM301"
        if not _cant_be_doubled(facts, key, old) and _again(facts):
            yield "DSM306"


def _cant_be_doubled(facts: Facts, key: tuple[int, int], column: Column) -> bool:
    table, number = key
    return column.generated or any(
        number in constraint.columns
        for constraint in facts.before.constraints.values()
        if constraint.table == table and constraint.kind in "px"
    )


def _again(facts: Facts) -> bool:
    """Whether a foreign key was dropped and another one added."""
    return bool(facts.new_constraints("f") and facts.gone_constraints("f"))


def _altered(one: Traced) -> Iterator[str]:
    facts = one.facts
    operation: Any = one.operation
    model = one.before.models.get((APP, operation.model_name_lower))
    old: Any = model.fields.get(operation.name) if model is not None else None
    if old is None:
        return
    new: Any = operation.field
    if old.many_to_many and new.many_to_many:
        if facts.renamed_tables() and facts.harmed:
            yield "DSM505"
        if _renames(facts) or _again(facts):
            yield "DSM509"
        return
    renames = _renames(facts)
    for key, before, _ in renames:
        yield "DSM302" if _cant_be_doubled(facts, key, before) else "DSM301"
    had_key = any(
        c.kind == "f" for c in _of_column(facts, before=True, names={_column(old, operation)})
    )
    new_keys = [
        c for c in _of_column(facts, before=False, names={_column(new, operation)}) if c.kind == "f"
    ]
    if renames and had_key and facts.new_constraints("f"):
        if not any(_cant_be_doubled(facts, key, before) for key, before, _ in renames):
            yield "DSM306"
    elif any(
        c in new_keys and (facts.read(c.table) or facts.error in REFUSED_ROWS)
        for c in facts.new_constraints("f")
    ):
        yield "DSM509"
    if old.primary_key and not new.primary_key:
        yield "DSM533"
    if new.primary_key and not old.primary_key and facts.new_constraints("p"):
        yield "DSM533"
        yield from _not_null(facts)
        return
    yield from _not_null(facts)
    yield from _types(facts, old, new)
    built = facts.built()
    if built:
        yield "DSM101"
    elif not facts.gone_constraints("up") and any(
        # A _like index goes with the type that it is for.
        not index.owned and "_pattern_ops" not in index.definition
        for index in facts.dropped()
    ):
        yield "DSM102"
    if facts.new_constraints("c"):
        yield "DSM507"
    if _loses_default(facts) and old.has_db_default() and not old.has_default():
        yield "DSM543"
    both = isinstance(old, models.ForeignKey) and isinstance(new, models.ForeignKey)
    if both and _concrete(one, old) != _concrete(one, new):
        yield "DSM542"


def _concrete(one: Traced, field: Any) -> str:
    """Return the model whose table a relation points to."""
    label = str(field.remote_field.model).lower()
    label = label if "." in label else f"{APP}.{label}"
    app, _, name = label.partition(".")
    model = one.before.models.get((app, name))
    while model is not None and model.options.get("proxy"):
        label = next(str(base).lower() for base in model.bases if isinstance(base, str))
        app, _, name = label.partition(".")
        model = one.before.models.get((app, name))
    return label


def _column(field: Any, operation: Any) -> str:
    bound = field.clone()
    bound.set_attributes_from_name(operation.name)
    return str(bound.column)


def _of_column(facts: Facts, *, before: bool, names: set[str]) -> list[Any]:
    snapshot = facts.before if before else facts.after
    numbers = {key for key, column in snapshot.columns.items() if column.name in names}
    return [
        c
        for c in snapshot.constraints.values()
        if any((c.table, number) in numbers for number in c.columns)
    ]


def _not_null(facts: Facts) -> Iterator[str]:
    for (table, _), before, after in facts.changed_columns():
        if before.not_null or not after.not_null:
            continue
        if facts.updated(table) or facts.updates:
            yield "DSM203"
        elif facts.read(table) or facts.error in REFUSED_ROWS:
            yield "DSM201"


def _loses_default(facts: Facts) -> bool:
    return any(
        before.has_default and not after.has_default for _, before, after in facts.changed_columns()
    )


def _types(facts: Facts, old: Any, new: Any) -> Iterator[str]:
    """A type, collation or comment that made PostgreSQL touch rows or indexes."""
    for (table, _), before, after in facts.changed_columns():
        same = (before.type, before.collation) == (after.type, after.collation)
        elsewhere = [
            c for c in facts.new_constraints("f") if c.target == table and _is_again(facts, c)
        ]
        worked = bool(
            facts.rewritten()
            or facts.rebuilt()
            or facts.error in REFUSED_ROWS - {"23502", "23505", "23503"}
            or (elsewhere and not same)
            or (facts.read(table) and not _reads_for_another_reason(facts, table))
        )
        if not worked:
            continue
        if same:
            if before.comment != after.comment and not (facts.rewritten()):
                yield "DSM544"
            continue
        if old.primary_key and new.primary_key and not _are_texts(before, after):
            yield "DSM534" if _widens(before.type, after.type) else "DSM533"
        else:
            yield "DSM506"


def _is_again(facts: Facts, constraint: Any) -> bool:
    return any(
        (c.table, c.target, c.columns) == (constraint.table, constraint.target, constraint.columns)
        for c in facts.gone_constraints("f")
    )


def _reads_for_another_reason(facts: Facts, table: int) -> bool:
    return bool(
        facts.built()
        or any(c.table == table or c.target == table for c in facts.new_constraints("cfupx"))
        or any(not b.not_null and a.not_null for _, b, a in facts.changed_columns())
        or facts.updated(table)
    )


def _are_texts(before: Column, after: Column) -> bool:
    return all(column.type.partition("(")[0] in TEXTS for column in (before, after))


def _widens(old: str, new: str) -> bool:
    return old in INTEGERS and new in INTEGERS and INTEGERS.index(old) < INTEGERS.index(new)
