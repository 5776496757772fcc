"""A scale of time on which a lock of 3 ms stays visible beside a backfill of 20 minutes."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_COLUMN, LEAST_DECADE = 46.0, 4.0
"""Width in pixels of a step's column: at least, and more for each tenfold of its duration."""
NARROW_GAP, WIDE_GAP = 4.0, 18.0
"""Width in pixels between two columns: usually, and where a second or more went by."""
GRAIN = 0.001
"""Seconds below which durations are not told apart."""
MOST_MARKS = 48
"""Most moments of a step that get room of their own."""


@dataclass(frozen=True)
class Span:
    """A step on the axis of time.

    Attributes:
        started: seconds since the beginning of the pass.
        ended: the same.
        marks: moments inside at which something happened, the most telling first.
    """

    started: float
    ended: float
    marks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Column:
    """Where a step is drawn: left edge and width, in pixels."""

    x: float
    width: float


@dataclass(frozen=True)
class Scale:
    """Seconds of a pass as pixels: monotone, piecewise linear, each step in a column.

    Attributes:
        columns: one for each step.
        moments: seconds at which the slope changes.
        places: pixels of these.
    """

    columns: tuple[Column, ...]
    moments: tuple[float, ...]
    places: tuple[float, ...]

    @property
    def width(self) -> float:
        """Width of everything, in pixels."""
        return self.places[-1] if self.places else 0.0

    def __call__(self, moment: float) -> float:
        """Return the pixel of a moment; the nearest edge if it is outside."""
        if not self.moments:
            return 0.0
        after = bisect.bisect_right(self.moments, moment)
        if after == 0:
            return self.places[0]
        if after == len(self.moments):
            return self.places[-1]
        left, right = self.moments[after - 1], self.moments[after]
        part = (moment - left) / (right - left)
        return self.places[after - 1] + part * (self.places[after] - self.places[after - 1])


def scale(spans: Sequence[Span], wanted: float = 0.0) -> Scale:
    """Return the scale of steps in the order in which they ran.

    A step's column is wider by the logarithm of its duration, and so is, inside, the time between
    two of its marks.

    Args:
        spans: the steps.
        wanted: width of all columns in pixels; they take more only if they need more.
    """
    if not spans:
        return Scale((), (), ())
    gaps = [
        WIDE_GAP if later.started - earlier.ended >= 1 else NARROW_GAP
        for earlier, later in itertools.pairwise(spans)
    ]
    decades = [math.log10(2 + max(span.ended - span.started, 0.0) / GRAIN) for span in spans]
    free = wanted - sum(gaps) - LEAST_COLUMN * len(spans)
    decade = max(free / sum(decades), LEAST_DECADE)
    widths = [LEAST_COLUMN + decade * one for one in decades]
    columns: list[Column] = []
    moments: list[float] = []
    places: list[float] = []
    x = 0.0
    for span, width, gap in zip(spans, widths, [*gaps, 0.0], strict=True):
        columns.append(Column(x, width))
        inner, at = _inside(span)
        for moment, part in zip(inner, at, strict=True):
            place = x + part * width
            if not moments or moment > moments[-1]:
                moments.append(moment)
                places.append(place)
            else:  # two moments in one: what comes later begins where this column does
                places[-1] = max(places[-1], place)
        x += width + gap
    return Scale(tuple(columns), tuple(moments), tuple(places))


def _inside(span: Span) -> tuple[list[float], list[float]]:
    """Return the moments of a step and their share of its width."""
    ended = max(span.ended, span.started)
    telling = [m for m in span.marks if span.started < m < ended][:MOST_MARKS]
    moments = [span.started, *sorted(set(telling)), ended]
    weights = [
        math.log10(2 + (right - left) / GRAIN) for left, right in itertools.pairwise(moments)
    ]
    shares = [0.0]
    for weight in weights:
        shares.append(shares[-1] + weight)
    return moments, [share / shares[-1] for share in shares]
