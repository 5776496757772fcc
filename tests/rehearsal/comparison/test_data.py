"""What happens to rows that should be left alone is seen, and what is meant is not held against it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations, models

from django_safemigrations.operations import RunInBatches, UpdateRows
from django_safemigrations.rehearsal.comparison.checksums import ROWS_A_RANGE, choose_ranges
from django_safemigrations.rehearsal.comparison.data import DataWatch
from django_safemigrations.rehearsal.results import Direction
from tests.rehearsal.comparison.plans import begin, migration, try_out

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.postgres_versions]

NOOP = migrations.RunPython.noop
STAMP = """
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.email := lower(NEW.email); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON depot_item FOR EACH ROW EXECUTE FUNCTION stamp();
"""


def every(**values: Any) -> Any:
    """Return a function for RunPython that sets columns of every row."""

    def change(apps: Any, schema_editor: Any) -> None:
        apps.get_model("depot", "Item").objects.update(**values)

    return change


class Plainly(migrations.operations.fields.AddField):
    """An operation of Django's that does more than it says, as a stage of ours never should."""

    def __init__(self, sql: str) -> None:
        super().__init__("item", "extra", models.IntegerField(null=True))
        self.sql = sql

    def database_forwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        super().database_forwards(app_label, schema_editor, *states)
        schema_editor.execute(self.sql)


Plainly.__module__ = "django.db.migrations.operations.fields"


def test_a_trigger_that_changes_another_column_is_seen() -> None:
    tried = try_out(
        [migration("0002", Plainly("UPDATE depot_item SET extra = 1"), atomic=False)], STAMP
    )
    assert tried.forwards == ("public.depot_item.email: values have changed",)
    assert tried.backwards == ("public.depot_item.email: values have changed",)


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("UPDATE depot_item SET name = email WHERE id = 7", "public.depot_item.name: values have"),
        ("DELETE FROM depot_item WHERE id > 40", "public.depot_item: 50 rows at the start, 40 now"),
        (
            "UPDATE depot_item SET total = 8 - total WHERE id IN (3, 5)",
            "public.depot_item.total: values have",
        ),
        (
            "ALTER SEQUENCE depot_item_id_seq RESTART",
            "sequence public.depot_item_id_seq is at its start, it was at 50",
        ),
        (
            "SELECT setval('depot_item_id_seq', 3)",
            "sequence public.depot_item_id_seq is at 3, it was at 50",
        ),
    ],
    ids=["overwritten", "lost", "changed places", "sequence restarted", "sequence set back"],
)
@pytest.mark.parametrize("full_bytes", [1 << 30, 0], ids=["whole", "sampled"])
def test_what_a_step_does_to_rows_beside_its_work_is_seen(
    sql: str, line: str, full_bytes: int
) -> None:
    tried = try_out([migration("0002", Plainly(sql), atomic=False)], full_bytes=full_bytes)
    assert [found for found in tried.forwards if line in found] == list(tried.forwards) != []
    assert tried.not_compared == ()


def test_a_data_migration_may_change_what_it_gives_back() -> None:
    plan = [
        migration(
            "0002",
            migrations.RunSQL(
                "UPDATE depot_item SET total = total + 1", "UPDATE depot_item SET total = total - 1"
            ),
        )
    ]
    tried = try_out(plan)
    assert (tried.forwards, tried.backwards, tried.again) == ((), (), ())
    [note] = [note for note in tried.not_compared if "after forwards:" in note]
    assert "depot_item.total" in note and "depot.0002" in note and "meant" in note


def test_a_way_back_that_loses_what_a_data_migration_changed_is_seen() -> None:
    plan = [migration("0002", migrations.RunPython(every(name="x"), every(name="y")))]
    tried = try_out(plan)
    assert tried.forwards == ()
    [line] = tried.backwards
    assert "depot_item.name" in line and "did not undo" in line and "depot.0002" in line


def test_a_way_back_that_does_nothing_is_told_and_not_held_against_the_plan() -> None:
    tried = try_out([migration("0002", migrations.RunPython(every(name="x"), NOOP))])
    assert (tried.forwards, tried.backwards, tried.again) == ((), (), ())
    assert any("after backwards: public.depot_item.name" in note for note in tried.not_compared)


