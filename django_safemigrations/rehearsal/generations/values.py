"""Values for fields of every type: distinct, repeatable, and such that both generations can hold them."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields import NOT_PROVIDED

from django_safemigrations.rehearsal.generations.sides import AnyField

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
SMALL = 30_000
"""Values of small integers repeat after so many."""
LONG = 5_000
"""Characters in the longest text that is tried where the field sets no limit."""


class NoValue(Exception):
    """No value can be made for a field."""


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
        if not number:
            return digits


def _text(n: int, room: int | None) -> str:
    value = _base36(n)
    left = (room or 40) - len(value)
    # What breaks statements that are put together from strings.
    return ("v%'\"ü " * 2)[:left].strip() + value if left > 0 else value[-(room or 40) :]


def _moment(n: int) -> dt.datetime:
    value = EPOCH + dt.timedelta(seconds=n)
    return value if settings.USE_TZ else value.replace(tzinfo=None)


def _decimal(field: Any, other: Any, n: int) -> decimal.Decimal:
    digits, places = field.max_digits or 9, field.decimal_places or 0
    whole = digits - places
    if isinstance(other, models.DecimalField):
        places = min(places, other.decimal_places or 0)
        whole = min(whole, (other.max_digits or 9) - (other.decimal_places or 0))
    number = decimal.Decimal(n % 10 ** max(whole, 0))
    return number.quantize(decimal.Decimal(1).scaleb(-places))


def _is_small(field: Any) -> bool:
    return isinstance(field, models.SmallIntegerField | models.PositiveSmallIntegerField)


def _room(field: Any, other: Any) -> int | None:
    sizes = [f.max_length for f in (field, other) if getattr(f, "max_length", None)]
    return min(sizes) if sizes else None


Maker = Callable[[Any, Any, int], Any]

MAKERS: tuple[tuple[str, type[AnyField], Maker], ...] = (
    ("bool", models.BooleanField, lambda f, o, n: bool(n % 2)),
    ("int", models.IntegerField, lambda f, o, n: n % SMALL + 1 if _is_small(f) or _is_small(o) else n),
    ("decimal", models.DecimalField, _decimal),
    ("float", models.FloatField, lambda f, o, n: n + 0.5),
    ("text", models.EmailField, lambda f, o, n: f"{_base36(n)}@example.com"),
    ("text", models.URLField, lambda f, o, n: f"https://example.com/{_base36(n)}"),
    ("text", models.SlugField, lambda f, o, n: f"s-{_base36(n)}"[-(_room(f, o) or 50) :]),
    ("text", models.FileField, lambda f, o, n: f"{_base36(n)}.dat"[-(_room(f, o) or 100) :]),
    ("text", models.FilePathField, lambda f, o, n: f"{_base36(n)}.dat"[-(_room(f, o) or 100) :]),
    ("text", models.CharField, lambda f, o, n: _text(n, _room(f, o))),
    ("text", models.TextField, lambda f, o, n: _text(n, _room(f, o))),
    ("datetime", models.DateTimeField, lambda f, o, n: _moment(n)),
    ("date", models.DateField, lambda f, o, n: EPOCH.date() + dt.timedelta(days=n % 300_000)),
    ("time", models.TimeField, lambda f, o, n: dt.time(n // 3600 % 24, n // 60 % 60, n % 60)),
    ("duration", models.DurationField, lambda f, o, n: dt.timedelta(seconds=n)),
    ("uuid", models.UUIDField, lambda f, o, n: uuid.UUID(int=n)),
    ("json", models.JSONField, lambda f, o, n: {"n": n, "list": [n, None], "ü": "%'\""}),
    ("bytes", models.BinaryField, lambda f, o, n: n.to_bytes(8, "big")),
    (
        "address",
        models.GenericIPAddressField,
        lambda f, o, n: f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}",
    ),
)  # fmt: skip


def _maker(field: AnyField) -> tuple[str, type[AnyField], Maker] | None:
    for entry in MAKERS:
        if isinstance(field, entry[1]):
            return entry
    # A field of the project's own that only says which of Django's it is stored as.
    stored = getattr(models, field.get_internal_type(), None)
    if isinstance(stored, type):
        for entry in MAKERS:
            if issubclass(stored, entry[1]):
                return entry
    return None


def kind(field: AnyField) -> str:
    """Return the kind of values that a field holds, "" for one that is not known."""
    if field.is_relation:
        return kind(field.target_field)  # type: ignore[attr-defined]
    entry = _maker(field)
    if entry is not None:
        return entry[0]
    postgres = _of_postgres(field)
    return postgres or ""


def is_djangos(field: AnyField) -> bool:
    """Whether a field is of a class of Django's, so that it reads what it wrote."""
    if field.is_relation:
        return True
    kinds = [field, getattr(field, "base_field", field)]
    return all(type(f).__module__.startswith("django.") for f in kinds)


def _of_postgres(field: Any) -> str | None:
    names = {cls.__name__ for cls in type(field).__mro__ if cls.__module__.startswith("django.")}
    for name, found in (
        ("ArrayField", "array"),
        ("HStoreField", "hstore"),
        ("RangeField", "range"),
        ("SearchVectorField", "vector"),
    ):
        if name in names:
            return found
    return None


