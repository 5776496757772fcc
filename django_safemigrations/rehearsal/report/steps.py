"""The steps of a plan: their numbers, what each took in every pass, what each will take in production."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django_safemigrations.rehearsal.report.figures import counted, duration, size
from django_safemigrations.rehearsal.report.locks import BLOCKS, SERVED, LockUse, figure, uses
from django_safemigrations.rehearsal.report.statements import Limits, Shown, shown_statements
from django_safemigrations.rehearsal.results import (
    Direction,
    Estimate,
    HazardSeen,
    PassTrace,
    Rehearsal,
    StepKey,
    StepTrace,
)

NOTHING = "–"
BAR = 64
"""Pixels of the longest bar beside a duration."""
GRAIN = 0.0005
"""Seconds below which bars are not told apart."""
LONG = 1.0
"""Seconds from which a lock that blocks is pointed out."""


@dataclass(frozen=True)
class Name:
    """A step as the report names it.

    Attributes:
        number: from 1, in the order of the way forwards.
        what: what it does.
        migration: where it stands.
        operation: which operation of the migration.
        phase: "expand" or "contract".
    """

    number: int
    what: str
    migration: str
    operation: str
    phase: str


class Names:
    """Numbers steps in the order in which the passes, first the one forwards, name them."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._names: dict[tuple[str, str, str], Name] = {}
        for key in _keys(rehearsal):
            self._names.setdefault(_place(key), _name(len(self._names) + 1, key))

    def __getitem__(self, key: StepKey) -> Name:
        return self._names[_place(key)]

    def __iter__(self) -> Iterator[Name]:
        return iter(self._names.values())

    def __len__(self) -> int:
        return len(self._names)


def _keys(rehearsal: Rehearsal) -> Iterator[StepKey]:
    for one in rehearsal.passes:
        yield from (step.key for step in one.steps)
    for one in rehearsal.passes:
        yield from (check.after for check in one.boundaries if check.after)
    yield from (estimate.key for estimate in rehearsal.estimates)


def _place(key: StepKey) -> tuple[str, str, str]:
    return key.app_label, key.migration, key.operation


def _name(number: int, key: StepKey) -> Name:
    migration = f"{key.app_label}.{key.migration}"
    return Name(number, key.description, migration, key.operation, key.phase)


@dataclass(frozen=True)
class Time:
    """What a step took in a pass, in words, and the bar beside it, in pixels."""

    words: str
    left: int = BAR
    width: int = 0


@dataclass(frozen=True)
class StepRow:
    """What a step took in every pass.

    Attributes:
        name: of the step.
        times: one a pass.
        lock: whom its strongest lock blocks, in the first pass as what follows.
        held: longest hold of that lock.
        rank: of that lock.
        rows: changed.
        wal: written.
    """

    name: Name
    times: tuple[Time, ...]
    lock: str
    held: str
    rank: int
    rows: str
    wal: str


def step_rows(rehearsal: Rehearsal, names: Names) -> tuple[StepRow, ...]:
    """Return what each step took."""
    by_pass = [_by_number(one, names) for one in rehearsal.passes]
    longest = max((s.seconds for one in rehearsal.passes for s in one.steps), default=0.0)
    rows = []
    for name in names:
        found = [steps.get(name.number, []) for steps in by_pass]
        if not any(found):
            continue
        first = found[0]
        lock = _strongest(first)
        changed = sum(s.rows for step in first for s in step.statements)
        wal = sum(s.wal_bytes for step in first for s in step.statements)
        rows.append(
            StepRow(
                name=name,
                times=tuple(_timed(steps, longest) for steps in found),
                lock=BLOCKS[lock.rank] if lock else NOTHING,
                held=duration(lock.held) if lock else "",
                rank=lock.rank if lock else 0,
                rows=counted(changed, "row") if changed else NOTHING,
                wal=size(wal) if wal else "",
            )
        )
    return tuple(rows)


def _by_number(one: PassTrace, names: Names) -> dict[int, list[StepTrace]]:
    found: dict[int, list[StepTrace]] = {}
    for step in one.steps:
        found.setdefault(names[step.key].number, []).append(step)
    return found


def _timed(steps: Sequence[StepTrace], longest: float) -> Time:
    if not steps:
        return Time(NOTHING)
    seconds = sum(figure(step.seconds) for step in steps)
    whole = math.log1p(figure(longest) / GRAIN)
    part = min(math.log1p(seconds / GRAIN) / whole, 1.0) if whole else 0.0
    width = max(round(part * BAR), 2)
    return Time(duration(seconds), BAR - width, width)


