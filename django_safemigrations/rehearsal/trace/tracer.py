"""Traces a run of the executor: what every statement locked, waited for, read, wrote and rebuilt."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy
from psycopg.pq import TransactionStatus

from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.rehearsal.results import StepKey, StepTrace
from django_safemigrations.rehearsal.trace import looks, ways
from django_safemigrations.rehearsal.trace.attempts import Attempts, worth_telling
from django_safemigrations.rehearsal.trace.ends import noticing_ends
from django_safemigrations.rehearsal.trace.facts import facts_inside, facts_outside
from django_safemigrations.rehearsal.trace.innermost import installed_innermost
from django_safemigrations.rehearsal.trace.judging import Limits, suspects
from django_safemigrations.rehearsal.trace.looks import NONE, Counters, Look, refuse_blind
from django_safemigrations.rehearsal.trace.records import Step
from django_safemigrations.rehearsal.trace.relations import Relations, read_files, read_relations
from django_safemigrations.rehearsal.trace.transactions import OpenTransaction, hazard_of
from django_safemigrations.rehearsal.trace.watcher import Polled, Watcher

T = TypeVar("T")

Execute = Callable[[Any, Any, bool, Any], Any]


class Tracer:
    """Traces the statements of one connection, step by step; a listener of `rehearsal.steps`.

    Used as a context manager around the run. Statements are looked at from inside of their
    transaction: outside of one they are given one, unless they refuse it; those are watched
    from a second session. Nothing else changes for them: timeouts, retries of the lock guard
    and errors stay what they are.

    Args:
        connection: to the copy; of PostgreSQL 15 or later.
        limits: from where on a hold or a change of rows counts as a hazard.
        clock: seconds; injected by tests.

    Attributes:
        relations: the tables and indexes as they are now.
        watcher: the second session.

    Locks: none but ACCESS SHARE, before the run, on each table; one session more.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper | ConnectionProxy[Any],
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(connection, ConnectionProxy):
            # `django.db.connection`; transactions end on the object behind it.
            connection = connections[connection.alias]
        self.connection = connection
        self.limits = limits or Limits()
        self.relations = Relations(())
        self._clock = clock
        self._zero = clock()
        self._spent = 0.0
        self._steps: dict[StepKey, Step] = {}
        self._step: Step | None = None
        self._over = False
        self._paused = False
        self._dirty = True
        self._wal = 0
        self._raw: Any = None
        self._prepared = False
        self._transaction: OpenTransaction | None = None
        self._attempts = Attempts()
        self.watcher = Watcher(connection, clock)
        self._stack = contextlib.ExitStack()

    # -- around the run ----------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin to trace.

        Raises:
            CantTrace: the copy's server is too old, or does not count what statements do.
            psycopg.Error: it has no second session to give.
        """
        self.connection.ensure_connection()
        refuse_blind(self.connection.connection)
        self.watcher.start()
        with self._stack as stack:
            stack.callback(self.watcher.stop)
            self.relations = read_relations(self.connection.connection)
            self._zero, self._spent = self._clock(), 0.0
            self._raw = self.connection.connection
            stack.enter_context(installed_innermost(self.connection, self._around))
            stack.enter_context(noticing_ends(self.connection, self._end_transaction))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop tracing.

        Raises:
            TraceLost: the second session was gone, and nothing else went wrong.
        """
        self._end_transaction(committed=False)
        self.watcher.ask()
        self._stack.close()
        if error is None:
            self.watcher.check()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the statements of a block out, such as checks at a boundary."""
        before, self._paused = self._paused, True
        try:
            # What checks take is no time of the step.
            with self._own_time() if not before else contextlib.nullcontext():
                yield
        finally:
            self._paused, self._dirty = before, True

    def steps(self) -> tuple[StepTrace, ...]:
        """Return what was traced, in the order in which steps began.

        Raises:
            TraceLost: the second session was gone meanwhile: there is no telling.
        """
        self.watcher.check()
        self._attempts.give_up()
        return tuple(step.frozen(self._now()) for step in self._steps.values())

    # -- as a listener -----------------------------------------------------------------

    def step_begins(self, key: StepKey) -> None:
        """Attribute statements to this step from now on; one that begins again is traced anew."""
        before = self._steps.get(key)
        started = self._now() if before is None else before.started
        self._step = self._steps[key] = Step(key, started)
        self._over = False

    def step_ends(self, key: StepKey) -> None:
        """Note how long it took; what comes before its commit is still counted to it."""
        step = self._steps.get(key)
        if step is not None:
            step.seconds, step.running = self._now() - step.started, False

    def committed(self, key: StepKey) -> None:
        """From now on count only what a schema editor has deferred to the step."""
        self._over = self._step is not None and not self._step.running

    # -- statements --------------------------------------------------------------------

    def _now(self) -> float:
        """Seconds since the beginning, without those that tracing itself has taken."""
        return self._clock() - self._zero - self._spent

    @contextlib.contextmanager
    def _own_time(self) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            self._spent += self._clock() - began

    def _around(self, execute: Execute, sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Run one statement (a Django execute wrapper, the innermost)."""

        def run() -> Any:
            return execute(sql, params, many, context)

        step, text = self._step, ways.text_of(sql)
        if step is None or self._paused or (self._over and not ways.may_be_deferred(text)):
            self._dirty = True
            return run()
        raw = self.connection.connection
        if raw is not self._raw:
            self._end_transaction(committed=False)
            self._raw, self._dirty, self._prepared = raw, True, False
        if "DISCARD" in text.upper() or "DEALLOCATE" in text.upper():
            self._prepared = False
        status = raw.info.transaction_status
        if status == TransactionStatus.IDLE and raw.autocommit:
            # One of the driver's own, whose end nothing told of.
            self._end_transaction(committed=True, unseen=True)
            way = ways.way_of(text)
            if way is ways.Way.PAST:
                return run()
            return (self._wrapped if way is ways.Way.WRAPPED else self._watched)(step, text, run)
        if status == TransactionStatus.INERROR or ways.touches_nothing(text):
            result = run()
            if ways.rolls_back(text):
                self._back_to_savepoint()
            elif raw.info.transaction_status == TransactionStatus.IDLE:
                # Said in SQL, where nothing else tells of it.
                self._end_transaction(committed=ways.commits(text), unseen=True)
            return result
        return self._inside(step, text, run)

    def _wrapped(self, step: Step, text: str, run: Callable[[], T]) -> T:
        """Run a statement in a transaction of its own, so that it can be looked at."""
        with self._own_time():
            self._begin_clean()
        transaction = OpenTransaction(self._now(), Look(wal=self._wal))
        try:
            with self.connection.wrap_database_errors, self._raw.transaction():
                result = self._looked_at(step, text, run, transaction)
        except Exception as error:
            self._undo(transaction)
            if sqlstate(error) != ways.INVALID_TRANSACTION_TERMINATION:
                raise
        else:
            self._close(transaction, transaction.settled)
            self._dirty = True
            return result
        # A procedure that commits: everything was rolled back, and now it may.
        return self._watched(step, text, run)

    def _inside(self, step: Step, text: str, run: Callable[[], T]) -> T:
        """Run a statement in the transaction that is open, or that it begins."""
        transaction = self._transaction
        if transaction is None:
            transaction = self._transaction = OpenTransaction(self._now(), Look(wal=self._wal))
        if self._dirty:
            with self._own_time(), self.connection.wrap_database_errors:
                transaction.look = self._look().and_of(looks.pending(self._raw))
                self._dirty = False
        return self._looked_at(step, text, run, transaction)

    def _looked_at(
        self, step: Step, text: str, run: Callable[[], T], transaction: OpenTransaction
    ) -> T:
        self.watcher.begin(self._raw.info.backend_pid)
        started = self._now()
        try:
            result = run()
        except BaseException as error:
            self._failed(step, text, started, self.watcher.end(), error)
            raise
        ended = self._now()
        with self._own_time(), self.connection.wrap_database_errors:
            polled = self.watcher.end()
            self.watcher.check()
            if self._raw.info.transaction_status != TransactionStatus.INTRANS:
                # It said COMMIT, and what it held is let go.
                self._left(step, text, started, ended, polled)
                return result
            after = self._look().and_of(transaction.look.counters)
            transaction.remember(after, self.relations)
            facts = facts_inside(text, transaction.look, after, self.relations, polled)
            transaction.look = after
            if worth_telling(facts, self.relations, ended - started):
                record = self._attempts.record(step, facts, started, ended, self.relations)
                transaction.take(step, record, facts, self.relations, ended)
        return result

    def _watched(self, step: Step, text: str, run: Callable[[], T]) -> T:
        """Run a statement that can't be looked at from inside, under the eyes of a second session."""
        with self._own_time(), self.connection.wrap_database_errors:
            before = looks.totals(self._raw)
            self._wal = looks.flush(self._raw)
            self.watcher.begin(self._raw.info.backend_pid, closely=True)
        started = self._now()
        try:
            result = run()
        except BaseException as error:
            polled = self.watcher.end()
            self._failed(step, text, started, polled, error)
            with contextlib.suppress(psycopg.Error):
                # A concurrent build that failed leaves something behind.
                facts_outside(text, {}, read_files(self._raw), self.relations, polled, 0)
            raise
        ended = self._now()
        with self._own_time(), self.connection.wrap_database_errors:
            polled = self.watcher.end()
            self.watcher.check()
            self._left(step, text, started, ended, polled, before)
        return result

    def _left(
        self,
        step: Step,
        text: str,
        started: float,
        ended: float,
        polled: Polled,
        before: dict[int, Counters] | None = None,
    ) -> None:
        """Add a statement whose transaction is over."""
        self._end_transaction(committed=True)
        if _is_open(self._raw):
            return
        counters = {}
        if before is not None:
            now = looks.totals(self._raw)
            counters = {t: c.since(before.get(t, NONE)) for t, c in now.items()}
        wal = looks.flush(self._raw)
        facts = facts_outside(
            text, counters, read_files(self._raw), self.relations, polled, max(0, wal - self._wal)
        )
        self._wal, self._dirty = wal, False
        record = self._attempts.record(step, facts, started, ended, self.relations)
        record.end(ended)
        step.records.add(record)
        for suspect in suspects(facts, self.relations, wrote=False, deferred=not step.running):
            key = (suspect.relation, suspect.mode)
            held = polled.held.get(key, ended - started)
            step.add_hazard(hazard_of(suspect, held, self.relations))

    def _look(self) -> Look:
        if not self._prepared:
            looks.prepare(self._raw)
            self._prepared = True
        return looks.look(self._raw)

    def _failed(
        self, step: Step, text: str, started: float, polled: Polled, error: BaseException
    ) -> None:
        seconds = self._now() - started
        self._attempts.failed(step, text, started, seconds, polled, error, self.relations)

    # -- transactions ------------------------------------------------------------------

    def _begin_clean(self) -> None:
        if self._dirty:
            with self.connection.wrap_database_errors:
                self._wal = looks.flush(self._raw)
            self._dirty = False

    def _end_transaction(self, *, committed: bool, unseen: bool = False) -> None:
        """Note that a transaction is over."""
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return
        if not committed:
            self._undo(transaction)
        self._close(transaction, transaction.settled if unseen else self._now())
        self._dirty = True
        raw = self.connection.connection
        if raw is None or raw.closed or raw.autocommit or _is_open(raw):
            return
        # Still in the way that Atomic has set: a query begins a transaction of its own.
        with contextlib.suppress(psycopg.Error), self._own_time():
            self._wal = looks.flush(raw)
            raw.commit()
            self._dirty = False

    def _close(self, transaction: OpenTransaction, ended: float) -> None:
        last = None
        for step, records in transaction.records.values():
            last = step
            for record in records:
                record.end(ended)
                step.records.add(record)
        for step, hazard in transaction.hazards(ended, self.relations, self.limits, last):
            step.add_hazard(hazard)

    def _undo(self, transaction: OpenTransaction) -> None:
        for oid, relation in transaction.before.items():
            if relation is None:
                self.relations.drop(oid)
            else:
                self.relations.put(relation)

    def _back_to_savepoint(self) -> None:
        """Take over that locks taken since the savepoint are free, and files what they were."""
        transaction = self._transaction
        if transaction is None:
            return
        now = self._now()
        with self._own_time(), self.connection.wrap_database_errors:
            after = self._look().and_of(transaction.look.counters)
            transaction.look = after
            there = {relation.oid: relation for relation in read_files(self._raw)}
        transaction.released(now, self.relations)
        for oid, before in transaction.before.items():
            relation = there.get(oid)
            if relation is None:
                self.relations.drop(oid)
            else:
                rows = before.rows if before is not None else 0
                self.relations.put(replace(relation, rows=rows))


def _is_open(raw: psycopg.Connection[Any]) -> bool:
    return raw.info.transaction_status != TransactionStatus.IDLE
