"""What a plan takes away is read from its operations: too much sooner than too little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from django_safemigrations import operations as ours
from django_safemigrations.backup.losses import losses, may_lose
from django_safemigrations.backup.risk import at_risk, is_destructive, tables_at_risk
from tests.command.project import WAIVERS, Project
from tests.kit.databases import scratch_database


def nothing(apps: Any, editor: Any) -> None:
    """Do nothing, which nobody can see from outside."""


class OwnOperation(Operation):
    """An operation of a project."""

    def database_forwards(self, *args: Any) -> None:
        """Do anything."""

    def state_forwards(self, *args: Any) -> None:
        """Change no state."""


STATE = [
    migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
    migrations.CreateModel(
        "Item",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=50)),
            ("code", models.CharField(max_length=9, db_column="Co de")),
            ("tag", models.ForeignKey("shop.Tag", models.CASCADE)),
            ("tags", models.ManyToManyField("shop.Tag", related_name="+")),
            ("total", models.IntegerField()),
        ],
    ),
    migrations.CreateModel(
        "View",
        [("id", models.BigAutoField(primary_key=True)), ("n", models.IntegerField())],
        options={"managed": False},
    ),
]
SQL: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    'DROP TABLE a, "B c"': [("dropped", "a", ()), ("dropped", "B c", ())],
    "alter table if exists only s.t drop column if exists x, add column y int": [
        ("dropped", "s.t", ("x",))
    ],
    "ALTER TABLE t ALTER x TYPE int USING (x::int, 2)": [("overwritten", "t", ("x",))],
    "ALTER TABLE t DROP CONSTRAINT c, ALTER x DROP NOT NULL": [],
    "TRUNCATE ONLY a, b": [("dropped", "a", ()), ("dropped", "b", ())],
    "DELETE FROM a WHERE false; UPDATE ONLY b SET x = 1": [
        ("overwritten", "a", ()),
        ("overwritten", "b", ()),
    ],
    "INSERT INTO a SELECT 1": [],
    "INSERT INTO a VALUES (1) ON CONFLICT (x) DO UPDATE SET x = 2": [("overwritten", "a", ())],
    "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE": [("overwritten", "a", ())],
    "WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone": [("may be overwritten", "", ())],
    "WITH x AS (SELECT 1) SELECT * FROM x": [],
    "DO $$ BEGIN DELETE FROM a; END $$": [("may be overwritten", "", ())],
    "CALL tidy_up()": [("may be overwritten", "", ())],
    "DROP SCHEMA old CASCADE": [("may be overwritten", "", ())],
    "DROP INDEX CONCURRENTLY i; DROP VIEW v; DROP FUNCTION f()": [],
    "DROP VIEW v CASCADE": [("may be overwritten", "", ())],
    "CREATE INDEX i ON t (x); COMMENT ON TABLE t IS 'DROP TABLE t'; SELECT 1": [],
    "-- DROP TABLE t\nSELECT 1": [],
}
FOUND: list[tuple[Operation, list[tuple[str, str, tuple[str, ...]]]]] = [
    (migrations.RemoveField("Item", "name"), [("dropped", "shop_item", ("name",))]),
    (migrations.RemoveField("Item", "code"), [("dropped", "shop_item", ("Co de",))]),
    (migrations.RemoveField("Item", "tag"), [("dropped", "shop_item", ("tag_id",))]),
    (migrations.RemoveField("Item", "tags"), [("dropped", "shop_item_tags", ())]),
    (migrations.RemoveField("View", "n"), []),
    (migrations.DeleteModel("Item"), [("dropped", "shop_item", ())]),
    (migrations.DeleteModel("View"), []),
    (
        migrations.AlterField("Item", "name", models.CharField(max_length=20)),
        [("overwritten", "shop_item", ("name",))],
    ),
    (migrations.AlterField("Item", "name", models.CharField(max_length=60)), []),
    (migrations.AlterField("Item", "name", models.TextField(null=True)), []),
    (
        migrations.AlterField("Item", "total", models.SmallIntegerField()),
        [("overwritten", "shop_item", ("total",))],
    ),
    (migrations.AlterField("Item", "total", models.BigIntegerField(default=3)), []),
    (migrations.AddField("Item", "more", models.IntegerField(default=0)), []),
    (migrations.RenameField("Item", "name", "title"), []),
    (migrations.RenameModel("Item", "Thing"), []),
    (AddIndexConcurrently("Item", models.Index(fields=["name"], name="i")), []),
    (migrations.RunPython(nothing), [("may be overwritten", "", ())]),
    (migrations.RunPython(migrations.RunPython.noop), []),
    (OwnOperation(), [("may be overwritten", "", ())]),
    (
        ours.RunInBatches("Item", ours.UpdateRows({"total": 1})),
        [("overwritten", "shop_item", ())],
    ),
    (ours.RelaxColumn("Item", "name"), []),
    (
        ours.DropColumn("Item", "gone", models.IntegerField(null=True)),
        [("dropped", "shop_item", ("gone",))],
    ),
    (
        ours.DropTable(
            "Old", [("id", models.BigAutoField(primary_key=True))], {"db_table": "old one"}
        ),
        [("dropped", "old one", ())],
    ),
    (ours.DropSyncedColumns("Item", {"title": "name"}), [("dropped", "shop_item", ("title",))]),
    (ours.DropSyncedColumns("Item", {"label": "tag"}), [("dropped", "shop_item", ("label_id",))]),
    (
        ours.DropReplacedColumn("Item", "total", "smallint"),
        [("dropped", "shop_item", ("total",))],
    ),
    (
        ours.DropKeyColumns("Item", "id", models.AutoField(primary_key=True)),
        [("dropped", "shop_item", ("id",))],
    ),
    *((migrations.RunSQL(sql), found) for sql, found in SQL.items()),
    (migrations.RunSQL([("UPDATE t SET x = %s", [1])]), [("overwritten", "t", ())]),
    (
        ours.Contract(database_operations=[migrations.RunSQL("DROP TABLE x")]),
        [("dropped", "x", ())],
    ),
    (migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Item")]), []),
]


def migration_of(*operations: Operation) -> migrations.Migration:
    migration = migrations.Migration("0002_x", "shop")
    migration.__dict__["operations"] = list(operations)
    return migration


def state() -> ProjectState:
    found = ProjectState()
    for operation in STATE:
        operation.state_forwards("shop", found)
    return found


@pytest.fixture
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    with django_db_blocker.unblock(), scratch_database() as connection:
        yield connection


@pytest.mark.parametrize(
    ("operation", "expected"),
    FOUND,
    ids=[f"{n} {type(operation).__name__}" for n, (operation, _) in enumerate(FOUND)],
)
def test_each_operation_takes_away_what_it_takes_away(operation: Operation, expected: Any) -> None:
    migration = migration_of(operation)
    before = state()
    models_before = dict(before.models)
    found = [(str(each.effect), each.table, each.columns) for each in losses(migration, before)]
    assert found == expected
    assert may_lose(migration) or not expected
    assert before.models == models_before


def test_an_operation_sees_what_the_one_before_it_made_of_the_models() -> None:
    migration = migration_of(
        migrations.RenameField("Item", "name", "title"),
        migrations.AlterModelTable("Item", "things"),
        migrations.RemoveField("Item", "title"),
    )
    (found,) = losses(migration, state())
    assert (found.index, found.table, found.columns) == ("2", "things", ("title",))


def test_where_nothing_can_be_lost_no_state_is_asked_for(database: BaseDatabaseWrapper) -> None:
    def never(migration: Any) -> Any:
        raise AssertionError(migration)

    harmless = migration_of(migrations.AddField("Item", "n", models.IntegerField(null=True)))
    assert at_risk([harmless], never, database) == ()
    assert not is_destructive(())


def test_the_tables_at_risk_are_measured(database: BaseDatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE shop_item (id bigint, name text) PARTITION BY RANGE (id)")
        cursor.execute("CREATE TABLE p PARTITION OF shop_item FOR VALUES FROM (0) TO (1000000)")
        cursor.execute("INSERT INTO p SELECT n, 'x' FROM generate_series(1, 5000) n")
        cursor.execute("ANALYZE shop_item")
    migration = migration_of(
        migrations.RemoveField("Item", "name"),
        migrations.RunSQL("DROP TABLE public.p"),
        migrations.RunPython(nothing),
    )
    name, table, unknown = at_risk([migration], lambda _: state(), database)
    assert (name.table, name.rows) == ("public.shop_item", 5000)
    assert name.bytes is not None
    assert name.bytes > 100_000
    assert str(name) == (
        "shop.0002_x: column name of public.shop_item dropped, about 5,000 rows "
        "(Remove field name from Item)"
    )
    assert (table.table, table.rows) == ("public.p", 5000)
    assert unknown.rows is None
    assert "something that only running it would tell may be overwritten" in str(unknown)
    assert tables_at_risk([name, table]) == ("public.shop_item", "public.p")
    assert tables_at_risk([name, unknown]) is None
    assert name.as_dict()["columns"] == ["name"]


def verdict_on_backup(project: Project) -> dict[str, Any]:
    document = project.run("--plan", "--format", "json", "--phase", "all").document
    return next(each for each in document["checklist"] if each["item"] == "backup")


def test_only_a_plan_that_takes_something_away_asks_for_a_backup(project: Project) -> None:
    assert project.run().code == 0
    project.expand("store", "0002_more", "ALTER TABLE store_item ADD COLUMN extra int")
    verdict = verdict_on_backup(project)
    assert (verdict["state"], verdict["evidence"]) == ("met", "nothing is dropped or overwritten")
    with override_settings(SAFE_MIGRATIONS={"BACKUP": {"ALWAYS": True}}):
        assert verdict_on_backup(project)["state"] == "unmet"
    project.contract("store", "0003_less", "ALTER TABLE store_item DROP COLUMN total")
    verdict = verdict_on_backup(project)
    assert verdict["state"] == "unmet"
    assert (
        "at risk: store.0003_less: column total of public.store_item dropped" in verdict["evidence"]
    )
    waived = [each for each in WAIVERS if "backup" not in each]
    assert project.run("--phase", "all", *waived, "--waive=no_downtime=a test").code == 3


def test_a_backup_is_as_old_as_its_beginning(project: Project) -> None:
    from datetime import timedelta

    from django_safemigrations.checklist import record_evidence

    assert project.run().code == 0
    project.contract("store", "0002_less", "ALTER TABLE store_item DROP COLUMN total")
    hashed = project.run("--plan", "--format", "json", "--phase", "all").document["plan_hash"]
    begun = timezone.now() - timedelta(hours=3)
    details = {"summary": "a dump in /x", "taken_at": begun.isoformat()}
    record_evidence("default", "backup", hashed, details)
    assert "a dump in /x" in verdict_on_backup(project)["evidence"]
    with override_settings(SAFE_MIGRATIONS={"BACKUP": {"MAX_AGE": 2}}):
        verdict = verdict_on_backup(project)
    assert verdict["state"] == "unmet"
    assert 'is 3 h old; BACKUP["MAX_AGE"] is 2 h' in verdict["evidence"]
