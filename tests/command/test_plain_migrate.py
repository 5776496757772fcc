"""A typed `manage.py migrate` does not run contracts on a database in use, unless it may."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import override_settings

from tests.command.project import INITIAL, Project

DROP = "ALTER TABLE store_item DROP COLUMN total"


@pytest.fixture
def with_contract(project: Project) -> Project:
    project.contract("store", "0002_less", DROP)
    return project


def test_a_typed_migrate_with_a_contract_is_refused_with_the_ways_on(
    with_contract: Project,
) -> None:
    result = with_contract.plainly()
    assert result.code == 1
    assert "store.0002_less" in result.err
    assert "manage.py safemigrate --phase contract" in result.err
    assert '"PLAIN_MIGRATE": "allow"' in result.err
    assert with_contract.applied("store") == ["0001_initial"]


def test_called_from_code_migrate_runs_contracts(with_contract: Project) -> None:
    call_command("migrate", "store", verbosity=0)
    assert with_contract.applied("store")[-1] == "0002_less"


def test_on_a_fresh_database_a_typed_migrate_runs(empty_project: Project) -> None:
    empty_project.write("store", "0001_initial", INITIAL)
    empty_project.contract("store", "0002_less", DROP)
    result = empty_project.plainly()
    assert result.code == 0, result.said
    assert empty_project.applied("store")[-1] == "0002_less"


def test_without_a_contract_a_typed_migrate_runs(project: Project) -> None:
    project.expand("store", "0002_more", "ALTER TABLE store_item ADD COLUMN extra int")
    assert project.plainly().code == 0
    assert project.applied("store")[-1] == "0002_more"


def test_going_back_over_a_contract_is_not_refused(with_contract: Project) -> None:
    call_command("migrate", "store", verbosity=0)
    assert with_contract.plainly("store", "0001").code == 0


def test_faking_is_not_refused(with_contract: Project) -> None:
    assert with_contract.plainly("--fake").code == 0


def test_the_setting_allows(with_contract: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"PLAIN_MIGRATE": "allow"}):
        assert with_contract.plainly().code == 0
    assert with_contract.applied("store")[-1] == "0002_less"


def test_the_setting_warns(with_contract: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"PLAIN_MIGRATE": "warn"}):
        result = with_contract.plainly()
    assert result.code == 0, result.said
    assert "WARNING: This would run contracts: store.0002_less" in result.out


def test_safemigrate_itself_is_never_refused_by_it(with_contract: Project) -> None:
    assert with_contract.safely("--phase", "contract").code == 0
