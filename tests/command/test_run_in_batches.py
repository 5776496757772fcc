"""RunInBatches in migration files: planned, linted, run by either command, killed, helped, squashed."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import textwrap
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations import AddField, CreateModel, Migration, RemoveField
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Lower
from django.test import override_settings

from django_safemigrations.backfill import walk
from django_safemigrations.footprints import migration_footprint
from django_safemigrations.lint import lint_migrations
from django_safemigrations.management.commands import runbackfill, safemigrate
from django_safemigrations.models import BackfillProgress
from django_safemigrations.operations import (
    BatchSQL,
    DeleteRows,
    InsertRows,
    RunInBatches,
    UpdateRows,
)
from tests.backfill.test_display import played
from tests.command.project import INITIAL, WAIVERS, Project
from tests.kit.databases import create_database, drop_database, use_database
from tests.kit.kill import run_killed

BEFORE = """
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django_safemigrations.operations import *

@row_function(writes=["total"])
def by_name(item):
    return {"total": (item.total or 0) + len(item.name)}
"""
ROWS = 40


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty rows are many."""
    monkeypatch.setattr(walk, "FIRST_BATCH", 8)
    monkeypatch.setattr(walk, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 8)


@pytest.fixture
def items(project: Project) -> Project:
    """A project whose ledger is there, with forty items."""
    assert project.run().code == 0
    project.execute("TRUNCATE store_item")
    project.execute(f"INSERT INTO store_item (name) SELECT 'abc' FROM generate_series(1, {ROWS})")
    return project


def write(project: Project, operation: str, name: str = "0002_data", **more: Any) -> None:
    given = {"atomic": False, **more}
    if name == "0002_data":
        given["after"] = "0001_initial"
    project.write("store", name, f"{operation},", before=textwrap.dedent(BEFORE), **given)


def lint(project: Project) -> list[str]:
    loader = MigrationLoader(None)
    found = lint_migrations(loader, [("store", "0002_data")])
    return [finding.code for finding in found]


INCREASE = 'RunInBatches("item", UpdateRows({"total": F("id") * 0 + 3}), RunInBatches.noop)'
ONCE = """RunInBatches("item", UpdateRows({"total": Coalesce(F("total"), 0) + 3}),
                    RunInBatches.noop)"""
PYTHON = 'RunInBatches("item", by_name, RunInBatches.noop)'


