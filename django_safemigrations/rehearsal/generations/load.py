"""Clients that work on the copy while the plan runs, and what they felt."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from django.core.exceptions import ObjectDoesNotExist

from django_safemigrations.rehearsal.generations.check import Generations
from django_safemigrations.rehearsal.generations.isolation import isolated, working_on
from django_safemigrations.rehearsal.generations.links import link_calls
from django_safemigrations.rehearsal.generations.reads import read_calls
from django_safemigrations.rehearsal.generations.session import Session, own_session, rolled_back
from django_safemigrations.rehearsal.generations.verdicts import (
    LOCKED,
    TOO_SLOW,
    is_gone,
    is_real,
    read_error,
)
from django_safemigrations.rehearsal.generations.work import Call, Work
from django_safemigrations.rehearsal.generations.writes import write_calls
from django_safemigrations.rehearsal.results import LoadSeen, StepKey

CLIENTS = 4
PAUSE = 0.005
"""Seconds a client thinks between two requests."""
BASELINE = 3.0
"""Seconds for which they work before the plan begins."""
GIVEN_UP = 30.0
"""Seconds after which a request has failed, as behind a web server's own timeout."""
KEPT = 10
"""How many errors, and how many of the slowest requests, are told."""
MANY_ROWS = "update({}=F(…))"
"""Locks several rows that others lock, too: clients could deadlock without any plan."""


@dataclass
class _Felt:
    """What one client felt."""

    seconds: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    errors: dict[tuple[Any, ...], str] = field(default_factory=dict)
    slowest: list[tuple[float, str]] = field(default_factory=list)

    def note(self, seconds: float, what: str) -> None:
        self.seconds.append(seconds)
        heapq.heappush(self.slowest, (seconds, what))
        if len(self.slowest) > KEPT:
            heapq.heappop(self.slowest)


