"""--plan, --check and --status show what is and what would be, and change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.command.project import Project

ADD = "ALTER TABLE store_item ADD COLUMN extra int"
DROP = "ALTER TABLE store_item DROP COLUMN total"


def schema(project: Project) -> Any:
    return project.value(
        "SELECT array_agg(c.relname || '.' || a.attname ORDER BY 1) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace"
    )


def steps(project: Project, *args: str) -> list[dict[str, Any]]:
    result = project.run("--plan", "--format", "json", *args)
    assert result.code == 0, result.said
    found: list[dict[str, Any]] = result.document["steps"]
    return found


def test_the_plan_is_readable_at_100_columns(project: Project) -> None:
    project.expand("store", "0002_more", f"{ADD}; COMMENT ON TABLE store_item IS '{'long ' * 60}'")
    project.contract("store", "0003_less", DROP)
    result = project.run("--plan")
    assert result.code == 0, result.said
    assert max(len(line) for line in result.out.splitlines() if "type:" not in line) <= 100
    for part in (
        "EXPAND (runs now)",
        "store.0002_more",
        "lock                    who waits                work     table",
        "ACCESS EXCLUSIVE        reads and writes         none     store_item",
        "SHARE UPDATE EXCLUSIVE  schema changes only      none     store_item",
        ADD,
        "table size:",
        "CONTRACT (runs with --phase contract)",
        "store.0003_less",
        DROP,
        "Checklist:",
    ):
        assert part in result.out


def test_the_plan_as_json_holds_everything(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    project.contract("store", "0003_less", DROP)
    project.execute("INSERT INTO store_item (name) SELECT 'x' FROM generate_series(1, 499)")
    project.execute("ANALYZE store_item")
    document = project.run("--plan", "--format", "json").document
    (step,) = document["steps"]
    assert (step["app_label"], step["migration"], step["operation"]) == (
        "store",
        "0002_more",
        "0.0",
    )
    assert (step["phase"], step["table_rows"]) == ("expand", 500)
    assert step["table_bytes"] > 8192
    assert step["statements"] == [
        {
            "sql": ADD,
            "lock": "ACCESS EXCLUSIVE",
            "blocks": "reads and writes",
            "work": "none",
            "table": "store_item",
        }
    ]
    assert [step["migration"] for step in document["later"]] == ["0003_less"]
    assert len(document["plan_hash"]) == 64
    assert len(document["checklist"]) == 7


def test_each_stage_of_a_container_is_a_step(project: Project) -> None:
    project.write(
        "store",
        "0002_index",
        "Expand(state_operations=[migrations.AddIndex('Item', i) for i in INDEXES],"
        " database_operations=[CreateIndexConcurrently('item', i.name) for i in INDEXES]),",
        before=(
            "from django_safemigrations.operations import CreateIndexConcurrently\n"
            "INDEXES = [models.Index(fields=[f], name='by_' + f) for f in ('total', 'name')]\n"
        ),
        atomic=False,
    )
    found = steps(project)
    assert [step["operation"] for step in found] == ["0.0", "0.1"]
    (build,) = found[0]["statements"]
    assert (build["lock"], build["work"]) == ("SHARE UPDATE EXCLUSIVE", "build")
    assert build["blocks"] == "schema changes only"


def test_hazards_are_shown_at_their_operation(project: Project) -> None:
    project.write(
        "store",
        "0002_index",
        "migrations.RunSQL('SELECT 1', ''),"
        "migrations.AddIndex('Item', models.Index(fields=['total'], name='by_total')),",
    )
    found = {step["operation"]: step["hazards"] for step in steps(project)}
    assert "DSM101" in found["1"]
    assert "DSM101" in project.run("--plan").out


def test_python_and_state_only_operations_say_why_no_sql_is_shown(project: Project) -> None:
    project.write(
        "store",
        "0002_more",
        "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),"
        "migrations.SeparateDatabaseAndState(state_operations=["
        "migrations.AddField('Item', 'extra', models.IntegerField(null=True))]),",
    )
    python, state = steps(project)
    assert "Python code" in python["note"]
    assert "state only" in state["note"]
    assert python["statements"] == state["statements"] == []


def test_statements_that_depend_on_earlier_steps_do_not_break_the_plan(project: Project) -> None:
    project.write(
        "store",
        "0002_more",
        "migrations.AlterUniqueTogether('Item', {('name', 'total')}),"
        "migrations.AlterUniqueTogether('Item', set()),",
    )
    first, second = steps(project)
    assert first["statements"][0]["work"] == "build"
    assert "depends on the steps before it" in second["note"]


def test_nobody_waits_for_a_table_that_is_made_in_the_plan(project: Project) -> None:
    project.write(
        "store",
        "0002_more",
        "migrations.CreateModel('Part', [('id', models.BigAutoField(primary_key=True)),"
        " ('name', models.CharField(max_length=9, db_index=True)),"
        " ('item', models.ForeignKey('store.Item', models.CASCADE))]),",
    )
    (step,) = steps(project)
    assert {s["table"] for s in step["statements"]} == {"store_part"}
    # Only who writes to the referenced table waits, for the foreign key.
    assert {s["blocks"] for s in step["statements"]} == {"nobody", "writes"}
    assert {s["work"] for s in step["statements"]} == {"none"}


@pytest.mark.parametrize("args", [["--plan"], ["--check"], ["--status"], ["--plan", "--check"]])
def test_looking_changes_nothing(project: Project, args: list[str]) -> None:
    project.expand("store", "0002_more", ADD)
    project.contract("store", "0003_less", DROP)
    before = schema(project)
    project.run(*args)
    assert schema(project) == before
    assert project.applied("store") == ["0001_initial"]


def test_sql_that_is_collected_is_never_executed(project: Project) -> None:
    project.write(
        "store",
        "0002_rogue",
        "Rogue('SELECT 1', ''),",
        before=(
            "class Rogue(migrations.RunSQL):\n"
            "    def database_forwards(self, app_label, schema_editor, from_state, to_state):\n"
            "        with schema_editor.connection.cursor() as cursor:\n"
            "            cursor.execute('CREATE TABLE rogue ()')\n"
        ),
        atomic=False,
    )
    (step,) = steps(project)
    assert "read-only" in step["note"]
    assert project.value("SELECT to_regclass('rogue')") is None


def test_a_plan_backwards_shows_what_would_be_undone(project: Project) -> None:
    project.expand("store", "0002_more", ADD, "ALTER TABLE store_item DROP COLUMN extra")
    project.safely()
    (step,) = steps(project, "store", "0001")
    assert step["description"].startswith("Undo: ")
    assert step["statements"][0]["sql"] == "ALTER TABLE store_item DROP COLUMN extra"


def test_the_plan_of_nothing_says_so(project: Project) -> None:
    project.run()
    assert "no migrations to run" in project.run("--plan").out


def test_check_exits_4_while_any_work_is_pending(project: Project) -> None:
    project.run()
    assert project.run("--check").code == 0
    project.expand("store", "0002_more", ADD)
    project.contract("store", "0003_less", DROP)
    result = project.run("--check", "--format", "json")
    assert result.code == 4
    assert result.document["expand"]["pending"] == ["store.0002_more"]
    assert result.document["contract"]["pending"] == ["store.0003_less"]
    project.safely()
    assert project.run("--check").code == 4
    assert project.run("--check", "--phase", "expand").code == 0
    assert project.run("--check", "--phase", "contract").code == 4
    project.safely("--phase", "contract")
    assert project.run("--check").code == 0


def test_check_counts_pending_contracts(project: Project) -> None:
    project.contract("store", "0002_less", DROP)
    project.expand("store", "0003_more", ADD)
    project.safely()
    result = project.run("--check", "--format", "json")
    assert result.code == 4
    (row,) = result.document["pending_contracts"]
    assert (row["name"], row["needed_by"], row["file"]) == (
        "0002_less",
        "store.0003_more",
        "present",
    )


def test_plan_with_check_shows_and_exits_4(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    result = project.run("--plan", "--check")
    assert result.code == 4
    assert "store.0002_more" in result.out


def test_status_shows_phases_contracts_runs_and_evidence(project: Project) -> None:
    project.contract("store", "0002_less", DROP)
    project.expand("store", "0003_more", ADD)
    project.contract("store", "0004_lesser", "ALTER TABLE store_box DROP COLUMN size")
    project.safely()
    project.execute(
        "INSERT INTO django_safemigrations_backfillprogress"
        ' (key, "table", state, rows_done, started_at, updated_at, last_error)'
        " VALUES ('store.item.total', 'store_item', 'finished', 1200, now(), now(), '')"
    )
    text = project.run("--status").out
    for part in (
        "Contract: 0 applied, 1 to run",
        "store.0004_lesser",
        "Pending contracts: 1 stepped over",
        "store.0002_less on store_item",
        "stepped over for store.0003_more",
        "1,200",
        "forwards expand",
        "succeeded",
        "rollback_plan",
    ):
        assert part in text, text
    document = project.run("--status", "--format", "json").document
    assert document["pending_contracts"][0]["tables"] == ["store_item"]
    assert document["backfills"][0]["rows_done"] == 1200
    assert [run["status"] for run in document["runs"]] == ["succeeded"]
    # Waived, and worked out; the plan drops nothing, so no backup is asked for.
    assert {row["item"] for row in document["evidence"]} == {"rehearsed", "rollback_plan"}


def test_a_run_is_told_as_json(project: Project) -> None:
    project.contract("store", "0002_less", DROP)
    project.expand("store", "0003_more", ADD)
    project.contract("store", "0004_lesser", "ALTER TABLE store_box DROP COLUMN size")
    document = project.safely("--format", "json").document
    assert document["result"] == "done"
    store = [m for m in document["migrations"] if m["app_label"] == "store"]
    assert [(m["name"], m["action"]) for m in store] == [
        ("0002_less", "stepped_over"),
        ("0003_more", "applied"),
    ]
    assert [row["name"] for row in document["waiting"]] == ["0004_lesser"]
    assert document["pending_contracts"] == ["store.0002_less"]
    assert document["exit_code"] == 0
