"""A concurrent build that was cut off in the middle: its INVALID index never ends a chain."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import connection

from django_safemigrations.exceptions import InvalidIndex, LockNotGranted
from tests.invariants.cases import CASES
from tests.kit.case import Case
from tests.kit.databases import admin, connect, sessions_in
from tests.kit.forks import fork, wait_for
from tests.kit.kill import wait_until
from tests.kit.prepared import Prepared, prepare

BUILDING = [
    "index: one column",
    "index: db_index on a varchar",
    "index: table in a schema",
    "rename: char, indexed, with its like index",
    "rename: char, unique",
    "rename: unique constraint with a condition",
]
INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


@pytest.fixture(params=[case for case in CASES if case.name in BUILDING], ids=lambda c: c.slug)
def prepared(request: pytest.FixtureRequest, case_app: None, templates: None) -> Iterator[Prepared]:
    """A case that builds indexes concurrently, with its copy of the old database as `default`."""
    case: Case = replace(request.param, settings={"LOCK_BUDGET": 0.3})
    with prepare(case) as found, found.database():
        yield found


@contextmanager
def waiting_build(prepared: Prepared) -> Iterator[tuple[int, int, int]]:
    """Migrate in a child up to a concurrent build that waits for a transaction held open here.

    Yields:
        The child's pid and pipe, and the pid of the server process that builds.
    """
    name = str(connection.settings_dict["NAME"])
    connection.close()
    found: list[int] = []

    def waits() -> bool:
        rows = admin().execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state = 'active'"
            " AND wait_event_type = 'Lock' AND query LIKE '%%INDEX CONCURRENTLY%%'",
            [name],
        )
        found[:] = [row[0] for row in rows]
        return bool(found)

    with connect(name) as holder:
        # An old snapshot: a build waits for it to end, and no other statement of an expand does.
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT txid_current_snapshot()")
        pid, pipe = fork(lambda: prepared.expand())
        wait_until(waits, lambda: str(sessions_in(name)))
        try:
            yield pid, pipe, found[0]
        finally:
            holder.execute("ROLLBACK")


def invalid_indexes() -> int:
    with connection.cursor() as cursor:
        cursor.execute(INVALID)
        return int(cursor.fetchone()[0])


def test_a_build_whose_session_was_ended_is_built_anew(prepared: Prepared) -> None:
    with waiting_build(prepared) as (pid, pipe, backend):
        admin().execute("SELECT pg_terminate_backend(%s)", [backend])
        ended = wait_for(pid, pipe)
    assert ended.error
    assert invalid_indexes() == 1
    prepared.run()
    lines = prepared.content().differences(prepared.after)
    assert lines == [], prepared.explain(lines)


def test_a_build_that_goes_on_without_its_client_is_not_taken_for_a_leftover(
    prepared: Prepared,
) -> None:
    name = str(connection.settings_dict["NAME"])
    with waiting_build(prepared) as (pid, pipe, backend):
        os.kill(pid, signal.SIGKILL)
        assert wait_for(pid, pipe).signal == signal.SIGKILL
        # The server process has yet to notice that nobody waits for its answer. Whichever lock
        # or index stops the second run first, it names the build and leaves it alone.
        with pytest.raises((InvalidIndex, LockNotGranted), match=f"being built|{backend}"):
            prepared.run()
        assert invalid_indexes() == 1
        connection.close()
    wait_until(lambda: not sessions_in(name), lambda: str(sessions_in(name)))
    prepared.run()
    lines = prepared.content().differences(prepared.after)
    assert lines == [], prepared.explain(lines)


def test_the_way_back_from_a_build_that_was_cut_off_leaves_nothing(prepared: Prepared) -> None:
    with waiting_build(prepared) as (pid, pipe, backend):
        admin().execute("SELECT pg_terminate_backend(%s)", [backend])
        wait_for(pid, pipe)
    prepared.run()
    prepared.reverse()
    assert invalid_indexes() == 0
    lines = prepared.content().differences(prepared.back)
    assert lines == [], prepared.explain(lines)
