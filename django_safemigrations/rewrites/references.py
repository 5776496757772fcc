"""Whether two index or constraint definitions are the same but for renamed fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import F, Q, Value
from django.db.models.constraints import BaseConstraint
from django.db.models.expressions import BaseExpression
from django.db.models.indexes import Index

FIELD_LISTS = ("fields", "include")
EXPRESSIONS = ("condition", "expressions", "check")


def same_but_renamed(
    old: Index | BaseConstraint, new: Index | BaseConstraint, renames: Mapping[str, str]
) -> bool:
    """Whether `old`, with fields renamed, is `new` apart from its name."""
    if type(old) is not type(new):
        return False
    return _definition(old, renames) == _definition(new, {})


def uses_field(item: Index | BaseConstraint, name: str) -> bool:
    """Whether an index or constraint is defined with a field."""
    return _definition(item, {name: f"{name} renamed"}) != _definition(item, {})


def _definition(item: Any, renames: Mapping[str, str]) -> object:
    path, args, kwargs = item.deconstruct()
    kwargs = dict(kwargs)
    kwargs.pop("name", None)
    renamed: dict[str, object] = {}
    for key, value in kwargs.items():
        if key in FIELD_LISTS:
            # Index lists fields with a minus for DESC; constraints as a tuple.
            renamed[key] = tuple(_renamed(name, renames) for name in value)
        elif key in EXPRESSIONS:
            renamed[key] = _expression(value, renames)
        else:
            renamed[key] = repr(value)
    return path, tuple(_expression(arg, renames) for arg in args), renamed


def _renamed(reference: str, renames: Mapping[str, str]) -> str:
    """Rename the field that a reference begins with: "-total", "total__gt"."""
    sign = "-" if reference.startswith("-") else ""
    first, separator, rest = reference[len(sign) :].partition("__")
    return f"{sign}{renames.get(first, first)}{separator}{rest}"


def _expression(value: Any, renames: Mapping[str, str]) -> object:
    if isinstance(value, Q):
        children = tuple(
            (_renamed(child[0], renames), _expression_value(child[1], renames))
            if isinstance(child, tuple)
            else _expression(child, renames)
            for child in value.children
        )
        return "Q", value.connector, value.negated, children
    if isinstance(value, F):
        reference: Any = value
        return "F", _renamed(reference.name, renames)
    if isinstance(value, Value):
        return "Value", repr(value)
    if isinstance(value, BaseExpression):
        return _node(value, renames)
    if isinstance(value, str):
        # A bare text among expressions names a field.
        return "F", _renamed(value, renames)
    if isinstance(value, list | tuple):
        return tuple(_expression(item, renames) for item in value)
    return repr(value)


def _expression_value(value: Any, renames: Mapping[str, str]) -> object:
    """Return the right side of a lookup, where a bare text is a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return tuple(_expression_value(item, renames) for item in value)
    return _expression(value, renames)


def _node(node: Any, renames: Mapping[str, str]) -> object:
    sources = tuple(_expression(source, renames) for source in node.get_source_expressions())
    args, kwargs = getattr(node, "_constructor_args", ((), {}))
    # What is no source expression is an option of the node: a name, a flag, an output field.
    options = tuple(
        sorted((key, repr(value)) for key, value in kwargs.items() if not _is_reference(value))
    )
    others = tuple(repr(arg) for arg in args if not _is_reference(arg) and not isinstance(arg, str))
    extra = getattr(node, "extra", {})
    return type(node), sources, options, others, repr(sorted(extra.items()))


def _is_reference(value: Any) -> bool:
    return isinstance(value, F | Q | BaseExpression | list | tuple)
