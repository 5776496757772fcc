"""A listener hears of each step as it begins and ends, and of what is committed."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations

from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.rehearsal.results import StepKey
from django_safemigrations.rehearsal.steps import watching
from tests.command.conftest import database_in_use, project
from tests.command.project import Project

__all__ = ["database_in_use", "project"]


class Heard:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.keys: list[StepKey] = []
        self.committed_inside = 0

    def step_begins(self, key: StepKey) -> None:
        self.said.append(("begins", key.operation))
        self.keys.append(key)

    def step_ends(self, key: StepKey) -> None:
        self.said.append(("ends", key.operation))

    def committed(self, key: StepKey) -> None:
        self.committed_inside += connection.in_atomic_block
        self.said.append(("committed", key.operation))


def watched(*arguments: str) -> Heard:
    heard = Heard()
    loaded = PhasedExecutor(connection).loader
    found = [m for key, m in (loaded.disk_migrations or {}).items() if key[0] == "store"]
    with watching(connection, found, heard, phases={("store", "0003_last"): "contract"}):
        call_command("migrate", "store", *arguments, verbosity=0)
    return heard


def test_of_a_transaction_only_the_end_is_a_boundary(project: Project) -> None:
    project.sql("store", "0002_more", "SELECT 1")
    project.write(
        "store",
        "0003_last",
        """
        migrations.RunSQL("SELECT 1", "SELECT 1"),
        migrations.RunPython(lambda apps, editor: None, migrations.RunPython.noop),
        """,
    )
    heard = watched()
    assert heard.said == [
        ("begins", "0"),
        ("ends", "0"),
        ("committed", "0"),
        ("begins", "0"),
        ("ends", "0"),
        ("begins", "1"),
        ("ends", "1"),
        ("committed", "1"),
    ]
    assert heard.committed_inside == 0
    assert [key.phase for key in heard.keys] == ["expand", "contract", "contract"]
    assert heard.keys[0] == StepKey("store", "0002_more", "0", "expand", "Raw SQL operation"), (
        heard.keys
    )


def test_without_a_transaction_each_step_is_a_boundary_and_nested_ones_are_steps(
    project: Project,
) -> None:
    project.write(
        "store",
        "0002_more",
        """
        migrations.SeparateDatabaseAndState(database_operations=[
            migrations.RunSQL("SELECT 1", "SELECT 1"), migrations.RunSQL("SELECT 2", "SELECT 2"),
        ]),
        """,
        atomic=False,
    )
    there = watched()
    assert there.said == [
        *(("begins", "0.0"), ("ends", "0.0"), ("committed", "0.0")),
        *(("begins", "0.1"), ("ends", "0.1"), ("committed", "0.1")),
    ]
    back = watched("0001_initial")
    assert [said for said in back.said if said[0] == "begins"] == [
        ("begins", "0.1"),
        ("begins", "0.0"),
    ]


def test_an_operation_that_calls_itself_is_one_step(project: Project) -> None:
    project.write(
        "store", "0002_more", 'migrations.AlterField("item", "total", models.BigIntegerField()),'
    )
    project.execute("UPDATE store_item SET total = 1")
    watched()
    assert watched("0001_initial").said == [("begins", "0"), ("ends", "0"), ("committed", "0")]


def test_what_fails_begins_and_does_not_end(project: Project) -> None:
    project.sql("store", "0002_more", ["SELECT 1", "SELECT 1 / 0"])
    heard = Heard()
    loaded = PhasedExecutor(connection).loader
    migration = (loaded.disk_migrations or {})["store", "0002_more"]
    with watching(connection, [migration], heard), pytest.raises(Exception, match="division"):
        call_command("migrate", "store", verbosity=0)
    assert heard.said == [("begins", "0")]
    assert _wrapped(migration) == []


def test_nothing_stays_wrapped(project: Project) -> None:
    project.sql("store", "0002_more", "SELECT 1")
    watched()
    loaded = PhasedExecutor(connection).loader
    assert _wrapped((loaded.disk_migrations or {})["store", "0002_more"]) == []


def _wrapped(migration: migrations.Migration) -> list[Any]:
    return [name for o in migration.operations for name in vars(o) if name.startswith("database_")]
