"""What the judges know about the place of a statement, and how they write their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from django_safemigrations.lint.context import Context
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.facts import Facts, Held, Session
from django_safemigrations.lint.sql.parser import Statement
from django_safemigrations.lint.sql.tables import Table, find_table
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

ALL_WAIT = "every statement on it waits, reads included"
WRITES_WAIT = "every INSERT, UPDATE and DELETE on it waits"
STRENGTH = list(Lock)


@dataclass
class Run:
    """One statement in its place.

    Attributes:
        context: of the operation.
        operation: the RunSQL.
        statement: that is judged.
        following: what runs after it in the same transaction.
        later: what runs after it in the migration.
        in_transaction: whether it runs inside a transaction block.
        script: whether it shares its string with others.
        inside: the function or DO block in which it stands, or None.
        batched: whether it stands in a loop that commits.
        contract: whether no old code is left when it runs.
        called: functions on the way to it.
        variables: of the body in which it stands, that have one value when it runs.
        seen: tables that were looked up.
    """

    context: Context
    operation: object
    statement: Statement
    following: Sequence[Statement] = ()
    later: Sequence[Statement] = ()
    in_transaction: bool = True
    script: bool = False
    inside: str | None = None
    batched: bool = False
    contract: bool = False
    called: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    seen: dict[str, Table] = field(default_factory=dict)

    @property
    def node(self) -> Node:
        """The statement's tree."""
        return self.statement.node

    @property
    def facts(self) -> Facts:
        """What the SQL of all migrations left behind."""
        return self.context.history.sql

    @property
    def session(self) -> Session:
        """What the SQL of this migration did."""
        return self.context.sql

    def table(self, name: str) -> Table:
        """Return what is known about a table."""
        if name not in self.seen:
            self.seen[name] = find_table(name, self.context)
        return self.seen[name]

    def used(self, name: str) -> Table | None:
        """Return a table that the running code may be using; None for one made just now."""
        table = self.table(name)
        return None if table.created else table

    def hold(self, name: str, lock: Lock) -> None:
        """Remember the lock that the statement leaves behind until its transaction ends."""
        held = self.session.locks.get(name)
        if held is None or STRENGTH.index(held.lock) < STRENGTH.index(lock):
            self.session.locks[name] = Held(lock, self.statement.words)
        if STRENGTH.index(lock) < STRENGTH.index(Lock.SHARE):
            return
        taken = self.session.taken.setdefault(id(self.operation), {})
        if name not in taken or STRENGTH.index(taken[name]) < STRENGTH.index(lock):
            taken[name] = lock

    def held(self, name: str, least: Lock) -> Held | None:
        """Return the lock that an earlier statement of the transaction holds, if it is strong."""
        held = self.session.locks.get(name) if self.in_transaction else None
        if held is not None and STRENGTH.index(held.lock) >= STRENGTH.index(least):
            return held
        return None

    def within(self, statement: Statement, inside: str, *, batched: bool = False) -> Run:
        """Return the run of a statement inside a function or block."""
        return replace(
            self,
            statement=statement,
            following=(),
            inside=inside,
            in_transaction=True,
            script=False,
            batched=batched,
            seen={},
        )


Judge = Callable[[Node, Run], Iterator[Observation]]


def paste(*statements: str, atomic: bool = True, reverse: str | None = None) -> str:
    """Return the hint with a RunSQL to write instead."""
    where = "" if atomic else ", in a migration with `atomic = False`"
    listed = "".join(f"\n    {_python(statement)}," for statement in statements)
    undone = f", reverse_sql={_python(reverse)}" if reverse is not None else ", reverse_sql=…"
    return f"Write instead{where}:\nmigrations.RunSQL([{listed}\n]{undone})"


def _python(text: str) -> str:
    """Return a text as a Python literal in double quotes where that is simple."""
    line = " ".join(text.split())
    if '"' not in line and "\\" not in line:
        return f'"{line}"'
    return repr(line)


def not_in_transaction(run: Run) -> str:
    """Say why a statement would be refused where it stands."""
    if run.inside is not None:
        return f"can't run inside {run.inside}: it fails."
    if run.context.is_atomic():
        return "can't run inside a transaction, and this migration is one: it fails."
    if run.session.began:
        return "can't run between BEGIN and COMMIT: it fails."
    return (
        "can't share its string with other statements, for PostgreSQL runs them in one "
        "transaction: it fails."
    )


def way_out_of_transaction(run: Run, statement: str) -> str:
    """Return the hint for a statement that needs to be outside of transactions."""
    if run.inside is not None or run.session.began or run.context.is_atomic():
        return paste(statement, atomic=False)
    return (
        "Give each statement a string of its own:\nmigrations.RunSQL([…, "
        + _python(statement)
        + ", …], reverse_sql=…)"
    )
