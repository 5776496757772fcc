"""An AlterField that changes several things becomes one step for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.migrations import AlterField
from django.db.models import NOT_PROVIDED

from django_safemigrations.phases import Phase
from django_safemigrations.rewrites import (
    attributes,
    indexes,
    keys,
    many_to_many,
    not_null,
    relations,
    types,
    uniques,
)
from django_safemigrations.rewrites.chain import Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.models import is_generated

# What an aspect of its own changes; the rest of a field is its type, or where it points.
FLAGS = {
    "null": "null",
    "unique": "_unique",
    "index": "db_index",
    "db_default": "db_default",
    "comment": "db_comment",
    "tablespace": "_db_tablespace",
}


@dataclass(frozen=True)
class Aspect:
    """One thing that an AlterField may change.

    Attributes:
        name: what changes; a key of FLAGS, or the rest.
        differs: whether it does, by the field before and after.
        phase: the phase in which the state changes, by the same.
        steps: stages an AlterField that changes nothing else, by the field before it.
    """

    name: str
    differs: Callable[[Any, Any], bool]
    phase: Callable[[Context, AlterField, Any], Phase]
    steps: Callable[[Context, AlterField, Any], list[Step]]


def _rest_differs(old: Any, new: Any) -> bool:
    return _in_database(old) != _in_database(between(old, new, frozenset({"rest"})))


ASPECTS = (
    Aspect(
        "comment",
        lambda old, new: bool(old.db_comment != new.db_comment),
        lambda context, operation, old: Phase.EXPAND,
        attributes.change_comment,
    ),
    Aspect(
        "tablespace",
        lambda old, new: bool(old._db_tablespace != new._db_tablespace),
        lambda context, operation, old: Phase.EXPAND,
        attributes.change_tablespace,
    ),
    Aspect(
        "relation",
        lambda old, new: relations.is_about(old, new) and _rest_differs(old, new),
        relations.phase,
        relations.change_relation,
    ),
    Aspect(
        "type",
        lambda old, new: not relations.is_about(old, new) and _rest_differs(old, new),
        types.phase,
        types.change_type,
    ),
    Aspect(
        "db_default",
        lambda old, new: _default(old) != _default(new),
        attributes.default_phase,
        attributes.change_default,
    ),
    Aspect(
        "unique",
        lambda old, new: old.unique != new.unique and not relations.changes_kind(old, new),
        uniques.phase,
        uniques.change_unique,
    ),
    Aspect(
        "index",
        lambda old, new: _indexing(old, new) != 0,
        lambda context, operation, old: (
            Phase.EXPAND if _indexing(old, operation.field) > 0 else Phase.CONTRACT
        ),
        lambda context, operation, old: [indexes.change_index(context.app_label, operation)],
    ),
    Aspect(
        "null",
        lambda old, new: bool(old.null != new.null),
        lambda context, operation, old: (
            Phase.EXPAND
            if operation.field.null or not_null.can_expand(operation.field)
            else Phase.CONTRACT
        ),
        lambda context, operation, old: (
            attributes.relax_null(context, operation, old)
            if operation.field.null
            else [not_null.set_not_null(context.app_label, operation)]
        ),
    ),
)


def alter_field(operation: AlterField, context: Context) -> list[Step]:
    """Make each change of one AlterField a step of its own, expands before contracts.

    Each operation holds everything that came before it, so that the last one holds all.
    What never reaches the database comes along with the first.
    """
    old, new = context.model(operation.model_name).fields[operation.name], operation.field
    if old.many_to_many or new.many_to_many:
        return many_to_many.alter_many_to_many(operation, context)
    if attributes.changes_only_comment(old, new):
        return attributes.change_comment(context, operation, old)
    if is_generated(old) or is_generated(new):
        return attributes.alter_generated(context, operation, old)
    if old.primary_key or new.primary_key:
        return keys.alter_key(operation, context)
    changing = [aspect for aspect in ASPECTS if aspect.differs(old, new)]
    if not changing:
        return attributes.touches_nothing(context, operation, old)
    # The sort is stable: within a phase, in the order of the table.
    changing.sort(key=lambda a: a.phase(context, operation, old) is Phase.CONTRACT)
    # What else changes may need the NULLs: ON DELETE SET NULL, for one.
    changing.sort(key=lambda a: not (a.name == "null" and new.null))
    steps: list[Step] = []
    done: frozenset[str] = frozenset()
    before = old
    for aspect in changing:
        done |= {aspect.name, *(["rest"] if aspect.name in ("relation", "type") else [])}
        if aspect.name == "unique":
            # A unique field's constraint serves for its index, so that both change together.
            done |= {"index"}
        after = between(old, new, done)
        if not operation.preserve_default and aspect.name != "null":
            # A one-off default belongs to the NOT NULL alone.
            after.default = old.default
        # Django leaves a one-off default out of the state, and only the NOT NULL needs it.
        preserve = operation.preserve_default or aspect.name != "null"
        steps += aspect.steps(context, _altered(operation, after, preserve), before)
        before = after
    return steps


def between(old: Any, new: Any, done: frozenset[str]) -> Any:
    """Return a field of which some aspects have changed already, and what is Python's alone.

    Args:
        old: the field before.
        new: the field after.
        done: the names of the aspects that have changed; "rest" for all but the flags.
    """
    base = new if "rest" in done or not _rest_of(old, new) else old
    field: Any = base.clone()
    for aspect, attribute in _flags(old, new).items():
        source = new if aspect in done else old
        setattr(field, attribute, getattr(source, attribute))
    return field


def _flags(old: Any, new: Any) -> dict[str, str]:
    if relations.changes_kind(old, new):
        # Unique is what makes a foreign key a one-to-one, and its index goes with it.
        return {name: FLAGS[name] for name in FLAGS if name not in ("unique", "index")}
    return FLAGS


def _rest_of(old: Any, new: Any) -> bool:
    """Whether more than flags changes in the database."""
    field: Any = new.clone()
    for attribute in _flags(old, new).values():
        setattr(field, attribute, getattr(old, attribute))
    return _in_database(field) != _in_database(old)


def _altered(operation: AlterField, field: Any, preserve_default: bool) -> AlterField:
    return AlterField(
        model_name=operation.model_name,
        name=operation.name,
        field=field,
        preserve_default=preserve_default,
    )


def _in_database(field: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Return what of a field reaches the database."""
    _, path, args, kwargs = field.deconstruct()
    # Django compares columns apart. Since 6.1 an on_delete of the database's is not among these.
    python_only = {*field.non_db_attrs, "default"} - {"db_column"}
    return path, args, {k: v for k, v in kwargs.items() if k not in python_only}


def _default(field: Any) -> object:
    """Return a column's own default, in a form that can be compared."""
    if field.db_default is NOT_PROVIDED:
        return NOT_PROVIDED
    return field.deconstruct()[3].get("db_default", NOT_PROVIDED)


def _indexing(old: Any, new: Any) -> int:
    """Return 1 if an index comes, -1 if one goes: that of a unique constraint serves, too."""
    if new.unique != old.unique:
        return 0
    return int(bool(new.db_index and not new.unique)) - int(bool(old.db_index and not old.unique))


RULES: dict[type, Rule] = {AlterField: alter_field}
