"""Pending contracts: in order per table, independent across tables, never lost, never run twice."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.models import PendingContract
from tests.command.project import Project

FAIL = "DO $$ BEGIN RAISE EXCEPTION 'not yet'; END $$"
ITEM = "ALTER TABLE store_item DROP COLUMN total"
BOX = "ALTER TABLE store_box DROP COLUMN size"
MORE = "CREATE TABLE store_more ()"


def fails_on_item() -> str:
    return f"COMMENT ON TABLE store_item IS 'x'; {FAIL}"


def pending_item_and_box(project: Project, item: str) -> None:
    project.contract("store", "0002_item", item)
    project.contract("store", "0003_box", BOX)
    project.expand("store", "0004_more", MORE)
    result = project.safely()
    assert result.code == 0, result.said
    assert project.pending() == ["store.0002_item", "store.0003_box"]


def test_a_failing_pending_contract_does_not_stop_another_table(project: Project) -> None:
    pending_item_and_box(project, fails_on_item())
    result = project.safely("--phase", "contract")
    assert result.code == 1
    assert "store.0002_item: InternalError" in result.err or "not yet" in result.err
    assert "Traceback" not in result.said
    assert project.pending() == ["store.0002_item"]
    assert "size" not in project.columns("store_box")
    assert "not yet" in PendingContract.objects.get(resolved_at=None).last_error
    assert project.last_run().status == "failed"


def test_a_failing_pending_contract_stops_later_ones_of_its_table(project: Project) -> None:
    project.contract("store", "0002_item", fails_on_item())
    project.contract("store", "0003_item", ITEM)
    project.expand("store", "0004_more", MORE)
    project.safely()
    result = project.safely("--phase", "contract")
    assert result.code == 1
    assert "store.0003_item: not run: store.0002_item comes before it on table store_item" in (
        result.err
    )
    assert project.pending() == ["store.0002_item", "store.0003_item"]
    assert "total" in project.columns("store_item")


def test_a_failing_contract_of_a_row_is_stepped_over_for_the_other_tables(project: Project) -> None:
    project.contract("store", "0002_item", fails_on_item())
    project.contract("store", "0003_item", ITEM)
    project.contract("store", "0004_box", BOX)
    result = project.safely("--phase", "contract")
    assert result.code == 1
    assert project.applied("store")[-1] == "0004_box"
    assert project.pending() == ["store.0002_item", "store.0003_item"]
    assert "size" not in project.columns("store_box")
    assert "total" in project.columns("store_item")


def test_a_failing_last_contract_stays_unapplied(project: Project) -> None:
    project.contract("store", "0002_box", BOX)
    project.contract("store", "0003_item", fails_on_item())
    assert project.safely("--phase", "contract").code == 1
    assert project.applied("store")[-1] == "0002_box"
    assert project.pending() == []


def test_a_repaired_contract_runs_the_next_time(project: Project) -> None:
    pending_item_and_box(project, fails_on_item())
    project.safely("--phase", "contract")
    project.contract("store", "0002_item", ITEM, after="0001_initial")
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.pending() == []
    assert "total" not in project.columns("store_item")


def test_a_plain_migrate_backwards_closes_the_pending_contract(project: Project) -> None:
    project.contract("store", "0002_item", ITEM, FAIL)
    project.expand("store", "0003_more", MORE, "DROP TABLE store_more")
    assert project.safely().code == 0
    # Its reverse would fail: there is nothing to reverse.
    call_command("migrate", "store", "0001", verbosity=0)
    assert project.applied("store") == ["0001_initial"]
    assert project.pending() == []
    row = PendingContract.objects.get(name="0002_item")
    assert row.resolution == "elsewhere"


def test_a_contract_applied_anew_by_plain_migrate_is_not_run_again(project: Project) -> None:
    pending_item_and_box(project, ITEM)
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("store", "0002_item")
    recorder.record_applied("store", "0002_item")
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.pending() == []
    assert "total" in project.columns("store_item")


def test_a_pending_contract_whose_file_is_gone_is_kept_and_reported(project: Project) -> None:
    pending_item_and_box(project, ITEM)
    project.remove("store", "0002_item")
    project.contract("store", "0003_box", BOX, after="0001_initial")
    result = project.run("store", "--prune")
    assert result.code == 0, result.said
    status = project.run("--status")
    assert "store.0002_item on store_item" in status.out
    assert "its file is gone" in status.out
    assert '--resolve-contract store.0002_item="' in status.out
    assert project.run("--check").code == 4
    ran = project.safely("--phase", "contract")
    assert ran.code == 0, ran.said
    assert "size" not in project.columns("store_box")
    assert project.pending() == ["store.0002_item"]


def test_a_pending_contract_can_be_resolved_by_hand(project: Project) -> None:
    pending_item_and_box(project, ITEM)
    result = project.run("--resolve-contract", "store.0002_item=dropped by the DBA")
    assert result.code == 0, result.said
    assert project.pending() == ["store.0003_box"]
    row = PendingContract.objects.get(name="0002_item")
    assert (row.resolution, row.reason) == ("by hand", "dropped by the DBA")


@pytest.mark.parametrize("given", ["store.0009_none=why", "0002_item=why", "store.0002_item="])
def test_resolving_needs_a_pending_contract_and_a_reason(project: Project, given: str) -> None:
    pending_item_and_box(project, ITEM)
    result = project.run("--resolve-contract", given)
    assert result.code == 2
    assert "store.0002_item" in result.err or "--resolve-contract shop." in result.err
    assert len(project.pending()) == 2


def test_a_pending_contract_behind_a_squash_runs_from_its_own_file(project: Project) -> None:
    pending_item_and_box(project, ITEM)
    project.write(
        "store",
        "0002_squashed",
        "migrations.RunSQL('SELECT 1', 'SELECT 1'),",
        after="0001_initial",
        more='replaces = [("store", n) for n in ("0002_item", "0003_box", "0004_more")]',
    )
    status = project.run("--status")
    assert "a squash replaces it" in status.out
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.pending() == []
    assert "total" not in project.columns("store_item")


def test_the_database_part_of_a_pending_contract_can_be_rolled_back(project: Project) -> None:
    back = "ALTER TABLE store_item ADD COLUMN total int"
    project.contract("store", "0002_item", ITEM, back)
    project.expand("store", "0003_more", MORE, "DROP TABLE store_more")
    project.safely()
    project.safely("--phase", "contract")
    assert "total" not in project.columns("store_item")
    result = project.run("--rollback")
    assert result.code == 0, result.said
    assert "total" in project.columns("store_item")
    assert project.pending() == ["store.0002_item"]
    assert project.applied("store")[-1] == "0003_more"
    again = project.run("--rollback")
    assert again.code == 0, again.said
    assert project.applied("store") == ["0001_initial"]
    assert project.pending() == []


def test_in_all_phases_an_expand_behind_a_failed_contract_is_not_run(project: Project) -> None:
    project.contract("store", "0002_item", fails_on_item())
    project.expand("store", "0003_more", MORE)
    project.contract("depot", "0001_box", BOX, after=[("store", "0001_initial")])
    result = project.safely("--phase", "all")
    assert result.code == 1
    assert "store.0003_more: not run: it needs the contract store.0002_item" in result.err
    assert project.applied("store") == ["0001_initial"]
    assert project.applied("depot") == ["0001_box"]
