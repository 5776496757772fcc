"""Schema and data in one transaction: locks that are held while rows are worked through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.columns import field_changes
from django_safemigrations.lint.context import Context, Mode, flattened
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import foreign_keys_to, is_foreign_key, table_name

if TYPE_CHECKING:
    from django_safemigrations.lint.python.events import Event, Reading
    from django_safemigrations.lint.python.verdicts import Place

ALTERING = (
    operations.AddField,
    operations.AlterField,
    operations.RemoveField,
    operations.AddIndex,
    operations.RemoveIndex,
    operations.AddConstraint,
    operations.RemoveConstraint,
    operations.AlterUniqueTogether,
    operations.AlterOrderWithRespectTo,
    operations.DeleteModel,
)
"""Operations that PostgreSQL refuses while a table has pending trigger events."""

SPLIT = (
    "Give the data a migration of its own, between the one that adds and the one that removes or "
    "tightens: three files, each of which depends on the one before."
)


def data_with_schema(
    operation: operations.RunPython, context: Context, reading: Reading, place: Place
) -> Iterator[Observation]:
    """Yield what goes wrong when a function shares its transaction with schema changes."""
    if not context.is_atomic() or context.migration.replaces:
        return
    for judged in (_held_while, _pending, _deadlock):
        observation = judged(operation, context, reading, place)
        if observation is not None:
            yield observation
            return


def _held_while(
    _operation: Operation, context: Context, reading: Reading, place: Place
) -> Observation | None:
    """Locks of earlier operations are held while the function goes through a table."""
    long = _long(reading, place)
    if long is None:
        return None
    held: dict[str, tuple[Mode, Operation]] = {}
    for work in context.work:
        for table, mode in work.locks.items():
            if table not in held or mode > held[table][0]:
                held[table] = (mode, work.operation)
    if not held:
        return None
    table, (mode, taker) = max(held.items(), key=lambda item: (item[1][0], item[0]))
    lock = "ACCESS EXCLUSIVE" if mode is Mode.READS else "SHARE ROW EXCLUSIVE"
    waits = "every statement on it, reads included," if mode is Mode.READS else "every write to it"
    others = sorted(set(held) - {table})
    also = f" The same goes for {', '.join(others)}." if others else ""
    return Observation(
        "DSM707",
        f"{type(taker).__name__} has taken {lock} on {table}, and the transaction keeps it while "
        f"{reading.name}() works: {waits} waits until the last row is done and all is committed."
        f"{also}",
        SPLIT,
        line=long.line or None,
        table=place.table(long.model) if long.model is not None else "",
    )


def _long(reading: Reading, place: Place) -> Event | None:
    """Return the first thing in a function that takes as long as a table is large."""
    from django_safemigrations.lint.python.events import STATEMENTS, Kind, LoopKind
    from django_safemigrations.lint.python.values import Extent

    for event in reading.events:
        if event.kind is Kind.WAIT:
            return event
        if event.kind not in STATEMENTS or not place.in_use(event.model):
            continue
        if event.kind is Kind.READ and event.extent is not Extent.WHOLE:
            continue
        whole = [loop for loop in event.loops if loop.kind is LoopKind.WHOLE]
        if whole and all(not place.in_use(loop.model) for loop in whole):
            continue
        if event.total(one_transaction=True) is Extent.WHOLE:
            return event
    return None


def _changed(reading: Reading, place: Place) -> Iterator[Event]:
    from django_safemigrations.lint.python.events import CHANGES

    for event in reading.of(*CHANGES):
        if event.model is not None and event.model.name and place.in_use(event.model):
            yield event


def _later(
    operation: Operation, context: Context, event: Event
) -> Iterator[tuple[Operation, bool]]:
    """Yield the operations that alter the table of a change after it, and whether Django
    has deferred them from before it."""
    model = event.model
    if model is None or model.label != context.app_label:
        return
    behind = False
    for other in flattened(context.migration.operations):
        if other is operation:
            behind = True
            continue
        if not isinstance(other, ALTERING) or isinstance(
            other, AddConstraintNotValid | ValidateConstraint
        ):
            continue
        name = str(getattr(other, "model_name", None) or getattr(other, "name", ""))
        if name.lower() != model.name or not _alters(other, context):
            continue
        if behind:
            yield other, False
        elif isinstance(other, operations.AddField):
            field: Any = other.field
            if field.db_index:
                yield other, True


def _alters(operation: Any, context: Context) -> bool:
    if not isinstance(operation, operations.AlterField):
        if isinstance(operation, operations.AddField | operations.RemoveField):
            return not getattr(getattr(operation, "field", None), "many_to_many", False)
        return True
    model = context.find_model(operation.model_name)
    old: Any = model.fields.get(operation.name) if model is not None else None
    if model is None or old is None:
        return True
    return bool(field_changes(context.state, model, operation.name, old, operation.field))


def _pending(
    operation: Operation, context: Context, reading: Reading, place: Place
) -> Observation | None:
    """A deferred foreign key has checks to do that ALTER TABLE doesn't wait for."""
    for event in _changed(reading, place):
        key = _deferred_key(event, context)
        if not key:
            continue
        for other, deferred in _later(operation, context, event):
            table = place.called(event.model)
            when = "runs at the end, after it" if deferred else "comes after it"
            return Observation(
                "DSM707",
                f"{reading.name}() changes rows of {table} ({event.text}), whose foreign key {key} "
                f"is checked at the commit; {type(other).__name__} {when} in the same transaction "
                f"and fails: cannot ALTER TABLE {table} because it has pending trigger events. On "
                "an empty database it passes.",
                SPLIT,
                line=event.line or None,
            )
    return None


def _deferred_key(event: Event, context: Context) -> str:
    """Return the foreign key whose check a change leaves for the commit; empty if none."""
    from django_safemigrations.lint.python.events import Kind

    model = context.state.models.get(event.model.key) if event.model is not None else None
    if model is None:
        return ""
    own = {
        name: field
        for name, field in model.fields.items()
        if is_foreign_key(field) and getattr(field, "db_constraint", True)
    }
    if event.kind is Kind.DELETE:
        for other, name in foreign_keys_to(context.state, model):
            if (other.app_label, other.name_lower) not in context.created:
                return f"{table_name(other)}.{name}"
        return ""
    for name in own:
        added = name in {n for n, _ in context.fields_added(model.name)}
        # Django makes the check of a key that it has just added immediate.
        # NULL points nowhere, and nothing is left to check.
        fields = set(event.fields) - set(event.emptied)
        written = event.kind is Kind.INSERT or {name, f"{name}_id"} & fields
        if written and not added:
            return f"{table_name(model)}.{name}"
    return ""


def _deadlock(
    operation: Operation, context: Context, reading: Reading, place: Place
) -> Observation | None:
    """Requests wait for rows of this transaction, and then it waits for them."""
    from django_safemigrations.lint.python.events import Kind
    from django_safemigrations.lint.python.values import Extent

    for event in _changed(reading, place):
        if event.kind is Kind.INSERT or event.total(one_transaction=True) is not Extent.WHOLE:
            continue
        for other, deferred in _later(operation, context, event):
            if deferred:
                continue
            table = place.called(event.model)
            return Observation(
                "DSM707",
                f"{reading.name}() locks rows of {table}, and {type(other).__name__} then asks for "
                f"ACCESS EXCLUSIVE on it in the same transaction. A request that waits for one of "
                "the rows holds its own lock on the table: each waits for the other, and PostgreSQL "
                "aborts one of them (deadlock detected).",
                SPLIT,
                line=event.line or None,
                table=place.table(event.model) if event.model is not None else "",
            )
    return None
