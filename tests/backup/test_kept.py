"""What is dropped is kept for a while, and --rollback puts it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_safemigrations.backup.kept import SCHEMA, Kept, Way, expire, list_kept
from tests.command.project import Project

KEEP = {"KEEP_DROPPED": "7 days"}
DROP_TOTAL = """
Contract(database_operations=[operations.DropColumn(
    "Item", "total", models.IntegerField(null=True))]),
"""
RELAX_TOTAL = """
Expand(
    database_operations=[operations.RelaxColumn("Item", "total")],
    state_operations=[migrations.RemoveField("Item", "total")],
),
"""
RELAX_BOX = """
Expand(
    database_operations=[operations.RelaxTable("Box")],
    state_operations=[migrations.DeleteModel("Box")],
),
"""
DROP_BOX = """
Contract(database_operations=[operations.DropTable(
    "Box",
    fields=[("id", models.BigAutoField(primary_key=True)),
            ("size", models.IntegerField(null=True))],
    options={"db_table": "store_box"},
)]),
"""
FAILS = """
Contract(database_operations=[migrations.RunSQL("SELECT 1/0", "SELECT 1")]),
"""
IMPORT = "from django_safemigrations import operations"


@pytest.fixture(autouse=True)
def keeping() -> Iterator[None]:
    with override_settings(SAFE_MIGRATIONS=KEEP):
        yield


def staged(project: Project, first: str, second: str) -> None:
    """Write an expand and its contract."""
    project.write("store", "0002_relax", first, atomic=False, before=IMPORT)
    project.write("store", "0003_drop", second, atomic=False, before=IMPORT)


def done(project: Project, *args: str) -> str:
    result = project.safely(*args)
    assert result.code == 0, result.said
    return result.said


def kept() -> Kept:
    (only,) = list_kept(connection)
    return only


def test_a_dropped_column_is_kept_and_put_back(project: Project) -> None:
    project.execute(
        "INSERT INTO store_item (name, total) SELECT 'n' || n, n FROM generate_series(2, 3000) n"
    )
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "expand")
    done(project, "--phase", "contract")
    assert "total" not in project.columns("store_item")
    found = kept()
    assert (found.schema, found.way, found.column) == (SCHEMA, Way.COPIED, "total")
    assert (found.rows, found.complete, found.type) == (3000, True, "integer")
    assert found.migration == "store.0003_drop"
    project.execute("INSERT INTO store_item (name) VALUES ('new')")
    project.execute("DELETE FROM store_item WHERE name = 'n7'")
    said = project.run("--rollback", "--noinput")
    assert said.code == 0, said.said
    rows = dict(project.rows_of("SELECT name, total FROM store_item"))
    assert rows.pop("new") is None
    assert rows == {"a": 1, **{f"n{n}": n for n in range(2, 3001) if n != 7}}
    assert kept().restored_at


def test_a_dropped_table_is_put_aside_and_put_back_as_it_was(project: Project) -> None:
    project.execute("COMMENT ON TABLE store_box IS 'boxes'")
    project.execute("CREATE INDEX box_size ON store_box (size)")
    oid = project.value("SELECT 'store_box'::regclass::oid::bigint")
    staged(project, RELAX_BOX, DROP_BOX)
    done(project, "--phase", "expand")
    done(project, "--phase", "contract")
    assert project.value("SELECT to_regclass('store_box')") is None
    assert (kept().way, kept().rows) == (Way.MOVED, 1)
    done(project, "--rollback", "--noinput")
    assert project.value("SELECT 'store_box'::regclass::oid::bigint") == oid
    assert project.rows_of("SELECT id, size FROM store_box") == [(1, 1)]
    assert project.value("SELECT obj_description('store_box'::regclass)") == "boxes"
    assert project.value("SELECT to_regclass('box_size')") is not None
    project.execute("INSERT INTO store_box (size) VALUES (2)")
    assert list_kept(connection) == []


def test_a_plain_removal_is_kept_too(project: Project) -> None:
    project.execute("INSERT INTO store_item (name, total) VALUES ('b', 2)")
    project.write(
        "store",
        "0002_plain",
        'migrations.RemoveField("Item", "total"), migrations.DeleteModel("Box"),',
    )
    project.execute("INSERT INTO store_box (size) VALUES (7)")
    result = project.safely("--waive=no_downtime=a test", "--waive=reversible=a test")
    assert result.code == 0, result.said
    assert {each.title for each in list_kept(connection)} == {
        'column "total" of "public"."store_item"',
        'table "public"."store_box"',
    }
    done(project, "--rollback", "--noinput")
    assert project.rows_of("SELECT name, total FROM store_item ORDER BY 1") == [("a", 1), ("b", 2)]
    assert project.rows_of("SELECT id, size FROM store_box ORDER BY 1") == [(1, 1), (2, 7)]
    project.execute("INSERT INTO store_box (size) VALUES (8)")
    assert project.value("SELECT max(id) FROM store_box") == 3


def test_what_is_kept_goes_when_its_time_is_over(project: Project) -> None:
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "all")
    name = kept().qualified
    assert expire(connection, timezone.now() + timedelta(days=6)) == []
    assert [each.qualified for each in expire(connection, timezone.now() + timedelta(days=8))] == [
        name
    ]
    assert list_kept(connection) == []


def test_a_comment_of_somebody_else_is_never_taken_for_ours(project: Project) -> None:
    for number, comment in enumerate(
        ("", "mine", "{}", '{"django_safemigrations": "kept"}', "[1]")
    ):
        project.execute(f"CREATE TABLE dsm_kept_{number} ()")
        project.execute(f"COMMENT ON TABLE dsm_kept_{number} IS '{comment}'")
    assert list_kept(connection) == []
    assert expire(connection, timezone.now() + timedelta(days=9000)) == []


def test_a_table_put_aside_by_a_migration_that_failed_is_there_again_in_the_next_run(
    project: Project,
) -> None:
    staged(project, RELAX_BOX, DROP_BOX + FAILS)
    done(project, "--phase", "expand")
    assert project.safely("--phase", "contract").code == 1
    assert project.value("SELECT to_regclass('store_box')") is None
    done(project, "--phase", "expand")
    assert project.rows_of("SELECT id, size FROM store_box") == [(1, 1)]
    assert list_kept(connection) == []


def test_status_and_a_comment_say_what_is_kept(project: Project) -> None:
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "all")
    said = project.run("--status").out
    assert 'column "total" of "public"."store_item" in "safemigrations_kept"' in said
    (told,) = project.run("--status", "--format", "json").document["kept"]
    assert (told["column"], told["rows"], told["way"]) == ("total", 1, "copied")
    comment = json.loads(project.value(f"SELECT obj_description('{kept().qualified}'::regclass)"))
    assert (comment["from_table"], comment["key"]) == ("store_item", ["id"])
    assert comment["until"] > comment["kept_at"]


@pytest.mark.exhaustive
def test_what_was_kept_is_put_back_though_nothing_is_kept_any_more(project: Project) -> None:
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "all")
    with override_settings(SAFE_MIGRATIONS={}):
        said = done(project, "--rollback", "--noinput")
    assert project.rows_of("SELECT total FROM store_item") == [(1,)]
    assert said


@pytest.mark.exhaustive
def test_a_second_drop_is_kept_beside_the_first(project: Project) -> None:
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "all")
    done(project, "--rollback", "--noinput")
    project.execute("UPDATE store_item SET total = 2")
    done(project, "--phase", "all")
    assert len(list_kept(connection)) == 2
    done(project, "--rollback", "--noinput")
    assert project.rows_of("SELECT total FROM store_item") == [(2,)]


@pytest.mark.exhaustive
def test_a_not_null_column_without_default_comes_back_as_it_was(project: Project) -> None:
    project.write(
        "store",
        "0002_count",
        'migrations.AddField("Box", "count", models.IntegerField(default=5)),'
        'migrations.AlterField("Box", "count", models.IntegerField()),'
        'migrations.AddField("Box", "item", models.OneToOneField("store.Item", models.CASCADE,'
        " null=True)),",
    )
    project.begin()
    project.execute("UPDATE store_box SET item_id = 1")
    before = project.rows_of("SELECT * FROM store_box")
    project.write(
        "store",
        "0003_relax",
        """
