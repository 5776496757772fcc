"""Applies the comments that hide findings, and finds fault with the comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_safemigrations.conf import nearest
from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.source import Source, Suppression, place_of

Seen = tuple[str | None, Observation]
"""The position of an operation and what was seen in it."""


def suppress(source: Source, seen: Sequence[Seen]) -> list[tuple[Seen, int]]:
    """Return what is left to report, each with its line.

    A comment counts for an operation if it stands on its first or last line, or on a line of
    its own directly above it (other comment lines may stand between). A comment at a container
    counts for everything inside it. A comment without a reason hides its finding and is a
    finding itself.
    """
    kept: list[tuple[Seen, int]] = []
    used: dict[Suppression, set[str]] = {}
    for position, observation in seen:
        hiding = [
            comment
            for comment in _comments_at(source, position)
            if observation.code in _codes(comment)
        ]
        for comment in hiding:
            used.setdefault(comment, set()).add(observation.code)
        if not hiding:
            place = place_of(source, position)
            line = place.first if place else source.class_line
            kept.append(((position, observation), line))
    for comment in source.suppressions:
        position = _position_of(source, comment)
        for complaint in _complaints(comment, used.get(comment, set())):
            kept.append(((position, complaint), comment.line))
    return kept


def _codes(comment: Suppression) -> set[str]:
    return {code.upper() for code in comment.codes}


def _comments_at(source: Source, position: str | None) -> Iterator[Suppression]:
    while position is not None:
        place = source.places.get(position)
        if place is not None:
            above = _lines_above(source, place.first)
            for comment in source.suppressions:
                if comment.line in (place.first, place.last) or comment.line in above:
                    yield comment
        position = position.rpartition(".")[0] if "." in position else None


def _lines_above(source: Source, line: int) -> set[int]:
    above = set()
    while line - 1 in source.comment_lines:
        line -= 1
        above.add(line)
    return above


def _position_of(source: Source, comment: Suppression) -> str | None:
    """Return the innermost operation that a comment stands at."""
    found: str | None = None
    for position, place in source.places.items():
        here = comment.line in (place.first, place.last)
        if here or comment.line in _lines_above(source, place.first):
            found = position
    return found


def _complaints(comment: Suppression, used: set[str]) -> Iterator[Observation]:
    if not comment.codes:
        yield Observation(
            "DSM903",
            "The comment names no code and hides nothing.",
            "Write it as # safemigrations: ignore DSM101 -- reason",
        )
    for code in sorted(_codes(comment)):
        if code not in CATALOGUE:
            yield Observation(
                "DSM903",
                f"There is no hazard {code}; the comment hides nothing.",
                nearest(code, list(CATALOGUE)),
            )
        elif code not in used:
            yield Observation(
                "DSM902",
                f"{code} is not found at this operation; the comment hides nothing.",
                "Remove the comment, or put it on the operation's first or last line, "
                "or on the line above it.",
            )
        elif not comment.reason:
            yield Observation(
                "DSM901",
                f"{code} is hidden without a reason.",
                f"Say why it is safe here: # safemigrations: ignore {code} -- the reason",
            )
