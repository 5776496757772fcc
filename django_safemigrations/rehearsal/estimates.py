"""What production has to expect of each step, from what it took on the copy."""

from __future__ import annotations

from collections.abc import Sequence

from django_safemigrations.rehearsal.results import (
    Direction,
    Estimate,
    PassTrace,
    StatementTrace,
    StepKey,
    StepTrace,
)
from django_safemigrations.rehearsal.trace.scales import Rows, Scales

BLOCKS = ("reads and writes", "writes")


def estimates(passes: Sequence[PassTrace], rows: Rows | None = None) -> tuple[Estimate, ...]:
    """Return one estimate for each step of the passes forwards, in their order.

    Where there are two passes forwards, the larger figure counts. What is done with every row
    grows with the table, so it is scaled if only a part of the rows was copied; what only
    changes the catalog is not. WAL is that of the copy's whole server.

    Args:
        passes: of a rehearsal.
        rows: rows copied and rows in production, by table, of those that were copied in part.
    """
    scales = Scales(rows)
    found: dict[StepKey, Estimate] = {}
    for one in passes:
        if one.direction is Direction.BACKWARDS:
            continue
        for step in one.steps:
            estimate = estimate_of(step, scales)
            known = found.get(step.key)
            found[step.key] = estimate if known is None else _larger(known, estimate)
    return tuple(found.values())


def estimate_of(step: StepTrace, scales: Scales) -> Estimate:
    """Return the estimate of one step of one pass."""
    factors = [_factor(statement, scales) for statement in step.statements]
    worked = list(zip(step.statements, factors, strict=True))
    more = sum(statement.seconds * (factor - 1) for statement, factor in worked)
    return Estimate(
        key=step.key,
        seconds=round(step.seconds + more, 3),
        blocking_seconds=round(_blocking(worked), 6),
        wal_bytes=round(sum(s.wal_bytes * factor for s, factor in worked)),
        disk_bytes=round(sum(s.disk_bytes * factor for s, factor in worked)),
        scaled=any(factor > 1 for factor in factors),
    )


def _factor(statement: StatementTrace, scales: Scales) -> float:
    """Return what to multiply a statement's figures with: it has to do with rows for that."""
    if not (statement.scans or statement.rewrites or statement.index_builds or statement.rows):
        return 1.0
    return scales.largest(
        [
            *(scan.relation for scan in statement.scans),
            *statement.rewrites,
            *(lock.relation for lock in statement.locks),
        ]
    )


def _blocking(worked: Sequence[tuple[StatementTrace, float]]) -> float:
    """Return how long the longest blocking lock will be held.

    Scaled is the time of the statements that ran while it was held: its own, and those after
    it until it was let go.
    """
    longest = 0.0
    for at, (statement, _) in enumerate(worked):
        for lock in statement.locks:
            if lock.blocks not in BLOCKS:
                continue
            held = lock.held
            until = statement.started + lock.waited + lock.held
            for later, factor in worked[at:]:
                if later.repeats == 1 and later.started < until:
                    held += min(later.seconds, lock.held) * (factor - 1)
            longest = max(longest, held)
    return longest


def _larger(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(
        key=one.key,
        seconds=max(one.seconds, other.seconds),
        blocking_seconds=max(one.blocking_seconds, other.blocking_seconds),
        wal_bytes=max(one.wal_bytes, other.wal_bytes),
        disk_bytes=max(one.disk_bytes, other.disk_bytes),
        scaled=one.scaled or other.scaled,
    )