def test_batches_may_only_change_the_fields_that_they_name() -> None:
    work = RunInBatches("Item", UpdateRows({"total": 3}), RunInBatches.noop)
    tried = try_out([migration("0002", work, atomic=False)], STAMP)
    [line] = tried.forwards
    assert "depot_item.email: values have changed" in line
    assert any("depot_item.total" in note for note in tried.not_compared)


def test_tables_that_no_data_migration_wrote_to_are_compared_all_the_same() -> None:
    plan = [
        migration("0002", migrations.RunPython(every(name="x"), NOOP)),
        migration("0003", Plainly("DELETE FROM legacy")),
    ]
    tried = try_out(plan, "CREATE TABLE legacy (a int); INSERT INTO legacy VALUES (1), (2)")
    assert tried.forwards == ("public.legacy: 2 rows at the start, 0 now",)


def test_renamed_and_converted_columns_keep_their_values() -> None:
    plan = [
        migration(
            "0002",
            migrations.RenameModel("Item", "Thing"),
            migrations.RenameField("Thing", "total", "amount"),
            migrations.AlterField("Thing", "amount", models.CharField(max_length=9, null=True)),
            migrations.AlterField("Thing", "name", models.TextField(default="")),
            migrations.RemoveField("Thing", "email"),
            migrations.AddField("Thing", "email", models.TextField(default="new")),
        )
    ]
    tried = try_out(plan)
    assert (tried.forwards, tried.backwards, tried.again) == ((), (), ())
    assert tried.not_compared == ("public.depot_item.email: the plan takes the column away",)


def test_a_rename_that_mixes_two_columns_up_is_seen() -> None:
    swap = "UPDATE depot_item SET name = email, email = name"
    plan = [
        migration("0002", migrations.RenameField("Item", "name", "title"), atomic=False),
        migration("0003", Plainly(swap.replace("name", "title")), atomic=False),
    ]
    tried = try_out(plan)
    assert len(tried.forwards) == 2


def test_nulls_that_are_filled_with_the_developers_answer_are_as_meant() -> None:
    filled = migrations.AlterField(
        "Item", "total", models.IntegerField(default=0), preserve_default=False
    )
    fill = "UPDATE depot_item SET total = 0 WHERE total IS NULL"
    tried = try_out([migration("0002", Plainly(fill), atomic=False), migration("0003", filled)])
    assert (tried.forwards, tried.backwards, tried.again) == ((), (), ())


def test_a_table_for_which_time_runs_out_is_named() -> None:
    state = begin()
    times = iter([0.0, 11.0])
    watch = DataWatch(connection, state, state, (), budget=10, clock=lambda: next(times))
    watch.start()
    assert watch.compare(Direction.FORWARDS) == ()
    [note] = watch.not_compared
    assert "public.depot_item" in note and "10 s" in note


def test_a_session_of_other_formats_and_search_path_sees_no_difference() -> None:
    state = begin("ALTER TABLE depot_item ADD seen timestamptz DEFAULT now(), ADD f float8")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE depot_item SET f = random(), seen = now() - random() * interval '9d'"
        )
    watch = DataWatch(connection, state, state, ())
    watch.start()
    with connection.cursor() as cursor:
        cursor.execute(
            "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET extra_float_digits = 0"
        )
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("Asia/Tokyo",)
        assert watch.compare(Direction.FORWARDS) == ()
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("Asia/Tokyo",)


def test_samples_are_short_ranges_in_the_order_of_the_key() -> None:
    begin("INSERT INTO depot_item (name, email) SELECT 'more', '' FROM generate_series(1, 30000)")
    with connection.cursor() as cursor:
        ranges = choose_ranges(cursor, "public.depot_item", ("id",), 200)
    ended = [int(one.end[0]) - int(one.first[0]) for one in ranges if one.end]
    assert ended
    assert set(ended) == {ROWS_A_RANGE}
    assert len({one.first for one in ranges}) > 5


def test_rows_that_come_back_in_another_order_are_the_same() -> None:
    state = begin("CREATE TABLE bag (a int); INSERT INTO bag SELECT generate_series(1, 99)")
    watch = DataWatch(connection, state, state, ())
    watch.start()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE t AS SELECT * FROM bag ORDER BY a DESC; TRUNCATE bag;"
            " INSERT INTO bag SELECT * FROM t"
        )
    assert watch.compare(Direction.FORWARDS) == ()
