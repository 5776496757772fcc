"""What reading a function brings to light: statements it sends, and things that do harm."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from django_safemigrations.lint.python.values import Extent, Model


class Kind(Enum):
    """What happens."""

    READ = "reads"
    INSERT = "inserts"
    UPDATE = "updates"
    DELETE = "deletes"
    SAVE = "saves"
    """All columns of a row that was read before."""
    LOCK = "locks"
    GATHER = "gathers"
    """Rows are kept in memory."""
    REAL = "real model"
    ABSENT = "absent"
    """A model or field that the state doesn't have."""
    LACKS = "lacks"
    """Something that only today's class has."""
    SQL = "sql"
    DDL = "ddl"
    UNREAD = "unread"
    WAIT = "wait"
    SWALLOW = "swallow"
    RESAVE = "resave"
    OTHER_CONNECTION = "other connection"


STATEMENTS = frozenset(
    {Kind.READ, Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.SAVE, Kind.LOCK, Kind.SQL}
)
CHANGES = frozenset({Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.SAVE})


class LoopKind(IntEnum):
    """What a loop goes through."""

    FEW = 0
    """What is written in the source."""
    TURNS = 1
    """Batches, or nobody knows what."""
    PART = 2
    """The rows of a batch."""
    GROUPS = 3
    """Groups of the rows of a table."""
    WHOLE = 4
    """The rows of a table, one by one."""


@dataclass(frozen=True)
class Loop:
    """A loop around a statement.

    Attributes:
        kind: what it goes through.
        line: where it begins.
        model: whose rows.
        filtered: whether rows were left out.
        in_memory: whether all rows are read before the first turn.
        resets: names of collections that are emptied inside.
        skips: whether it leaves out rows by a condition of its own.
    """

    kind: LoopKind
    line: int = 0
    model: Model | None = None
    filtered: bool = False
    in_memory: bool = False
    resets: frozenset[str] = frozenset()
    skips: bool = False


@dataclass(frozen=True)
class Event:
    """One thing that was seen.

    Attributes:
        kind: what.
        line: in the migration's file: of the thing, or of the call that leads to it.
        where: ``file:line`` if it is in another file; empty otherwise.
        text: the call as it is written, short.
        model: whose rows.
        extent: how many rows one run of the statement is about.
        loops: around it, outermost first.
        outside: how many of the loops are outside of its transaction; None without one.
        periodic: whether it runs only now and then in its loop, as when a list is full.
        fields: that it names.
        emptied: those of them that it sets to NULL.
        detail: what a message needs besides.
        using: whether a database was named.
        sql: of a raw statement, if it is constant.
        parameters: whether it is sent with parameters.
        savepoints: how many blocks of ``atomic`` are around it.
        guarded: whether it runs only under a condition.
    """

    kind: Kind
    line: int
    where: str = ""
    text: str = ""
    model: Model | None = None
    extent: Extent = Extent.FEW
    loops: tuple[Loop, ...] = ()
    outside: int | None = None
    periodic: bool = False
    fields: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    detail: str = ""
    using: bool = False
    sql: str | None = None
    parameters: bool = False
    guarded: bool = False
    savepoints: int = 0
    node: ast.AST | None = field(default=None, compare=False)

    @property
    def innermost_whole(self) -> Loop | None:
        """The innermost loop over all rows of a table."""
        whole = [loop for loop in self.loops if loop.kind is LoopKind.WHOLE]
        return whole[-1] if whole else None

    @property
    def is_each_row(self) -> bool:
        """Whether it happens once for each row of a table."""
        return (
            not self.periodic
            and self.extent is not Extent.PART
            and self.innermost_whole is not None
        )

    def total(self, *, one_transaction: bool) -> Extent:
        """Return how many rows it is about until the transaction that it is in ends.

        Args:
            one_transaction: whether the whole function runs in one.
        """
        if one_transaction:
            return spread(self.extent, self.loops)
        if self.outside is None:
            return self.extent
        return spread(self.extent, self.loops[self.outside :])


@dataclass
class Reading:
    """All that was seen in a function.

    Attributes:
        name: of the function.
        line: where it is defined, if that is in the migration's file; 0 if not.
        events: in the order of the source.
        minds_alias: whether it looks at the schema editor's connection.
    """

    name: str
    line: int = 0
    events: list[Event] = field(default_factory=list)
    minds_alias: bool = False

    def of(self, *kinds: Kind) -> list[Event]:
        """Return the events of some kinds."""
        return [event for event in self.events if event.kind in kinds]


def spread(extent: Extent, loops: tuple[Loop, ...]) -> Extent:
    """Return how many rows a statement is about when loops repeat it."""
    for loop in reversed(loops):
        if loop.kind in (LoopKind.WHOLE, LoopKind.GROUPS):
            extent = Extent.WHOLE
        elif loop.kind is LoopKind.PART:
            extent = max(extent, Extent.PART)
        elif loop.kind is LoopKind.TURNS and extent is Extent.PART:
            extent = Extent.WHOLE
    return extent
