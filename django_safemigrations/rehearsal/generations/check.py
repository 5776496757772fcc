"""Lets old and new code do everything they may do with the models that a plan touches."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from django_safemigrations.rehearsal.generations.isolation import isolated, working_on
from django_safemigrations.rehearsal.generations.links import link_calls
from django_safemigrations.rehearsal.generations.pairs import Key, independent, pair
from django_safemigrations.rehearsal.generations.reads import read_calls
from django_safemigrations.rehearsal.generations.rows import Rows
from django_safemigrations.rehearsal.generations.session import (
    Session,
    own_session,
    rolled_back,
)
from django_safemigrations.rehearsal.generations.sides import AnyModel, Side, key_of, sides
from django_safemigrations.rehearsal.generations.touched import touched_models
from django_safemigrations.rehearsal.generations.verdicts import (
    Error,
    Known,
    is_gone,
    is_of_values,
    is_real,
    known_constraints,
    read_error,
    why_not,
)
from django_safemigrations.rehearsal.generations.work import Call, Unreadable, Work
from django_safemigrations.rehearsal.generations.writes import short_write_calls, write_calls
from django_safemigrations.rehearsal.results import BoundaryCheck, CallFailure, StepKey

OWN_APPS = ("django_safemigrations",)
SECONDS = 20.0
"""Time for the calls at one boundary; before the first step there is three times as much."""
STATEMENT_TIMEOUT = 3.0
LOCK_TIMEOUT = 2.0
MODELS = 60
"""So many models are worked on at one boundary, those that the plan touches itself first."""

SLOWER = 5.0
"""A call has become slow when its statements take so many times what they took before the plan…"""
SLOWER_BY = 0.02
"""… and so many seconds more…"""
TIMES = 4
"""… still when it is made so many times again."""

CallKey = tuple[Key, str, tuple[str, ...]]


@dataclass
class _Boundary:
    """What is found out at one boundary."""

    calls: int = 0
    failures: dict[tuple[Any, ...], list[CallFailure]] = field(default_factory=dict)
    not_tried: dict[str, list[str]] = field(default_factory=dict)
    slower: list[str] = field(default_factory=list)

    def fail(self, side: Side, model: AnyModel, call: str, statement: str, error: Error) -> None:
        failure = CallFailure(side.name, model._meta.label, call, statement, error.text)
        group = (side.name, model._meta.label, *error.group)
        self.failures.setdefault(group, []).append(failure)

    def leave_out(self, side: Side, model: AnyModel, call: str, why: str) -> None:
        line = f"{side.name} code, {model._meta.label}: {why}"
        calls = self.not_tried.setdefault(line, [])
        if call and call not in calls:
            calls.append(call)

    def told(self) -> tuple[CallFailure, ...]:
        """Return each failure once, with how many other calls failed of the same."""
        found = []
        for alike in self.failures.values():
            first, others = alike[0], {failure.call for failure in alike[1:]}
            others.discard(first.call)
            more = f" (and {len(others)} more)" if others else ""
            found.append(replace(first, call=first.call + more))
        return tuple(found)

    def left_out(self) -> tuple[str, ...]:
        lines = []
        for line, calls in self.not_tried.items():
            more = f" and {len(calls) - 3} more" if len(calls) > 3 else ""
            which = f": {', '.join(calls[:3])}{more}" if calls else ""
            lines.append(line + which)
        return tuple(lines)


class Generations:
    """Models of the code before and after a plan, and what they can do at its step boundaries.

    Everything is done on a session of its own, in one transaction that is rolled back. The
    first check, with `after` None, has to be made before the plan begins: what fails then
    never worked with the values that are made up here, and is left out afterwards.

    Args:
        old: the state before the plan, `independent` of the one that the plan was applied to.
        new: the state after it.
        migrations: the plan, in order.
        seconds: how long the calls at one boundary may take.
        statement_timeout: seconds after which a statement is given up.
        lock_timeout: seconds after which a lock is given up.
        models: how many models are worked on at most.
        seed: picks the same rows and values again.
        clock: returns seconds.
    """

    def __init__(
        self,
        old: ProjectState,
        new: ProjectState,
        migrations: Sequence[Migration],
        *,
        seconds: float = SECONDS,
        statement_timeout: float = STATEMENT_TIMEOUT,
        lock_timeout: float = LOCK_TIMEOUT,
        models: int = MODELS,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Copies: an executor that goes on with these states must not change what is rendered.
        old, new = independent(old), independent(new)
        pairs = pair(old, new, migrations)
        self.old, self.new = sides(old.apps, new.apps, pairs)
        self.touched = touched_models(old, new, migrations, pairs)
        self.seconds = seconds
        self.statement_timeout = statement_timeout
        self.lock_timeout = lock_timeout
        self.models = models
        self.seed = seed
        self.clock = clock
        self._tried: set[CallKey] = set()
        self._failed_before: dict[CallKey, str] = {}
        self._took: dict[CallKey, float] = {}
        self._unmakeable: dict[Key, str] = {}
        self.unreadable: Unreadable = set()
        self._copied: dict[str, dict[Key, set[str]]] = {"old": {}, "new": {}}
        self._known: Known = frozenset()
        self._baseline = False

    def registries(self) -> list[Any]:
        """Return the registries of both generations' models."""
        return [self.old.apps, self.new.apps]

    def check(self, after: StepKey | None, who: tuple[str, ...], using: str) -> BoundaryCheck:
        """Try everything that the code that may be running now may do.

        Args:
            after: the step that was committed last; None before the first.
            who: "old", "new" or both.
            using: alias of the copy; its own session is not used.

        Raises:
            OperationalError: the copy, or the session on it, is gone.
        """
        found = _Boundary()
        with self.session(using) as session:
            if after is None:
                self._known = known_constraints(session)
                self._learn(session, found)
            for name in who:
                side = self.new if name == "new" else self.old
                if after is None and side is self.old:
                    continue
                until = self.clock() + self.seconds
                self._try(side, session, found, until, both=len(who) > 1)
        return BoundaryCheck(
            after, who, found.calls, found.told(), found.left_out(), tuple(found.slower)
        )

    @contextmanager
    def session(self, using: str) -> Iterator[Session]:
        """Open a session of its own on the copy, and send this thread's calls to it."""
        opened = own_session(
            using, statement_timeout=self.statement_timeout, lock_timeout=self.lock_timeout
        )
        with (
            isolated(self.registries()),
            opened as session,
            working_on(session.alias),
            rolled_back(session),
        ):
            yield session

    def _learn(self, session: Session, found: _Boundary) -> None:
        """Let old code try it all before the plan, to know what never worked."""
        self._baseline = True
        self._tried.clear()
        self._failed_before.clear()
        self._took.clear()
        self._try(self.old, session, found, self.clock() + 3 * self.seconds, learning=True)

    def worklist(self, side: Side) -> list[tuple[AnyModel, bool]]:
        """Return the models to work on, and whether the plan touches them itself."""
        every = [m for m in side.models() if m._meta.app_label not in OWN_APPS]
        direct = [m for m in every if key_of(m) in self.touched]
        near: set[AnyModel] = set()
        for model in every:
            for f in model._meta.get_fields(include_hidden=True):
                if f.is_relation and f.related_model in direct:
                    near.add(model)
        order = random.Random(self.seed)
        beside = [m for m in every if m in near and m not in direct]
        order.shuffle(beside)
        return [(m, True) for m in direct] + [(m, False) for m in beside]

    def _try(
        self,
        side: Side,
        session: Session,
        found: _Boundary,
        until: float,
        *,
        both: bool = False,
        learning: bool = False,
    ) -> None:
        worklist = self.worklist(side)
        for model, _ in worklist[self.models :]:
            found.leave_out(side, model, "", f"only {self.models} models are tried")
        worklist = worklist[: self.models]
        rows = self.rows(side, session)
        rows.look_at(model for model, _ in worklist)
        for place, (model, direct) in enumerate(worklist):
            now = self.clock()
            share = now + (until - now) / (len(worklist) - place)
            work = Work(side, model, rows, both, self.unreadable, learning)
            self._work_on(work, found, share, direct=direct)

    def rows(self, side: Side, session: Session, worker: int = 0) -> Rows:
        """Return what makes and finds rows for a generation, with numbers of a worker's own."""
        chance = random.Random(f"{self.seed} {worker}")
        start = 500_000_000 + worker * 10_000_000 + chance.randrange(5_000_000)
        return Rows(side, session, itertools.count(start), self._copied[side.name], chance)

    def _work_on(self, work: Work, found: _Boundary, until: float, *, direct: bool) -> None:
        self._run_reads(work, list(self.allowed(work, read_calls(work))), found, until)
        no_row = self.learn_row(work)
        if no_row:
            found.leave_out(work.side, work.model, "", f"no row can be made: {no_row}")
            return
        writes = write_calls(work) if direct else short_write_calls(work)
        for call in self.allowed(work, itertools.chain(writes, link_calls(work))):
            if self.clock() > until:
                found.leave_out(work.side, work.model, str(call), "no time was left")
                continue
            with work.rows.session.undone():
                error = self._attempt(work, call, found)
            if error is not None:
                self._record(work, call, error, found)
            else:
                self._time(work, call, found)

    def learn_row(self, work: Work) -> str:
        """Find out how a row is made: for old code once, before the plan; for new code each time."""
        key = key_of(work.model)
        if work.side.name == "old":
            if work.learning:
                excuse = lambda error: not is_gone(error)  # noqa: E731
                self._unmakeable[key] = work.rows.learn(work.model, excuse)
            return self._unmakeable.get(key, "")
        partner = work.side.partner(work.model)
        if partner is not None:
            if self._unmakeable.get(key_of(partner)):
                return self._unmakeable[key_of(partner)]
            copied = self._copied["new"].setdefault(key, set())
            for f in partner._meta.concrete_fields:
                theirs = self.old.partner_field(f)
                if theirs and f.attname in self._copied["old"].get(key_of(partner), ()):
                    copied.add(theirs.attname)
        return work.rows.learn(work.model, lambda e: is_of_values(work, e, self._known))

    def allowed(self, work: Work, calls: Iterable[Call]) -> Iterator[Call]:
        """Leave out old code's calls of which is known, or is not known, how they went before."""
        for call in calls:
            key = _key(work, call)
            judged = work.side.name == "old" and not work.learning and self._baseline
            if not judged or (key in self._tried and key not in self._failed_before):
                yield call

    def _run_reads(self, work: Work, calls: list[Call], found: _Boundary, until: float) -> None:
        """Make the reads, all of them after the same savepoint for as long as none fails."""
        place = 0
        while place < len(calls):
            error = None
            with work.rows.session.undone():
                while error is None and place < len(calls):
                    if self.clock() > until:
                        for call in calls[place:]:
                            found.leave_out(work.side, work.model, str(call), "no time was left")
                        return
                    error = self._attempt(work, calls[place], found)
                    place += 1
            if error is not None:
                self._record(work, calls[place - 1], error, found)

    def _attempt(self, work: Work, call: Call, found: _Boundary) -> Exception | None:
        """Make a call; return what it raised, which may have broken the transaction."""
        session = work.rows.session
        session.statement, session.seconds, session.statements = "", 0.0, 0
        found.calls += 1
        if work.learning:
            self._tried.add(_key(work, call))
        try:
            call.run()
            session.settle()
        except Exception as error:
            if is_gone(error):
                raise
            return error
        return None

    def _record(self, work: Work, call: Call, error: Exception, found: _Boundary) -> None:
        statement = work.rows.session.statement
        read = read_error(error, real=is_real(work, call))
        if work.learning:
            self._failed_before[_key(work, call)] = read.state
            found.leave_out(work.side, work.model, str(call), f"before the plan: {read.text}")
            return
        why = self.why_not(work, call, error, statement)
        if why is not None:
            found.leave_out(work.side, work.model, str(call), why)
            return
        found.fail(work.side, work.model, str(call), statement, read)

    def _time(self, work: Work, call: Call, found: _Boundary) -> None:
        """Note how long a write took; tell if it takes much longer than before the plan."""
        session = work.rows.session
        took = session.seconds
        key = _key(work, call)
        if work.learning:
            self._took[key] = max(took, self._took.get(key, 0.0))
            return
        before = self._took.get(key if work.side.name == "old" else self._as_old(work, call))
        if before is None:
            return
        limit = max(before * SLOWER, before + SLOWER_BY)
        for _ in range(TIMES):
            if took <= limit:
                return
            # A machine that is busy makes everything slow, even a statement that does nothing.
            limit = max(limit, before + session.statements * session.round_trip())
            with session.undone():
                if self._attempt(work, call, found) is not None:
                    return
            took = min(took, session.seconds)
        if took > limit:
            found.slower.append(
                f"{work.side.name} code, {work.model._meta.label}: {call} takes"
                f" {took * 1000:.0f} ms instead of {before * 1000:.0f} ms"
            )

    def why_not(self, work: Work, call: Call, error: Exception, statement: str) -> str | None:
        """Return why an error says nothing about the plan, None if it does.

        The transaction that it broke has to be over: the catalog is looked at.
        """
        why = why_not(work, call, error, statement, self._known)
        if why is None and work.side.name == "new":
            read = read_error(error)
            before = self._failed_before.get(self._as_old(work, call))
            if before is not None and before == read.state:
                return f"before the plan, too, old code's: {read.text}"
        return why

    def _as_old(self, work: Work, call: Call) -> CallKey:
        """Return the key of the call of old code that corresponds to one of new code."""
        partner = work.side.partner(work.model)
        model = key_of(partner) if partner is not None else ("", "")
        names = []
        fields = {f.name: f for f in work.model._meta.get_fields()}
        for name in call.fields:
            f: Any = fields.get(name)
            theirs = work.side.partner_field(f) if f is not None and hasattr(f, "model") else None
            names.append(theirs.name if theirs is not None else name)
        return model, call.what, tuple(names)


def _key(work: Work, call: Call) -> CallKey:
    return key_of(work.model), call.what, call.fields
