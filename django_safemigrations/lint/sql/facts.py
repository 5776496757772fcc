"""What earlier SQL did that the state of the models doesn't say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

Key = tuple[str, str]
Name = tuple[str, str]
"""A table and something of it."""


@dataclass(frozen=True)
class Proof:
    """A constraint that says that columns hold no NULL.

    Attributes:
        columns: that hold none.
        valid: whether every row is known to keep it.
    """

    columns: frozenset[str]
    valid: bool


@dataclass(frozen=True)
class Function:
    """A function or procedure that SQL defined.

    Attributes:
        language: in which its body is written, in lower case.
        body: the text.
        statement: the whole CREATE statement, which the parser of PL/pgSQL wants.
        node: of the statement.
        stable: whether it is declared STABLE or IMMUTABLE.
    """

    language: str
    body: str
    statement: str
    node: Node
    stable: bool


@dataclass
class Facts:
    """What the SQL of all migrations so far left behind.

    Attributes:
        proofs: constraints that prove columns NOT NULL, by table and constraint.
        keys: foreign keys, by table and constraint: the table that each points to.
        unvalidated: constraints added NOT VALID, by table and name: the migration of each.
        types: of columns, by table and column; None if it changed to something unknown.
        nullable: whether a column takes NULL, by table and column.
        uniques: sets of columns that are unique, by table.
        domains: names of domains with a constraint.
        functions: by name.
        views: names of views, materialised or not.
        indexes: the table of each index.
        index_columns: the columns of each unique index.
    """

    proofs: dict[Name, Proof] = field(default_factory=dict)
    keys: dict[Name, str] = field(default_factory=dict)
    unvalidated: dict[Name, Key] = field(default_factory=dict)
    types: dict[Name, str | None] = field(default_factory=dict)
    nullable: dict[Name, bool] = field(default_factory=dict)
    uniques: dict[str, set[frozenset[str]]] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    functions: dict[str, Function] = field(default_factory=dict)
    views: set[str] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    index_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def copy(self) -> Facts:
        """Return a copy for a walk aside."""
        return Facts(
            proofs=dict(self.proofs),
            keys=dict(self.keys),
            unvalidated=dict(self.unvalidated),
            types=dict(self.types),
            nullable=dict(self.nullable),
            uniques={table: set(found) for table, found in self.uniques.items()},
            domains=set(self.domains),
            functions=dict(self.functions),
            views=set(self.views),
            indexes=dict(self.indexes),
            index_columns=dict(self.index_columns),
        )


@dataclass(frozen=True)
class Held:
    """A lock that a statement of the same transaction took before.

    Attributes:
        lock: its name.
        words: the start of that statement.
    """

    lock: Lock
    words: str


@dataclass
class Session:
    """What the SQL of one migration did so far.

    Attributes:
        created: tables and views that it made.
        locks: strong locks that the open transaction holds, by table.
        added: columns that it added, by table and column: whether they are NOT NULL.
        dropped_indexes: names of indexes that it dropped, if they existed.
        labels: values added to enumerations in the open transaction.
        began: whether a BEGIN of its own is open.
        scripts: what each RunSQL sends, by the identity of the operation.
        taken: the strong locks that each RunSQL takes, by the identity of the operation.
    """

    created: set[str] = field(default_factory=set)
    locks: dict[str, Held] = field(default_factory=dict)
    added: dict[Name, bool] = field(default_factory=dict)
    dropped_indexes: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    began: bool = False
    scripts: dict[int, list[Any]] = field(default_factory=dict)
    taken: dict[int, dict[str, Lock]] = field(default_factory=dict)

    def locks_of(self, operation: object) -> dict[str, Lock]:
        """Return the strong locks that a RunSQL takes, by table."""
        return self.taken.get(id(operation), {})

    def end_transaction(self) -> None:
        """Forget what a COMMIT or ROLLBACK lets go."""
        self.locks.clear()
        self.labels.clear()
        self.began = False
