"""Checks of one value each, for settings: what is wrong with it, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass


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
