"""The way back is worked out before a run: what to type, what it undoes, and from where on it is gone."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db import migrations, models
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from django_safemigrations import operations
from django_safemigrations.checklist import record_evidence
from django_safemigrations.models import Evidence
from django_safemigrations.operations import (
    Contract,
    DeleteRows,
    DropColumn,
    Expand,
    RunInBatches,
    Stage,
)
from django_safemigrations.phases import Phase
from django_safemigrations.rollback_plans import RollbackPlan, rollback_plan
from django_safemigrations.rollback_plans.fates import FATES, fate_of
from django_safemigrations.schedule import Action, Entry
from tests.command.project import Project
from tests.kit.databases import connect

A = ("ALTER TABLE store_item ADD COLUMN a int", "ALTER TABLE store_item DROP COLUMN a")
EXTRA = 'migrations.AddField("Item", "extra", models.IntegerField(null=True)),'
DROP_TOTAL = (
    'Contract(database_operations=[DropColumn("item", "total", models.IntegerField(null=True))]),'
)
IMPORT_DROP = "from django_safemigrations.operations import DropColumn"


def migration(name: str, *parts: Any, app: str = "store") -> migrations.Migration:
    made = type("Migration", (migrations.Migration,), {"operations": list(parts)})(name, app)
    return cast("migrations.Migration", made)


def plan_of(*entries: Entry, **more: Any) -> RollbackPlan:
    """Work out the way back of migrations that depend on each other in the given order."""
    graph = MigrationGraph()
    graph.add_node(("store", "0001_initial"), migration("0001_initial"))
    last: dict[str, tuple[str, str]] = {"store": ("store", "0001_initial")}
    for entry in entries:
        graph.add_node(entry.key, entry.migration)
        if entry.key[0] in last:
            graph.add_dependency(entry.migration, entry.key, last[entry.key[0]])
        last[entry.key[0]] = entry.key
    loader = cast("MigrationLoader", SimpleNamespace(graph=graph))
    return rollback_plan(loader, entries, database="default", plan_hash="ab12", **more)


def entry(name: str, *parts: Any, app: str = "store", action: Action = Action.APPLY) -> Entry:
    phase = Phase.CONTRACT if parts and isinstance(parts[0], Contract) else Phase.EXPAND
    return Entry(migration(name, *parts, app=app), action, phase)


def text_of(plan: RollbackPlan) -> str:
    return " ".join(" ".join(plan.lines()).split())


DROPPED = DropColumn("item", "total", models.IntegerField(null=True))


class TestWorkingItOut:
    @pytest.mark.parametrize("name", operations.__all__)
    def test_every_stage_says_what_becomes_of_it(self, name: str) -> None:
        kind = getattr(operations, name)
        if isinstance(kind, type) and issubclass(kind, Stage) and kind is not Stage:
            assert name in FATES

    @pytest.mark.parametrize("name", migrations.operations.__all__)
    def test_every_operation_of_django_says_what_becomes_of_it(self, name: str) -> None:
        kind = getattr(migrations.operations, name)
        known = any(base.__name__ in FATES for base in kind.__mro__)
        assert known or name == "SeparateDatabaseAndState"

    def test_an_expand_is_taken_back_behind_the_old_release(self) -> None:
        plan = plan_of(entry("0002_more", migrations.RunSQL(*A)), release="8", earlier_release="7")
        assert plan.instructions[0].text.startswith("Deploy release 7 again")
        assert [i.command for i in plan.instructions if i.command] == [
            "manage.py safemigrate --rollback --plan",
            "manage.py safemigrate --rollback",
        ]
        assert plan.by_name == ("manage.py safemigrate store 0001_initial",)
        assert plan.no_return is None
        assert "run by release 8" in text_of(plan)

    def test_a_contract_is_taken_back_before_the_old_release(self) -> None:
        plan = plan_of(entry("0002_less", Contract([DROPPED])))
        assert plan.instructions[0].text.startswith("Leave the new code running")
        assert "may be deployed again" in plan.instructions[3].text
        assert plan.no_return is not None
        assert (plan.no_return.migration, plan.no_return.operation) == ("store.0002_less", "0.0")
        assert plan.no_return.why == "the values of item.total are gone"
        assert not plan.stuck

    def test_the_point_of_no_return_is_the_first_on_the_way_forwards(self) -> None:
        plan = plan_of(
            entry("0002_a", migrations.AddField("Item", "a", models.IntegerField())),
            entry("0003_b", RunInBatches("item", DeleteRows(models.Q(total=0)), RunInBatches.noop)),
            entry("0004_c", migrations.RemoveField("Item", "total")),
        )
        assert plan.no_return is not None
        assert plan.no_return.migration == "store.0003_b"
        assert plan.losses == ("values written into Item.a are lost",)

    def test_keeping_what_is_dropped_moves_the_point_of_no_return(self) -> None:
        plan = plan_of(entry("0002_less", Contract([DROPPED])), kept="7 days")
        assert plan.no_return is None
        assert "Point of no return: 7 days after the run" in text_of(plan)
        assert "kept for 7 days, and put back" in text_of(plan)

    def test_what_can_not_be_undone_is_named_with_its_place(self) -> None:
        plan = plan_of(
            entry("0002_a", migrations.RunSQL(*A)),
            entry("0003_b", migrations.RunSQL("SELECT 1"), migrations.RunPython(print)),
        )
        assert [(step.name, step.operation) for step in plan.stuck] == [
            ("store.0003_b", "0"),
            ("store.0003_b", "1"),
        ]
        assert "There is no whole way back" in text_of(plan)
        assert plan.as_json()["can_be_rolled_back"] is False

    def test_steps_are_in_the_order_of_the_way_back(self) -> None:
        plan = plan_of(
            entry("0002_a", Expand([migrations.RunSQL(*A), migrations.RunSQL(*A)])),
            entry("0003_b", migrations.RunSQL(*A)),
        )
        assert [(step.migration, step.operation) for step in plan.steps] == [
            ("0003_b", "0"),
            ("0002_a", "0.1"),
            ("0002_a", "0.0"),
        ]

    def test_a_contract_that_is_stepped_over_is_only_unrecorded(self) -> None:
        plan = plan_of(
            entry("0002_less", Contract([DROPPED]), action=Action.STEP_OVER),
            entry("0003_more", migrations.RunSQL(*A)),
        )
        assert plan.no_return is None
        assert plan.steps[-1].undo.startswith("is only unrecorded")
        assert plan.instructions[0].text.startswith("Deploy")

    def test_a_pending_contract_has_no_way_back_by_name(self) -> None:
        plan = plan_of(entry("0002_less", Contract([DROPPED]), action=Action.RUN_PENDING))
        assert plan.by_name == ()

    def test_both_phases_in_one_run_stop_the_application(self) -> None:
        plan = plan_of(
            entry("0002_more", migrations.RunSQL(*A)), entry("0003_less", Contract([DROPPED]))
        )
        assert plan.instructions[0].text.startswith("Stop the application")

    def test_noop_reverses_are_told_to_leave_things_as_they_are(self) -> None:
        for operation in (
            migrations.RunSQL("SELECT 1", migrations.RunSQL.noop),
            migrations.RunPython(print, migrations.RunPython.noop),
            RunInBatches("item", DeleteRows(models.Q(total=0)), RunInBatches.noop),
        ):
            assert fate_of(operation).undo.startswith("does nothing")

    def test_times_of_the_rehearsal_are_told(self) -> None:
        seconds = {("store", "0002_a", "0"): 3.25}
        plan = plan_of(entry("0002_a", migrations.RunSQL(*A)), seconds=seconds)
        assert plan.seconds == 3.25
        assert "It took 3.2 s in the rehearsal" in text_of(plan)

    def test_lines_are_readable_at_100_columns(self) -> None:
        plan = plan_of(
            entry("0002_a", migrations.AddField("Item", "a", models.IntegerField())),
            entry("0003_less", Contract([DROPPED])),
            release="2026.11",
            kept="7 days",
        )
        assert max(len(line) for line in plan.lines() if "manage.py" not in line) <= 100

    def test_json_holds_everything(self) -> None:
        plan = plan_of(entry("0002_less", Contract([DROPPED])))
        document = json.loads(json.dumps(plan.as_json()))
        assert document["no_return"]["stuck"] is False
        assert document["steps"][0]["gone"] == "the values of item.total"
        assert document["instructions"][1]["command"] == "manage.py safemigrate --rollback --plan"


class TestTheCommand:
    def test_the_plan_shows_it_and_the_item_is_met_by_it(self, project: Project) -> None:
        project.write("store", "0002_more", EXTRA)
        result = project.run("--plan", "--format", "json")
        document = result.document
        assert document["rollback_plan"]["losses"] == ["values written into Item.extra are lost"]
        verdict = document["checklist"][-1]
        assert (verdict["item"], verdict["state"]) == ("rollback_plan", "met")
        text = project.run("--plan").out
        assert "drops the column of Item.extra" in text
        assert "manage.py safemigrate --rollback\n" in text

    def test_what_sql_takes_away_is_gone_whatever_its_reverse_says(self, project: Project) -> None:
        sql = "ALTER TABLE store_item DROP COLUMN total"
        back = "ALTER TABLE store_item ADD COLUMN total int"
        project.contract("store", "0002_less", sql, back)
        project.sql("store", "0003_some", "SELECT do_something()")
        plan = project.run("--plan", "--phase", "all", "--format", "json").document
        point = plan["rollback_plan"]["no_return"]
        assert (point["migration"], point["operation"]) == ("store.0002_less", "0.0")
        assert point["why"].startswith("the values of total of ")

    def test_what_nobody_can_tell_is_said_not_to_be_known(self, project: Project) -> None:
        project.write("store", "0002_some", "migrations.RunPython(print, print),")
        text = " ".join(project.run("--plan").out.split())
        assert "Point of no return: none that the files tell of." in text
        assert "only running it tells: store.0002_some 0." in text

    def test_its_commands_lead_back(self, project: Project) -> None:
        project.write("store", "0002_more", EXTRA)
        before = project.columns("store_item")
        plan = project.run("--plan", "--format", "json").document["rollback_plan"]
        typed = [i["command"] for i in plan["instructions"] if i["command"]]
        for commands in (typed, plan["by_name"]):
            assert project.safely().code == 0
            assert project.columns("store_item") != before
            for command in commands:
                result = project.run(*shlex.split(command)[2:])
                assert result.code == 0, result.said
            assert project.columns("store_item") == before
            assert project.applied("store") == ["0001_initial"]

    def test_what_has_no_way_back_needs_a_waiver(self, project: Project) -> None:
        project.write("store", "0002_a", "migrations.RunSQL('SELECT 1'),")
        waived = [f"--waive={item}=tested here" for item in ("rehearsed", "backup", "reversible")]
        result = project.run(*waived)
        assert result.code == 3
        assert "there is no whole way back" in result.err
        assert "store.0002_a 0: can't be undone" in result.err
        assert project.applied("store") == ["0001_initial"]
        result = project.run(*waived, "--waive=rollback_plan=there is a snapshot")
        assert result.code == 0, result.said
        assert project.last_run().waivers["rollback_plan"] == "there is a snapshot"

    def test_it_is_kept_with_the_run_and_an_edited_one_is_not_shown(self, project: Project) -> None:
        project.write("store", "0002_less", DROP_TOTAL, before=IMPORT_DROP)
        assert project.safely("--phase", "contract", "--waive=no_downtime=a test").code == 0
        (kept,) = Evidence.objects.filter(item="rollback_plan")
        run = project.last_run()
        assert (kept.run_id, kept.plan_hash) == (run.pk, run.plan_hash)
        (shown,) = project.run("--history", "--format", "json").document["history"]
        assert shown["rollback_plan"]["no_return"]["migration"] == "store.0002_less"
        Evidence.objects.update(details={"steps": []})
        (shown,) = project.run("--history", "--format", "json").document["history"]
        assert shown["rollback_plan"] is None

    def test_a_file_is_written_for_its_owner_only(self, project: Project, tmp_path: Path) -> None:
        project.expand("store", "0002_a", *A)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("somebody else's")
        path = tmp_path / "back.json"
        path.symlink_to(elsewhere)
        assert project.run("--plan", "--rollback-plan", str(path)).code == 0
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert elsewhere.read_text() == "somebody else's"
        assert json.loads(path.read_text())["steps"][0]["migration"] == "0002_a"
        text = tmp_path / "back.txt"
        assert project.safely("--rollback-plan", str(text)).code == 0
        assert "What to do, in this order:" in text.read_text()
        assert not list(tmp_path.glob(".back*"))

    def test_a_file_that_can_not_be_written_stops_the_run(self, project: Project) -> None:
        project.expand("store", "0002_a", *A)
        result = project.safely("--rollback-plan", "/no/such/directory/back.txt")
        assert result.code == 1
        assert "nothing was changed" in result.err
        assert project.applied("store") == ["0001_initial"]

    def test_a_file_without_a_plan_is_a_usage_error(self, project: Project) -> None:
        assert project.run("--status", "--rollback-plan", "x").code == 2

    def test_the_rehearsal_tells_how_long_it_takes(self, project: Project) -> None:
        assert project.run().code == 0
        project.expand("store", "0002_a", *A)
        hashed = project.run("--plan", "--format", "json").document["plan_hash"]
        details = {"way_back_seconds": {"store.0002_a 0.0": 1.5}}
        record_evidence("default", "rehearsed", hashed, details)
        plan = project.run("--plan", "--format", "json").document["rollback_plan"]
        assert plan["seconds"] == 1.5

    def test_the_setting_keeps_what_is_dropped(self, project: Project) -> None:
        project.write("store", "0002_less", DROP_TOTAL, before=IMPORT_DROP)
        with override_settings(SAFE_MIGRATIONS={"KEEP_DROPPED": "7 days"}):
            plan = project.run("--plan", "--phase", "contract", "--format", "json").document
        assert plan["rollback_plan"]["no_return"] is None


class TestGoingBack:
    @pytest.fixture
    def run(self, project: Project) -> Project:
        project.write("store", "0002_more", EXTRA)
        assert project.safely().code == 0
        return project

    def answer(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

        def reply(question: str) -> str:
            asked.append(question)
            return answer

        monkeypatch.setattr("builtins.input", reply)
        return asked

    @pytest.mark.parametrize("args", [("--rollback",), ("store", "0001")])
    def test_in_a_terminal_it_asks_before_data_is_lost(
        self, run: Project, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
    ) -> None:
        asked = self.answer(monkeypatch, "n")
        result = run.run(*args)
        assert result.code == 1
        assert "lost: values written into Item.extra are lost" in result.out
        assert len(asked) == 1
        assert run.applied("store")[-1] == "0002_more"
        assert run.run(*args, "--noinput").code == 0
        assert len(asked) == 1
        assert run.applied("store") == ["0001_initial"]

    def test_a_way_back_by_name_that_loses_nothing_is_not_asked_about(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.expand("store", "0002_a", "SELECT 1")
        assert project.safely().code == 0
        asked = self.answer(monkeypatch, "n")
        assert project.run("store", "0001").code == 0
        assert asked == []

    def test_losses_are_told_as_json_and_by_its_plan(self, run: Project) -> None:
        lost = ["values written into Item.extra are lost"]
        shown = run.run("--rollback", "--plan")
        assert f"lost: {lost[0]}" in shown.out
        result = run.run("--rollback", "--format", "json")
        assert result.document["losses"] == lost
        assert run.last_run().kind == "rollback"

    def test_new_code_that_is_still_connected_is_named(self, project: Project) -> None:
        project.write("store", "0002_more", EXTRA)
        with override_settings(SAFE_MIGRATIONS={"RELEASE": "new"}):
            assert project.safely().code == 0
            with connect(application_name="shop release=new"):
                result = project.run("--rollback")
        assert result.code == 0, result.said
        assert "Release new is connected and needs what is taken back here" in result.err


def test_recorded_evidence_does_not_stand_in_for_a_way_back(project: Project) -> None:
    assert project.run().code == 0
    project.write("store", "0002_a", "migrations.RunSQL('SELECT 1'),")
    hashed = project.run("--plan", "--format", "json").document["plan_hash"]
    for item in ("rehearsed", "backup", "rollback_plan"):
        record_evidence("default", item, hashed, {})
    result = project.run("--waive=reversible=a test")
    assert result.code == 3
    assert "(rollback_plan)" in result.err
