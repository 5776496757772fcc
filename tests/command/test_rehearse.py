"""rehearsemigrations tries a plan on a copy, says what is wrong with it, and keeps evidence."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test import override_settings

from django_safemigrations.management.commands.rehearsemigrations import Command
from django_safemigrations.management.rehearsing import rehearse as rehearsing
from tests.command.project import Project, Result
from tests.kit.databases import admin
from tests.kit.forks import fork, kill_me, wait_for
from tests.kit.kill import wait_until_alone

RENAME = """
Expand(
    database_operations=[
        AddSyncedColumns(model_name="item", renames={"total": "amount"}),
        BackfillSyncedColumns(model_name="item", renames={"total": "amount"}),
        CopyIndexes(model_name="item", renames={"total": "amount"}),
        CopyConstraints(model_name="item", renames={"total": "amount"}),
    ],
    state_operations=[migrations.RenameField("item", "total", "amount")],
),
"""
CONTRACT = """
Contract(database_operations=[DropSyncedColumns(model_name="item", renames={"total": "amount"})]),
"""
ADD = "ALTER TABLE store_box ADD COLUMN more int"
DROP = "ALTER TABLE store_box DROP COLUMN more"
IMPORTS = """
from django_safemigrations.operations import (
    AddSyncedColumns, BackfillSyncedColumns, CopyConstraints, CopyIndexes, DropSyncedColumns,
)
"""


@pytest.fixture
def ready(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project with a ledger, whose copies are made on the same server and reports in a directory."""
    given = {"REHEARSAL": {"SERVER": "same", "REPORTS": str(tmp_path / "reports")}}
    with override_settings(SAFE_MIGRATIONS=given):
        assert project.run("django_safemigrations").code == 0
        yield project


def rehearse(project: Project, *args: str) -> Result:
    return project.type(Command, "rehearsemigrations", *args)


def copies() -> list[str]:
    """Return the names of the copies of this test's database: others rehearse beside it."""
    rows = admin().execute(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE datname LIKE 'dsm_copy_%'"
    )
    mine = connection.settings_dict["NAME"]
    return [name for name, comment in rows if f'"{mine} on ' in (comment or "")]


def test_a_rename_passes_and_what_it_found_is_evidence_for_both_phases(
    ready: Project, tmp_path: Path
) -> None:
    ready.write("store", "0002_rename", RENAME, before=IMPORTS, atomic=False)
    ready.write("store", "0003_contract", CONTRACT, before=IMPORTS, atomic=False)
    result = rehearse(ready, "--format", "json")
    assert result.code == 0, result.said
    assert ready.columns("store_item") == {"id", "name", "total"}
    assert copies() == []
    [html] = (tmp_path / "reports").glob("*.html")
    document = json.loads(Path(result.document["report"]["json"]).read_text())
    assert [one["direction"] for one in document["passes"]] == [
        "forwards",
        "backwards",
        "forwards again",
    ]
    assert "AddSyncedColumns" in html.read_text() or "amount" in html.read_text()
    assert {row.item for row in ready.evidence()} == {"rehearsed"}
    waived = ("--waive=backup=tested here",)
    assert ready.run(*waived).code == 0
    assert ready.run("--phase", "contract", *waived).code == 0
    assert ready.columns("store_item") == {"id", "name", "amount"}


def test_clients_work_meanwhile_if_they_are_asked_for(ready: Project, tmp_path: Path) -> None:
    ready.sql("store", "0002_more", ADD, DROP)
    given = {"REHEARSAL": {"SERVER": "same", "REPORTS": str(tmp_path / "reports"), "LOAD": 2}}
    with override_settings(SAFE_MIGRATIONS=given):
        result = rehearse(ready, "--format", "json")
    assert result.code == 0, result.said
    document = json.loads(Path(result.document["report"]["json"]).read_text())
    assert all(one["load"]["failed"] == 0 for one in document["passes"])
    assert document["passes"][0]["load"]["requests"] > 0