class Load:
    """Clients with sessions of their own; a steps.Listener, so that it can say which step hurt.

    Their requests are those that a check makes, one at a time in a transaction that is rolled
    back: the data of the copy stay as they are. A check has to come first, since it finds out
    which requests work. Usage::

        with Load(generations, "default") as load:
            ...  # run the plan; call load.running(("new",)) before the first contract
        seen = load.seen()

    Args:
        generations: whose models.
        using: alias of the copy.
        clients: how many.
        baseline: seconds for which they work before the block begins.
        given_up: seconds after which a request has failed.
        who: the generations that are running at first.
        clock: returns seconds.
    """

    def __init__(
        self,
        generations: Generations,
        using: str,
        *,
        clients: int = CLIENTS,
        baseline: float = BASELINE,
        given_up: float = GIVEN_UP,
        who: tuple[str, ...] = ("old",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.generations = generations
        self.using = using
        self.clients = clients
        self.baseline = baseline
        self.given_up = given_up
        self.clock = clock
        self.step: StepKey | None = None
        self._begun: list[StepKey] = []
        self._who = who
        self._end = threading.Event()
        self._plan_runs = threading.Event()
        self._busy = [threading.Lock() for _ in range(clients)]
        self._before = [_Felt() for _ in range(clients)]
        self._during = [_Felt() for _ in range(clients)]
        self._broken: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._isolation = isolated(generations.registries())

    def __enter__(self) -> Self:
        self._isolation.__enter__()
        self._threads = [
            threading.Thread(target=self._client, args=(n,), name=f"load {n}", daemon=True)
            for n in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        self._end.wait(self.baseline)
        self._plan_runs.set()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._isolation.__exit__(kind, error, trace)

    def running(self, who: tuple[str, ...]) -> None:
        """Let these generations make the requests from now on; what is under way ends first."""
        self._who = who
        for lock in self._busy:
            with lock:
                pass

    @property
    def requests(self) -> int:
        """How many requests were made since the plan began."""
        return sum(len(felt.seconds) for felt in self._during)

    def step_begins(self, key: StepKey) -> None:
        """Note the step for what follows."""
        self.step = key
        self._begun.append(key)

    def step_ends(self, key: StepKey) -> None:
        """Do nothing: its locks may still be held."""

    def committed(self, key: StepKey) -> None:
        """Note that no step is under way."""
        self.step = None

    def seen(self) -> LoadSeen:
        """Return what the clients felt while the plan ran.

        Raises:
            the error of a client that could not go on, such as OperationalError.
        """
        if self._broken:
            raise self._broken[0]
        during = sorted(itertools.chain.from_iterable(felt.seconds for felt in self._during))
        before = sorted(itertools.chain.from_iterable(felt.seconds for felt in self._before))
        errors: dict[tuple[Any, ...], str] = {}
        for felt in self._during:
            errors = {**felt.errors, **errors}
        slowest = heapq.nlargest(KEPT, itertools.chain(*(f.slowest for f in self._during)))
        return LoadSeen(
            requests=len(during),
            failed=sum(felt.failed for felt in self._during),
            p50=_percentile(during, 0.5),
            p99=_percentile(during, 0.99),
            longest=during[-1] if during else 0.0,
            baseline_p99=_percentile(before, 0.99),
            errors=tuple(list(errors.values())[:KEPT]),
            slowest=tuple(f"{seconds:.3f} s: {what}" for seconds, what in slowest),
        )

    # In a thread of each client

    def _client(self, number: int) -> None:
        opened = own_session(
            self.using, statement_timeout=self.given_up, lock_timeout=self.given_up
        )
        try:
            with opened as session, working_on(session.alias):
                self._work(number, session)
        except BaseException as error:  # noqa: BLE001 - told by seen(), in the thread that asks
            self._broken.append(error)

    def _work(self, number: int, session: Session) -> None:
        chance = random.Random(f"{self.generations.seed} client {number}")
        calls: dict[str, list[tuple[Work, Call]]] = {}
        while not self._end.is_set():
            with self._busy[number]:
                name = chance.choice(self._who)
                if name not in calls:
                    calls[name] = self._calls(name, session, number)
                felt = (self._during if self._plan_runs.is_set() else self._before)[number]
                if calls[name]:
                    self._request(session, *chance.choice(calls[name]), felt)
            self._end.wait(PAUSE)

    def _calls(self, name: str, session: Session, number: int) -> list[tuple[Work, Call]]:
        """Return the calls that are known to work, on the models that the plan touches."""
        generations = self.generations
        side = generations.new if name == "new" else generations.old
        rows = generations.rows(side, session, number + 1)
        found = []
        with rolled_back(session):
            models = [model for model, direct in generations.worklist(side) if direct]
            rows.look_at(models)
            for model in models:
                work = Work(side, model, rows, both=False, unreadable=generations.unreadable)
                calls = read_calls(work)
                if not generations.learn_row(work):
                    calls = itertools.chain(calls, write_calls(work), link_calls(work))
                found += [(work, call) for call in generations.allowed(work, calls)]
        return [(work, call) for work, call in found if call.what != MANY_ROWS]

    def _request(self, session: Session, work: Work, call: Call, felt: _Felt) -> None:
        session.statement = ""
        during, before = self.step, len(self._begun)
        begun = self.clock()
        error: Exception | None = None
        try:
            with rolled_back(session):
                call.run()
                session.settle()
        except Exception as raised:
            if is_gone(raised):
                raise
            error = raised
        seconds = self.clock() - begun
        label = f"{work.side.name} code, {work.model._meta.label}: {call}"
        # One that began before a step and waited for it ends when the step is over.
        during = during or self.step or next(iter(self._begun[before:]), None)
        felt.note(seconds, label + (f", during {during}" if during else ""))
        if error is None or isinstance(error, ObjectDoesNotExist):
            # A row that was there may have been deleted by the plan.
            return
        read = read_error(error, real=is_real(work, call))
        if read.state not in (TOO_SLOW, *LOCKED):
            with rolled_back(session):
                if self.generations.why_not(work, call, error, session.statement) is not None:
                    return
        felt.failed += 1
        text = f"after {seconds:.1f} s: {read.text}" if read.state == TOO_SLOW else read.text
        felt.errors.setdefault((label, *read.group), f"{label}: {text}")


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
