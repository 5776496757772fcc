"""What a statement costs the others: its lock, who waits for it, and what it does meanwhile.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

E = TypeVar("E", bound=StrEnum)


class Lock(StrEnum):
    """Table locks by PostgreSQL's names, weakest first."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"


class Waits(StrEnum):
    """Who waits while a lock is held, fewest first."""

    NOBODY = "nobody"
    SCHEMA_CHANGES = "schema changes only"
    SAME_ROWS = "writes to the same rows"
    WRITES = "writes"
    READS_AND_WRITES = "reads and writes"
    UNKNOWN = "unknown"


class Work(StrEnum):
    """What a statement does while it holds its lock, cheapest first."""

    NONE = "none"
    SCAN = "scan"
    BUILD = "build"
    REWRITE = "rewrite"
    UNKNOWN = "unknown"


WAITS = {
    Lock.ACCESS_SHARE: Waits.NOBODY,
    Lock.ROW_SHARE: Waits.NOBODY,
    Lock.ROW_EXCLUSIVE: Waits.NOBODY,
    Lock.SHARE_UPDATE_EXCLUSIVE: Waits.SCHEMA_CHANGES,
    Lock.SHARE: Waits.WRITES,
    Lock.SHARE_ROW_EXCLUSIVE: Waits.WRITES,
    Lock.EXCLUSIVE: Waits.WRITES,
    Lock.ACCESS_EXCLUSIVE: Waits.READS_AND_WRITES,
}


@dataclass(frozen=True)
class Cost:
    """The price of one statement.

    Attributes:
        lock: strongest lock on the table; None if it locks no table, or if that is unknown.
        waits: who waits.
        work: what is done under the lock.
        table: the table.
        concurrently: the statement runs outside of transactions and waits without blocking.
        others: further tables and the locks on them.
    """

    lock: Lock | None
    waits: Waits
    work: Work
    table: str | None = None
    concurrently: bool = False
    others: tuple[tuple[str, Lock], ...] = ()


def cost(
    lock: Lock | None,
    work: Work = Work.NONE,
    table: str | None = None,
    *,
    waits: Waits | None = None,
    concurrently: bool = False,
    others: Iterable[tuple[str, Lock]] = (),
) -> Cost:
    """Build a cost; who waits follows from the locks unless it is given."""
    others = tuple(others)
    if waits is None:
        locks = [*([lock] if lock else []), *(other for _, other in others)]
        waits = heaviest((WAITS[one] for one in locks), Waits.NOBODY)
    return Cost(lock, waits, work, table, concurrently, others)


UNKNOWN = Cost(None, Waits.UNKNOWN, Work.UNKNOWN)
HARMLESS = Cost(None, Waits.NOBODY, Work.NONE)


def heaviest(values: Iterable[E], least: E) -> E:
    """Return the last of its enumeration among the values."""
    order = list(type(least))
    return max([least, *values], key=order.index)


class Catalogue(Protocol):
    """What has to be looked up, for the SQL does not say it."""

    def column_type(self, table: str, column: str) -> str | None:
        """Type of a column with its modifiers, as ``format_type`` prints it."""

    def index_table(self, index: str) -> str | None:
        """Table of an index."""

    def referenced_tables(
        self, table: str, *, constraint: str | None = None, column: str | None = None
    ) -> list[str]:
        """Tables that foreign keys of a table (a constraint, a column, or all) point to."""


@dataclass
class Known:
    """What is known before a statement: the catalog, and what earlier statements did.

    Attributes:
        catalogue: looks things up in the database; None if there is none.
        created: tables that earlier statements created: nobody can be waiting for them.
        proofs: NOT NULL proofs, by table and constraint: the column, and whether it is valid.
    """

    catalogue: Catalogue | None = None
    created: set[str] = field(default_factory=set)
    proofs: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def is_proven(self, table: str, column: str) -> bool:
        """Whether a valid constraint says that a column holds no NULL."""
        return any(
            owner == table and proof == (column, True) for (owner, _), proof in self.proofs.items()
        )
