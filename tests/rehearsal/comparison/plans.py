"""Plans written by hand: migrations of one app, run forwards and back with a watch on the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.rehearsal.comparison.data import DataWatch
from django_safemigrations.rehearsal.comparison.differing import differences
from django_safemigrations.rehearsal.comparison.fingerprints import Fingerprint, fingerprint
from django_safemigrations.rehearsal.results import Direction
from django_safemigrations.rehearsal.steps import watching

APP = "depot"
ITEM = migrations.CreateModel(
    "Item",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=50, default="")),
        ("email", models.CharField(max_length=50, default="")),
        ("total", models.IntegerField(null=True)),
    ],
)
ROWS = """
INSERT INTO depot_item (name, email, total)
SELECT 'name ' || n, 'Name' || n || '@example.com', nullif(n % 7, 0) FROM generate_series(1, 50) n
"""


@dataclass
class Tried:
    """What was seen after each pass, one after the other."""

    forwards: tuple[str, ...] = ()
    backwards: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    schema_back: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    start: Fingerprint = field(default_factory=dict)
    end: Fingerprint = field(default_factory=dict)


def migration(name: str, *operations: Operation, atomic: bool = True) -> migrations.Migration:
    """Return a migration as a file would give it."""
    made = migrations.Migration(name, APP)
    vars(made).update(operations=list(operations), atomic=atomic)
    return made


def start_state() -> ProjectState:
    """Return the models with which every plan begins."""
    state = ProjectState()
    ITEM.state_forwards(APP, state)
    return state


def begin(*sql: str) -> ProjectState:
    """Make the tables of the start with their rows, and return their state."""
    state = start_state()
    run([migration("0001_initial", ITEM)], ProjectState())
    with connection.cursor() as cursor:
        for statement in (ROWS, *sql):
            cursor.execute(statement)
    return state


def run(plan: Sequence[migrations.Migration], state: ProjectState) -> ProjectState:
    """Run a plan forwards, each migration as Django's executor does."""
    state = state.clone()
    for one in plan:
        with connection.schema_editor(atomic=one.atomic) as editor:
            state = one.apply(state, editor)
    return state


def undo(plan: Sequence[migrations.Migration], state: ProjectState) -> None:
    """Run a plan backwards; `state` is that of the start."""
    befores = []
    state = state.clone()
    for one in plan:
        befores.append(state)
        state = one.mutate_state(state, preserve=True)
    for one, before in reversed(list(zip(plan, befores, strict=True))):
        with connection.schema_editor(atomic=one.atomic) as editor:
            one.unapply(before.clone(), editor)


def try_out(
    plan: Sequence[migrations.Migration], *sql: str, again: bool = True, **more: Any
) -> Tried:
    """Run a plan forwards, backwards and forwards again, and tell what was seen.

    Args:
        plan: the migrations.
        sql: what is run at the start, besides the rows.
        again: whether to go forwards again.
        more: given to the watch.
    """
    old = begin(*sql)
    new = old.clone()
    for one in plan:
        new = one.mutate_state(new)
    found = Tried()
    watch = DataWatch(connection, old, new, plan, **more)
    watch.start()
    found.start = fingerprint(connection)
    with watching(connection, plan, watch):
        run(plan, old)
        found.end = fingerprint(connection)
        found.forwards = watch.compare(Direction.FORWARDS)
        undo(plan, old)
        found.backwards = watch.compare(Direction.BACKWARDS)
        found.schema_back = differences(found.start, fingerprint(connection))
        if again:
            run(plan, old)
            found.again = watch.compare(Direction.FORWARDS_AGAIN)
    found.not_compared = watch.not_compared
    return found
