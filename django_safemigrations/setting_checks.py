"""Checks of one value each, for settings: what is wrong with it, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Check = Callable[[str, object], "list[Problem]"]
"""Given a key and its value, returns what is wrong with it."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the setting: which key, what about it, and what to write instead."""

    key: str
    message: str
    hint: str


def nearest(value: object, choices: tuple[str, ...] | list[str]) -> str:
    """Say which of the choices was probably meant."""
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Use one of: {', '.join(choices)}."


def positive(key: str, value: object) -> list[Problem]:
    """Refuse what is not a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return [
            Problem(key, f"{value!r} is not a number above 0.", f"Give {key} a number above 0.")
        ]
    return []


def whole(key: str, value: object) -> list[Problem]:
    """Refuse what is not a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return [
            Problem(
                key, f"{value!r} is not a whole number, 0 or more.", "Give a whole number or 0."
            )
        ]
    return []


def count(key: str, value: object) -> list[Problem]:
    """Refuse what is not a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return [
            Problem(
                key, f"{value!r} is not a whole number, 1 or more.", "Give a whole number above 0."
            )
        ]
    return []


def one_of(choices: tuple[str, ...]) -> Callable[[str, object], list[Problem]]:
    """Return a check that refuses all but some choices."""

    def check(key: str, value: object) -> list[Problem]:
        if value in choices:
            return []
        return [
            Problem(key, f"{value!r} is not one of {', '.join(choices)}.", nearest(value, choices))
        ]

    return check


def or_none(check: Check) -> Check:
    """Return a check that takes None, too."""
    return lambda key, value: [] if value is None else check(key, value)


def yes_or_no(key: str, value: object) -> list[Problem]:
    """Refuse what is neither True nor False."""
    if isinstance(value, bool):
        return []
    return [Problem(key, f"{value!r} is neither True nor False.", "Write True or False.")]


def name_like(example: str) -> Check:
    """Return a check that refuses what is not a name, with one for example."""

    def check(key: str, value: object) -> list[Problem]:
        if isinstance(value, str) and value:
            return []
        return [Problem(key, f"{value!r} is not a name.", f'Write "{example}", for example.')]

    return check


def callable_like(example: str) -> Check:
    """Return a check that refuses what is no callable and no dotted path.

    What a path leads to is seen when it is needed: importing it here would be early.
    """

    def check(key: str, value: object) -> list[Problem]:
        if callable(value) or (isinstance(value, str) and "." in value.strip(".")):
            return []
        hint = f'Write "{example}", for example.'
        return [Problem(key, f"{value!r} is not a dotted path.", hint)]

    return check


def path_like(example: str) -> Check:
    """Return a check that refuses what is not the path of a directory, with one for example."""

    def check(key: str, value: object) -> list[Problem]:
        if isinstance(value, str) and value.strip() and "\0" not in value:
            return []
        if hasattr(value, "__fspath__"):
            return []
        hint = f'Write "{example}", for example.'
        return [Problem(key, f"{value!r} is not the path of a directory.", hint)]

    return check


def each(key: str, value: object, checks: Mapping[str, Check], example: str) -> list[Problem]:
    """Return what is wrong with a dict of settings: unknown keys, and each value's own.

    Args:
        key: of the dict.
        value: the dict, or what was given for it.
        checks: by key.
        example: a dict that would do.
    """
    if not isinstance(value, Mapping):
        return [Problem(key, f"{value!r} is not a dict.", f"Write {example}, for example.")]
    problems = []
    for name, given in value.items():
        where = f"{key}[{name!r}]"
        if name not in checks:
            hint = nearest(str(name).upper(), list(checks))
            problems.append(Problem(where, f"there is no such key in {key}.", hint))
        else:
            problems += checks[name](where, given)
    return problems