def _strongest(steps: Sequence[StepTrace]) -> LockUse | None:
    found = [use for step in steps for use in uses(step.statements) if use.rank]
    return max(found, key=lambda use: (use.rank, use.held), default=None)


@dataclass(frozen=True)
class EstimateRow:
    """What production has to expect of a step.

    Attributes:
        name: of the step.
        seconds, blocking, wal, disk: in words.
        long: whether its lock blocks for a second or more.
    """

    name: Name
    seconds: str
    blocking: str
    wal: str
    disk: str
    long: bool


@dataclass(frozen=True)
class Expected:
    """What production has to expect of the whole plan.

    Attributes:
        rows: one a step.
        seconds: sum, in words.
        blocking: the longest, in words.
        wal, disk: sums, in words.
        scaled: whether any figure was scaled up.
        long: whether any lock blocks for a second or more.
    """

    rows: tuple[EstimateRow, ...]
    seconds: str
    blocking: str
    wal: str
    disk: str
    scaled: bool
    long: bool


def expected(estimates: Sequence[Estimate], names: Names) -> Expected:
    """Return the estimates as they are shown."""
    rows = tuple(
        EstimateRow(
            name=names[one.key],
            seconds=duration(one.seconds),
            blocking=_amount(duration, one.blocking_seconds),
            wal=_amount(size, one.wal_bytes),
            disk=_amount(size, one.disk_bytes),
            long=figure(one.blocking_seconds) >= LONG,
        )
        for one in sorted(estimates, key=lambda one: names[one.key].number)
    )
    blocking = max((one.blocking_seconds for one in estimates), default=0.0)
    return Expected(
        rows=rows,
        seconds=duration(sum(one.seconds for one in estimates)),
        blocking=_amount(duration, blocking),
        wal=_amount(size, sum(one.wal_bytes for one in estimates)),
        disk=_amount(size, sum(max(one.disk_bytes, 0) for one in estimates)),
        scaled=any(one.scaled for one in estimates),
        long=any(row.long for row in rows),
    )


def _amount(words: Callable[[float], str], amount: float) -> str:
    return words(amount) if amount else NOTHING


@dataclass(frozen=True)
class StepDetails:
    """The statements of a step in a pass.

    Attributes:
        id: anchor in the page.
        name: of the step.
        seconds: how long it took, in words.
        rank: of its strongest lock.
        blocks: who had to wait, empty if nobody.
        hazards: what happened of the catalogue.
        shown: its statements.
        sent: how many there were, in words.
        same: whether they are those that the first pass sent, which are shown there.
    """

    id: str
    name: Name
    seconds: str
    rank: int
    blocks: str
    hazards: tuple[HazardSeen, ...]
    shown: Shown
    sent: str
    same: bool


def step_details(rehearsal: Rehearsal, names: Names) -> tuple[tuple[StepDetails, ...], ...]:
    """Return the statements of every step, by pass; those of the second way forwards only if new."""
    first: dict[int, set[str]] = {}
    same: dict[int, bool] = {}
    for one in rehearsal.passes:
        for step in one.steps:
            number = names[step.key].number
            sql = {statement.sql for statement in step.statements}
            again = one.direction == Direction.FORWARDS_AGAIN and bool(sql)
            same[id(step)] = again and sql <= first.get(number, set())
            if one.direction == Direction.FORWARDS:
                first.setdefault(number, set()).update(sql)
    limits = Limits.of(
        [step.statements for one in rehearsal.passes for step in one.steps if not same[id(step)]]
    )
    return tuple(
        tuple(
            _details(step, f"pass-{place}-step-{order}", names, limits, same=same[id(step)])
            for order, step in enumerate(one.steps, 1)
        )
        for place, one in enumerate(rehearsal.passes, 1)
    )


def _details(
    step: StepTrace, anchor: str, names: Names, limits: Limits, *, same: bool
) -> StepDetails:
    locks = uses(step.statements)
    rank = locks[0].rank if locks else 0
    return StepDetails(
        id=anchor,
        name=names[step.key],
        seconds=duration(step.seconds),
        rank=rank,
        blocks=BLOCKS[rank] if rank >= SERVED else "",
        hazards=step.hazards,
        shown=Shown(()) if same else shown_statements(step.statements, limits),
        sent=counted(sum(s.repeats for s in step.statements), "statement"),
        same=same,
    )
