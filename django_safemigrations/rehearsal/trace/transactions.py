"""A transaction while it is open: what it holds since when, what it did, and what can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django_safemigrations.rehearsal.results import HazardSeen
from django_safemigrations.rehearsal.trace.facts import Facts
from django_safemigrations.rehearsal.trace.judging import (
    Limits,
    Suspect,
    Written,
    suspects,
    suspects_of_transaction,
)
from django_safemigrations.rehearsal.trace.looks import Look
from django_safemigrations.rehearsal.trace.records import Record, Records, Step
from django_safemigrations.rehearsal.trace.relations import Relation, Relations, stops

SHOWN = 300
"""Characters of a statement in a message."""


@dataclass
class OpenTransaction:
    """One transaction.

    Attributes:
        began: when its first statement began; on the tracer's clock.
        look: what was seen last.
        records: by step, what its statements did.
        granted: when each lock was granted, by relation and mode.
        taken_by: the statement that took the strongest lock of a relation.
        written: rows updated and deleted, by table.
        found: hazards, with the step in which they came up and when.
        before: relations as they were before it changed them; None if they were not there.
        settled: the moment at which its last statement ended.
    """

    began: float
    look: Look = field(default_factory=Look)
    records: dict[int, tuple[Step, Records]] = field(default_factory=dict)
    granted: dict[tuple[int, str], float] = field(default_factory=dict)
    taken_by: dict[int, str] = field(default_factory=dict)
    written: dict[int, Written] = field(default_factory=dict)
    found: dict[tuple[str, int], tuple[Step, Suspect, float]] = field(default_factory=dict)
    before: dict[int, Relation | None] = field(default_factory=dict)
    settled: float = 0.0

    def remember(self, look: Look, known: Relations) -> None:
        """Keep what is known of relations before it changes."""
        for oid in (*look.relations, *look.gone):
            self.before.setdefault(oid, known.get(oid))

    def take(
        self, step: Step, record: Record, facts: Facts, known: Relations, ended: float
    ) -> None:
        """Add what a statement did."""
        for suspect in suspects(facts, known, wrote=bool(self.written), deferred=not step.running):
            self.found.setdefault((suspect.code, suspect.relation), (step, suspect, record.started))
        for oid, modes in facts.added.items():
            for mode in modes:
                self.granted.setdefault((oid, mode), record.started + record.waited)
            self.taken_by.setdefault(oid, facts.sql)
        for table, counted in facts.counters.items():
            rows = counted.updated + counted.deleted
            if not rows:
                continue
            known_rows = facts.rows.get(table, 0)
            mine = self.written.setdefault(
                table, Written(0, 0, record.started + record.waited, known_rows, facts.sql)
            )
            mine.rows += rows
            mine.statements += 1
        _, records = self.records.setdefault(id(step), (step, Records()))
        records.add(record)
        self.settled = ended

    def released(self, now: float, known: Relations) -> None:
        """Note which locks are free since it went back to a savepoint."""
        held = self.look.locks
        for oid, mode in [key for key in self.granted if key[1] not in held.get(key[0], ())]:
            del self.granted[oid, mode]
            for _, records in self.records.values():
                for record in records:
                    record.release(known.name(oid), mode, now)

    def hazards(
        self, ended: float, known: Relations, limits: Limits, last: Step | None
    ) -> Iterator[tuple[Step, HazardSeen]]:
        """Yield the hazards, now that it is known how long everything was held.

        Args:
            ended: when it ended.
            known: the relations as it left them.
            limits: from where on something counts.
            last: the step of its last statement, for hazards of the whole.
        """
        told = set()
        for step, suspect, started in self.found.values():
            told.add(suspect.relation)
            yield step, self._hazard(suspect, started, ended, known)
        if last is None:
            return
        for suspect in suspects_of_transaction(
            self.written, self.granted, ended, known, limits, self.taken_by
        ):
            # What was held for long because of work is told already, with its reason.
            if suspect.relation not in told:
                began = self.written[suspect.relation].since if not suspect.mode else self.began
                yield last, self._hazard(suspect, began, ended, known)

    def _hazard(
        self, suspect: Suspect, started: float, ended: float, known: Relations
    ) -> HazardSeen:
        since = self.granted.get((suspect.relation, suspect.mode), started)
        return hazard_of(suspect, max(0.0, ended - since), known)


def hazard_of(suspect: Suspect, held: float, known: Relations) -> HazardSeen:
    """Return a hazard with its message.

    Args:
        suspect: what happened.
        held: for how many seconds others would have waited.
        known: the relations.
    """
    relation = known.get(suspect.relation)
    name = known.name(suspect.relation)
    blocks = stops(suspect.mode) if suspect.mode else "writes to the same rows"
    under = f" under {suspect.mode}" if suspect.mode else ""
    message = f"{name} {suspect.what}{under}: {blocks} would have waited for {held:.3f} s"
    if suspect.code == "DSM406":
        message = (
            f"{name} was locked ({suspect.mode}) {suspect.what}: "
            f"{blocks} would have waited for {held:.3f} s"
        )
    return HazardSeen(
        code=suspect.code,
        message=message,
        relation=name,
        statement=" ".join(suspect.sql.split())[:SHOWN],
        blocks=blocks,
        held=round(held, 6),
        rows=relation.rows if relation is not None else 0,
        bytes=known.bytes_with_indexes(suspect.relation),
        of_migration=suspect.of_migration,
    )
