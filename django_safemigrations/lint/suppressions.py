"""Applies the comments that hide findings, and finds fault with the comments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from django_safemigrations.hazards import CATALOGUE, said_nearest
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.source import Place, Source, Suppression, place_of

Seen = tuple[str | None, Observation]
"""The position of an operation and what was seen in it."""

NOT_INSPECTED = "DSM405"


@dataclass(frozen=True)
class Placed:
    """What was seen, with its line.

    Attributes:
        position: of the operation; None for the whole file.
        observation: what was seen.
        line: where to look; 0 if it isn't known.
        reason: why a comment hides it; None if none does.
    """

    position: str | None
    observation: Observation
    line: int
    reason: str | None = None


def suppress(
    source: Source, seen: Sequence[Seen], known: Collection[str] = frozenset(CATALOGUE)
) -> list[Placed]:
    """Return what was seen, with what is hidden marked so, and what is wrong with the comments.

    A comment counts for an operation if it stands on one of its lines, or on a line of its own
    directly above it (other comment lines may stand between). Of operations inside each other
    it counts for the innermost one, and on the first or last line of a container for everything
    inside it. What was seen in a function is also hidden by a comment on its line, on the line
    above it, and at the head of the function. ``ignore-file`` counts for the whole file. A
    comment without a reason hides its finding and is a finding itself.
    """
    places = {comment: set(_places_of(source, comment)) for comment in source.suppressions}
    used: dict[Suppression, set[str]] = {}
    placed = []
    for position, observation in seen:
        hiding = [
            comment
            for comment in source.suppressions
            if observation.code in _codes(comment)
            and _covers(source, comment, places[comment], position, observation)
        ]
        for comment in hiding:
            used.setdefault(comment, set()).add(observation.code)
        reason = "; ".join(filter(None, (comment.reason for comment in hiding))) if hiding else None
        placed.append(Placed(position, observation, _line(source, position, observation), reason))
    blind = {position for position, observation in seen if observation.code == NOT_INSPECTED}
    for comment in source.suppressions:
        around = places[comment]
        position = max(around, key=len) if around and not comment.whole_file else None
        unread = bool(blind & around) or (comment.whole_file and bool(blind))
        for complaint in _complaints(comment, used.get(comment, set()), known, unread=unread):
            placed.append(Placed(position, complaint, comment.line))
    return placed


def _codes(comment: Suppression) -> set[str]:
    return {code.upper() for code in comment.codes}


def _line(source: Source, position: str | None, observation: Observation) -> int:
    if observation.line is not None:
        return observation.line
    place = place_of(source, position)
    return place.first if place else source.class_line


def _covers(
    source: Source,
    comment: Suppression,
    places: set[str],
    position: str | None,
    observation: Observation,
) -> bool:
    if comment.whole_file or any(_is_within(position, place) for place in places):
        return True
    if observation.line is None:
        return False
    if _is_at(source, comment.line, Place(observation.line, observation.line)):
        return True
    return any(
        comment.line == function.first or comment.line in _lines_above(source, function.first)
        for function in source.functions.values()
        if function.first <= observation.line <= function.last
    )


def _is_within(position: str | None, place: str) -> bool:
    return position is not None and (position == place or position.startswith(f"{place}."))


def _places_of(source: Source, comment: Suppression) -> Iterator[str]:
    """Yield the positions of the operations that a comment stands at."""
    if comment.whole_file:
        return
    found = [p for p, place in source.places.items() if _is_at(source, comment.line, place)]
    if not found:
        inside = [p for p, o in source.places.items() if o.first < comment.line < o.last]
        found = inside and [max(inside, key=lambda position: position.count("."))]
    yield from found


def _is_at(source: Source, line: int, place: Place) -> bool:
    return line in (place.first, place.last) or line in _lines_above(source, place.first)


def _lines_above(source: Source, line: int) -> set[int]:
    above = set()
    while line - 1 in source.comment_lines:
        line -= 1
        above.add(line)
    return above


def _complaints(
    comment: Suppression, used: set[str], known: Collection[str], *, unread: bool
) -> Iterator[Observation]:
    order = "ignore-file" if comment.whole_file else "ignore"
    if not comment.codes:
        yield Observation(
            "DSM903",
            "The comment names no code and hides nothing.",
            f"Write it as # safemigrations: {order} DSM101 -- reason",
        )
    for code in sorted(_codes(comment)):
        if code not in known:
            yield Observation(
                "DSM903",
                f"There is no hazard {code}; the comment hides nothing.",
                said_nearest(code, known),
            )
        elif code not in used:
            # Where something could not be read, nobody knows what it would have hidden.
            if not unread:
                yield _unused(code, whole_file=comment.whole_file)
        elif not comment.reason:
            yield Observation(
                "DSM901",
                f"{code} is hidden without a reason.",
                f"Say why it is safe here: # safemigrations: {order} {code} -- the reason",
            )


def _unused(code: str, *, whole_file: bool) -> Observation:
    if whole_file:
        return Observation(
            "DSM902",
            f"{code} is not found in this file; the comment hides nothing.",
            "Remove the comment.",
        )
    return Observation(
        "DSM902",
        f"{code} is not found at this operation; the comment hides nothing.",
        "Remove the comment, or put it on one of the operation's lines, or on the line above it.",
    )
