"""Rules over the operations of one file together: locks that add up, and half a file applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.hazards.hazard import Work as Effort
from django_safemigrations.lint.columns import column_name, field_changes, type_check
from django_safemigrations.lint.context import Context, Mode, Work, our_name
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules.constraints import is_plain_index
from django_safemigrations.lint.rules.indexes import together
from django_safemigrations.lint.tables import (
    foreign_keys_to,
    has_own_table,
    is_foreign_key,
    related_model,
    table_name,
)
from django_safemigrations.postgres.costs import Lock

KEYS = {"DSM533", "DSM534"}
DATA = {"DSM402"}
LONG = (
    frozenset(
        code
        for code, hazard in CATALOGUE.items()
        if hazard.work is not Effort.NONE and code < "DSM6"
    )
    | KEYS
) - DATA
"""Findings of operations that read all rows, write them anew, or build an index."""

EXISTS, GONE = "already exists", "does not exist"


def note(
    operation: Operation, position: str, context: Context, observations: Sequence[Observation]
) -> None:
    """Remember what an operation does in the database; the context is the one before it."""
    if context.migration.replaces:
        # A squash runs where its tables don't exist, or not at all.
        return
    try:
        work = _work(operation, position, context)
    except Exception:  # noqa: BLE001 - custom fields run code of their own; DSM405 says so
        return
    if work is None:
        return
    if any(observation.code in LONG for observation in observations):
        at_end = isinstance(operation, operations.AddField) and _is_only_indexed(operation.field)
        if not work.table:
            # What SQL works on is known by its findings; those name its own lock, too.
            table = next(o.table for o in observations if o.code in LONG)
            work = replace(work, table=table, locks={table: Mode.READS, **work.locks})
        work = replace(work, long=True, at_end=at_end)
    context.work.append(work)


def judge_file(context: Context) -> Iterator[tuple[str, Observation]]:
    """Judge the operations of a file together."""
    if context.is_atomic():
        yield from _held_together(context)
    else:
        yield from _half_applied(context)
        yield from _gap(context)


def _is_only_indexed(field: Any) -> bool:
    """Return whether all that takes long of a new column is its index, which Django defers."""
    return bool(field.db_index and not field.unique and type_check(field) is None)


def _held_together(context: Context) -> Iterator[tuple[str, Observation]]:
    """Yield one observation a file: the first long operation during which other locks are held."""
    done: list[Work] = []
    for index, work in enumerate(context.work):
        before = done if not work.at_end else [*done, *context.work[index + 1 :]]
        done.append(work)
        if not work.long:
            continue
        held: dict[str, Mode] = {}
        for other in before:
            for table, mode in other.locks.items():
                held[table] = max(mode, held.get(table, mode))
        own = work.locks.get(work.table)
        worse = own is Mode.WRITES and held.get(work.table) is Mode.READS
        others = {table: mode for table, mode in held.items() if table not in work.locks}
        if others or worse:
            yield work.position, _together(work, others, worse=worse)
            return


def _together(work: Work, others: dict[str, Mode], *, worse: bool) -> Observation:
    waiting = [
        f"{'reads of and writes to' if mode is Mode.READS else 'writes to'} {table}"
        for table, mode in sorted(others.items())
    ]
    if worse:
        waiting.append(f"reads of {work.table}")
    return Observation(
        "DSM406",
        f"While {type(work.operation).__name__} works through {work.table}, the transaction still "
        f"holds the locks of its other operations, so these wait as long: {', '.join(waiting)}.",
        "Give this operation a migration of its own that depends on this one, and write it in "
        "stages; the locks of the others are then held for an instant.",
        table=work.table,
    )


def _half_applied(context: Context) -> Iterator[tuple[str, Observation]]:
    """Yield one observation a file: the first operation that stands in the way of a second run."""
    works = context.work
    for index, work in enumerate(works):
        if not work.again:
            continue
        if index < len(works) - 1:
            follows = type(works[index + 1].operation).__name__
            stopped = f"stopped in or before the {follows} after it (operation {works[index + 1].position})"
        elif _has_several_statements(work.operation):
            stopped = "stopped between the statements of this operation"
        else:
            continue
        yield (
            work.position,
            Observation(
                "DSM407",
                f"The migration runs without a transaction. {stopped[0].upper()}{stopped[1:]}, it "
                f"can't be run again: {work.again}.",
                "Move what needs no transaction (concurrent builds, batches) into a migration of "
                "its own with `atomic = False`, and leave this operation in an atomic one.",
            ),
        )
        return


def _has_several_statements(operation: Operation) -> bool:
    """Return whether Django runs more than one statement for a new column or table."""
    if isinstance(operation, operations.CreateModel):
        options, fields = operation.options, [field for _, field in operation.fields]
        return any(map(_brings_another, fields)) or bool(
            options.get("indexes") or options.get("unique_together")
        )
    if isinstance(operation, operations.AddField):
        field: Any = operation.field
        return bool(field.db_index or is_foreign_key(field) or field.has_default())
    return False


def _brings_another(field: Any) -> bool:
    """Return whether a field of a new table needs a statement besides CREATE TABLE."""
    return bool(field.many_to_many or field.remote_field or (field.db_index and not field.unique))


def _gap(context: Context) -> Iterator[tuple[str, Observation]]:
    """Yield indexes that are dropped before those that take their place are there."""
    dropped: list[Work] = []
    for work in context.work:
        operation: Any = work.operation
        if work.first and isinstance(operation, operations.RemoveIndex):
            dropped.append(work)
        elif work.first and isinstance(operation, operations.AddIndex):
            for earlier in dropped:
                if (earlier.table, earlier.first) != (work.table, work.first):
                    continue
                gone: Any = earlier.operation
                yield (
                    earlier.position,
                    Observation(
                        "DSM551",
                        f"{gone.name} is dropped before {operation.index.name}, which begins with "
                        f"{work.first} as well, is built: until then queries on {work.table} that "
                        "use it read the whole table.",
                        f"Put the operation that builds {operation.index.name} first, and the "
                        "removal into a migration of a later release.",
                    ),
                )
                dropped.remove(earlier)
                break


def _first_field(operation: Any, model: ModelState) -> str:
    """Return the first field of an index that an operation builds or drops."""
    for index in model.options.get("indexes", ()):
        if isinstance(operation, operations.RemoveIndex) and index.name == operation.name:
            return str(index.fields[0]).lstrip("-") if index.fields else ""
    if isinstance(operation, operations.AddIndex) and operation.index.fields:
        return str(operation.index.fields[0]).lstrip("-")
    return ""


def _work(operation: Any, position: str, context: Context) -> Work | None:
    """Return what an operation does in the database; None if it is nothing."""
    if our_name(operation) is not None:
        return Work(position, operation)
    if isinstance(operation, operations.RunPython):
        return Work(position, operation)
    if isinstance(operation, operations.RunSQL):
        locks = {
            table: Mode.READS if lock is Lock.ACCESS_EXCLUSIVE else Mode.WRITES
            for table, lock in context.sql.locks_of(operation).items()
        }
        return Work(position, operation, locks=locks)
    if isinstance(operation, operations.CreateModel):
        if (context.app_label, operation.name_lower) not in context.created:
            return None
        return Work(position, operation, again=f"relation of {operation.name} {EXISTS}")
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    if isinstance(operation, operations.RenameModel):
        name = operation.old_name
    model = context.find_model(name) if isinstance(name, str) else None
    if model is None or not isinstance(name, str):
        return None
    found = _on_table(operation, context, model)
    if found is None:
        return None
    locks, again = found
    table = table_name(model)
    if context.used_model(name) is None:
        locks = {other: mode for other, mode in locks.items() if other != table}
    fresh = {table_name(m) for k in context.created if (m := context.state.models.get(k))}
    locks = {other: mode for other, mode in locks.items() if other not in fresh}
    first = "" if context.used_model(name) is None else _first_field(operation, model)
    return Work(position, operation, table, locks, again=again, first=first)


Effect = tuple[dict[str, Mode], str]


def _on_table(operation: Any, context: Context, model: ModelState) -> Effect | None:
    """Return the locks of an operation on a model, and why it can't be run a second time."""
    table = table_name(model)
    if isinstance(operation, operations.AddField):
        return _add_field(operation, context, model)
    if isinstance(operation, operations.RemoveField):
        field: Any = model.fields.get(operation.name)
        if field is None or (field.many_to_many and not has_own_table(field)):
            return None
        locks = {} if field.many_to_many else {table: Mode.READS}
        return locks | _referenced(context, model, field), f"{table}.{operation.name} {GONE}"
    if isinstance(operation, operations.AlterField):
        return _alter_field(operation, context, model)
    if isinstance(operation, operations.RenameField):
        field = model.fields.get(operation.old_name)
        if field is None or column_name(operation.old_name, field) == column_name(
            operation.new_name, field
        ):
            return None
        locks = {table: Mode.READS} | _referenced(context, model, field)
        return locks, f"{table}.{operation.old_name} {GONE}"
    if isinstance(operation, RemoveIndexConcurrently):
        return {}, ""
    if isinstance(operation, AddIndexConcurrently):
        # That one says it of itself: DSM104.
        return {}, ""
    if isinstance(operation, operations.AddIndex):
        return {table: Mode.WRITES}, f"{operation.index.name} {EXISTS}"
    if isinstance(operation, operations.RemoveIndex):
        return {table: Mode.READS}, ""
    if isinstance(operation, AddConstraintNotValid):
        return {table: Mode.READS}, f"{operation.constraint.name} {EXISTS}"
    if isinstance(operation, operations.AddConstraint):
        return {table: _constraint_mode(operation.constraint)}, (
            f"{operation.constraint.name} {EXISTS}"
        )
    if isinstance(operation, operations.RemoveConstraint):
        return {table: Mode.READS}, f"{operation.name} {GONE}"
    if isinstance(operation, operations.AlterUniqueTogether):
        before = together(model.options.get("unique_together"))
        after = together(operation.option_value)
        return ({table: Mode.READS}, f"its constraint {EXISTS}") if before != after else None
    if isinstance(operation, operations.DeleteModel):
        locks = {table: Mode.READS}
        for field in model.fields.values():
            locks |= _referenced(context, model, field)
        return locks, f"{table} {GONE}"
    if isinstance(operation, operations.RenameModel):
        renamed = ModelState(context.app_label, operation.new_name, [], _explicit_table(model))
        if table_name(renamed) == table:
            return None
        locks = {
            table_name(other): Mode.READS for other, _ in foreign_keys_to(context.state, model)
        }
        return {table: Mode.READS} | locks, f"{table} {GONE}"
    if isinstance(operation, operations.AlterModelTable):
        return {table: Mode.READS}, f"{table} {GONE}"
    return None


