"""Runs the plan on the copy: forwards by phases, backwards, and forwards again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from django_safemigrations.management.rehearsing.on_copy import run_on_copy
from django_safemigrations.phases import Phase
from django_safemigrations.rehearsal.generations import Generations
from django_safemigrations.rehearsal.generations.load import Load
from django_safemigrations.rehearsal.results import (
    BoundaryCheck,
    Direction,
    PassTrace,
    StepKey,
)
from django_safemigrations.rehearsal.steps import Listener, watching
from django_safemigrations.rehearsal.trace import Tracer

OLD, NEW, BOTH = ("old",), ("new",), ("old", "new")


@dataclass(frozen=True)
class Leg:
    """One command of a pass.

    Attributes:
        phase: the phase that it runs or takes back.
        words: its command line.
        during: the code that may be running between its steps.
        after: the code that may be running when it is done.
    """

    phase: Phase
    words: tuple[str, ...]
    during: tuple[str, ...]
    after: tuple[str, ...]


def legs_forwards(phases: Sequence[Phase], words: tuple[str, ...]) -> tuple[Leg, ...]:
    """Return the commands that run a plan, phase by phase.

    Args:
        phases: those that have something to run.
        words: app label and migration, as they were typed.
    """
    legs = []
    if Phase.EXPAND in phases:
        legs.append(Leg(Phase.EXPAND, (*words, "--phase", "expand"), OLD, BOTH))
    if Phase.CONTRACT in phases:
        legs.append(Leg(Phase.CONTRACT, (*words, "--phase", "contract"), NEW, NEW))
    return tuple(legs)


def legs_backwards(phases: Sequence[Phase]) -> tuple[Leg, ...]:
    """Return the commands that take a plan back: each takes back one run."""
    legs = []
    if Phase.CONTRACT in phases:
        after = BOTH if Phase.EXPAND in phases else NEW
        legs.append(Leg(Phase.CONTRACT, ("--rollback",), NEW, after))
    if Phase.EXPAND in phases:
        # The code goes back before the database does.
        legs.append(Leg(Phase.EXPAND, ("--rollback",), OLD, OLD))
    return tuple(legs)


@dataclass
class _Boundaries:
    """Tries the code that may be running whenever something is committed."""

    code: Generations
    alias: str
    who: tuple[str, ...] = OLD
    last: StepKey | None = None
    checks: list[BoundaryCheck] = field(default_factory=list)
    seconds: float = 0.0

    def step_begins(self, key: StepKey) -> None:
        pass

    def step_ends(self, key: StepKey) -> None:
        pass

    def committed(self, key: StepKey) -> None:
        self.last = key
        self.check(self.who)

    def check(self, who: tuple[str, ...]) -> None:
        began = time.monotonic()
        self.checks.append(self.code.check(self.last, who, self.alias))
        self.seconds += time.monotonic() - began


@dataclass(frozen=True)
class _Aside:
    """Lets another listener ask the database something that is not to be traced."""

    listener: Listener
    tracer: Tracer

    def step_begins(self, key: StepKey) -> None:
        with self.tracer.paused():
            self.listener.step_begins(key)

    def step_ends(self, key: StepKey) -> None:
        with self.tracer.paused():
            self.listener.step_ends(key)

    def committed(self, key: StepKey) -> None:
        with self.tracer.paused():
            self.listener.committed(key)


@dataclass(frozen=True)
class Course:
    """What every pass needs.

    Attributes:
        connection: to the copy.
        migrations: those of the plan.
        phases: phase by app label and name.
        code: tries old and new code.
        data: hears of the steps, too.
        progress: told what is going on.
        clients: how many work meanwhile.
        first: what old code could do before the plan.
    """

    connection: BaseDatabaseWrapper
    migrations: Sequence[Migration]
    phases: Mapping[tuple[str, str], str]
    code: Generations
    data: Listener
    progress: Callable[[str], None]
    clients: int = 0
    first: list[BoundaryCheck] = field(default_factory=list)

    def begin(self) -> None:
        """Try old code before anything is changed: what fails now is no fault of the plan."""
        self.first.append(self.code.check(None, OLD, self.connection.alias))

    def run(self, direction: Direction, legs: Sequence[Leg]) -> PassTrace:
        """Run one pass and return what was seen; it ends early where a command fails."""
        boundaries = _Boundaries(self.code, self.connection.alias)
        error = ""
        load = self._load(legs)
        began = time.monotonic()
        with Tracer(self.connection) as tracer, load or contextlib.nullcontext():
            for leg in legs:
                if load is not None:
                    load.running(leg.during)
                error = self._leg(leg, direction, tracer, boundaries, load)
                if error:
                    break
                with tracer.paused():
                    boundaries.check(leg.after)
        return PassTrace(
            direction,
            time.monotonic() - began - boundaries.seconds,
            tracer.steps(),
            (*(self.first if direction is Direction.FORWARDS else ()), *boundaries.checks),
            load=load.seen() if load is not None else None,
            error=error,
        )

    def _load(self, legs: Sequence[Leg]) -> Load | None:
        if not self.clients:
            return None
        return Load(self.code, self.connection.alias, clients=self.clients, who=legs[0].during)

    def _leg(
        self,
        leg: Leg,
        direction: Direction,
        tracer: Tracer,
        boundaries: _Boundaries,
        load: Load | None,
    ) -> str:
        boundaries.who = leg.during
        listeners: list[Listener] = [tracer, _Aside(self.data, tracer), _Aside(boundaries, tracer)]
        if load is not None:
            listeners.append(load)
        with watching(self.connection, self.migrations, *listeners, phases=self.phases):
            ran = run_on_copy(
                self.connection.alias,
                leg.words,
                lambda text: self.progress(f"{direction}: {text}"),
            )
        if not ran.code:
            return ""
        return ran.error or f"safemigrate {' '.join(leg.words)} ended with {ran.code}"