Expand(
    database_operations=[
        operations.RelaxColumn("Box", "count"), operations.RelaxColumn("Box", "item"),
    ],
    state_operations=[
        migrations.RemoveField("Box", "count"), migrations.RemoveField("Box", "item"),
    ],
),
""",
        atomic=False,
        before=IMPORT,
    )
    project.write(
        "store",
        "0004_drop",
        """
Contract(database_operations=[
    operations.DropColumn("Box", "count", models.IntegerField()),
    operations.DropColumn("Box", "item", models.BigIntegerField(
        db_column="item_id", null=True, unique=True)),
]),
""",
        atomic=False,
        before=IMPORT,
    )
    done(project, "--phase", "expand")
    said = done(project, "--phase", "contract")
    assert 'Kept: column "count" of "public"."store_box"' in said
    assert project.columns("store_box") == {"id", "size"}
    done(project, "--rollback", "2", "--noinput")
    assert project.rows_of("SELECT id, size, count, item_id FROM store_box") == before
    assert project.rows_of(
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'store_box'::regclass"
        " AND attname IN ('count', 'item_id') ORDER BY attname"
    ) == [(True,), (False,)]


def test_workers_are_not_waited_for(project: Project) -> None:
    staged(project, RELAX_TOTAL, DROP_TOTAL)
    done(project, "--phase", "expand", "--no-wait")
    done(project, "--phase", "contract", "--no-wait")
    assert kept().complete


@pytest.mark.exhaustive
def test_what_a_pruned_migration_dropped_stays_where_it_is(project: Project) -> None:
    staged(project, RELAX_BOX, DROP_BOX)
    done(project, "--phase", "all")
    project.remove("store", "0003_drop")
    project.execute("DELETE FROM django_migrations WHERE name = '0003_drop'")
    done(project)
    assert project.value("SELECT to_regclass('store_box')") is None
    assert kept().way is Way.MOVED
