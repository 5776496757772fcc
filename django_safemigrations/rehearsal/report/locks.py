"""How strong a lock is: whom it blocks decides its rank, its colour and its height in a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django_safemigrations.rehearsal.report.shown import relation_name
from django_safemigrations.rehearsal.results import LockSeen, StatementTrace

BLOCKS = ("nobody", "schema changes only", "writes", "reads and writes")
"""Who waits, from the weakest lock to the strongest; the index is the rank."""
SERVED = 2
"""From this rank on, code that serves requests waits."""

# What PostgreSQL's manual calls it, for each mode as pg_locks names it.
MODES = {
    "AccessShareLock": "ACCESS SHARE",
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}


def rank(blocks: str) -> int:
    """Return the rank of a lock; one whose effect is not known counts as blocking writes."""
    return BLOCKS.index(blocks) if blocks in BLOCKS else SERVED


def mode_name(mode: str) -> str:
    """Return the manual's name of a mode of `pg_locks`."""
    return MODES.get(mode, mode)


def figure(number: float) -> float:
    """Return a duration that can be drawn and added: what is no number counts as nothing."""
    return max(number, 0.0) if math.isfinite(number) else 0.0


@dataclass(frozen=True)
class LockUse:
    """A table lock as a statement took it, once or again and again.

    Attributes:
        relation: the table, as short as it can be named.
        mode: in the manual's words.
        blocks: who waits.
        rank: index in `BLOCKS`.
        times: how often it was taken.
        started: seconds since the beginning of the pass at which it was first asked for.
        ended: when it was last released.
        waited: longest wait for it, in seconds.
        held: longest hold, in seconds.
    """

    relation: str
    mode: str
    blocks: str
    rank: int
    times: int
    started: float
    ended: float
    waited: float
    held: float


def uses(statements: Iterable[StatementTrace]) -> tuple[LockUse, ...]:
    """Return the locks of statements, one for each table and mode, the strongest first."""
    found: dict[tuple[str, str, str], LockUse] = {}
    for statement in statements:
        for lock in statement.locks:
            use = _use(statement, lock)
            key = (lock.relation, lock.mode, lock.blocks)
            found[key] = _both(found[key], use) if key in found else use
    return tuple(sorted(found.values(), key=lambda use: (-use.rank, -use.held, use.relation)))


def _use(statement: StatementTrace, lock: LockSeen) -> LockUse:
    asked, waited, held = figure(statement.started), figure(lock.waited), figure(lock.held)
    if statement.attempts > 1:  # its beginning is that of the attempt that got the lock
        asked = max(asked - waited, 0.0)
    released = asked + waited + held
    if statement.repeats > 1:  # the lock was taken and let go until the last of them
        released = max(released, figure(statement.started) + figure(statement.seconds))
    return LockUse(
        relation=relation_name(lock.relation),
        mode=mode_name(lock.mode),
        blocks=lock.blocks,
        rank=rank(lock.blocks),
        times=statement.repeats,
        started=asked,
        ended=released,
        waited=waited,
        held=held,
    )


def _both(first: LockUse, second: LockUse) -> LockUse:
    return LockUse(
        relation=first.relation,
        mode=first.mode,
        blocks=first.blocks,
        rank=first.rank,
        times=first.times + second.times,
        started=min(first.started, second.started),
        ended=max(first.ended, second.ended),
        waited=max(first.waited, second.waited),
        held=max(first.held, second.held),
    )