def _own(field: Any, other: Any, n: int) -> Any:
    choices = [value for value, _ in field.flatchoices if value not in (None, "")]
    if choices:
        shared = [v for v, _ in getattr(other, "flatchoices", ()) if v in choices]
        choices = shared or choices
        return choices[n % len(choices)]
    entry = _maker(field)
    if entry is not None:
        try:
            value = entry[2](field, other, n)
        except (decimal.InvalidOperation, OverflowError) as error:
            raise NoValue(f"no value for {field.name}: {error}") from error
        return field.to_python(value) if entry[0] == "int" else value
    found = _of_postgres(field)
    if found == "array":
        base, size = field.base_field, field.size or 2
        return [_own(base, getattr(other, "base_field", None), n + i) for i in range(min(size, 2))]
    if found == "hstore":
        return {"n": str(n), "none": None}
    if found == "vector":
        return ""
    if found == "range":
        return field.range_type(_own(field.base_field, None, n), None)
    if field.default is not NOT_PROVIDED:
        return field.get_default()
    raise NoValue(f"no value is known for {type(field).__name__} {field.name}")


def make(field: AnyField, n: int, other: AnyField | None = None, *, distinct: bool = False) -> Any:
    """Return the n-th value of a field that is no relation.

    Args:
        field: which field.
        n: a number; another one gives another value, as far as the type has as many.
        other: the same field in the other generation: the value means something there, too.
        distinct: whether no other number may give the same value.

    Raises:
        NoValue: none is known for such a field.
    """
    if kind(field) == "int" and not distinct:
        # What is computed from it, by a trigger or a generated column, has room to grow.
        n = n % SMALL + 1
    if other is None or other.is_relation:
        return _own(field, None, n)
    if kind(field) == kind(other):
        return _own(field, other, n)
    value = _own(field, None, n)
    if _survives(value, field, other):
        return value
    try:
        theirs = _own(other, None, n)
        return field.to_python(_as_text(theirs) if kind(field) == "text" else theirs)
    except (ValidationError, ValueError, TypeError, ArithmeticError, NoValue):
        return value


def _survives(value: Any, field: Any, other: Any) -> bool:
    try:
        there = other.to_python(_as_text(value) if kind(other) == "text" else value)
        back = field.to_python(_as_text(there) if kind(field) == "text" else there)
        return bool(back == value)
    except (ValidationError, ValueError, TypeError, ArithmeticError):
        return False


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | uuid.UUID) else str(value)


def extremes(
    field: Any, other: AnyField | None, connection: BaseDatabaseWrapper
) -> list[tuple[str, Any]]:
    """Return the largest, smallest and emptiest values that code may store in a field.

    A field whose kind differs between the generations has none: what its text or number
    means is the project's own.
    """
    if other is not None and kind(field) != kind(other):
        return []
    if field.is_relation or field.choices or field.unique or not is_djangos(field):
        return []
    what = kind(field)
    if what == "text" and type(field) in (models.CharField, models.TextField):
        longest = [("longest", "ü" * (field.max_length or LONG))]
        return longest + ([("empty", "")] if field.blank else [])
    if what == "int":
        low, high = connection.ops.integer_field_range(field.get_internal_type())
        return [(name, v) for name, v in (("largest", high), ("smallest", low)) if v is not None]
    if what == "decimal" and field.max_digits:
        nines = decimal.Decimal("9" * field.max_digits).scaleb(-(field.decimal_places or 0))
        return [("largest", nines), ("smallest", -nines)]
    return []


def agree(first: Any, second: Any, one: AnyField, other: AnyField) -> bool:
    """Whether what one generation reads in a field is what the other reads in its own.

    Where the types differ, the value has to be the same one converted; types that can't be
    compared agree.
    """
    first, second = plain(first), plain(second)
    if first == second:
        return True
    if first is None or second is None:
        return False
    kinds = {kind(one), kind(other)}
    if kinds <= {"int", "decimal", "float"}:
        return _numbers_agree(first, second, one, other)
    if len(kinds) == 1 and kinds != {"text"}:
        return not (is_djangos(one) and is_djangos(other))
    if _as_text(first).strip() == _as_text(second).strip():
        return True
    if len(kinds) == 1:
        sizes = {getattr(one, "max_length", None), getattr(other, "max_length", None)}
        shorter = min((size for size in sizes if size), default=None)
        # An older value may have been too long for the shorter column.
        cut = len(sizes) > 1 and shorter is not None
        return bool(cut and first[:shorter] == second[:shorter])
    comparable = False
    for value, into, wanted in ((first, other, second), (second, one, first)):
        try:
            comparable = True
            if into.to_python(value) == wanted:
                return True
        except (ValidationError, ValueError, TypeError, ArithmeticError):
            comparable = False
    return not comparable


def _numbers_agree(first: Any, second: Any, one: Any, other: Any) -> bool:
    places = [getattr(f, "decimal_places", None) for f in (one, other)]
    if "int" in (kind(one), kind(other)):
        places.append(0)
    known = [p for p in places if p is not None]
    slack = 10.0 ** -min(known) if len(set(known)) > 1 else 0.0
    if "float" in (kind(one), kind(other)):
        slack = max(slack, abs(float(first)) * 1e-6)
    return bool(
        abs(first - second) <= slack if not slack else abs(float(first) - float(second)) <= slack
    )


def plain(value: Any) -> Any:
    """Return a value that was read as one that can be compared."""
    return bytes(value) if isinstance(value, memoryview) else value
