"""Unique rules that go, and the ones of the same run that come in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterUniqueTogether,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RenameField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.models import UniqueConstraint

from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.references import uses_field

MESSAGES = ("violation_error_code", "violation_error_message")


@dataclass(frozen=True, eq=False)
class Unique:
    """One rule that says which rows may not be there twice.

    Attributes:
        fields: the fields that it is over, in order; of a constraint with expressions or a
            condition, all that it is defined with.
        constraint: the constraint of Meta.constraints; None for ``unique=True`` and a set of
            ``unique_together``.
        of_field: whether it is a field's ``unique=True``.
    """

    fields: tuple[str, ...]
    constraint: UniqueConstraint | None = None
    of_field: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is over whole columns and rows, and checked at once."""
        constraint: Any = self.constraint
        return constraint is None or not (
            constraint.condition
            or constraint.include
            or constraint.opclasses
            or constraint.expressions
            or constraint.deferrable
            or constraint.nulls_distinct is False
        )

    @property
    def is_conflict_target(self) -> bool:
        """Whether ``ON CONFLICT`` with a list of columns, as Django writes it, can mean it."""
        constraint: Any = self.constraint
        return constraint is None or not (
            constraint.condition or constraint.expressions or constraint.deferrable
        )

    @property
    def is_deferrable(self) -> bool:
        """Whether PostgreSQL may check it at the end of a transaction."""
        constraint: Any = self.constraint
        return constraint is not None and constraint.deferrable is not None

    @property
    def reference(self) -> str | list[str]:
        """How stages name it: by its name, or by its fields."""
        return list(self.fields) if self.constraint is None else str(self.constraint.name)

    @property
    def title(self) -> str:
        """It in words."""
        if self.constraint is not None:
            return f"unique constraint {self.constraint.name}"
        return f"unique ({', '.join(self.fields)})"

    def is_same_rule(self, other: Unique) -> bool:
        """Whether both are the same in the database but for their names."""
        if self.is_plain and other.is_plain:
            return self.fields == other.fields
        if self.constraint is None or other.constraint is None:
            return False
        return definition(self.constraint) == definition(other.constraint)


def definition(constraint: Any) -> object:
    """Return what makes a constraint in the database, without its name."""
    path, args, kwargs = constraint.deconstruct()
    left_out = ("name", *MESSAGES)
    return path, args, {key: value for key, value in kwargs.items() if key not in left_out}


def of_constraint(model: ModelState, constraint: Any) -> Unique:
    """Return the rule of a constraint of a model."""
    if constraint.expressions or constraint.condition:
        used = tuple(name for name in model.fields if uses_field(constraint, name))
        return Unique(used, constraint)
    return Unique(tuple(constraint.fields), constraint)


def is_django_s(constraint: Any, kind: type) -> bool:
    """Whether a constraint makes the SQL that Django's own class of it makes."""
    return isinstance(constraint, kind) and type(constraint).create_sql is kind.create_sql  # type: ignore[attr-defined]


def together(sets: Any) -> list[tuple[str, ...]]:
    """Return the sets of ``unique_together`` in an order that does not change."""
    return sorted(tuple(names) for names in sets or ())


def uniques_of(model: ModelState) -> list[Unique]:
    """Return all rules of a model."""
    found = [Unique((name,), of_field=True) for name, field in model.fields.items() if _rule(field)]
    found += [Unique(names) for names in together(model.options.get("unique_together"))]
    found += [
        of_constraint(model, constraint)
        for constraint in model.options.get("constraints", [])
        if is_django_s(constraint, UniqueConstraint)
    ]
    return found


def _rule(field: Any) -> bool:
    return bool(field.unique and not field.primary_key and not field.many_to_many)


def is_about(operation: Operation, model: ModelState) -> bool:
    """Whether an operation is one on a model or a part of it."""
    name = getattr(operation, "model_name", None)
    if name is None:
        name = getattr(operation, "old_name", None) or getattr(operation, "name", "")
    return str(name).lower() == model.name_lower


def removed_by(operation: Any, model: ModelState) -> list[Unique]:
    """Return the rules that an operation on a model takes away.

    Args:
        operation: the operation.
        model: the model before it.
    """
    if type(operation) is RemoveConstraint:
        constraints = model.options.get("constraints", [])
        found = [item for item in constraints if item.name == operation.name]
        return [of_constraint(model, c) for c in found if is_django_s(c, UniqueConstraint)]
    if type(operation) is AlterUniqueTogether:
        after = together(operation.option_value)
        before = together(model.options.get("unique_together"))
        return [Unique(names) for names in before if names not in after]
    if type(operation) is AlterField:
        old = model.fields.get(operation.name)
        if old is not None and _rule(old) and not _rule(operation.field):
            return [Unique((operation.name,), of_field=True)]
    return []


