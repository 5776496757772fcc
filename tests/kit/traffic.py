"""Old and new code in processes of their own, under way while a migration runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import random
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat
from types import TracebackType
from typing import Any, Self

from django.db import connections

from tests.kit.calls import RACING, Actor
from tests.kit.case import Case, Generation
from tests.kit.databases import forget_inherited_connections
from tests.kit.outcomes import Failure, lost_writes, watch_last_statement

SPACE = 2_000_000
"""Traffic's number ranges start here, one of WORKER_SPACE for each process."""
WORKER_SPACE = 2_000_000
CONTENDED = 1_000_000
"""Number of the first of the keys that all processes upsert."""
UPSERTS_OF_A_KEY = 6
"""After so many upserts of a key the processes go on to a new one, so that INSERTs race too."""
KEPT_FAILURES = 30
"""Failures are all counted, but only so many are kept with their traceback."""
PAUSE = 0.001
"""Seconds a worker thinks between two calls."""

OLD: Generation = "old"
NEW: Generation = "new"

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Call:
    """One call: what, by whom, when (monotonic seconds) and how long (seconds)."""

    generation: str
    name: str
    started: float
    seconds: float


@dataclass
class Report:
    """What the processes of a run went through.

    Attributes:
        calls: every call.
        failures: the first failures of each process.
        failed: how many calls failed.
        lost: writes that are not in the database, one line each.
    """

    calls: list[Call] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0
    lost: list[str] = field(default_factory=list)

    def longest(self) -> Call | None:
        """Return the call that took longest."""
        return max(self.calls, key=lambda call: call.seconds, default=None)

    def problems(self) -> list[str]:
        """Return one line for each kind of failed call and each lost write."""
        kinds: dict[str, int] = {}
        for failure in self.failures:
            kinds[str(failure)] = kinds.get(str(failure), 0) + 1
        lines = [f"{line} (x{count})" for line, count in kinds.items()]
        if self.failed:
            lines.insert(0, f"{self.failed} of {len(self.calls)} calls failed")
        return lines + self.lost

    def add(self, other: Report) -> None:
        """Take in another report."""
        self.calls += other.calls
        self.failures += other.failures
        self.failed += other.failed
        self.lost += other.lost


@dataclass
class _Worker:
    generation: Generation
    process: Any
    pipe: multiprocessing.connection.Connection
    running: bool = False


class Traffic:
    """Processes that use one generation's models each; start it, migrate, stop it, read its report.

    Fork it before the test starts threads. Usage::

        with Traffic(case) as traffic:
            traffic.start("old")
            traffic.wait_until(200)
            ...
            report = traffic.stop()

    Args:
        case: whose models.
        old: how many processes run old code.
        new: how many processes run new code.
        racing: make nothing but upserts of contended keys, all processes the same one at the
            same moment, a new key each time. Start them all at once.
    """

    def __init__(self, case: Case, *, old: int = 1, new: int = 1, racing: bool = False) -> None:
        self.case = case
        # Forked processes share these: a count of upserts, and where racing ones meet.
        self.upserts = _fork.Value("q", 0)
        self.barrier = _fork.Barrier(old + new) if racing else None
        self.report = Report()
        self.owned: list[tuple[Generation, str, Mapping[Any, Mapping[str, Any]]]] = []
        connections.close_all()
        self.workers: list[_Worker] = []
        generations: list[Generation] = [*repeat(OLD, old), *repeat(NEW, new)]
        for number, generation in enumerate(generations):
            ours, theirs = _fork.Pipe()
            process = _fork.Process(
                target=_work, args=(theirs, case, generation, number, self.upserts, self.barrier)
            )
            process.start()
            theirs.close()
            self.workers.append(_Worker(generation, process, ours))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    def start(self, *generations: Generation) -> None:
        """Let the processes of these generations make calls."""
        for worker in self._of(*generations):
            worker.pipe.send(("start", 0))
            worker.running = True

    def wait_until(self, calls: int, *generations: Generation, timeout: float = 60.0) -> None:
        """Wait until every running process (of these generations) has made so many more calls.

        Raises:
            AssertionError: `timeout` seconds were not enough, or a process died.
        """
        waiting = [worker for worker in self._of(*generations) if worker.running]
        for worker in waiting:
            worker.pipe.send(("count", calls))
        for worker in waiting:
            self._receive(worker, timeout)

    def stop(self, *generations: Generation) -> Report:
        """Stop processes (all if none is named), collect their reports, and return the whole one."""
        workers = [worker for worker in self._of(*generations) if worker.running]
        for worker in workers:
            worker.pipe.send(("stop", 0))
        for worker in workers:
            report, owned = self._receive(worker, 60.0)
            self.report.add(report)
            self.owned += owned
            worker.running = False
            worker.process.join()
        return self.report

    def lost_writes(self, *readers: Generation) -> list[str]:
        """Look up every row that a stopped process owned, with the models of these generations."""
        lost = []
        for written_by, label, owned in self.owned:
            for reader in readers:
                if not self.case.has_model(reader, written_by, label):
                    continue
                lost += lost_writes(self.case, written_by, reader, label, owned)
        return lost

    def _of(self, *generations: Generation) -> list[_Worker]:
        return [w for w in self.workers if not generations or w.generation in generations]

    def _receive(self, worker: _Worker, timeout: float) -> Any:
        if not worker.pipe.poll(timeout):
            raise AssertionError(
                f"a process of {worker.generation} code made no progress for {timeout:.0f} s"
            )
        try:
            kind, value = worker.pipe.recv()
        except EOFError:
            worker.running = False
            raise AssertionError(f"a process of {worker.generation} code died") from None
        if kind == "died":
            raise AssertionError(f"a process of {worker.generation} code died:\n{value}")
        return value


