"""What is typed wrongly, or can't be run here, ends with exit 2 and says what to type."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from django_safemigrations.models import Run
from tests.command.project import Project
from tests.kit.databases import connection_parameters, create_database, drop_database
from tests.kit.pooler import transaction_pooler

ADD = "ALTER TABLE store_item ADD COLUMN extra int"


class NotHere:
    """A router that keeps the ledger out."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_safemigrations" else None


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["stroe"], "Did you mean 'store'?"),
        (["store", "0009"], "no migration whose name begins with '0009'"),
        (["store", "000"], "More than one migration of 'store' begins with '000'"),
        (["--waive", "backups=x"], "Did you mean 'backup'?"),
        (["--waive", "backup="], "a waiver needs a reason"),
        (["--waive", "backup"], "a waiver needs a reason"),
        (["--rollback", "0"], "1 or more"),
        (["--rollback", "1", "--phase", "all"], "goes with neither"),
        (["--prune"], "only when an app is specified"),
        (["--status", "--rollback"], "different things"),
        (["store", "--run-syncdb"], "Can't use --run-syncdb"),
        (["auth2"], "Did you mean 'auth'?"),
        (["django_safemigrations", "zero"], "manage.py migrate django_safemigrations zero"),
    ],
)
def test_a_usage_error_exits_2_and_says_what_to_type(
    project: Project, args: list[str], says: str
) -> None:
    project.expand("store", "0002_more", ADD)
    if "django_safemigrations" in args:
        project.run("django_safemigrations")
    result = project.run(*args)
    assert result.code == 2, result.said
    assert says in result.err
    assert "Traceback" not in result.said
    assert project.applied("store") == ["0001_initial"]


@pytest.mark.parametrize(
    "args",
    [["--phase", "later"], ["--database", "nowhere"], ["--format", "xml"], ["--rollback", "x"]],
)
def test_what_the_parser_refuses_exits_2(
    project: Project, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.run(*args).code == 2
    assert "invalid" in capsys.readouterr().err


def test_errors_are_told_as_json_too(project: Project) -> None:
    result = project.run("stroe", "--format", "json")
    assert result.code == 2
    assert result.document["exit_code"] == 2
    assert "stroe" in result.document["error"]


def test_another_backend_is_refused_with_the_way_out(project: Project) -> None:
    connections.settings["other"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
    }
    try:
        result = project.run("--database", "other")
    finally:
        connections["other"].close()
        del connections["other"]
        del connections.settings["other"]
    assert result.code == 2
    assert "database 'other' is SQLite" in result.err
    assert "manage.py migrate --database other" in result.err


def test_a_wrong_setting_is_refused(project: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"LOCK_TIMOUT": 50}):
        result = project.run()
    assert result.code == 2
    assert "LOCK_TIMEOUT" in result.err


def test_a_router_that_forbids_the_ledger_is_named(project: Project) -> None:
    with override_settings(DATABASE_ROUTERS=["tests.command.test_usage.NotHere"]):
        result = project.run()
    assert result.code == 2
    assert "router forbids django_safemigrations" in result.err
    assert "DATABASE_ROUTERS" in result.err


def test_mixed_phases_in_one_file_are_refused(project: Project) -> None:
    project.write(
        "store",
        "0002_mixed",
        "migrations.RunSQL('SELECT 1', ''), Contract(database_operations=[]),"
        "Contract(database_operations=[migrations.RunSQL('SELECT 1', '')]),",
    )
    result = project.safely()
    assert result.code == 2
    assert "store.0002_mixed" in result.err


def test_two_leaves_are_refused(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    project.expand("store", "0002_other", ADD, after="0001_initial")
    result = project.safely()
    assert result.code == 2
    assert "makemigrations --merge" in result.err


def test_a_missing_dependency_is_refused(project: Project) -> None:
    project.expand("store", "0002_more", ADD, after="0001_missing")
    result = project.safely()
    assert result.code == 2
    assert "0001_missing" in result.err


def test_a_database_that_can_not_be_reached_exits_1(project: Project) -> None:
    connections["default"].close()
    settings = connections["default"].settings_dict
    name = settings["NAME"]
    settings["NAME"] = "no_such_database"
    try:
        result = project.run()
    finally:
        connections["default"].close()
        settings["NAME"] = name
    assert result.code == 1
    assert "Could not connect to database 'default'" in result.err


def test_a_transaction_pooler_is_refused(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    name = str(connections["default"].settings_dict["NAME"])
    with transaction_pooler(**connection_parameters(name)) as pooler:
        connections["default"].close()
        settings = connections["default"].settings_dict
        kept = dict(settings)
        settings.update(pooler.django_settings(settings))
        try:
            result = project.safely()
        finally:
            connections["default"].close()
            settings.update(kept)
    assert result.code == 2, result.said
    assert "pooler in transaction mode" in result.err
    assert project.applied("store") == ["0001_initial"]


def test_each_database_has_a_ledger_of_its_own(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    name = create_database()
    connections.settings["other"] = {**connections.settings["default"], "NAME": name}
    try:
        result = project.run("--database", "other", "--phase", "expand")
        assert result.code == 0, result.said
        assert Run.objects.using("other").get().status == "succeeded"
        # The other database, in use and without a ledger, is as it was.
        assert project.value("SELECT to_regclass('django_safemigrations_run')") is None
        assert project.applied("store") == ["0001_initial"]
    finally:
        connections["other"].close()
        del connections["other"]
        del connections.settings["other"]
        drop_database(name)
