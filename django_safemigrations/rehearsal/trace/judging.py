"""Which hazards of the catalogue happened: rules over facts, that know nothing of the linter.

Only what makes others wait counts, and only on tables that were there before the plan and hold
rows: work on every row while a lock is held, and locks or changed rows that are kept for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django_safemigrations.postgres.sqlwords import SqlStatement, has, read_statements
from django_safemigrations.rehearsal.trace.facts import Facts
from django_safemigrations.rehearsal.trace.relations import (
    BLOCKING,
    STOPS_EVERYTHING,
    Relations,
    strongest,
)


@dataclass(frozen=True)
class Limits:
    """From where on something counts.

    Attributes:
        long: seconds that a lock may be held, whatever for.
        many: rows that one transaction may change, however long it takes.
        slow: seconds that changed rows may be locked, if they are more: a batch is to take 0.1.
        nearly_all: share of a table's rows from which on a change is one of the whole table.
        batch: seconds that such a change may take.
    """

    long: float = 1.0
    many: int = 10_000
    slow: float = 2.0
    nearly_all: float = 0.9
    batch: float = 0.3


@dataclass(frozen=True)
class Suspect:
    """A hazard before it is known how long its lock was held.

    Attributes:
        code: of the catalogue.
        relation: the table that others could not use.
        mode: the lock that stopped them; empty for row locks.
        sql: the statement.
        what: what happened, as a clause.
        of_migration: see `HazardSeen`.
    """

    code: str
    relation: int
    mode: str
    sql: str
    what: str
    of_migration: bool = False


@dataclass
class Written:
    """Rows that a transaction has updated or deleted in one table.

    Attributes:
        rows: how many.
        statements: by how many statements.
        since: when the first of them began.
        at_first: how many rows the table had then.
        sql: one of them.
    """

    rows: int
    statements: int
    since: float
    at_first: int
    sql: str


@dataclass(frozen=True)
class Work:
    """What a statement did with every row of a table."""

    table: int
    kind: str
    what: str
    index: int = 0


@dataclass
class Said:
    """The words of a statement, read when they are needed.

    Attributes:
        sql: its text.
    """

    sql: str
    _read: list[SqlStatement] | None = field(default=None, repr=False)

    @property
    def statements(self) -> list[SqlStatement]:
        """The statements of the text."""
        if self._read is None:
            self._read = read_statements(self.sql)
        return self._read

    def begins(self, *words: str) -> bool:
        """Whether one of the statements begins with one of these words."""
        return any(statement.words[0].is_(*words) for statement in self.statements)

    def has(self, *words: str) -> bool:
        """Whether these words stand next to each other in one of them, outside of parentheses."""
        return any(has(statement.words, *words) for statement in self.statements)

    @property
    def alters(self) -> bool:
        """Whether it says itself what it does to a table, and no function does it for it."""
        return self.begins("ALTER", "CREATE")


def suspects(facts: Facts, known: Relations, *, wrote: bool, deferred: bool) -> Iterator[Suspect]:
    """Yield the hazards of one statement.

    Args:
        facts: what it did.
        known: the relations after it.
        wrote: whether its transaction had changed rows of a table before it.
        deferred: whether it came after the last operation, which may not be the one it is of.
    """
    found = list(_work(facts, known))
    if not found:
        return
    said = Said(facts.sql)
    for work in found:
        mode = _blocking_mode(facts, work, said, known)
        if mode:
            by_itself = bool(mode in facts.added.get(work.table, ()) or facts.concurrent)
            yield Suspect(
                _code(work, said, facts, wrote=wrote, by_itself=by_itself),
                work.table,
                mode,
                facts.sql,
                work.what,
                of_migration=deferred,
            )
    # What else the transaction keeps others from, while this table is worked through.
    worked = {work.table for work in found}
    what = f"while {' and '.join(sorted(map(known.name, worked)))} was worked through"
    for oid in {*facts.earlier, *facts.added} - worked:
        mode = strongest(facts.held(oid) & BLOCKING)
        relation = known.get(oid)
        # A partitioned table is worked through when a partition is.
        if known.partitions.get(oid, frozenset()) & worked:
            continue
        if mode and relation is not None and relation.is_table and known.served(oid):
            yield Suspect("DSM406", oid, mode, facts.sql, what, of_migration=True)


def _work(facts: Facts, known: Relations) -> Iterator[Work]:
    for table in facts.rewritten:
        if known.served(table):
            yield Work(table, "rewrite", "was written anew")
    for built in facts.built:
        table = built.index.table
        if known.served(table) and table not in facts.rewritten:
            how = "built anew" if built.rebuilt else "built"
            yield Work(table, "build", f"had its index {built.index.name} {how}", built.index.oid)
    busy = {*facts.rewritten, *(built.index.table for built in facts.built)}
    for table, rows in facts.scanned.items():
        if known.served(table) and table not in busy:
            yield Work(table, "scan", f"was read through ({rows} rows)")


def _blocking_mode(facts: Facts, work: Work, said: Said, known: Relations) -> str:
    """Return the lock under which a table was worked through, if it stops anybody."""
    modes = facts.held(work.table)
    # A new index is locked as well, and nobody knows of it yet.
    if work.index in known.original:
        modes |= facts.held(work.index)
    mode = strongest(modes & BLOCKING)
    if mode or not facts.concurrent:
        return mode
    # Polls miss a lock that is held for less than a moment; these are known to take one.
    if work.kind == "rewrite":
        return STOPS_EVERYTHING
    return "ShareLock" if work.kind == "build" and not said_concurrently(said) else ""


def said_concurrently(said: Said) -> bool:
    """Whether one of the statements says CONCURRENTLY."""
    return any(word.is_("CONCURRENTLY") for s in said.statements for word in s.words)


Rule = tuple[str, Callable[[Said], bool]]
REWRITES: tuple[Rule, ...] = (
    ("DSM604", lambda said: said.begins("TRUNCATE")),
    ("DSM609", lambda said: said.begins("REFRESH")),
    ("DSM506", lambda said: said.alters and said.has("TYPE")),
    ("DSM510", lambda said: said.alters and said.has("ADD", "COLUMN")),
)
BUILDS: tuple[Rule, ...] = (
    ("DSM607", lambda said: said.begins("REINDEX")),
    ("DSM101", lambda said: said.begins("CREATE") and said.has("INDEX")),
    ("DSM613", lambda said: said.has("ATTACH", "PARTITION")),
    ("DSM506", lambda said: said.alters and said.has("TYPE")),
    ("DSM502", lambda said: said.alters and said.has("ADD", "COLUMN")),
    ("DSM516", lambda said: said.alters and said.has("EXCLUDE")),
    ("DSM533", lambda said: said.alters and said.has("PRIMARY", "KEY")),
    ("DSM507", lambda said: said.alters and said.has("UNIQUE")),
)
SCANS: tuple[Rule, ...] = (
    ("DSM609", lambda said: said.begins("REFRESH")),
    ("DSM613", lambda said: said.has("ATTACH", "PARTITION")),
    ("DSM506", lambda said: said.alters and said.has("TYPE")),
    ("DSM502", lambda said: said.alters and said.has("ADD", "COLUMN")),
    ("DSM509", lambda said: said.alters and (said.has("FOREIGN", "KEY") or said.has("REFERENCES"))),
    ("DSM201", lambda said: said.alters and said.has("SET", "NOT", "NULL")),
    ("DSM507", lambda said: said.alters and (said.has("CHECK") or said.has("VALIDATE"))),
)
ELSE = {"rewrite": "DSM606", "build": "DSM101", "scan": "DSM507"}
"""For work that a function, a trigger or a procedure did: the statement itself says nothing."""


def _code(work: Work, said: Said, facts: Facts, *, wrote: bool, by_itself: bool) -> str:
    rules = {"rewrite": REWRITES, "build": BUILDS, "scan": SCANS}[work.kind]
    code = next((code for code, rule in rules if rule(said)), "")
    if code == "DSM201" and wrote:
        return "DSM203"
    if code or by_itself:
        return code or ELSE[work.kind]
    counted = facts.counters.get(work.table)
    return "DSM707" if counted is not None and counted.written else "DSM406"


def suspects_of_transaction(
    written: dict[int, Written],
    locks: dict[tuple[int, str], float],
    ended: float,
    known: Relations,
    limits: Limits,
    said: dict[int, str],
) -> Iterator[Suspect]:
    """Yield the hazards of a transaction as a whole, once it has ended.

    Args:
        written: rows updated and deleted, by table.
        locks: when each lock was granted, by relation and mode.
        ended: when it ended; on the clock of `locks`.
        known: the relations.
        limits: from where on it counts.
        said: the statement that took the strongest lock, by relation.
    """
    for table, rows in written.items():
        took = ended - rows.since
        whole = rows.rows >= rows.at_first * limits.nearly_all and took >= limits.batch
        if table not in known.original or rows.rows < limits.many:
            continue
        if whole or took >= limits.slow:
            by_row = rows.statements * 10 >= rows.rows
            yield Suspect(
                "DSM701" if by_row else "DSM402",
                table,
                "",
                rows.sql,
                f"had {rows.rows} of its {rows.at_first} rows changed in one transaction",
                of_migration=True,
            )
    for (oid, mode), granted in locks.items():
        relation = known.get(oid)
        blocks = mode in BLOCKING and relation is not None and relation.is_table
        if blocks and known.served(oid) and ended - granted >= limits.long:
            what = "was kept locked until its transaction ended"
            yield Suspect("DSM709", oid, mode, said.get(oid, ""), what, of_migration=True)
