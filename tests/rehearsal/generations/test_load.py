"""Clients that work while a plan runs: what they feel, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from django_safemigrations.rehearsal.generations import Generations, Load
from django_safemigrations.rehearsal.results import LoadSeen
from django_safemigrations.rehearsal.steps import watching
from tests.kit.case import LABEL
from tests.kit.databases import sessions_in
from tests.kit.kill import wait_until
from tests.kit.schema import rows
from tests.rehearsal.generations.shop import plan, sql

SLOW = sql('LOCK TABLE "The Order\'s"; SELECT pg_sleep(0.6)')


@contextmanager
def under_load(template: str, operations: str) -> Iterator[LoadSeen]:
    """Run a plan while old code works, and say what it felt."""
    with plan(template, operations) as chain, chain.installed():
        executor = MigrationExecutor(connection)
        migrations = [executor.loader.disk_migrations[LABEL, name] for name in chain.change]
        old = executor.loader.project_state((LABEL, chain.initial[-1]))
        new = executor.loader.project_state((LABEL, chain.change[-1]))
        generations = Generations(old, new, migrations)
        generations.check(None, ("old",), "default")
        with Load(generations, "default", clients=2, baseline=0.5, given_up=10.0) as load:
            with watching(connection, migrations, load):
                executor.migrate([(LABEL, chain.change[-1])])
            enough = load.requests + 60
            wait_until(lambda: load.requests >= enough, lambda: "no more requests")
        yield load.seen()


def test_a_step_that_blocks_is_felt_and_named(template: str) -> None:
    with under_load(template, SLOW) as seen:
        assert seen.failed == 0, seen.errors
        assert seen.requests > 0
        assert seen.longest > 0.3
        assert seen.baseline_p99 > 0
        assert "caseapp.0002_change 0" in seen.slowest[0]
        assert seen.slowest[0].split(" s: ")[1].startswith("old code, caseapp.")


def test_requests_that_fail_are_counted_and_named(template: str) -> None:
    with under_load(template, "migrations.RemoveField('order', 'note')," + sql("SELECT 1")) as seen:
        assert seen.failed > 0
        assert any("old code, caseapp.Order" in line and "42703" in line for line in seen.errors)


def test_what_clients_do_is_rolled_back_and_their_sessions_are_closed(template: str) -> None:
    harmless = sql('CREATE INDEX i ON "The Order\'s" (total)')
    with under_load(template, harmless) as seen:
        assert seen.failed == 0, seen.errors
        found = rows(connection)
        assert len([row for row in found if "The Order" in row]) == 6
        assert len(sessions_in(connection.settings_dict["NAME"])) == 1