def added_by(operation: Any, model: ModelState, sets: Sequence[tuple[str, ...]]) -> list[Unique]:
    """Return the rules that an operation on a model brings.

    Args:
        operation: the operation.
        model: the model before it, or as it was some operations earlier.
        sets: its ``unique_together`` just before.
    """
    if type(operation) is AddConstraint:
        if is_django_s(operation.constraint, UniqueConstraint):
            return [of_constraint(model, operation.constraint)]
    elif type(operation) is AlterUniqueTogether:
        return [Unique(names) for names in together(operation.option_value) if names not in sets]
    elif type(operation) is AlterField:
        old = model.fields.get(operation.name)
        if old is not None and not _rule(old) and _rule(operation.field):
            return [Unique((operation.name,), of_field=True)]
    return []


def following(context: Context, operation: Operation, model: ModelState) -> list[Operation]:
    """Return later operations that bring rules in place of those that one takes away.

    Only such as can just as well run at once: nothing between touches their fields.
    """
    removed = removed_by(operation, model)
    found: list[Operation] = []
    sets = together(model.options.get("unique_together"))
    if type(operation) is AlterUniqueTogether:
        sets = together(operation.option_value)
    passed: list[Any] = []
    for other in context.later:
        if id(other) in context.taken or not is_about(other, model):
            continue
        if isinstance(other, RenameModel | DeleteModel):
            break
        added = added_by(other, model, sets)
        if type(other) is AlterUniqueTogether:
            sets = together(other.option_value)
        if (
            added
            and _share_a_field(removed, added)
            and not _is_blocked(other, added, passed)
            and _is_only_unique(other, model)
            and all(name in model.fields for rule in added for name in rule.fields)
        ):
            found.append(other)
        else:
            passed.append(other)
    return found


def _are_named(rules: Iterable[Unique], name: str) -> bool:
    return any(rule.constraint is not None and rule.constraint.name == name for rule in rules)


def _share_a_field(some: Iterable[Unique], others: Iterable[Unique]) -> bool:
    names = {name for rule in some for name in rule.fields}
    return any(names.intersection(rule.fields) for rule in others)


def _is_blocked(operation: Operation, added: Sequence[Unique], passed: Sequence[Any]) -> bool:
    """Whether an operation that stands before has to stay before."""
    for other in passed:
        if isinstance(other, AddField | AlterField | RenameField | RemoveField):
            names = {getattr(other, "name", None), getattr(other, "old_name", None)}
            names.add(getattr(other, "new_name", None))
            for rule in added:
                if names.intersection(rule.fields):
                    return True
                if rule.constraint and any(uses_field(rule.constraint, n) for n in names if n):
                    return True
        if type(other) is type(operation) is AlterUniqueTogether:
            return True
        if isinstance(other, RemoveConstraint) and _are_named(added, other.name):
            # The name has to be free before.
            return True
    return False


def _is_only_unique(operation: Any, model: ModelState) -> bool:
    """Whether an AlterField changes nothing but ``unique`` and the index that goes with it."""
    if type(operation) is not AlterField:
        return True
    field: Any = operation.field.clone()
    old: Any = model.fields[operation.name]
    field._unique, field.db_index = old._unique, old.db_index
    return bool(field.deconstruct()[1:] == old.deconstruct()[1:])


def in_order(context: Context) -> list[Operation]:
    """Return the operations with unique rules that go put off to what comes in their place.

    Django removes first and adds last. Where the new rule is over a field that is added in
    between, the old one waits for it, so that at no time neither is enforced.
    """
    operations = list(context.operations)
    state = context.state
    for operation in context.operations:
        if id(operation) in context.taken or type(operation) not in (
            RemoveConstraint,
            AlterUniqueTogether,
        ):
            continue
        name = getattr(operation, "model_name", None) or getattr(operation, "name", "")
        model = state.models.get((context.app_label, str(name).lower()))
        if model is None or not context.may_hold_rows(model.name):
            continue
        removed = removed_by(operation, model)
        start = operations.index(operation)
        place = _place_of_successor(operations[start + 1 :], removed, model, context)
        if removed and place:
            operations.insert(start + 1 + place, operation)
            del operations[start]
    return operations


def _place_of_successor(
    later: Sequence[Operation], removed: Sequence[Unique], model: ModelState, context: Context
) -> int:
    """Return before which later operation a removal has to stand, 0 if it can stay in its place."""
    sets = together(model.options.get("unique_together"))
    taken_away = [rule.fields for rule in removed if rule.constraint is None]
    sets = [names for names in sets if names not in taken_away]
    passed: list[Any] = []
    for place, other in enumerate(later):
        if id(other) in context.taken or not is_about(other, model):
            continue
        if isinstance(other, RenameModel | DeleteModel):
            return 0
        gone = {getattr(other, "old_name", None), getattr(other, "name", None)}
        for rule in removed:
            if isinstance(other, RenameField | RemoveField) and gone.intersection(rule.fields):
                return 0
        added = added_by(other, model, sets)
        if added and _share_a_field(removed, added):
            return place if _is_blocked(other, added, passed) else 0
        if type(other) is AddConstraint and _are_named(removed, other.constraint.name):
            # Its name has to be free by then.
            return 0
        passed.append(other)
    return 0
