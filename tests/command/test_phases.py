"""Which migrations run in which phase, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.signals import post_migrate, pre_migrate

from tests.command.project import INITIAL, WAIVERS, Project

ADD_EXTRA = "ALTER TABLE store_item ADD COLUMN extra int"
DROP_EXTRA = "ALTER TABLE store_item DROP COLUMN extra"
DROP_TOTAL = "ALTER TABLE store_item DROP COLUMN total"
BACK_TOTAL = "ALTER TABLE store_item ADD COLUMN total int"


def test_the_expand_phase_leaves_contracts_alone(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.contract("store", "0003_less", DROP_TOTAL)
    result = project.safely()
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial", "0002_more"]
    assert project.columns("store_item") == {"id", "name", "total", "extra"}
    assert "Left for --phase contract: store.0003_less" in result.out


def test_the_contract_phase_runs_what_expand_left(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.contract("store", "0003_less", DROP_TOTAL)
    project.safely()
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.applied("store")[-1] == "0003_less"
    assert project.columns("store_item") == {"id", "name", "extra"}
    assert project.pending() == []


def test_the_contract_phase_runs_no_expand_migration(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.contract("store", "0003_less", DROP_TOTAL)
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]
    assert "Left for --phase expand: store.0002_more" in result.out


def test_all_phases_run_in_the_order_of_the_graph(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.contract("store", "0003_less", DROP_TOTAL)
    project.expand("store", "0004_again", "ALTER TABLE store_item ADD COLUMN total text")
    result = project.safely("--phase", "all")
    assert result.code == 0, result.said
    assert project.applied("store")[-1] == "0004_again"
    assert project.pending() == []


def test_a_contract_that_a_later_expand_needs_is_stepped_over(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA)
    result = project.safely()
    assert result.code == 0, result.said
    assert "Stepping over store.0002_less" in result.out
    assert project.applied("store") == ["0001_initial", "0002_less", "0003_more"]
    assert project.pending() == ["store.0002_less"]
    assert project.columns("store_item") == {"id", "name", "total", "extra"}


def test_a_pending_contract_runs_in_the_contract_phase(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA)
    project.safely()
    result = project.safely("--phase", "contract")
    assert result.code == 0, result.said
    assert "Running contract store.0002_less... OK" in result.out
    assert project.columns("store_item") == {"id", "name", "extra"}
    assert project.pending() == []


def test_a_pending_contract_sees_the_models_as_they_were_at_its_place(project: Project) -> None:
    project.write(
        "store",
        "0002_less",
        "Contract(database_operations=[migrations.RunPython(look, migrations.RunPython.noop)]),",
        before=(
            "def look(apps, schema_editor):\n"
            "    fields = {f.name for f in apps.get_model('store', 'Item')._meta.fields}\n"
            "    assert fields == {'id', 'name', 'total'}, fields\n"
        ),
    )
    project.write(
        "store",
        "0003_more",
        'migrations.AddField("Item", "extra", models.IntegerField(null=True)),',
    )
    assert project.safely().code == 0
    assert project.pending() == ["store.0002_less"]
    result = project.safely("--phase", "contract", "--waive=batched=one row")
    assert result.code == 0, result.said


def test_a_row_of_contracts_is_stepped_over_only_as_far_as_it_is_needed(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.contract("store", "0003_lesser", "ALTER TABLE store_box DROP COLUMN size")
    project.expand("store", "0004_more", ADD_EXTRA)
    project.contract("store", "0005_least", "ALTER TABLE store_item DROP COLUMN name")
    assert project.safely().code == 0
    assert project.applied("store")[-1] == "0004_more"
    assert project.pending() == ["store.0002_less", "store.0003_lesser"]


def test_an_expand_of_another_app_can_need_a_contract(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.sql(
        "depot", "0001_depot", "CREATE TABLE depot_thing ()", after=[("store", "0002_less")]
    )
    result = project.safely()
    assert result.code == 0, result.said
    assert project.applied("depot") == ["0001_depot"]
    assert project.pending() == ["store.0002_less"]


def test_a_target_limits_what_is_run(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.expand("store", "0003_more", "ALTER TABLE store_item ADD COLUMN other int")
    result = project.safely("store", "0002")
    assert result.code == 0, result.said
    assert project.applied("store")[-1] == "0002_more"


def test_a_pending_contract_can_be_named_in_the_contract_phase(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.contract("store", "0003_lesser", "ALTER TABLE store_box DROP COLUMN size")
    project.expand("store", "0004_more", ADD_EXTRA)
    project.safely()
    result = project.safely("store", "0002_less", "--phase", "contract")
    assert result.code == 0, result.said
    assert project.pending() == ["store.0003_lesser"]
    assert project.applied("store")[-1] == "0004_more"


def test_an_expand_that_touches_what_a_contract_has_to_change_is_refused(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", "ALTER TABLE store_item ALTER COLUMN total TYPE bigint")
    result = project.safely()
    assert result.code == 1
    assert "store.0003_more touches store_item.total" in result.err
    assert "the contract store.0002_less" in result.err
    assert "manage.py safemigrate store 0002_less --phase contract" in result.err
    assert project.applied("store") == ["0001_initial"]


def test_an_expand_that_touches_what_a_pending_contract_has_to_change_is_refused(
    project: Project,
) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA)
    project.safely()
    project.write("store", "0004_name", 'migrations.RenameField("Item", "total", "sum"),')
    result = project.safely()
    assert result.code == 1
    assert "store.0004_name touches store_item.total" in result.err
    assert project.applied("store")[-1] == "0003_more"


def test_going_back_over_a_pending_contract_does_nothing_in_the_database(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL, BACK_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA, DROP_EXTRA)
    project.safely()
    result = project.run("store", "0001")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]
    assert project.columns("store_item") == {"id", "name", "total"}
    assert project.pending() == []


def test_an_applied_migration_is_a_way_back_as_in_migrate(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA, DROP_EXTRA)
    project.safely()
    result = project.run("store", "0001_initial")
    assert result.code == 0, result.said
    assert "Unapplying store.0002_more... OK" in result.out
    assert project.columns("store_item") == {"id", "name", "total"}


def test_zero_takes_everything_back(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA, DROP_EXTRA)
    project.safely()
    result = project.run("store", "zero")
    assert result.code == 0, result.said
    assert project.applied("store") == []
    assert project.columns("store_item") == set()


def test_an_irreversible_operation_refuses_the_way_back_before_anything_runs(
    project: Project,
) -> None:
    project.write("store", "0002_more", f"migrations.RunSQL({ADD_EXTRA!r}),")
    project.expand("store", "0003_more", "ALTER TABLE store_box ADD COLUMN extra int")
    project.safely("--waive=reversible=never back")
    result = project.run("store", "0001")
    assert result.code == 3
    assert "store.0002_more" in result.err
    assert project.applied("store")[-1] == "0003_more"


def test_a_fresh_database_gets_everything_and_is_asked_nothing(empty_project: Project) -> None:
    project = empty_project
    project.write("store", "0001_initial", INITIAL)
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA)
    result = project.run()
    assert result.code == 0, result.said
    assert "nothing to lose" in result.out
    assert project.columns("store_item") == {"id", "name", "extra"}
    assert project.pending() == []
    assert project.last_run().fresh


def test_a_phase_asked_for_by_name_is_kept_on_a_fresh_database(empty_project: Project) -> None:
    project = empty_project
    project.write("store", "0001_initial", INITIAL)
    project.contract("store", "0002_less", DROP_TOTAL)
    result = project.run("--phase", "expand")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]


def test_nothing_to_do_is_success_and_leaves_no_run(project: Project) -> None:
    assert project.run().code == 0
    result = project.run("--format", "json")
    assert result.code == 0, result.said
    assert result.document["result"] == "nothing to do"
    assert not result.document.get("run")


def test_the_migrate_signals_are_sent_as_by_migrate(project: Project) -> None:
    project.write(
        "store",
        "0002_more",
        'migrations.CreateModel("Extra", [("id", models.BigAutoField(primary_key=True))]),',
    )
    project.contract("store", "0003_less", DROP_TOTAL)
    sent: list[tuple[str, list[str]]] = []

    def before(sender: Any, plan: Any, using: str, **_: Any) -> None:
        if sender.label == "auth":
            sent.append(("pre", [str(m) for m, _ in plan if m.app_label == "store"]))

    def after(sender: Any, plan: Any, apps: Any, **_: Any) -> None:
        if sender.label == "auth":
            apps.get_model("store", "Extra")
            sent.append(("post", [str(m) for m, _ in plan if m.app_label == "store"]))

    pre_migrate.connect(before)
    post_migrate.connect(after)
    try:
        assert project.run(*WAIVERS).code == 0
    finally:
        pre_migrate.disconnect(before)
        post_migrate.disconnect(after)
    assert sent == [("pre", ["store.0002_more"]), ("post", ["store.0002_more"])]


def test_fake_only_records(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    result = project.run("--fake")
    assert result.code == 0, result.said
    assert "FAKED" in result.out
    assert project.applied("store")[-1] == "0002_more"
    assert project.columns("store_item") == {"id", "name", "total"}


def test_faking_a_contract_is_warned_about_and_recorded(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    result = project.run("--fake", "--phase", "contract")
    assert result.code == 0, result.said
    assert "Faking the contract store.0002_less" in result.err
    assert project.last_run().migrations == [
        {"app_label": "store", "name": "0002_less", "action": "faked"}
    ]


def test_faking_a_pending_contract_resolves_it(project: Project) -> None:
    project.contract("store", "0002_less", DROP_TOTAL)
    project.expand("store", "0003_more", ADD_EXTRA)
    project.safely()
    result = project.run("--fake", "--phase", "contract")
    assert "Faking the contract store.0002_less" in result.err
    assert project.pending() == []
    assert "total" in project.columns("store_item")


def test_fake_initial_finds_existing_tables(project: Project) -> None:
    project.execute("DELETE FROM django_migrations WHERE app = 'store'")
    result = project.safely("--fake-initial")
    assert result.code == 0, result.said
    assert "store.0001_initial... FAKED" in result.out


def test_prune_forgets_files_that_are_gone(project: Project) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.safely()
    project.remove("store", "0002_more")
    result = project.run("store", "--prune")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]


def test_session_settings_are_as_before(project: Project) -> None:
    def settings() -> Any:
        return project.value(
            "SELECT current_setting('lock_timeout') || current_setting('statement_timeout')"
            " || current_setting('default_transaction_read_only')"
        )

    before = settings()
    pid = connection.connection.info.backend_pid
    project.expand("store", "0002_more", ADD_EXTRA)
    call_command("safemigrate", "--plan", "--verbosity=0", *WAIVERS)
    call_command("safemigrate", "--verbosity=0", *WAIVERS)
    assert connection.connection.info.backend_pid == pid
    assert settings() == before


@pytest.mark.parametrize("atomic", [True, False])
def test_a_failing_expand_stops_the_run(project: Project, atomic: bool) -> None:
    project.expand("store", "0002_more", ADD_EXTRA)
    project.write(
        "store",
        "0003_wrong",
        'migrations.RunSQL("ALTER TABLE store_box ADD COLUMN a int", ""),'
        'migrations.RunSQL("ALTER TABLE nowhere ADD COLUMN a int", ""),',
        atomic=atomic,
    )
    project.expand("store", "0004_more", "ALTER TABLE store_item ADD COLUMN more int")
    result = project.safely()
    assert result.code == 1
    assert 'store.0003_wrong: ProgrammingError: relation "nowhere" does not exist' in result.err
    assert "Traceback" not in result.said
    assert project.applied("store") == ["0001_initial", "0002_more"]
    assert ("a" in project.columns("store_box")) is not atomic
    run = project.last_run()
    assert run.status == "failed"
    assert [entry["name"] for entry in run.migrations] == ["0002_more"]
