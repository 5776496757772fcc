"""Locks as bars in the lane of their table: where they are, how high, and what is written at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from django_safemigrations.rehearsal.report.figures import count, duration
from django_safemigrations.rehearsal.report.locks import SERVED, LockUse, figure, uses
from django_safemigrations.rehearsal.report.scale import Scale
from django_safemigrations.rehearsal.results import StatementTrace, StepTrace

LANE = 30
"""Height of a lane in pixels."""
HEIGHTS = (4, 9, 15, 22)
"""Height of a bar in pixels, by the rank of its lock: the taller, the more have to wait."""
LEAST_BAR = 3.0
"""Width of a bar in pixels, at least."""
MOST_TICKS = 60
"""Most ticks of a lock that was taken again and again."""
WORTH_DRAWING = 0.0005
"""Seconds of waiting below which nothing is drawn or said."""
LETTER = 6.1
"""Pixels that a letter takes, about."""


@dataclass(frozen=True)
class Bar:
    """A lock in its lane; figures of the drawing are ready to be written.

    Attributes:
        rank: how strong it is, see `BLOCKS`.
        x, y, width, height: of the time it was held.
        wait_x, wait_width: of the time it was waited for; empty if it was granted at once.
        ticks: path of the single holds, if there were many.
        label: words in or beside the bar.
        label_x: where they begin.
        inside: whether they stand in it.
        title: everything about it, in words; empty if nobody waits.
    """

    rank: int
    x: str
    y: str
    width: str
    height: str
    wait_x: str
    wait_width: str
    ticks: str
    label: str
    label_x: str
    inside: bool
    title: str


@dataclass(frozen=True)
class Drawn:
    """A lock on its way into the picture; `marks` are its single holds if there were many."""

    use: LockUse
    number: int
    marks: tuple[float, ...] = ()


def drawn_locks(step: StepTrace, number: int, apart: int) -> Iterator[Drawn]:
    """Yield the locks of a step: one by one, or all of a kind together if there are many.

    Args:
        step: the step.
        number: by which the report names it.
        apart: up to so many of a kind are drawn one by one.
    """
    kinds: dict[tuple[str, str, str], list[StatementTrace]] = {}
    for statement in step.statements:
        for lock in statement.locks:
            alone = replace(statement, locks=(lock,))
            kinds.setdefault((lock.relation, lock.mode, lock.blocks), []).append(alone)
    for same in kinds.values():
        if len(same) <= apart and all(statement.repeats == 1 for statement in same):
            for statement in same:
                yield Drawn(uses([statement])[0], number)
        elif len(same) == 1:
            use = uses(same)[0]
            times = min(use.times, MOST_TICKS)
            apart_by = (use.ended - use.started) / times
            yield Drawn(use, number, tuple(use.started + apart_by * n for n in range(times)))
        else:
            marks = tuple(figure(s.started) + figure(s.locks[0].waited) for s in same)
            yield Drawn(uses(same)[0], number, marks)


@dataclass(frozen=True)
class _Place:
    """Where a lock is drawn in its lane, from left to right: its wait, and its hold."""

    asked: float
    left: float
    right: float


def bars_of(locks: Iterable[Drawn], lane: int, x: Scale) -> tuple[Bar, ...]:
    """Return the locks of a table as bars, weak ones first, for the strong ones to lie on top.

    Args:
        locks: of the table.
        lane: upper edge of its lane, in pixels.
        x: the scale of time.
    """
    ordered = sorted(locks, key=lambda lock: (lock.use.rank, lock.use.started))
    places = [_place(lock, x) for lock in ordered]
    labels: list[tuple[float, float]] = []
    bars = []
    for order, (lock, place) in enumerate(zip(ordered, places, strict=True)):
        above = [(p.asked, p.right) for p in places[order + 1 :]] + labels
        beside = [(p.asked, p.right) for p in (*places[:order], *places[order + 1 :])] + labels
        label, start, inside = _label(lock.use, place, above, [*beside, (x.width, math.inf)])
        if label:
            labels.append((start, start + len(label) * LETTER))
        bars.append(_bar(lock, lane, place, (label, start, inside), x))
    return tuple(bars)


def _place(lock: Drawn, x: Scale) -> _Place:
    use = lock.use
    asked = x(use.started)
    wait = 0.0
    if use.waited >= WORTH_DRAWING and not lock.marks:
        wait = max(x(use.started + use.waited) - asked, LEAST_BAR)
    left = min(asked + wait, x.width - LEAST_BAR)
    return _Place(left - wait, left, max(x(use.ended), left + LEAST_BAR))


def _bar(lock: Drawn, lane: int, place: _Place, label: tuple[str, float, bool], x: Scale) -> Bar:
    height = HEIGHTS[lock.use.rank]
    top = lane + (LANE - height) / 2
    words, start, inside = label
    wait = place.left - place.asked
    return Bar(
        rank=lock.use.rank,
        x=f"{place.left:.1f}",
        y=f"{top:.1f}",
        width=f"{place.right - place.left:.1f}",
        height=str(height),
        wait_x=f"{place.asked:.1f}" if wait else "",
        wait_width=f"{wait:.1f}" if wait else "",
        ticks=_ticks(lock.marks, place.left, place.right, top, height, x),
        label=words,
        label_x=f"{start:.1f}",
        inside=inside,
        title=_title(lock) if lock.use.rank else "",
    )


def _label(
    use: LockUse,
    place: _Place,
    above: Sequence[tuple[float, float]],
    beside: Sequence[tuple[float, float]],
) -> tuple[str, float, bool]:
    """Return the longest words that fit, where they begin, and whether that is in the bar.

    Args:
        use: the lock.
        place: where it is drawn.
        above: from where to where something covers the bar.
        beside: from where to where there is something in its lane.
    """

    def free(start: float, words: str, taken: Sequence[tuple[float, float]]) -> bool:
        end = start + len(words) * LETTER
        return all(end < left or start > right for left, right in taken)

    if use.rank < SERVED:
        return "", 0.0, False
    held = duration(use.held) if use.times == 1 else f"{count(use.times)}×"
    if use.times == 1:
        for words in (f"{use.mode} · {held}", held):
            fits = len(words) * LETTER + 8 <= place.right - place.left
            if fits and free(place.left + 4, words, above):
                return words, place.left + 4, True
    after = place.right + 3
    return (held, after, False) if free(after, held, beside) else ("", 0.0, False)


def _ticks(
    marks: Sequence[float], left: float, right: float, top: float, height: int, x: Scale
) -> str:
    """Return the path of single holds; those that would touch are one."""
    path: list[str] = []
    last = left - 2 * LEAST_BAR
    for place in sorted(x(mark) for mark in marks):
        if place - last >= LEAST_BAR + 2 and place + LEAST_BAR <= right + 0.1:
            path.append(f"M{place:.0f} {top:.1f}h3v{height}h-3z")
            last = place
    return "".join(path)


def _title(lock: Drawn) -> str:
    use = lock.use
    words = f"{use.mode} on {use.relation}, step {lock.number}: blocks {use.blocks}; "
    if use.times > 1:
        return f"{words}taken {count(use.times)} times, held {duration(use.held)} at most"
    waited = f", waited for {duration(use.waited)}" if use.waited >= WORTH_DRAWING else ""
    return f"{words}held {duration(use.held)}{waited}"
