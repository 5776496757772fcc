"""The locks of a pass as a picture: a lane a table, a column a step, a bar a lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from django_safemigrations.rehearsal.report.bars import (
    LANE,
    WORTH_DRAWING,
    Bar,
    Drawn,
    bars_of,
    drawn_locks,
)
from django_safemigrations.rehearsal.report.figures import count, counted, duration
from django_safemigrations.rehearsal.report.locks import (
    SERVED,
    LockUse,
    figure,
    uses,
)
from django_safemigrations.rehearsal.report.scale import Scale, Span, scale
from django_safemigrations.rehearsal.results import StepTrace

HEAD, FOOT = 40, 6
"""Heights in pixels: of the steps' numbers, and of the space below the lanes."""
WANTED_WIDTH = 772.0
"""Pixels of the whole picture, if the steps fit."""
APART, MANY_STEPS = 6, 60
"""Up to so many locks of one kind in a step are drawn one by one, unless there are many steps."""
MOST_LANES, FEW_LANES = 24, 8
"""Most lanes; beyond the few there are only those of tables for which somebody had to wait."""


@dataclass(frozen=True)
class Lane:
    """A table: its name, where it is drawn, and its bars, weak locks first."""

    relation: str
    y: int
    middle: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Head:
    """The head of a column: number and duration of a step."""

    number: int
    seconds: str
    x: str
    middle: str
    width: str


@dataclass(frozen=True)
class Row:
    """A lock in the table that says the same as the picture."""

    relation: str
    mode: str
    blocks: str
    rank: int
    steps: str
    started: str
    waited: str
    held: str
    times: str


@dataclass(frozen=True)
class Picture:
    """What is drawn of a pass, and the same as rows.

    Attributes:
        width, height: in pixels.
        heads: of the steps.
        lanes: of the tables.
        rows: of the table beside it; all locks, also those that have no lane.
        left_out: tables without a lane.
        summary: the picture in one sentence.
    """

    width: str
    height: int
    heads: tuple[Head, ...]
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    left_out: int
    summary: str


def picture(steps: Sequence[StepTrace], numbers: Sequence[int]) -> Picture:
    """Return the picture of a pass.

    Args:
        steps: in the order in which they ran.
        numbers: by which the report names them.
    """
    apart = APART if len(steps) < MANY_STEPS else 1
    drawn = [
        list(drawn_locks(step, number, apart)) for step, number in zip(steps, numbers, strict=True)
    ]
    spans = [_span(step, locks) for step, locks in zip(steps, drawn, strict=True)]
    x = scale(spans, WANTED_WIDTH)
    by_relation: dict[str, list[Drawn]] = {}
    for lock in (lock for locks in drawn for lock in locks):
        by_relation.setdefault(lock.use.relation, []).append(lock)
    names = _with_a_lane(by_relation)
    return Picture(
        width=f"{x.width:.0f}",
        height=HEAD + LANE * max(len(names), 1) + FOOT,
        heads=tuple(_heads(steps, numbers, x)),
        lanes=tuple(
            _lane(name, by_relation[name], HEAD + place * LANE, x)
            for place, name in enumerate(names)
        ),
        rows=tuple(_rows(steps, numbers)),
        left_out=len(by_relation) - len(names),
        summary=_summary(steps, by_relation),
    )


def _span(step: StepTrace, locks: Sequence[Drawn]) -> Span:
    telling = sorted(locks, key=lambda lock: (-lock.use.rank, len(lock.marks)))
    marks = (
        mark
        for lock in telling
        for mark in (lock.use.started, lock.use.started + lock.use.waited, lock.use.ended)
    )
    started = figure(step.started)
    return Span(started, started + figure(step.seconds), tuple(marks))


def _with_a_lane(by_relation: dict[str, list[Drawn]]) -> list[str]:
    """Return the tables to draw, those with the strongest locks first, then by time."""
    ranks = {name: max(lock.use.rank for lock in found) for name, found in by_relation.items()}

    def weight(name: str) -> tuple[int, float]:
        held = (lock.use.held for lock in by_relation[name] if lock.use.rank == ranks[name])
        return -ranks[name], -max(held)

    telling = sorted(by_relation, key=weight)
    drawn = [
        name
        for place, name in enumerate(telling)
        if place < FEW_LANES or (place < MOST_LANES and ranks[name] >= SERVED)
    ]
    first = {name: min(lock.use.started for lock in by_relation[name]) for name in drawn}
    return sorted(drawn, key=lambda name: (-ranks[name], first[name], name))


def _heads(steps: Sequence[StepTrace], numbers: Sequence[int], x: Scale) -> Iterator[Head]:
    for step, number, column in zip(steps, numbers, x.columns, strict=True):
        yield Head(
            number=number,
            seconds=duration(step.seconds),
            x=f"{column.x:.1f}",
            middle=f"{column.x + column.width / 2:.1f}",
            width=f"{column.width:.1f}",
        )


def _lane(relation: str, locks: Iterable[Drawn], y: int, x: Scale) -> Lane:
    return Lane(relation, y, y + LANE // 2, bars_of(locks, y, x))


def _rows(steps: Sequence[StepTrace], numbers: Sequence[int]) -> Iterator[Row]:
    """Yield locks that block, step by step, then those that block nobody, table by table."""
    weak: dict[tuple[str, str], tuple[LockUse, list[int]]] = {}
    for step, number in zip(steps, numbers, strict=True):
        for use in sorted(uses(step.statements), key=lambda use: use.started):
            if use.rank:
                yield _row(use, f"{number}", use.times)
            else:
                first, found = weak.setdefault((use.relation, use.mode), (use, []))
                times = first.times + use.times if found else use.times
                longest = max(first, use, key=lambda one: one.held)
                waited = max(first.waited, use.waited)
                kept = replace(longest, times=times, waited=waited, started=first.started)
                weak[use.relation, use.mode] = kept, [*found, number]
    for use, found in weak.values():
        yield _row(use, ranges(found), use.times)


def _row(use: LockUse, steps: str, times: int) -> Row:
    return Row(
        relation=use.relation,
        mode=use.mode,
        blocks=use.blocks,
        rank=use.rank,
        steps=steps,
        started=duration(use.started),
        waited=duration(use.waited) if use.waited >= WORTH_DRAWING else "–",
        held=duration(use.held),
        times=count(times),
    )


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in words: "1–4, 7"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)


def _summary(steps: Sequence[StepTrace], by_relation: dict[str, list[Drawn]]) -> str:
    locks = [lock for found in by_relation.values() for lock in found]
    blocking = [lock for lock in locks if lock.use.rank >= SERVED]
    if not locks:
        return "No table was locked."
    tables = counted(len(by_relation), "table or index", "tables and indexes")
    words = f"{counted(len(steps), 'step')}, {tables}. "
    if not blocking:
        return f"{words}No lock made reads or writes wait."
    longest = max(blocking, key=lambda lock: lock.use.held)
    return (
        f"{words}The longest lock that blocks {longest.use.blocks} is {longest.use.mode} on "
        f"{longest.use.relation} in step {longest.number}, held for {duration(longest.use.held)}."
    )