def _explicit_table(model: ModelState) -> dict[str, Any]:
    explicit = model.options.get("db_table")
    return {"db_table": explicit} if explicit else {}


def _constraint_mode(constraint: Any) -> Mode:
    unique = isinstance(constraint, models.UniqueConstraint)
    return Mode.WRITES if unique and is_plain_index(constraint) else Mode.READS


def _add_field(
    operation: operations.AddField, context: Context, model: ModelState
) -> Effect | None:
    field: Any = operation.field
    if field.many_to_many:
        return ({}, f"its table {EXISTS}") if has_own_table(field) else None
    if column_name(operation.name, field) is None:
        return None
    table = table_name(model)
    locks = {table: Mode.READS}
    if is_foreign_key(field) and field.db_constraint:
        target = related_model(context.state, model, field)
        if target is not None and target is not model:
            locks[table_name(target)] = Mode.WRITES
    return locks, f"{table}.{column_name(operation.name, field)} {EXISTS}"


def _alter_field(
    operation: operations.AlterField, context: Context, model: ModelState
) -> Effect | None:
    old: Any = model.fields.get(operation.name)
    new: Any = operation.field
    if old is None or not field_changes(context.state, model, operation.name, old, new):
        return None
    if old.many_to_many or new.many_to_many:
        return {}, ""
    table = table_name(model)
    locks = (
        {table: Mode.READS} | _referenced(context, model, old) | _referenced(context, model, new)
    )
    again = ""
    if column_name(operation.name, old) != column_name(operation.name, new):
        again = f"{table}.{column_name(operation.name, old)} {GONE}"
    elif (new.unique and not old.unique) or (new.db_index and not old.db_index):
        again = f"the index of {table}.{column_name(operation.name, new)} {EXISTS}"
    elif type_check(new) is not None and type_check(new) != type_check(old):
        again = f"the check of {table}.{column_name(operation.name, new)} {EXISTS}"
    return locks, again


def _referenced(context: Context, model: ModelState, field: Any) -> dict[str, Mode]:
    """Return the lock on the table that a foreign key with a constraint points to."""
    if not is_foreign_key(field) or not field.db_constraint:
        return {}
    target = related_model(context.state, model, field)
    return {table_name(target): Mode.READS} if target is not None and target is not model else {}
