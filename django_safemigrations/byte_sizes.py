"""Sizes as people write and read them, such as "10 GB", in the units that PostgreSQL uses."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django_safemigrations.setting_checks import Problem

# As PostgreSQL counts them: 1 kB is 1024 bytes.
# https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-NAMES-VALUES
UNITS = {"B": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}


def parse_size(text: str | int) -> int:
    """Return a size in bytes.

    Args:
        text: a number and a unit (B, kB, MB, GB, TB, in any case), or a number of bytes.

    Raises:
        ValueError: it is no such thing, or below 0.
    """
    if isinstance(text, int):
        number, unit = Decimal(text), "B"
    else:
        bare = text.strip()
        unit = bare.lstrip("0123456789._ ").upper() or "B"
        try:
            number = Decimal(bare[: len(bare) - len(bare.lstrip("0123456789._ "))].strip())
        except InvalidOperation:
            raise ValueError(f"{text!r} begins with no number") from None
    if unit not in UNITS:
        raise ValueError(f"{unit!r} is not one of {', '.join(UNITS)}")
    if number < 0:
        raise ValueError("a size is not below 0")
    return int(number * 1024 ** UNITS[unit])


def byte_size(key: str, value: object) -> list[Problem]:
    """Refuse what is not a size."""
    try:
        if isinstance(value, bool):
            raise TypeError(value)
        parse_size(value)  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        hint = 'Write "10 GB", for example, or a number of bytes.'
        return [Problem(key, f"{value!r} is not a size.", hint)]
    return []


def in_words(amount: float) -> str:
    """Return bytes in the units of `pg_size_pretty`: "0 bytes", "16 kB", "1.4 GB"."""
    sign, left = ("−" if amount < 0 else ""), float(abs(amount))
    if left < 1024:
        return f"{sign}{left:.0f} {'byte' if left == 1 else 'bytes'}"
    units = ("kB", "MB", "GB", "TB", "PB")
    for unit in units:
        left /= 1024
        if left < 1023.5 or unit == units[-1]:
            return f"{sign}{left:.1f} {unit}" if left < 9.95 else f"{sign}{left:,.0f} {unit}"
    raise AssertionError(left)
