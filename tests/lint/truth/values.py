"""Field types and constants as JSON: how a field is written down, and read back."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from django.contrib.postgres import constraints as postgres_constraints
from django.contrib.postgres import fields as postgres_fields
from django.contrib.postgres import functions as postgres_functions
from django.contrib.postgres import indexes as postgres_indexes
from django.contrib.postgres import search as postgres_search
from django.db import models
from django.db.models import Deferrable, expressions, functions, lookups
from django.db.models.expressions import Expression
from django.utils import timezone
from django.utils.module_loading import import_string

from tests.kit.values import make

Json: TypeAlias = Any

MODULES = (
    models,
    functions,
    expressions,
    lookups,
    postgres_fields,
    postgres_functions,
    postgres_indexes,
    postgres_search,
    postgres_constraints,
)
"""Where the classes that a case may name are looked up."""

CALLABLES: dict[str, Callable[[], Any]] = {
    "uuid4": uuid.uuid4,
    "now": timezone.now,
    "dict": dict,
    "list": list,
    "today": dt.date.today,
}


class UnknownValueError(ValueError):
    """A value has no place in a case."""


def find_class(name: str) -> Any:
    """Return one of Django's classes by the name that cases give it."""
    for module in MODULES:
        if hasattr(module, name):
            return getattr(module, name)
    raise UnknownValueError(name)


def encode(value: Any) -> Json:
    """Write a constant, field, index, constraint or expression as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, models.Q):
        return {"q": [value.connector, value.negated, [_encode_child(c) for c in value.children]]}
    if isinstance(value, Deferrable):
        return {"deferrable": value.name}
    if isinstance(value, models.Field):
        return encode_field(value)
    if isinstance(value, models.Index | models.BaseConstraint):
        return _encode_call(value, *value.deconstruct()[1:])
    if isinstance(value, models.F):
        return {"f": str(vars(value)["name"])}
    if isinstance(value, models.Value):
        return {"value": encode(value.value)}
    if isinstance(value, Expression):
        _, args, options = value.deconstruct()
        return _encode_call(value, args, options)
    raise UnknownValueError(repr(value))


def _encode_child(child: Any) -> Json:
    if isinstance(child, tuple):
        return [child[0], encode(child[1])]
    return encode(child)


def _encode_call(value: Any, args: Any, options: dict[str, Any]) -> Json:
    name = type(value).__name__
    # They hold SQL, or names of fields as keywords.
    if find_class(name) is not type(value) or name in ("Func", "RawSQL", "When"):
        raise UnknownValueError(name)
    written = {
        key: encode(option)
        for key, option in options.items()
        if not key.startswith("violation_error")
    }
    return {"call": [name, [encode(argument) for argument in args], written]}


def decode(value: Json) -> Any:
    """Read what `encode` has written."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "q":
        connector, negated, children = content
        return models.Q(
            *[(c[0], decode(c[1])) if isinstance(c, list) else decode(c) for c in children],
            _connector=connector,
            _negated=negated,
        )
    if kind == "dict":
        return {key: decode(item) for key, item in content}
    if kind == "deferrable":
        return Deferrable[content]
    if kind == "field":
        return decode_field(content)
    if kind == "f":
        return models.F(content)
    if kind == "value":
        return models.Value(decode(content))
    if kind == "call":
        name, args, options = content
        return find_class(name)(
            *[decode(argument) for argument in args],
            **{key: decode(option) for key, option in options.items()},
        )
    raise UnknownValueError(repr(value))


KEPT_OPTIONS = frozenset(
    {
        "null",
        "blank",
        "unique",
        "db_index",
        "primary_key",
        "db_column",
        "db_comment",
        "db_collation",
        "db_default",
        "db_constraint",
        "db_table",
        "max_length",
        "max_digits",
        "decimal_places",
        "auto_now",
        "auto_now_add",
        "protocol",
        "size",
        "base_field",
        "expression",
        "output_field",
        "db_persist",
        "to",
        "to_field",
        "through",
        "parent_link",
        "default",
        "help_text",
    }
)
"""Options of fields that a case keeps; what people read and what Python checks is left out."""


def encode_field(field: models.Field[Any, Any]) -> Json:
    """Write a field with the options that concern the database."""
    name = type(field).__name__
    if find_class(name) is not type(field):
        raise UnknownValueError(name)
    _, _, args, options = field.deconstruct()
    if args:
        raise UnknownValueError(f"{name}{args!r}")
    written: dict[str, Json] = {}
    for option, value in options.items():
        if option not in KEPT_OPTIONS:
            continue
        if option == "default":
            written["default"] = _encode_default(value)
        elif option in ("to", "through"):
            written[option] = str(value)
        else:
            written[option] = encode(value)
    return {"field": [name, written]}


def _encode_default(value: Any) -> Json:
    if callable(value):
        known = [name for name, function in CALLABLES.items() if function is value]
        return {"calls": known[0] if known else "function"}
    try:
        return encode(value)
    except UnknownValueError:
        return {"calls": "function"}


def decode_field(content: Json) -> models.Field[Any, Any]:
    """Read what `encode_field` has written."""
    name, written = content
    options = {key: decode(value) for key, value in written.items() if key != "default"}
    if "to" in options:
        many = name == "ManyToManyField"
        options.update({"related_name": "+"} if many else {"on_delete": models.CASCADE})
        options["related_name"] = "+"
    field: models.Field[Any, Any] = find_class(name)(**options)
    if "default" in written:
        # Set afterwards: a made-up value needs the field.
        field.default = _decode_default(field, written["default"])
        field.__dict__.pop("_get_default", None)
    return field


def _decode_default(field: models.Field[Any, Any], written: Json) -> Any:
    if isinstance(written, dict) and "calls" in written:
        function = CALLABLES.get(written["calls"])
        return function or _made(_kind(field))
    return decode(written)


def _kind(field: models.Field[Any, Any]) -> str:
    _, path, _, _ = field.deconstruct()
    return path


@cache
def _made(path: str) -> Callable[[], Any]:
    """Return one function a kind of field, so that an unchanged default is equal to itself."""
    kind = import_string(path)

    def function() -> Any:
        if issubclass(kind, models.ForeignKey):
            return 1
        return [] if issubclass(kind, postgres_fields.ArrayField) else make(kind(), 1)

    return function