def _work(
    pipe: Any, case: Case, generation: Generation, number: int, upserts: Any, barrier: Any
) -> None:
    try:
        forget_inherited_connections()
        if pipe.recv()[0] == "start":
            pipe.send(("stopped", _run(pipe, case, generation, number, upserts, barrier)))
    except EOFError:
        return
    except BaseException:  # noqa: BLE001 - the parent must learn of it
        pipe.send(("died", traceback.format_exc()))


def _run(
    pipe: Any, case: Case, generation: Generation, number: int, upserts: Any, barrier: Any
) -> Any:
    report = Report()

    def next_key() -> int:
        with upserts.get_lock():
            upserts.value += 1
            shared = int(upserts.value) // UPSERTS_OF_A_KEY
        # Some calls take the next key too, so racing ones leave one free.
        return len(report.calls) * 2 if barrier is not None else shared

    start = SPACE + number * WORKER_SPACE
    models = case.models(generation)
    room = WORKER_SPACE // len(models)
    actors = [
        Actor(
            case,
            generation,
            model,
            space=start + place * room,
            contended=CONTENDED,
            next_key=next_key,
        )
        for place, model in enumerate(models)
    ]
    calls = [(actor, name, call) for actor in actors for name, call in actor.calls()]
    if barrier is not None:
        calls = [
            (actor, name, call)
            for actor, name, call in calls
            if actor.keys and name.split(".")[1] in RACING
        ]
    # Racing processes make the same call every other time, else any of the racing ones.
    chooser, together = random.Random(number), random.Random(0)
    wanted: int | None = None
    last, recording = watch_last_statement("default")
    with recording:
        while True:
            if pipe.poll(PAUSE if barrier is None else 0):
                command, count = pipe.recv()
                if command == "stop":
                    if barrier is not None:
                        barrier.abort()
                    break
                wanted = len(report.calls) + count
            same, any_ = together.choice(calls), chooser.choice(calls)
            actor, name, call = same if barrier and len(report.calls) % 2 else any_
            _meet(barrier)
            begun = time.monotonic()
            failure = actor.attempt(name, call, last)
            report.calls.append(Call(generation, name, begun, time.monotonic() - begun))
            if failure is not None:
                report.failed += 1
                if len(report.failures) < KEPT_FAILURES:
                    report.failures.append(failure)
            if wanted is not None and len(report.calls) >= wanted:
                pipe.send(("counted", len(report.calls)))
                wanted = None
    owned = [(generation, actor.label, actor.owned) for actor in actors]
    return report, owned


def _meet(barrier: Any) -> None:
    """Wait for the other racing processes, unless one has stopped already."""
    if barrier is not None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=10)
