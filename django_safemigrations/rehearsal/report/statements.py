"""Statements of a step, those that were sent again and again put together, the rest left to the JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django_safemigrations.rehearsal.report.figures import count, counted, duration, size
from django_safemigrations.rehearsal.report.locks import LockUse, figure, uses
from django_safemigrations.rehearsal.report.shown import relation_name
from django_safemigrations.rehearsal.results import StatementTrace

MOST_OF_A_STEP, LEAST_OF_A_STEP, ALL = 50, 3, 1200
"""How many statements are shown: of a step, of a step when there are many, and of all."""
LONGEST, SHORTEST, CHARACTERS = 8000, 200, 240_000
"""How many characters are shown: of a statement, of one when there are many, and of all."""
WORTH_TELLING = 0.0005
"""Seconds of waiting below which nothing is said."""
FOLDED = 500
"""From so many characters on, a statement is folded."""


@dataclass(frozen=True)
class Limits:
    """How much is shown of each step.

    Attributes:
        statements: most statements of a step.
        characters: most characters of a statement.
    """

    statements: int
    characters: int

    @classmethod
    def of(cls, steps: Sequence[Sequence[StatementTrace]]) -> Limits:
        """Return limits that keep the report of these steps small.

        Args:
            steps: statements of each step that will be shown.
        """
        share = ALL // max(len(steps), 1)
        most = max(LEAST_OF_A_STEP, min(MOST_OF_A_STEP, share))
        shown = sum(min(most, len({s.sql for s in statements})) for statements in steps)
        characters = max(SHORTEST, min(LONGEST, CHARACTERS // max(shown, 1)))
        return cls(most, characters)


@dataclass(frozen=True)
class Group:
    """One statement as it is shown, with all the times that it was sent.

    Attributes:
        sql: its text, cut if it is very long.
        first_line: of its text, if it is to be folded; else empty.
        left_out: characters that were cut.
        times: how often it was sent.
        seconds: how long all of them ran.
        facts: what it did, in words.
        locks: table locks that it took.
        rewrites: tables that got a new file.
        index_builds: indexes that were built.
        scans: tables that were read through, with rows.
    """

    sql: str
    first_line: str
    left_out: str
    times: int
    seconds: float
    facts: tuple[str, ...]
    locks: tuple[LockUse, ...]
    rewrites: tuple[str, ...]
    index_builds: tuple[str, ...]
    scans: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """The statements of a step as they are shown.

    Attributes:
        groups: in the order in which they were first sent.
        rest: what was left out, in words; empty if nothing was.
    """

    groups: tuple[Group, ...]
    rest: str = ""


def shown_statements(statements: Sequence[StatementTrace], limits: Limits) -> Shown:
    """Return what to show of the statements of a step.

    When there are too many, those that block, rewrite, scan and take longest stay.
    """
    by_sql: dict[str, list[StatementTrace]] = {}
    for statement in statements:
        by_sql.setdefault(statement.sql, []).append(statement)
    ordered = list(by_sql.values())
    telling = sorted(range(len(ordered)), key=lambda place: _weight(ordered[place]), reverse=True)
    kept = sorted(telling[: limits.statements])
    left = [statement for place in telling[limits.statements :] for statement in ordered[place]]
    rest = ""
    if left:
        seconds = sum(figure(statement.seconds) for statement in left)
        times = count(sum(statement.repeats for statement in left))
        rest = f"{times} more statements, {duration(seconds)} together."
    return Shown(tuple(_group(ordered[place], limits.characters) for place in kept), rest)


def _weight(same: Sequence[StatementTrace]) -> tuple[int, bool, float]:
    found = uses(same)
    telling = any(s.rewrites or s.index_builds or s.scans for s in same)
    return found[0].rank if found else 0, telling, sum(figure(s.seconds) for s in same)


def _group(same: Sequence[StatementTrace], characters: int) -> Group:
    sql = same[0].sql.strip()
    cut = sql[:characters]
    first_line = cut.partition("\n")[0]
    if len(cut) <= FOLDED:
        first_line = ""
    elif len(first_line) > 120:
        first_line = f"{first_line[:118]} …"
    return Group(
        sql=cut,
        first_line=first_line,
        left_out=count(len(sql) - len(cut)) if len(cut) < len(sql) else "",
        times=sum(s.repeats for s in same),
        seconds=sum(figure(s.seconds) for s in same),
        facts=tuple(_facts(same)),
        locks=uses(same),
        rewrites=_names(name for s in same for name in s.rewrites),
        index_builds=_names(name for s in same for name in s.index_builds),
        scans=_scans(same),
    )


def _facts(same: Sequence[StatementTrace]) -> list[str]:
    seconds = [figure(s.seconds) for s in same]
    facts = [duration(sum(seconds))]
    times = sum(s.repeats for s in same)
    if times > 1:
        facts = [f"{count(times)} times", f"{facts[0]} together"]
        if times == len(same):
            facts.append(f"longest {duration(max(seconds))}")
        else:
            facts.append(f"{duration(sum(seconds) / times)} each")
    waited = max(figure(s.waited) for s in same)
    if waited >= WORTH_TELLING:
        facts.append(f"waited for {duration(waited)}")
    attempts = max(s.attempts for s in same)
    if attempts > 1:
        facts.append(f"got its locks at attempt {count(attempts)}")
    if rows := sum(s.rows for s in same):
        facts.append(f"{counted(rows, 'row')} changed")
    if wal := sum(s.wal_bytes for s in same):
        facts.append(f"{size(wal)} WAL")
    if disk := sum(s.disk_bytes for s in same):
        facts.append(f"{size(disk)} disk")
    if any(s.concurrent for s in same):
        facts.append("outside of a transaction")
    return facts


def _names(relations: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(relation_name(name) for name in relations))


def _scans(same: Sequence[StatementTrace]) -> tuple[str, ...]:
    rows: dict[str, int] = {}
    for scan in (scan for s in same for scan in s.scans):
        rows[scan.relation] = max(rows.get(scan.relation, 0), scan.rows)
    return tuple(f"{relation_name(name)} ({counted(read, 'row')})" for name, read in rows.items())