class TestRuns:
    @pytest.mark.parametrize(
        "operation", [PYTHON, pytest.param(INCREASE, marks=pytest.mark.exhaustive)]
    )
    def test_either_command_runs_it(self, items: Project, operation: str) -> None:
        write(items, operation)
        result = items.safely()
        assert result.code == 0, result.said
        assert items.value("SELECT count(*) FROM store_item WHERE total = 3") == ROWS
        assert items.plainly("store", "0001").code == 0
        items.execute("UPDATE store_item SET total = NULL")
        assert items.plainly("store").code == 0
        assert items.value("SELECT count(*) FROM store_item WHERE total = 3") == ROWS

    def test_applied_anew_after_a_faked_way_back_it_is_done_anew(self, items: Project) -> None:
        write(items, 'RunInBatches("item", by_name)')
        for times in (1, 2):
            result = items.safely("--waive", "reversible=tested here")
            assert result.code == 0, result.said
            assert items.value("SELECT sum(total) FROM store_item") == 3 * ROWS * times
            items.plainly("store", "0001", "--fake")

    def test_what_was_done_is_not_repeated_when_a_later_operation_failed(
        self, items: Project
    ) -> None:
        broken = f"{PYTHON}, migrations.RunSQL('SELECT 1 / (SELECT 0)', '')"
        write(items, broken)
        assert items.safely().code == 1
        assert items.safely().code == 1
        write(items, PYTHON)
        assert items.safely().code == 0
        assert items.value("SELECT sum(total) FROM store_item") == 3 * ROWS

    def test_a_fresh_database_spends_nothing_on_it(self, empty_project: Project) -> None:
        empty_project.write("store", "0001_initial", INITIAL)
        write(empty_project, PYTHON)
        call_command("migrate", verbosity=0)
        assert not BackfillProgress.objects.exists()

    def test_rows_of_an_earlier_migration_of_a_fresh_database_are_changed(
        self, empty_project: Project
    ) -> None:
        empty_project.write("store", "0001_initial", INITIAL)
        empty_project.sql("store", "0002_rows", "INSERT INTO store_item (name) VALUES ('ab')")
        write(empty_project, PYTHON, name="0003_data")
        call_command("migrate", verbosity=0)
        assert empty_project.value("SELECT total FROM store_item") == 2

    @pytest.mark.parametrize(
        "operation", [PYTHON, pytest.param(INCREASE, marks=pytest.mark.exhaustive)]
    )
    def test_a_squash_that_lost_its_atomic_runs_on_a_fresh_database(
        self, empty_project: Project, operation: str
    ) -> None:
        empty_project.write("store", "0001_initial", INITIAL)
        rows = "migrations.RunSQL(\"INSERT INTO store_item (name) VALUES ('abc')\", '')"
        write(empty_project, f"{rows}, {operation}", atomic=True)
        call_command("migrate", verbosity=0)
        assert empty_project.value("SELECT total FROM store_item") == 3

    def test_in_a_contract_it_waits_for_that_phase(self, items: Project) -> None:
        write(items, f"Contract(database_operations=[{PYTHON}])")
        items.safely()
        assert items.value("SELECT count(total) FROM store_item") == 0
        assert items.safely("--phase", "contract").code == 0
        assert items.value("SELECT count(total) FROM store_item") == ROWS

    def test_among_the_stages_of_a_change_it_knows_the_new_column(self, items: Project) -> None:
        write(
            items,
            "Expand("
            'state_operations=[migrations.AddField("item", "size", models.IntegerField(null=True))],'
            'database_operations=[AddColumn("item", "size"),'
            'RunInBatches("item", UpdateRows({"size": 7}), RunInBatches.noop)])',
        )
        assert items.safely().code == 0
        assert items.value("SELECT count(*) FROM store_item WHERE size = 7") == ROWS

    def test_rows_that_fail_end_the_command_and_only_they_are_tried_again(
        self, items: Project
    ) -> None:
        items.execute("UPDATE store_item SET name = '' WHERE id % 10 = 0")
        write(
            items,
            'RunInBatches("item", BatchSQL("UPDATE store_item SET total ='
            ' coalesce(total, 0) + 6 / length(name) WHERE {batch}"), RunInBatches.noop)',
        )
        result = items.safely()
        assert result.code == 1
        assert "4 rows of public.store_item can't be filled" in result.said
        assert "division by zero" in result.said
        items.execute("UPDATE store_item SET name = 'abc' WHERE name = ''")
        assert items.safely().code == 0
        assert items.rows_of("SELECT DISTINCT total FROM store_item") == [(2,)]


class TestKilled:
    def kill(self, items: Project, operation: str, points: list[int]) -> None:
        write(items, operation)
        name = str(connection.settings_dict["NAME"])
        connection.close()
        template = create_database(name)
        try:
            for n in points:
                database = create_database(template)
                with use_database(database):
                    killed = run_killed(run_quietly, n)
                    assert not killed.finished or n > 20
                    result = items.safely()
                    assert result.code == 0, result.said
                    found = items.rows_of("SELECT total, count(*) FROM store_item GROUP BY 1")
                    assert found == [(3, ROWS)], killed
                drop_database(database)
                if killed.finished:
                    break
        finally:
            drop_database(template)

    def test_in_mid_run_it_goes_on_and_changes_no_row_twice(self, items: Project) -> None:
        self.kill(items, PYTHON, [12, 19])

    @pytest.mark.exhaustive
    @pytest.mark.parametrize("operation", [PYTHON, ONCE])
    def test_after_every_change(self, items: Project, operation: str) -> None:
        self.kill(items, operation, list(range(1, 40)))


def run_quietly() -> None:
    call_command(
        safemigrate.Command(stdout=io.StringIO(), stderr=io.StringIO()), *WAIVERS, verbosity=0
    )


