"""Killed anywhere, also between a step and its ledger row, a second run ends in the same place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_safemigrations.models import PendingContract, Run
from tests.command.project import Project
from tests.kit.databases import create_database, drop_database, use_database
from tests.kit.kill import run_killed


def changes(project: Project) -> None:
    """Write a release: plain, stepped over, needed, and re-runnable without a transaction."""
    project.contract("store", "0002_less", "ALTER TABLE store_item DROP COLUMN IF EXISTS total")
    project.expand("store", "0003_more", "ALTER TABLE store_item ADD COLUMN a int")
    project.expand(
        "store",
        "0004_more",
        [
            "ALTER TABLE store_item ADD COLUMN IF NOT EXISTS b int",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_b ON store_item (b)",
        ],
        atomic=False,
    )
    project.contract(
        "store",
        "0005_less",
        ["ALTER TABLE store_box DROP COLUMN IF EXISTS size", "COMMENT ON TABLE store_box IS 'x'"],
        atomic=False,
    )


def outcome(project: Project) -> Any:
    return (
        project.applied("store"),
        project.columns("store_item"),
        project.columns("store_box"),
        sorted(project.pending()),
        project.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
        Run.objects.filter(status="running").count(),
        PendingContract.objects.exclude(resolved_at=None).count(),
    )


@pytest.fixture
def prepared(project: Project) -> Iterator[tuple[Project, dict[str, str]]]:
    """Templates of the database before each phase, with the ledger in place."""
    assert project.run().code == 0
    changes(project)
    name = str(connection.settings_dict["NAME"])
    connection.close()
    templates = {"expand": create_database(name)}
    result = project.safely()
    assert result.code == 0, result.said
    connection.close()
    templates["contract"] = create_database(name)
    yield project, templates
    for template in templates.values():
        drop_database(template)


AFTER = {
    "expand": (
        ["0001_initial", "0002_less", "0003_more", "0004_more"],
        {"id", "name", "total", "a", "b"},
        {"id", "size"},
        ["store.0002_less"],
        0,
        0,
        0,
    ),
    "contract": (
        ["0001_initial", "0002_less", "0003_more", "0004_more", "0005_less"],
        {"id", "name", "a", "b"},
        {"id"},
        [],
        0,
        0,
        1,
    ),
}


@pytest.mark.parametrize("phase", ["expand", "contract"])
def test_killed_after_any_statement_a_second_run_converges(
    prepared: tuple[Project, dict[str, str]], phase: str
) -> None:
    project, templates = prepared
    kills = 0
    finished = False

    def work() -> None:
        result = project.safely("--phase", phase)
        assert result.code == 0, result.said

    while not finished:
        name = create_database(templates[phase])
        with use_database(name) as own:
            killed = run_killed(work, kills + 1)
            finished = killed.finished
            result = project.safely("--phase", phase)
            assert result.code == 0, (killed.at, result.said)
            assert outcome(project) == AFTER[phase], killed.at
            own.close()
        drop_database(name)
        kills += not finished
    assert kills >= 10


def test_a_first_run_that_was_killed_goes_on_without_being_asked(empty_project: Project) -> None:
    project = empty_project
    project.write("store", "0001_initial", "migrations.CreateModel('Item', []),")
    project.sql("store", "0002_more", "CREATE TABLE store_more ()")
    project.sql("store", "0003_wrong", "ALTER TABLE nowhere ADD a int")
    project.contract("store", "0004_less", "DROP TABLE store_more")
    assert project.run().code == 1
    assert project.applied("store") == ["0001_initial", "0002_more"]
    project.sql("store", "0003_wrong", "SELECT 1", after="0002_more")
    result = project.run()
    assert result.code == 0, result.said
    assert "nothing to lose" in result.out
    assert project.applied("store")[-1] == "0004_less"


def test_a_database_with_rows_is_asked_although_its_first_run_failed(
    empty_project: Project,
) -> None:
    project = empty_project
    project.sql("store", "0001_more", "CREATE TABLE store_more (a int)")
    project.sql("store", "0002_wrong", "ALTER TABLE nowhere ADD a int")
    assert project.run().code == 1
    project.execute("INSERT INTO store_more VALUES (1)")
    project.sql("store", "0002_wrong", "SELECT 1", after="0001_more")
    assert project.run().code == 3


@pytest.mark.parametrize("phase", ["expand", "contract"])
def test_interrupted_by_hand_a_run_is_recorded_as_such(project: Project, phase: str) -> None:
    project.write(
        "store",
        "0002_stop",
        f"{phase.capitalize()}(database_operations=["
        "migrations.RunPython(stop, migrations.RunPython.noop)]),",
        before="def stop(apps, schema_editor):\n    raise KeyboardInterrupt\n",
    )
    with pytest.raises(KeyboardInterrupt):
        project.safely("--phase", phase, "--waive=batched=no", "--waive=no_downtime=no")
    assert project.last_run().status == "interrupted"
    assert project.applied("store") == ["0001_initial"]
