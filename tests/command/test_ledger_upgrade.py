"""A database whose ledger is that of an earlier version: read as it is, brought up to date by a run."""

from __future__ import annotations

from django.db import connection

from django_safemigrations import ledger
from tests.command.project import Project


def test_an_older_ledger_is_read_and_then_brought_up_to_date(project: Project) -> None:
    project.contract("store", "0002_less", "SELECT 1")
    project.expand("store", "0003_more", "SELECT 1")
    project.safely()
    assert project.pending() == ["store.0002_less"]
    project.plainly("django_safemigrations", "0001", "--skip-checks")
    assert ledger.exists(connection)
    assert not ledger.is_whole(connection)
    # What it owes is not forgotten, by looking or by running.
    assert "store.0002_less" in project.run("--status").out
    assert project.run("--check").code == 4
    project.expand("store", "0004_last", "SELECT 1")
    project.safely()
    assert ledger.is_whole(connection)
    assert project.pending() == ["store.0002_less"]
