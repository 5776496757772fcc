"""A backfill whose progress only this process knows: where the ledger is not there, or not wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django_safemigrations.backfill.ranges import Range
from django_safemigrations.backfill.store import LEASE, Known, Lease, State, Step, Totals
from django_safemigrations.backfill.work import Key


@dataclass
class _Part:
    range: Range
    last: Key | None = None
    done: bool = False
    error: str = ""
    not_before: bool = False
    size: int = 0


@dataclass
class MemoryProgress:
    """Keeps a backfill for this process only: where the ledger's tables are not there (yet)."""

    key: str = ""
    shared: bool = False
    lease: float = LEASE
    known: Known | None = None
    sums: Totals = field(default_factory=Totals)
    parts: list[_Part] = field(default_factory=list)

    def load(self) -> Known | None:
        """Return what was begun in this process."""
        if self.known is None:
            return None
        failed = sum(1 for part in self.parts if part.error)
        unfinished = sum(1 for part in self.parts if not part.done and not part.error)
        return replace(self.known, open=unfinished, failed=failed)

    def begin(
        self,
        task: Mapping[str, Any],
        title: str,
        ranges: Sequence[Range],
        *,
        rows_total: int,
        passes: int,
        state: State = State.RUNNING,
    ) -> None:
        """Keep the ranges."""
        self.known = Known(state, "", passes, task, 0, 0)
        self.parts = [_Part(found) for found in ranges]
        self.sums = Totals(
            rows_done=self.sums.rows_done if passes else 0,
            batches=self.sums.batches if passes else 0,
            errors=self.sums.errors if passes else 0,
            rows_total=rows_total,
        )

    def retry(self) -> None:
        """Let the rows that failed be tried again."""
        for part in self.parts:
            part.error = ""
        self._change(state=State.RUNNING, reason="", passes=0)

    def claim(self) -> Lease | None:
        """Take the next range."""
        free = [n for n, part in enumerate(self.parts) if not part.done and not part.error]
        # What was put off comes last.
        for n in sorted(free, key=lambda n: (self.parts[n].not_before, n)):
            part = self.parts[n]
            return Lease(n, part.range, part.last, part.size)
        return None

    def hold(self, lease: Lease) -> State:
        """Return the state: nobody else is there."""
        assert self.known is not None
        return self.known.state

    def advance(self, lease: Lease, step: Step) -> None:
        """Keep it."""
        part = self.parts[lease.id]
        part.last, part.done, part.size = step.last, step.ended, step.size
        self._add(rows_done=step.rows, rows_seen=step.seen, batches=1)

    def put_aside(self, lease: Lease, key: Key, error: str) -> None:
        """Keep it."""
        part = self.parts[lease.id]
        if part.range.lower == part.range.upper == key:
            part.error = error
        else:
            self.parts.append(_Part(Range(part.range.relation, key, key), error=error))

    def renew(self, lease: Lease, error: str = "") -> State:
        """Count the error."""
        assert self.known is not None
        if error:
            self._add(errors=1)
        return self.known.state

    def release(self, lease: Lease, seconds: float = 0.0) -> None:
        """Let it come after the others."""
        self.parts[lease.id].not_before = bool(seconds)

    def abandon(self, lease: Lease) -> None:
        """Call it done."""
        self.parts[lease.id].done = True

    def totals(self) -> Totals:
        """Return what was done."""
        return self.sums

    def failures(self, count: int) -> list[tuple[str, Key, str]]:
        """Return some of the rows that failed."""
        found = [
            (part.range.relation, part.range.upper or [], part.error)
            for part in self.parts
            if part.error
        ]
        return found[:count]

    @contextlib.contextmanager
    def proving(self) -> Iterator[bool]:
        """Be the only one."""
        yield True

    def finish(self) -> bool:
        """Keep it."""
        self.parts = []
        self._change(state=State.FINISHED)
        return True

    def fail(self, reason: str) -> None:
        """Keep it."""
        self._change(state=State.FAILED, reason=reason)

    def _change(self, **values: Any) -> None:
        assert self.known is not None
        self.known = replace(self.known, **values)

    def _add(self, **values: int) -> None:
        added = {name: getattr(self.sums, name) + more for name, more in values.items()}
        self.sums = replace(self.sums, **added)