def test_nothing_is_waited_for_on_a_copy(ready: Project, tmp_path: Path) -> None:
    """A window at night is production's; a rehearsal at noon would hang until then."""
    asked: list[object] = []
    ready.write("store", "0002_rename", RENAME, before=IMPORTS, atomic=False)
    ready.write("store", "0003_contract", CONTRACT, before=IMPORTS, atomic=False)
    given = {
        "REHEARSAL": {"SERVER": "same", "REPORTS": str(tmp_path / "reports")},
        "BACKFILL": {"THROTTLE": asked.append},
    }
    with override_settings(SAFE_MIGRATIONS=given):
        result = rehearse(ready)
    assert result.code == 0, result.said
    assert asked == []


def test_a_copy_that_is_lost_says_nothing_of_the_plan(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.sql("store", "0002_more", ADD, DROP)

    def lose(*arguments: Any) -> None:
        # The copy stands in for the database by now.
        admin().execute(f'DROP DATABASE "{connection.settings_dict["NAME"]}" WITH (FORCE)')
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    monkeypatch.setattr(f"{rehearsing.__name__}.DataWatch.start", lose)
    result = rehearse(ready)
    assert result.code == 1
    assert "the copy failed" in result.err
    assert ready.evidence() == []
    assert ready.columns("store_box") == {"id", "size"}


def test_a_plan_that_cannot_go_back_is_tried_forwards(ready: Project, tmp_path: Path) -> None:
    ready.write("store", "0002_more", f"migrations.RunSQL({ADD!r}),")
    result = rehearse(ready, "--report", str(tmp_path / "elsewhere"), "--format", "json")
    assert result.code == 0, result.said
    assert Path(result.document["report"]["html"]).parent == tmp_path / "elsewhere"
    document = json.loads(Path(result.document["report"]["json"]).read_text())
    assert [one["direction"] for one in document["passes"]] == ["forwards"]
    assert any("can't be taken back" in line for line in document["round_trip"]["not_compared"])


def test_a_copy_is_left_behind_if_it_is_asked_for(ready: Project) -> None:
    ready.sql("store", "0002_more", ADD, DROP)
    result = rehearse(ready, "--keep-copy")
    [name] = copies()
    try:
        assert name in result.out
    finally:
        admin().execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_what_is_wrong_is_said_refused_and_not_recorded(ready: Project) -> None:
    ready.sql("store", "0002_more", "ALTER TABLE store_item DROP COLUMN name", "SELECT 1")
    result = rehearse(ready)
    assert result.code == 3
    assert "the code that serves now fails" in " ".join(result.out.split()), result.out
    assert "store.Item" in result.out
    assert "the way back is not whole" in result.out
    assert ready.evidence() == []
    assert copies() == []
    assert ready.columns("store_item") == {"id", "name", "total"}


def test_code_that_names_no_database_works_on_the_copy(ready: Project) -> None:
    """A RunPython without using(): production must not be touched."""
    ready.write(
        "store",
        "0002_more",
        "migrations.RunPython(forwards, migrations.RunPython.noop),",
        before="""
def forwards(apps, schema_editor):
    apps.get_model("store", "Item").objects.filter(pk=1).update(name="changed")
""",
    )
    rehearse(ready)
    assert ready.value("SELECT name FROM store_item") == "a"


def test_a_file_that_changes_afterwards_has_no_evidence(ready: Project) -> None:
    ready.sql("store", "0002_more", "SELECT 1", "SELECT 1")
    assert rehearse(ready).code == 0
    assert ready.run("--waive=backup=tested here", "--plan").code == 0
    text = ready.path("store", "0002_more").read_text()
    ready.put("store", "0002_more", text + "#")
    result = ready.run("--waive=backup=tested here")
    assert result.code == 3
    assert "other files or another database" in result.err
    assert "manage.py rehearsemigrations" in result.err


def test_one_that_was_killed_leaves_production_alone_and_is_cleaned_up_by_the_next(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.sql("store", "0002_more", ADD, DROP)

    def child() -> None:
        def line(command: Command, text: str = "", style: Any = None) -> None:
            if text.startswith("backwards"):
                kill_me()

        monkeypatch.setattr(Command, "line", line)
        rehearse(ready)

    assert wait_for(*fork(child)).signal == signal.SIGKILL
    assert len(copies()) == 1
    assert ready.columns("store_box") == {"id", "size"}
    assert ready.evidence() == []
    wait_until_alone(copies()[0])
    assert rehearse(ready).code == 0
    assert copies() == []


def test_nothing_to_try_is_said(ready: Project) -> None:
    assert "no migrations to rehearse" in rehearse(ready).out


def test_without_a_ledger_nothing_is_tried(project: Project) -> None:
    project.sql("store", "0002_more", "SELECT 1", "SELECT 1")
    result = rehearse(project)
    assert result.code == 1
    assert "manage.py safemigrate django_safemigrations" in result.err


def test_an_applied_migration_is_no_target(ready: Project) -> None:
    ready.sql("store", "0002_more", "SELECT 1", "SELECT 1")
    result = rehearse(ready, "store", "zero")
    assert result.code == 2
    assert "The way back is a part of every rehearsal" in result.err


class TestGathering:
    """A bare safemigrate on a small database meets its checklist by itself."""

    @pytest.fixture
    def unset(self, project: Project, tmp_path: Path) -> Iterator[Project]:
        """A project that has never run safemigrate; only places are set."""
        with override_settings(SAFE_MIGRATIONS=self.settings(tmp_path)):
            yield project

    def settings(self, tmp_path: Path) -> dict[str, Any]:
        return {
            "REHEARSAL": {"SERVER": "same", "REPORTS": str(tmp_path / "reports")},
            "BACKUP": {"DIRECTORY": str(tmp_path / "backups"), "ALWAYS": True},
        }

    def test_it_rehearses_backs_up_and_migrates(self, unset: Project, tmp_path: Path) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        result = unset.gathering()
        assert result.code == 0, result.said
        assert unset.columns("store_box") == {"id", "size", "more"}
        assert {row.item for row in unset.evidence()} == {"rehearsed", "backup", "rollback_plan"}
        assert list((tmp_path / "reports").glob("*.html"))
        assert list((tmp_path / "backups").iterdir())
        assert unset.last_run().waivers == {}

    def test_the_plan_tells_what_it_would_do_and_does_nothing(
        self, unset: Project, tmp_path: Path
    ) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        said = unset.gathering("--plan").out
        assert (
            f"safemigrate will rehearse the plan on a copy (dump), with a report in {tmp_path}"
            in said
        )
        assert f"safemigrate will dump the whole database into {tmp_path}" in said
        assert not (tmp_path / "reports").exists()
        assert not (tmp_path / "backups").exists()

    def test_a_rehearsal_that_finds_something_is_a_refusal(self, unset: Project) -> None:
        unset.expand("store", "0002_more", ADD, "SELECT 1")
        result = unset.gathering()
        assert result.code == 3
        assert "the way back is not whole" in result.err
        assert unset.columns("store_box") == {"id", "size"}
        assert unset.applied("store") == ["0001_initial"]

    def test_nothing_is_gathered_where_another_item_refuses(
        self, unset: Project, tmp_path: Path
    ) -> None:
        unset.write("store", "0002_more", 'migrations.RunSQL("SELECT 1"),')
        result = unset.gathering()
        assert result.code == 3
        assert "reversible" in result.err
        assert not (tmp_path / "reports").exists()
        assert "safemigrate will" not in unset.gathering("--plan").out

    def test_a_large_database_is_told_what_to_configure(
        self, unset: Project, tmp_path: Path
    ) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        with override_settings(SAFE_MIGRATIONS={"SMALL_DATABASE": "1 MB"}):
            refused = unset.gathering()
            assert refused.code == 3
            assert "SMALL_DATABASE" in refused.out
            said = unset.gathering("--plan").out
        assert "safemigrate will not rehearse the plan on a copy" in said
        assert "SMALL_DATABASE" in said
        assert not (tmp_path / "reports").exists()

    def test_where_no_copy_can_be_made_the_item_is_unmet_with_the_reason(
        self, unset: Project
    ) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        with override_settings(SAFE_MIGRATIONS={"REHEARSAL": {"SERVER": "env:NO_SUCH_VARIABLE"}}):
            result = unset.gathering()
        assert result.code == 3
        assert "NO_SUCH_VARIABLE" in result.err
        assert '--waive rehearsed="..."' in result.err
        assert unset.columns("store_box") == {"id", "size"}

    def test_where_no_backup_can_be_taken_the_item_is_unmet_with_the_reason(
        self, unset: Project, tmp_path: Path
    ) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        given = {
            "CHECKLIST": {"rehearsed": "off"},
            "BACKUP": {"STRATEGY": "command", "COMMAND": ["false"], "ALWAYS": True},
        }
        with override_settings(SAFE_MIGRATIONS=given):
            result = unset.gathering()
        assert result.code == 3
        assert '--waive backup="..."' in result.err
        assert unset.columns("store_box") == {"id", "size"}

    def test_an_attested_backup_is_named_on_the_command_line(self, unset: Project) -> None:
        unset.expand("store", "0002_more", ADD, DROP)
        given = {
            "BACKUP": {"STRATEGY": "attested", "ALWAYS": True},
            "CHECKLIST": {"rehearsed": "off"},
        }
        with override_settings(SAFE_MIGRATIONS=given):
            refused = unset.gathering()
            assert refused.code == 3
            assert "--backup-id" in refused.err
            result = unset.gathering("--backup-id", "snap-1@yesterday")
            assert result.code == 2
            assert "is not a time" in result.err
            assert unset.gathering("--backup-id", "snap-1").code == 0
        [row] = [row for row in unset.evidence() if row.item == "backup"]
        assert "snap-1" in json.dumps(row.details)


def test_a_new_model_brings_content_types_and_permissions_which_is_no_difference(
    ready: Project,
) -> None:
    ready.write(
        "store",
        "0002_shelf",
        'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),',
    )
    result = rehearse(ready)
    assert result.code == 0, result.said


OWNED = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO "Table Owner"', found.name);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I OWNER TO "Table Owner"', current_database());
    ALTER SCHEMA public OWNER TO "Table Owner";
END $$
"""


@pytest.fixture
def as_owner(ready: Project) -> Iterator[Project]:
    """The project, as a role that owns its tables and may do nothing else."""
    admin().execute(
        'DO $$ BEGIN CREATE ROLE "Table Owner" LOGIN; EXCEPTION WHEN duplicate_object THEN END $$'
    )
    ready.execute(OWNED)
    settings = connections.settings["default"]
    before, opened = settings["USER"], connections["default"]
    settings["USER"] = "Table Owner"
    connections["default"] = connections.create_connection("default")
    try:
        yield ready
    finally:
        connections["default"].close()
        settings["USER"] = before
        connections["default"] = opened


def test_who_owns_the_tables_needs_no_other_right(as_owner: Project, tmp_path: Path) -> None:
    """The copy is on an embedded server, so not even the right to create databases."""
    given = {
        "REHEARSAL": {"REPORTS": str(tmp_path / "reports"), "SERVER": "embedded"},
        "BACKUP": {"DIRECTORY": str(tmp_path / "backups"), "ALWAYS": True},
    }
    as_owner.expand("store", "0002_more", ADD, DROP)
    with override_settings(SAFE_MIGRATIONS=given):
        result = as_owner.gathering()
    assert result.code == 0, result.said
    assert as_owner.value("SELECT current_user") == "Table Owner"
    assert as_owner.columns("store_box") == {"id", "size", "more"}
