"""A change under way: its chain written, the old schema filled, and the phases to run one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.phases import Phase, migration_phase
from tests.kit import chain as chains
from tests.kit import schema
from tests.kit.case import LABEL, Case, define
from tests.kit.databases import scratch_database
from tests.kit.prepared import Content, base_template, content
from tests.kit.seed import seed
from tests.postgres.sessions import execute


@dataclass
class Started:
    """A case in a database of its own, used as `default`.

    Attributes:
        chain: its migrations.
        connection: the database.
        before: what the database held when the change began.
    """

    chain: chains.Chain
    connection: BaseDatabaseWrapper
    before: Content

    def _last(self, phase: Phase) -> str:
        names = [
            name
            for name in self.chain.change
            if migration_phase(self.chain.migration(name)) is phase
        ]
        return names[-1]

    def expand(self) -> None:
        """Run everything that runs while old code serves."""
        chains.migrate(self.chain, self._last(Phase.EXPAND))

    def contract(self) -> None:
        """Run the rest."""
        chains.migrate(self.chain, self.chain.change[-1])

    def back(self) -> None:
        """Undo the whole change."""
        chains.migrate(self.chain, self.chain.initial[-1])

    def operations(self) -> OneOff:
        """Return a way to run operations one by one, from the old models on."""
        with self.chain.installed():
            state = self.chain.loader().project_state((LABEL, self.chain.initial[-1]))
        return OneOff(state)

    def content(self) -> Content:
        """Return what the database holds now."""
        return content(self.chain.case)

    def assert_untouched(self) -> None:
        """Fail if the database does not hold exactly what it held when the change began."""
        assert self.content().differences(self.before) == []

    def run(self, sql: str, params: Any = None) -> None:
        execute(self.connection, sql, params)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def value(self, sql: str) -> Any:
        rows = self.rows(sql)
        return rows[0][0] if rows else None

    def objects(self, part: str = "") -> dict[str, str]:
        """Return the objects whose identity has this in it, with their definitions."""
        found = schema.fingerprint(self.connection)
        return {name: text for name, text in found.items() if part in name}


@contextmanager
def started(case: Case, *sql: str) -> Iterator[Started]:
    """Make a case's old schema, its rows, and what a DBA added with `sql`."""
    chain = chains.make_chain(case)
    with scratch_database(base_template()) as found:
        chains.migrate(chain, chain.initial[-1])
        seed(case)
        for statement in (*case.after_creation, *sql):
            execute(found, statement)
        yield Started(chain, found, content(case))


def rename(field: models.Field[Any, Any] | None = None, **more: Any) -> Case:
    """Return a case in which Order.total becomes Order.amount."""
    kind = field or models.IntegerField()

    def model(name: str) -> None:
        define(
            "Order",
            number=models.IntegerField(),
            code=models.CharField(max_length=20),
            **{name: kind.clone()},
        )

    return Case(
        "rename under test",
        lambda: model("total"),
        lambda: model("amount"),
        renames={"order.total": "amount"},
        **more,
    )


class OneOff:
    """Runs operations outside of migration files, one after the other, on `default`."""

    def __init__(self, state: ProjectState) -> None:
        self.states = [state]
        self.done: list[Operation] = []

    def forwards(self, operation: Operation) -> None:
        after = self.states[-1].clone()
        operation.state_forwards(LABEL, after)
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards(LABEL, editor, self.states[-1], after)
        self.states.append(after)
        self.done.append(operation)

    def backwards(self) -> None:
        operation, after = self.done.pop(), self.states.pop()
        with connection.schema_editor(atomic=False) as editor:
            operation.database_backwards(LABEL, editor, after, self.states[-1])
