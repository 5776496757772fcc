"""The rule for a merge: what two branches did to the same thing has no order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.columns import changed_options
from django_safemigrations.lint.context import Context, Key
from django_safemigrations.lint.finding import Observation

Thing = tuple[str, ...]
"""A model as ``("order",)``, a part of it as ``("order", "total")``."""

TOGETHER = (operations.AlterUniqueTogether, operations.AlterIndexTogether)
SETTERS = (
    operations.AlterField,
    operations.AlterModelTable,
    operations.AlterOrderWithRespectTo,
    *TOGETHER,
)
"""Operations that say what is to be, not what is to change."""


def judge_file(context: Context) -> Iterator[tuple[None, Observation]]:
    """Compare the branches that a migration joins."""
    label = context.app_label
    if len([name for app, name in context.migration.dependencies if app == label]) < 2:
        return
    ancestry = context.ancestry
    node = context.graph.node_map.get(context.key)
    ends = [parent.key for parent in node.parents if parent.key[0] == label] if node else []
    for one, two in combinations(sorted(ends), 2):
        if ancestry.depends(one, two) or ancestry.depends(two, one):
            continue
        ours = _changes(_files(context, ancestry.only(one, two)))
        theirs = _changes(_files(context, ancestry.only(two, one)))
        for thing in sorted(ours.keys() & theirs.keys() | _undercut(ours, theirs)):
            files = [_first(ours, thing), _first(theirs, thing)]
            if files[0] is None or files[1] is None:
                continue
            if _same(files[0][1], files[1][1], context):
                continue
            yield None, _unordered(".".join((label, *thing)), files[0][0], files[1][0])
            break


def _files(context: Context, keys: Iterable[Key]) -> Iterator[Migration]:
    for key in keys:
        migration = context.files.get(key)
        if migration is not None and key[0] == context.app_label and not migration.replaces:
            yield migration


def _unordered(what: str, one: str, two: str) -> Observation:
    return Observation(
        "DSM410",
        f"{one} and {two}, which this migration joins, both change {what}, and neither comes "
        "first: a database that ran them in the other order than this one ends up different, or "
        "stops half way.",
        f"While one of them is applied nowhere yet, make it depend on the other instead of joining "
        f"them. Otherwise compare {what} in every database with the model (sqlmigrate shows both "
        "results), mend what differs, and say so: # safemigrations: ignore-file DSM410 -- compared "
        "in staging and production",
    )


Changes = dict[Thing, list[tuple[str, Operation]]]


def _changes(files: Iterable[Migration]) -> Changes:
    found: Changes = {}
    for migration in files:
        for operation in _all(migration.operations):
            for thing in _things(operation):
                found.setdefault(thing, []).append((migration.name, operation))
    return found


def _undercut(ours: Changes, theirs: Changes) -> set[Thing]:
    """Return the models that one branch renames or deletes while the other changes a part."""
    parts = {thing[:1] for thing in theirs}, {thing[:1] for thing in ours}
    return {
        thing
        for changes, others in zip((ours, theirs), parts, strict=True)
        for thing in changes
        if len(thing) == 1 and thing in others
    }


def _first(changes: Changes, thing: Thing) -> tuple[str, Operation] | None:
    """Return the file and operation that touch a thing, or a part of it if it is a model."""
    for known, places in changes.items():
        if known == thing or (len(thing) == 1 and known[:1] == thing):
            return places[0]
    return None


def _same(one: Operation, two: Operation, context: Context) -> bool:
    """Return whether two operations end in the same columns and indexes, in either order."""
    if not isinstance(one, SETTERS) or type(one) is not type(two):
        return False
    if isinstance(one, operations.AlterField) and isinstance(two, operations.AlterField):
        model = context.state.models.get((context.app_label, one.model_name_lower))
        if model is not None:
            return not changed_options(context.state, model, one.field, two.field)
    return bool(one.deconstruct() == two.deconstruct())


def _all(given: Iterable[Operation]) -> Iterator[Operation]:
    """Yield operations at any depth, with what containers only apply to the state."""
    for operation in given:
        yield operation
        yield from _all(getattr(operation, "database_operations", None) or ())
        yield from _all(getattr(operation, "state_operations", None) or ())


def _things(operation: Any) -> Iterator[Thing]:
    """Yield what an operation of Django changes for good; two additions don't disturb each other."""
    if isinstance(operation, operations.CreateModel | operations.DeleteModel):
        yield (operation.name_lower,)
    elif isinstance(operation, operations.RenameModel):
        yield (operation.old_name_lower,)
        yield (operation.new_name_lower,)
    elif isinstance(operation, operations.RenameField):
        yield operation.model_name_lower, operation.old_name_lower
        yield operation.model_name_lower, operation.new_name_lower
    elif isinstance(
        operation, operations.AddField | operations.RemoveField | operations.AlterField
    ):
        yield operation.model_name_lower, operation.name_lower
    elif isinstance(operation, TOGETHER):
        yield operation.name_lower, operation.option_name
    elif isinstance(operation, operations.AlterModelTable):
        yield operation.name_lower, "db_table"
    elif isinstance(operation, operations.AlterOrderWithRespectTo):
        yield operation.name_lower, "order_with_respect_to"
    elif isinstance(operation, operations.AddIndex):
        yield operation.model_name_lower, operation.index.name
    elif isinstance(operation, operations.AddConstraint):
        yield operation.model_name.lower(), operation.constraint.name
    elif isinstance(operation, operations.RemoveIndex | operations.RemoveConstraint):
        yield operation.model_name.lower(), operation.name
