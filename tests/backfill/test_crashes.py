"""A server that goes down without a word, while batches commit without waiting for the disk."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.store import State
from django_safemigrations.postgres.runner import runner
from testproject.cluster import Cluster
from testproject.database import Server, own_server, wanted_version
from tests.backfill.parcels import (
    ROWS,
    Clock,
    create,
    left,
    nothing_to_wait_for,
    seeing,
    small_batches,
    state,
    stored,
    task,
    touches,
)
from tests.kit.kill import wait_until
from tests.kit.standby import use_server
from tests.postgres.sessions import execute, value

__all__ = ["nothing_to_wait_for", "small_batches"]

NAME = "crashed"


@pytest.fixture(scope="module")
def server(database_access: None) -> Iterator[Server]:
    """A server of our own, to be killed."""
    name = f"crash-{wanted_version()}-{os.getpid()}"
    # So lazy a writer that what is not waited for is lost for sure.
    found = own_server(wanted_version(), name, {"fsync": "off", "wal_writer_delay": "10s"})
    assert found.cluster is not None
    yield found
    found.stop()
    shutil.rmtree(found.cluster.data, ignore_errors=True)
    for suffix in ("users", "lock"):
        (found.cluster.base / f"{name}.{suffix}").unlink(missing_ok=True)


@pytest.fixture
def crashing(server: Server) -> Iterator[BaseDatabaseWrapper]:
    server.create_database(NAME)
    with use_server(server, NAME) as connection:
        call_command("migrate", "django_safemigrations", verbosity=0)
        create(connection)
        yield connection
    server.drop_database(NAME)


def crash(cluster: Cluster) -> None:
    """End every process of a server at once, as `pg_ctl stop -m immediate` does."""
    pid = cluster.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: cluster.pid is None, lambda: "the server still runs")


def begins(sql: str) -> bool:
    return sql.startswith("SELECT set_config(")


def run(connection: BaseDatabaseWrapper) -> None:
    with connection.schema_editor(atomic=False) as editor, runner(editor) as means:
        fill(means, task(connection), stored(connection), clock=Clock())


@pytest.mark.parametrize(
    "n", [pytest.param(n, marks=[pytest.mark.exhaustive] if n != 5 else []) for n in range(2, 8)]
)
def test_progress_and_data_are_lost_together(
    server: Server, crashing: BaseDatabaseWrapper, n: int
) -> None:
    """At the beginning of the n-th batch, when some of those before it are not on disk."""
    assert server.cluster is not None
    cluster = server.cluster
    batches = itertools.count(1)
    committed: list[int] = []

    def kill(sql: str, params: Any) -> None:
        if begins(sql) and next(batches) == n:
            committed.append(touches(crashing)[0])
            crash(cluster)

    with pytest.raises(DatabaseError), seeing(crashing, kill):
        run(crashing)
    crashing.close()
    cluster._start()
    done, different = touches(crashing)
    assert done == different
    assert done < committed[0] <= ROWS
    assert value(crashing, "SELECT count(amount) FROM parcel") == done
    known = stored(crashing).load()
    assert known is None or stored(crashing).totals().rows_done == done
    run(crashing)
    assert touches(crashing) == (ROWS, ROWS)
    assert left(crashing) == 0


def test_what_is_called_finished_is_on_disk(server: Server, crashing: BaseDatabaseWrapper) -> None:
    assert server.cluster is not None
    run(crashing)
    crash(server.cluster)
    crashing.close()
    server.cluster._start()
    assert state(stored(crashing)) is State.FINISHED
    assert touches(crashing) == (ROWS, ROWS)
    assert left(crashing) == 0


def test_values_that_no_second_run_would_make_again_are_waited_for(
    server: Server, crashing: BaseDatabaseWrapper
) -> None:
    """Somebody may have read them."""
    assert server.cluster is not None
    cluster = server.cluster
    execute(crashing, "ALTER TABLE parcel ADD token uuid")
    batches = itertools.count(1)
    seen: list[Any] = []

    def kill(sql: str, params: Any) -> None:
        if begins(sql) and next(batches) == 4:
            seen.append(value(crashing, "SELECT array_agg(token::text ORDER BY id) FROM parcel"))
            crash(cluster)

    filling = task(crashing, assignments={"token": "gen_random_uuid()"}, needed='"token" IS NULL')
    with pytest.raises(DatabaseError), seeing(crashing, kill):
        with crashing.schema_editor(atomic=False) as editor, runner(editor) as means:
            fill(means, filling, stored(crashing), clock=Clock())
    crashing.close()
    cluster._start()
    after = value(crashing, "SELECT array_agg(token::text ORDER BY id) FROM parcel")
    assert after == seen[0]
    assert sum(token is not None for token in after) == 48
