"""Two migrations touch the same thing when they share a column or a name, not just a table."""

from __future__ import annotations

import pytest
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.footprints import Footprint, migration_footprint
from django_safemigrations.operations import (
    AddSyncedColumns,
    Contract,
    DropSyncedColumns,
    Expand,
    SetNotNull,
)


def state() -> ProjectState:
    found = ProjectState()
    first = Migration("0001", "store")
    first.operations = [  # type: ignore[misc]
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("total", models.IntegerField(db_column="Sum")),
                ("name", models.TextField()),
                ("parent", models.ForeignKey("self", models.CASCADE)),
            ],
            options={
                "indexes": [models.Index(fields=["-total"], name="by_total")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(total__gt=0), name="positive")
                ],
            },
        ),
        migrations.CreateModel(
            "Box", [("id", models.BigAutoField(primary_key=True))], options={"db_table": "boxes"}
        ),
    ]
    return first.mutate_state(found)


def footprint(*operations: Operation) -> Footprint:
    migration = Migration("0002", "store")
    migration.operations = list(operations)  # type: ignore[misc]
    return migration_footprint(migration, state())


TOTAL = migrations.AlterField("Item", "total", models.BigIntegerField(db_column="Sum"))
NAME = migrations.AlterField("Item", "name", models.CharField(max_length=9))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (TOTAL, NAME, None),
        (TOTAL, TOTAL, "store_item.sum"),
        (TOTAL, migrations.RenameField("Item", "total", "amount"), "store_item.sum"),
        (TOTAL, migrations.RemoveField("item", "total"), "store_item.sum"),
        (NAME, migrations.AddField("Item", "extra", models.TextField()), None),
        (TOTAL, migrations.RemoveIndex("item", "by_total"), "store_item.sum"),
        (NAME, migrations.RemoveIndex("item", "by_total"), None),
        (TOTAL, migrations.RemoveConstraint("item", "positive"), "store_item.sum"),
        (
            NAME,
            migrations.AddIndex("item", models.Index(models.F("name").desc(), name="x")),
            "store_item.name",
        ),
        (NAME, migrations.AlterUniqueTogether("item", {("name", "parent")}), "store_item.name"),
        (TOTAL, migrations.RenameModel("Item", "Thing"), "store_item"),
        (TOTAL, migrations.DeleteModel("Item"), "store_item"),
        (TOTAL, migrations.AlterModelTable("Item", "things"), "store_item"),
        (TOTAL, migrations.DeleteModel("Box"), None),
        (migrations.DeleteModel("Box"), migrations.RunSQL("DROP TABLE boxes"), "boxes"),
        (TOTAL, migrations.RunSQL('ALTER TABLE "store_item" DROP COLUMN "Sum"'), "store_item.sum"),
        (NAME, migrations.RunSQL('ALTER TABLE "store_item" DROP COLUMN "Sum"'), None),
        (
            migrations.RunSQL("ALTER TABLE store_item DROP COLUMN a"),
            migrations.RunSQL("ALTER TABLE store_item ALTER COLUMN A TYPE int"),
            "store_item.a",
        ),
        (
            migrations.RunSQL("ALTER TABLE store_item DROP COLUMN a"),
            migrations.RunSQL([("ALTER TABLE store_item DROP COLUMN b", None)]),
            None,
        ),
        (
            Contract(database_operations=[DropSyncedColumns("item", {"old": "total"})]),
            TOTAL,
            "store_item.sum",
        ),
        (
            Contract(database_operations=[DropSyncedColumns("item", {"old": "total"})]),
            Expand(
                state_operations=[NAME],
                database_operations=[AddSyncedColumns("item", {"name": "title"})],
            ),
            None,
        ),
        (
            Contract(database_operations=[SetNotNull("item", "parent")]),
            migrations.RunSQL("UPDATE store_item SET parent_id = 1"),
            "store_item.parent_id",
        ),
        (migrations.AlterModelOptions("item", {"ordering": ["name"]}), NAME, None),
    ],
)
def test_two_changes_share(one: Operation, other: Operation, shared: str | None) -> None:
    assert footprint(one).touches(footprint(other)) == shared
    assert footprint(other).touches(footprint(one)) == shared


def test_a_footprint_survives_the_ledger() -> None:
    before = footprint(
        TOTAL, migrations.RunSQL("UPDATE boxes SET a = 1"), migrations.DeleteModel("Box")
    )
    assert Footprint.from_json(before.as_json()) == before
