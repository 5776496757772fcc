"""Checks cost a bounded time, name what they leave out, and touch nothing but the copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, models, router
from django.db.migrations.executor import MigrationExecutor
from django.test import override_settings

from django_safemigrations.rehearsal.generations import Generations
from django_safemigrations.rehearsal.generations.session import ALIAS
from django_safemigrations.rehearsal.results import StepKey
from tests.kit.case import LABEL
from tests.kit.databases import sessions_in
from tests.kit.kill import wait_until
from tests.rehearsal.generations.shop import plan, sql

TRIGGER = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;"
    " CREATE TRIGGER slow BEFORE INSERT ON caseapp_tag FOR EACH ROW EXECUTE FUNCTION slow()"
)


@contextmanager
def checker(template: str, operations: str, **options: Any) -> Iterator[Generations]:
    with plan(template, operations) as chain, chain.installed():
        executor = MigrationExecutor(connection)
        migrations = [executor.loader.disk_migrations[LABEL, name] for name in chain.change]
        old = executor.loader.project_state((LABEL, chain.initial[-1]))
        new = executor.loader.project_state((LABEL, chain.change[-1]))
        yield Generations(old, new, migrations, **options)


def slow_inserts(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(TRIGGER.format(seconds=seconds))


AFTER = StepKey("caseapp", "0002_change", "0", "expand", "something")
ON_TAGS = sql("SELECT 1 FROM caseapp_tag LIMIT 1")


def test_what_takes_too_long_is_not_tried_rather_than_failed(template: str) -> None:
    with checker(template, ON_TAGS, statement_timeout=0.05) as generations:
        generations.check(None, ("old",), "default")
        slow_inserts(0.2)
        check = generations.check(AFTER, ("old", "new"), "default")
        assert check.failures == ()
        assert any("it took too long" in line for line in check.not_tried)


def test_writes_that_a_trigger_makes_slow_are_named(template: str) -> None:
    with checker(template, ON_TAGS) as generations:
        generations.check(None, ("old",), "default")
        assert generations.check(AFTER, ("old", "new"), "default").slower == ()
        slow_inserts(0.06)
        found = generations.check(AFTER, ("old",), "default")
    assert found.failures == ()
    assert any(line.startswith("old code, caseapp.Tag: create(") for line in found.slower)


def test_no_time_means_no_calls_and_each_is_named(template: str) -> None:
    with checker(template, ON_TAGS, seconds=0) as generations:
        check = generations.check(None, ("old",), "default")
    assert check.calls == 0
    assert any("no time was left" in line for line in check.not_tried)


def test_too_many_models_are_left_out_by_name(template: str) -> None:
    with checker(template, ON_TAGS, models=0) as generations:
        check = generations.check(None, ("old",), "default")
    assert check.calls == 0
    assert any("caseapp.Tag" in line for line in check.not_tried)


def test_only_models_that_the_plan_touches_and_those_beside_them_are_tried(template: str) -> None:
    with checker(template, "migrations.RemoveField('customer', 'born'),") as generations:
        names = {m._meta.object_name: direct for m, direct in generations.worklist(generations.old)}
    assert names == {"Customer": True, "Order": False}


def test_sql_and_python_of_a_plan_tell_which_models_they_touch(template: str) -> None:
    touching = {
        sql('UPDATE "The Order\'s" SET note = NULL'): {"order"},
        sql('DO $$ BEGIN DELETE FROM "Mixed Schema"."A Customer\'\'s" WHERE false; END $$'): set(),
        sql('DO $$ BEGIN DELETE FROM "Mixed Schema"."A Customer\'s" WHERE false; END $$'): {
            "customer"
        },
        sql('DELETE FROM "order tags"'): {"order"},
        "migrations.RunPython(lambda apps, editor: apps.get_model('caseapp', 'Tag')),": {"tag"},
        "migrations.RunPython(lambda apps, editor: apps.get_model('caseapp.Order')),": {"order"},
        "migrations.RunPython(lambda apps, editor: None),": {"customer", "order", "tag"},
    }
    for operations, wanted in touching.items():
        with checker(template, operations) as generations:
            assert {name for _, name in generations.touched} == wanted, operations


class Elsewhere:
    """A router that sends everything to a database that is not there."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "nowhere"

    db_for_write = db_for_read


def test_neither_routers_nor_receivers_of_the_project_see_the_calls(template: str) -> None:
    seen: list[Any] = []

    def receiver(sender: Any, **kwargs: Any) -> None:
        seen.append(sender)

    signals = (models.signals.post_save, models.signals.pre_delete, models.signals.m2m_changed)
    with checker(template, "migrations.RemoveField('order', 'tags'),") as generations:
        earlier = list(router.routers)
        router.routers = [Elsewhere()]
        for signal in signals:
            signal.connect(receiver)
        try:
            check = generations.check(None, ("old",), "default")
        finally:
            for signal in signals:
                signal.disconnect(receiver)
            assert [type(r) for r in router.routers] == [Elsewhere]
            router.routers = earlier
    assert check.not_tried == ()
    assert seen == []


def test_the_session_is_closed_and_its_alias_gone(template: str) -> None:
    with checker(template, ON_TAGS) as generations:
        generations.check(None, ("old",), "default")
        assert len(sessions_in(connection.settings_dict["NAME"])) == 1
    assert not any(ALIAS in name for name in vars(connections._connections))  # type: ignore[attr-defined]


def test_no_call_reads_a_whole_table(template: str) -> None:
    many = 20_000
    with checker(template, "migrations.RemoveField('customer', 'born'),") as generations:
        generations.touched.add((LABEL, "order"))
        with connection.cursor() as cursor:
            cursor.execute(
                'INSERT INTO "The Order\'s" (customer_id, "Num ber", code, total, state, account)'
                " SELECT c.id, n, 'c' || n, 1, 'new', 1 FROM generate_series(1, %s) n,"
                ' (SELECT min(id) AS id FROM "Mixed Schema"."A Customer\'s") c',
                [many],
            )
            cursor.execute("VACUUM ANALYZE")
            before = _rows_read(cursor)
            check = generations.check(None, ("old",), "default")
            assert check.calls > 200
            # A session counts what it has read when it ends, a moment after its client has gone.
            wait_until(lambda: _rows_read(cursor) > before, lambda: "nothing was counted")
            assert _rows_read(cursor) - before < many


def _rows_read(cursor: Any) -> int:
    cursor.execute("SELECT pg_stat_clear_snapshot(), sum(seq_tup_read) FROM pg_stat_user_tables")
    return int(cursor.fetchone()[1])


@override_settings(USE_TZ=False)
def test_projects_without_time_zones_get_naive_moments(template: str) -> None:
    with checker(template, "migrations.RemoveField('customer', 'born'),") as generations:
        assert generations.check(None, ("old",), "default").not_tried == ()
