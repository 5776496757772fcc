"""What old and new code could do at each step boundary: a matrix, and the failures put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django_safemigrations.rehearsal.report.figures import count, counted
from django_safemigrations.rehearsal.report.steps import Name, Names
from django_safemigrations.rehearsal.report.timeline import ranges
from django_safemigrations.rehearsal.results import BoundaryCheck, CallFailure, PassTrace

GENERATIONS = ("old", "new")
MANY, RUN = 40, 3
"""From many boundaries on, runs of such rows in which all is well become one row."""
MOST_FAILURES = 60


@dataclass(frozen=True)
class Cell:
    """A generation of code at a boundary: "ok", "bad" or "off" (not running), in words."""

    state: str
    words: str


@dataclass(frozen=True)
class BoundaryRow:
    """A boundary, or a run of boundaries at which all is well.

    Attributes:
        name: the step before it; None before the first step and for a run.
        steps: numbers of the steps of a run; empty for a single one.
        cells: one a generation.
        calls: how many were made.
    """

    name: Name | None
    steps: str
    cells: tuple[Cell, ...]
    calls: str


@dataclass
class Failure:
    """The same failure, at every boundary where it was seen."""

    first: CallFailure
    after: list[int] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The boundaries, in words."""
        before = "before the first step" if 0 in self.after else ""
        steps = [number for number in self.after if number]
        noun = "step" if len(steps) == 1 else "steps"
        after = f"after {noun} {ranges(steps)}" if steps else ""
        return " and ".join(part for part in (before, after) if part)


@dataclass(frozen=True)
class Matrix:
    """The boundaries of a pass.

    Attributes:
        rows: in order.
        failures: in the order in which they were first seen.
        left_out: failures beyond those that are shown.
        failed: how many failures there were; one may stand for several calls.
        calls: how many calls were made.
        not_tried: what was left out, and why.
        slower: writes that take many times as long as before.
    """

    rows: tuple[BoundaryRow, ...]
    failures: tuple[Failure, ...]
    left_out: int
    failed: int
    calls: int
    not_tried: tuple[str, ...]
    slower: tuple[str, ...]


def matrix(one: PassTrace, names: Names) -> Matrix:
    """Return the boundaries of a pass as they are shown."""
    failures: dict[tuple[str, str, str, str], Failure] = {}
    for check in one.boundaries:
        number = names[check.after].number if check.after else 0
        for failure in check.failures:
            key = (failure.generation, failure.model, failure.call, failure.error)
            failures.setdefault(key, Failure(failure)).after.append(number)
    found = tuple(failures.values())
    return Matrix(
        rows=tuple(_rows(one.boundaries, names)),
        failures=found[:MOST_FAILURES],
        left_out=max(len(found) - MOST_FAILURES, 0),
        failed=sum(len(check.failures) for check in one.boundaries),
        calls=sum(check.calls for check in one.boundaries),
        not_tried=tuple(dict.fromkeys(line for c in one.boundaries for line in c.not_tried)),
        slower=tuple(dict.fromkeys(line for c in one.boundaries for line in c.slower)),
    )


def _rows(checks: Sequence[BoundaryCheck], names: Names) -> list[BoundaryRow]:
    rows: list[BoundaryRow] = []
    run: list[BoundaryCheck] = []

    def flush() -> None:
        if len(run) >= RUN:
            numbers = [names[check.after].number for check in run if check.after]
            calls = count(sum(check.calls for check in run))
            rows.append(BoundaryRow(None, ranges(numbers), _cells(run[0]), calls))
        else:
            rows.extend(_row(check, names) for check in run)
        run.clear()

    for check in checks:
        alike = not run or run[-1].generations == check.generations
        if len(checks) >= MANY and check.after and not check.failures and check.generations:
            if not alike:
                flush()
            run.append(check)
        else:
            flush()
            rows.append(_row(check, names))
    flush()
    return rows


def _row(check: BoundaryCheck, names: Names) -> BoundaryRow:
    name = names[check.after] if check.after else None
    return BoundaryRow(name, "", _cells(check), count(check.calls))


def _cells(check: BoundaryCheck) -> tuple[Cell, ...]:
    return tuple(_cell(check, generation) for generation in GENERATIONS)


def _cell(check: BoundaryCheck, generation: str) -> Cell:
    failed = sum(failure.generation == generation for failure in check.failures)
    if failed:
        return Cell("bad", counted(failed, "failure"))
    if generation not in check.generations:
        return Cell("off", "not running")
    return Cell("ok", "works")
