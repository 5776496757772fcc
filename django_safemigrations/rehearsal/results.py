"""What a rehearsal found out: values only, written to JSON and read back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Direction(StrEnum):
    """Which way a pass went."""

    FORWARDS = "forwards"
    BACKWARDS = "backwards"
    FORWARDS_AGAIN = "forwards again"


@dataclass(frozen=True)
class StepKey:
    """One operation of a migration, or one stage of an Expand or Contract.

    Attributes:
        app_label: app of the migration.
        migration: name of the migration.
        operation: index in ``operations``, nested as ``"3.0"``.
        phase: "expand" or "contract".
        description: what it does, in words.
    """

    app_label: str
    migration: str
    operation: str
    phase: str
    description: str

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration} {self.operation} ({self.description})"


@dataclass(frozen=True)
class LockSeen:
    """A table lock that a statement took.

    Attributes:
        relation: schema and name of the table or index, quoted.
        mode: as pg_locks names it: "AccessExclusiveLock".
        blocks: who waits: "reads and writes", "writes", "schema changes only" or "nobody".
        waited: seconds until it was granted, about; 0.0 if at once.
        held: seconds from its grant to the end of its transaction.
    """

    relation: str
    mode: str
    blocks: str
    waited: float
    held: float


@dataclass(frozen=True)
class ScanSeen:
    """A table whose rows a statement read through.

    Attributes:
        relation: schema and name of the table, quoted.
        rows: rows read.
    """

    relation: str
    rows: int


@dataclass(frozen=True)
class HazardSeen:
    """A hazard that happened, under the code that lintmigrations gives it.

    Attributes:
        code: the catalogue's code.
        message: what happened, to which object, and who would have waited.
        relation: the table that others could not use, quoted.
        statement: the statement, shortened.
        blocks: who waits, as in `LockSeen`, or "writes to the same rows".
        held: for how many seconds, on the copy.
        rows: rows of the table, on the copy.
        bytes: size of the table with its indexes, on the copy.
        of_migration: it is the migration's as a whole; its step may not be the one that lint names.
    """

    code: str
    message: str
    relation: str = ""
    statement: str = ""
    blocks: str = ""
    held: float = 0.0
    rows: int = 0
    bytes: int = 0
    of_migration: bool = False


@dataclass(frozen=True)
class StatementTrace:
    """One statement and what it did.

    Attributes:
        sql: the statement, its parameters left out where they are data.
        started: seconds since the beginning of the pass.
        seconds: how long it ran.
        locks: table locks that it added to its transaction.
        rewrites: tables that got a new file.
        index_builds: indexes that were built or rebuilt.
        scans: tables that were read through.
        rows: rows inserted, updated and deleted.
        wal_bytes: WAL written meanwhile; by everybody on the server of the copy.
        disk_bytes: growth of the tables and indexes it changed.
        concurrent: it ran outside of a transaction and was watched from a second session.
        waited: seconds that it waited for locks and for other transactions; with the pauses
            between attempts, if the lock guard repeated it.
        attempts: how often it was sent until it got its locks.
        repeats: how many statements of this shape are told as one; figures are their sums, waits
            and holds their longest.
    """

    sql: str
    started: float
    seconds: float
    locks: tuple[LockSeen, ...] = ()
    rewrites: tuple[str, ...] = ()
    index_builds: tuple[str, ...] = ()
    scans: tuple[ScanSeen, ...] = ()
    rows: int = 0
    wal_bytes: int = 0
    disk_bytes: int = 0
    concurrent: bool = False
    waited: float = 0.0
    attempts: int = 1
    repeats: int = 1


@dataclass(frozen=True)
class StepTrace:
    """One step of a pass.

    Attributes:
        key: which step.
        started: seconds since the beginning of the pass.
        seconds: how long it took.
        statements: in order.
        hazards: what of the catalogue happened.
    """

    key: StepKey
    started: float
    seconds: float
    statements: tuple[StatementTrace, ...] = ()
    hazards: tuple[HazardSeen, ...] = ()


@dataclass(frozen=True)
class CallFailure:
    """A call of running code that failed at a step boundary.

    Attributes:
        generation: "old" or "new" code.
        model: label of the model.
        call: what was tried, such as "bulk_create" or "filter(total=…)".
        statement: the SQL that failed, if any was sent.
        error: the error, with its SQLSTATE.
    """

    generation: str
    model: str
    call: str
    statement: str
    error: str


@dataclass(frozen=True)
class BoundaryCheck:
    """What running code could do after a step was committed.

    Attributes:
        after: the step; None before the first.
        generations: the code that may be running then.
        calls: how many calls were made.
        failures: those that failed.
        not_tried: what was left out, and why; one line each.
        slower: writes that take many times as long as before the plan; one line each.
    """

    after: StepKey | None
    generations: tuple[str, ...]
    calls: int
    failures: tuple[CallFailure, ...] = ()
    not_tried: tuple[str, ...] = ()
    slower: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadSeen:
    """What clients that worked meanwhile felt.

    Attributes:
        requests: how many they made.
        failed: how many failed.
        p50: median latency in seconds.
        p99: 99th percentile in seconds.
        longest: in seconds.
        baseline_p99: 99th percentile before the plan began, in seconds.
        errors: some errors, one line each.
        slowest: the slowest requests, one line each: how long, what, and during which step.
    """

    requests: int
    failed: int
    p50: float
    p99: float
    longest: float
    baseline_p99: float
    errors: tuple[str, ...] = ()
    slowest: tuple[str, ...] = ()


@dataclass(frozen=True)
class PassTrace:
    """The plan run once, in one direction.

    Attributes:
        direction: which way.
        seconds: how long it took.
        steps: in the order in which they ran.
        boundaries: what running code could do between them.
        load: what clients felt, if there were any.
        error: why it ended early; empty if it did not.
    """

    direction: Direction
    seconds: float
    steps: tuple[StepTrace, ...] = ()
    boundaries: tuple[BoundaryCheck, ...] = ()
    load: LoadSeen | None = None
    error: str = ""


@dataclass(frozen=True)
class RoundTrip:
    """What differed where nothing should; one line each.

    Attributes:
        schema_after_back: catalog after forwards and backwards against the beginning.
        schema_after_forwards: catalog after forwards against what plain Django makes.
        schema_after_again: catalog after the second way forwards against the first.
        data: row counts and checksums of columns that the plan does not touch.
        not_compared: what could not be compared, and why.
    """

    schema_after_back: tuple[str, ...] = ()
    schema_after_forwards: tuple[str, ...] = ()
    schema_after_again: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[str, ...]:
        """All of them."""
        return (
            *self.schema_after_back,
            *self.schema_after_forwards,
            *self.schema_after_again,
            *self.data,
        )


@dataclass(frozen=True)
class Estimate:
    """What a step will cost in production, from what it cost on the copy.

    Attributes:
        key: which step.
        seconds: how long it will take; scaled by rows where the copy holds a sample.
        blocking_seconds: how long its longest blocking lock will be held.
        wal_bytes: WAL that it will write.
        disk_bytes: disk that it will need.
        scaled: whether the figures were scaled up.
    """

    key: StepKey
    seconds: float
    blocking_seconds: float
    wal_bytes: int
    disk_bytes: int
    scaled: bool


@dataclass(frozen=True)
class CopyFacts:
    """The copy that was used.

    Attributes:
        kind: "dump", "template", "existing" or "sample".
        source: what was copied: database name and host, never a password.
        place: where the copy was: database name and host.
        server_version: of the copy's server, as it names itself.
        size_bytes: size of the copy.
        seconds: how long copying took.
        sampled: share of the rows that was copied, 1.0 for all.
        notes: what the reader must know: versions that differ, extensions that were missing.
    """

    kind: str
    source: str
    place: str
    server_version: str
    size_bytes: int
    seconds: float
    sampled: float = 1.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemSeen:
    """A checklist item as it stood after the rehearsal.

    Attributes:
        item: its name.
        title: what it asks for.
        state: "met", "unmet", "waived" or "off".
        evidence: what this rests on.
    """

    item: str
    title: str
    state: str
    evidence: str


@dataclass(frozen=True)
class Rehearsal:
    """A plan tried on a copy.

    Attributes:
        plan_hash: what it is evidence for.
        database: alias of the database.
        migrations: the migrations of the plan as "app_label.name", in order.
        started_at: when it began.
        finished_at: when it ended.
        copy: the copy.
        passes: forwards, backwards, forwards again, as far as it came.
        round_trip: what differed.
        estimates: what production has to expect.
        checklist: the seven items.
        rollback_plan: the way back, as lines of text.
        problems: why it does not count as passed; one paragraph each.
        notes: what happened and is no problem here: a hazard on a small table; one line each.
        package_version: of this package.
    """

    plan_hash: str
    database: str
    migrations: tuple[str, ...]
    started_at: datetime
    finished_at: datetime
    copy: CopyFacts
    passes: tuple[PassTrace, ...]
    round_trip: RoundTrip = field(default_factory=RoundTrip)
    estimates: tuple[Estimate, ...] = ()
    checklist: tuple[ItemSeen, ...] = ()
    rollback_plan: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    package_version: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against running the plan."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        document: dict[str, Any] = _plain(self)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rehearsal:
        """Read what `as_json` returned.

        Raises:
            ValueError, TypeError, KeyError: it is not such a document.
        """
        return _built(cls, document)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, StrEnum) else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _built(kind: type[T], document: Mapping[str, Any]) -> T:
    hints = _hints(kind)  # type: ignore[arg-type]
    given = {
        f.name: _value(hints[f.name], document[f.name])
        for f in dataclasses.fields(kind)  # type: ignore[arg-type]
        if f.name in document
    }
    return kind(**given)


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], part) for part in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    return hint(value) if isinstance(hint, type) and issubclass(hint, StrEnum | float) else value