class TestHelped:
    @pytest.mark.parametrize("operation", [INCREASE, PYTHON])
    def test_other_processes_do_it_from_what_the_ledger_says(
        self, items: Project, operation: str
    ) -> None:
        write(items, operation)
        left = items.safely("--no-wait")
        assert left.code == 4, left.said
        assert items.value("SELECT count(total) FROM store_item") == 0
        helped = items.type(runbackfill.Command, "runbackfill")
        assert helped.code == 0, helped.said
        assert items.value("SELECT count(*) FROM store_item WHERE total = 3") == ROWS
        assert items.safely("--no-wait").code == 0
        assert items.value("SELECT sum(total) FROM store_item") == 3 * ROWS

    def test_a_process_without_the_file_says_so(self, items: Project) -> None:
        write(items, PYTHON)
        assert items.safely("--no-wait").code == 4
        items.remove("store", "0002_data")
        helped = items.type(runbackfill.Command, "runbackfill")
        assert helped.code != 0
        assert "no RunInBatches at 0" in helped.said


class TestInATerminal:
    def test_the_command_draws_while_it_works_and_leaves_what_migrate_leaves(
        self, items: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        write(items, PYTHON)
        leader, follower = pty.openpty()
        read = threading.Thread(target=lambda: found.append(drained(leader)))
        found: list[str] = []
        read.start()
        with os.fdopen(follower, "w") as screen:
            command = safemigrate.Command(stdout=screen, stderr=screen)
            command.run_from_argv(["manage.py", "safemigrate", *WAIVERS])
        read.join()
        (text,) = found
        assert "\x1b[?25l" in text
        assert " of about " in text or " rows" in text
        shown = [line for line in played(text) if "store.0002" in line or "done, " in line]
        assert shown[-2].startswith("  Applying store.0002_data...")
        assert shown[-1].endswith("in batches: done, 40 rows changed OK")


def drained(leader: int) -> str:
    """Return what is written to a pseudo-terminal until its other end is closed."""
    text = b""
    # Linux says so by an error.
    with contextlib.suppress(OSError):
        while read := os.read(leader, 65536):
            text += read
    os.close(leader)
    return text.decode()


class TestRouters:
    def test_hints_reach_the_router_and_what_it_forbids_is_left_alone(self, items: Project) -> None:
        asked: list[dict[str, Any]] = []

        class Router:
            def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
                asked.append({"app_label": app_label, **hints})
                return False if hints.get("tenant") == "other" else None

        write(items, 'RunInBatches("item", by_name, RunInBatches.noop, hints={"tenant": "other"})')
        with override_settings(DATABASE_ROUTERS=[Router()]):
            assert items.plainly("store").code == 0
        assert items.value("SELECT count(total) FROM store_item") == 0
        (seen,) = [hints for hints in asked if "tenant" in hints]
        assert (seen["app_label"], seen["model_name"]) == ("store", "item")


class TestFiles:
    def test_the_linter_finds_nothing_where_it_is_right(self, items: Project) -> None:
        write(items, PYTHON)
        assert lint(items) == []
        items.remove("store", "0002_data")
        write(items, f"{INCREASE}, {PYTHON}", atomic=True)
        assert lint(items) == ["DSM402", "DSM402"]
        items.remove("store", "0002_data")
        write(items, 'RunInBatches("item", by_name)')
        assert lint(items) == ["DSM401"]

    def test_the_checklist_counts_it_as_batched_and_the_plan_tells_it(self, items: Project) -> None:
        write(items, f"{INCREASE}, {PYTHON}")
        found = items.run("--plan")
        for part in (
            "Update total of item in batches",
            "Run by_name() on each row of item in batches",
            'UPDATE "store_item" AS dsm_row SET "total"',
            "Python: by_name() computes total of each row",
        ):
            assert part in found.said, found.said
        items.safely()
        (verdict,) = [v for v in items.last_run().checklist if v["item"] == "batched"]
        assert verdict["state"] == "met"

    def test_sqlmigrate_prints_and_changes_nothing(
        self, items: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(items, f"{INCREASE}, {PYTHON}")
        call_command("sqlmigrate", "store", "0002")
        out = capsys.readouterr().out
        assert "-- In batches by key, each in its own transaction:" in out
        assert "by_name()" in out
        assert items.value("SELECT count(total) FROM store_item") == 0

    def test_a_transaction_around_it_is_refused(self, items: Project) -> None:
        write(items, PYTHON, atomic=True)
        result = items.safely("--waive", "batched=tested here")
        assert result.code == 1
        assert "atomic = False" in result.said

    def test_the_autodetector_sees_no_change_of_models(self, items: Project) -> None:
        write(items, PYTHON)
        loader = MigrationLoader(None)
        before = loader.project_state([("store", "0001_initial")])
        after = loader.project_state([("store", "0002_data")])
        questioner = NonInteractiveMigrationQuestioner(specified_apps={"store"})
        found = MigrationAutodetector(before, after, questioner).changes(graph=loader.graph)
        assert found == {}

    def test_what_it_touches_is_known(self) -> None:
        state = ProjectState()
        fields: Any = [("id", models.AutoField(primary_key=True)), ("total", models.IntegerField())]
        for name in ("Item", "Entry"):
            CreateModel(name, fields).state_forwards("store", state)
        migration = Migration("0002", "store")
        migration.operations = [  # type: ignore[misc]
            RunInBatches("item", UpdateRows({"total": 1}, Q(id__gt=4))),
            RunInBatches("item", InsertRows("Entry", {"total": F("total")})),
            RunInBatches("item", BatchSQL("UPDATE old_item SET gone = 1 WHERE {batch}")),
        ]
        found = migration_footprint(migration, state)
        assert {"store_item", "store_entry", "old_item"} <= found.tables
        assert {("store_item", "total"), ("store_item", "id")} <= found.names
        assert "gone" in found.raw


CHANGES = [
    UpdateRows({"slug": Concat(Lower(F("title")), Value("-x")), "n": 3}, Q(slug=None) | Q(n__gt=2)),
    UpdateRows({"slug": ""}, Q(slug=None), until_none_left=True),
    DeleteRows(Q(slug="")),
    InsertRows("Entry", {"order": F("pk")}),
    BatchSQL("UPDATE a SET b = %s WHERE {batch}", [1], where="b IS NULL"),
    RunInBatches.noop,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_what_is_written_to_a_file_reads_back_as_it_was(change: Any) -> None:
    operation = RunInBatches("order", change, RunInBatches.noop, {"target": "a"}, elidable=True)
    text, imports = MigrationWriter.serialize(change)
    names: dict[str, Any] = {}
    exec("\n".join(sorted(imports)), names)
    read = eval(text, names)
    if change is not RunInBatches.noop:
        assert read.deconstruct() == change.deconstruct()
    migration = type("Migration", (Migration,), {"operations": [operation]})("0002", "shop")
    source = MigrationWriter(migration).as_string()
    made: dict[str, Any] = {}
    exec(source, made)
    (again,) = made["Migration"].operations
    assert again.deconstruct()[2]["model_name"] == "order"
    assert MigrationWriter(made["Migration"]("0002", "shop")).as_string() == source


def test_squashing_leaves_out_what_may_be_and_moves_nothing_over_it() -> None:
    add = AddField("order", "old", models.IntegerField(null=True))
    remove = RemoveField("order", "old")
    kept = RunInBatches("order", UpdateRows({"n": F("old")}))
    gone = RunInBatches("order", UpdateRows({"n": F("old")}), elidable=True)
    assert MigrationOptimizer().optimize([add, kept, remove], "shop") == [add, kept, remove]
    assert MigrationOptimizer().optimize([add, gone, remove], "shop") == []


def test_it_says_what_it_does_in_descriptions_and_file_names() -> None:
    operation = RunInBatches("shop.Order", CHANGES[0])
    assert operation.describe() == "Update slug, n of shop.Order in batches"
    assert operation.migration_name_fragment == "order_update_slug_n"
