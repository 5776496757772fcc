"""--rollback takes back whole runs, and refuses what it can't take back."""

from __future__ import annotations

from django.core.management import call_command

from tests.command.project import Project

A = ("ALTER TABLE store_item ADD COLUMN a int", "ALTER TABLE store_item DROP COLUMN a")
B = ("ALTER TABLE store_item ADD COLUMN b int", "ALTER TABLE store_item DROP COLUMN b")
C = ("ALTER TABLE store_item ADD COLUMN c int", "ALTER TABLE store_item DROP COLUMN c")


def two_runs(project: Project) -> None:
    project.expand("store", "0002_a", *A)
    project.expand("store", "0003_b", *B)
    assert project.safely().code == 0
    project.expand("store", "0004_c", *C)
    assert project.safely().code == 0


def test_rollback_takes_back_the_last_run(project: Project) -> None:
    two_runs(project)
    result = project.run("--rollback")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial", "0002_a", "0003_b"]


def test_rollback_again_takes_back_the_run_before_it(project: Project) -> None:
    two_runs(project)
    project.run("--rollback")
    result = project.run("--rollback")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]
    assert project.columns("store_item") == {"id", "name", "total"}


def test_rollback_takes_back_several_runs(project: Project) -> None:
    two_runs(project)
    result = project.run("--rollback", "2", "--format", "json")
    assert result.code == 0, result.said
    assert [entry["name"] for entry in result.document["migrations"]] == [
        "0004_c",
        "0003_b",
        "0002_a",
    ]
    assert project.applied("store") == ["0001_initial"]


def test_rollback_without_a_run_is_a_usage_error(project: Project) -> None:
    project.run()
    result = project.run("--rollback")
    assert result.code == 2
    assert "holds no run to roll back" in result.err


def test_rollback_shows_its_plan_and_changes_nothing(project: Project) -> None:
    two_runs(project)
    result = project.run("--rollback", "2", "--plan")
    assert result.code == 0, result.said
    assert result.out.index("store.0004_c") < result.out.index("store.0002_a")
    assert "ALTER TABLE store_item DROP COLUMN c" in result.out
    assert project.applied("store")[-1] == "0004_c"


def test_rollback_refuses_when_something_else_was_built_on_it(project: Project) -> None:
    two_runs(project)
    project.expand("store", "0005_d", "ALTER TABLE store_item ADD COLUMN d int")
    call_command("migrate", "store", verbosity=0)
    result = project.run("--rollback")
    assert result.code == 2
    assert "store.0005_d depends on store.0004_c" in result.err
    assert project.applied("store")[-1] == "0005_d"


def test_rollback_leaves_out_what_was_taken_back_otherwise(project: Project) -> None:
    two_runs(project)
    call_command("migrate", "store", "0002", verbosity=0)
    result = project.run("--rollback", "2")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]


def test_rollback_of_a_faked_migration_only_unrecords_it(project: Project) -> None:
    project.expand("store", "0002_a", *A)
    project.run("--fake")
    result = project.run("--rollback")
    assert result.code == 0, result.said
    assert project.applied("store") == ["0001_initial"]


def test_rollback_says_when_a_file_is_gone(project: Project) -> None:
    two_runs(project)
    project.remove("store", "0004_c")
    result = project.run("--rollback")
    assert result.code == 2
    assert "store.0004_c" in result.err


def test_rollback_refuses_what_is_irreversible(project: Project) -> None:
    project.write("store", "0002_a", "migrations.RunSQL('SELECT 1'),")
    project.safely("--waive=reversible=never back")
    result = project.run("--rollback")
    assert result.code == 3
    assert "store.0002_a" in result.err
    assert project.applied("store")[-1] == "0002_a"
