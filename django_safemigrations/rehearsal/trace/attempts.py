"""Makes records of statements; attempts that did not get their lock become one with the last."""

from __future__ import annotations

from django_safemigrations.postgres.errors import DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, sqlstate
from django_safemigrations.rehearsal.trace import ways
from django_safemigrations.rehearsal.trace.facts import Facts
from django_safemigrations.rehearsal.trace.records import Lock, Record, Step
from django_safemigrations.rehearsal.trace.relations import STOPS_DDL, STRENGTH, Relations
from django_safemigrations.rehearsal.trace.watcher import Polled

BOOKKEEPING = ('"django_migrations"', '"django_safemigrations_')
"""Tables in which it is noted what was run: nobody else waits for them."""
TOLD = 0.05
"""Seconds from which on a query is told of though it touched no table."""


class Attempts:
    """Remembers statements that were refused a lock, until they are sent again."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[Record, Step]] = {}

    def failed(
        self,
        step: Step,
        text: str,
        started: float,
        seconds: float,
        polled: Polled,
        error: BaseException,
        known: Relations,
    ) -> None:
        """Add a statement that raised, unless it is sent again: that may come, or comes now."""
        if sqlstate(error) == ways.INVALID_TRANSACTION_TERMINATION:
            return
        record = Record(text[: ways.LONGEST], started, seconds)
        record.waited = polled.waited
        for (relation, mode), waited in polled.waits.items():
            if relation:
                record.locks[known.name(relation), mode] = Lock(started + seconds, waited, 0.0)
        if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
            step.records.add(record)
            return
        refused = self._refused.get(text)
        if refused is None or refused[1].key != step.key:
            self._refused[text] = record, step
            return
        first = refused[0]
        first.attempts += 1
        first.waited = started + seconds - first.started
        first.locks.update(record.locks)
        # The step may have begun anew meanwhile.
        self._refused[text] = first, step

    def record(
        self, step: Step, facts: Facts, started: float, ended: float, known: Relations
    ) -> Record:
        """Return the record of a statement that did what it should, with earlier attempts in it."""
        record = Record(facts.sql[: ways.LONGEST], started, ended - started)
        if not step.running:
            step.seconds += ended - started
        record.add(facts, known)
        record.waited = facts.polled.waited
        refused = self._refused.get(facts.sql)
        if refused is not None and refused[1].key == step.key:
            del self._refused[facts.sql]
            first = refused[0]
            record.attempts += first.attempts
            record.waited += started - first.started
            record.seconds += started - first.started
            record.started = first.started
        for oid, modes in facts.added.items():
            relation, name = known.get(oid), known.name(oid)
            for mode in modes:
                if not _is_told(mode, is_index=relation is not None and relation.is_index):
                    continue
                waited = facts.polled.waits.get((oid, mode), 0.0)
                if refused is not None and (name, mode) in refused[0].locks:
                    waited = record.waited
                held = facts.polled.held.get((oid, mode)) if facts.concurrent else None
                record.locks[name, mode] = Lock(started + facts.polled.waited, waited, held)
            if oid not in known.original:
                record.new_relations.add(name)
        return record

    def give_up(self) -> None:
        """Add those that never got their lock to their steps."""
        for record, step in self._refused.values():
            step.records.add(record)
        self._refused.clear()


def worth_telling(facts: Facts, known: Relations, seconds: float) -> bool:
    """Whether a statement is told of: not what only asks the catalog, or keeps our books."""
    touched = {*facts.added, *facts.counters, *facts.rewritten}
    if touched:
        names = [known.name(oid).rpartition(".")[2] for oid in touched]
        return not all(name.startswith(BOOKKEEPING) for name in names)
    return seconds >= TOLD or not ways.only_reads(facts.sql) or bool(facts.polled.waits)


def _is_told(mode: str, *, is_index: bool) -> bool:
    """Whether a lock is told of: an index is always locked as its table is read or written."""
    return mode in STRENGTH and (not is_index or STRENGTH.index(mode) >= STRENGTH.index(STOPS_DDL))
