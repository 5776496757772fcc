"""Each operation is judged by the states before and after it, whatever it stands in and on."""

from __future__ import annotations

from collections.abc import Callable

import django
import pytest
from django.test import override_settings

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

OURS = (
    "from django_safemigrations.operations import BackfillNulls, Contract, "
    "CreateIndexConcurrently, DropColumn, Expand, FillNullsOnWrite, RelaxColumn, SetNotNull\n"
)
INDEX = 'migrations.AddIndex("{}", models.Index(fields=["{}"], name="{}_idx"))'
ON_ORDER = INDEX.format("order", "total", "total")
SHELF = (
    'migrations.CreateModel("{name}", [("id", models.BigAutoField(primary_key=True)), '
    '("title", models.CharField(max_length=9)){more}]{options})'
)


def shelf(name: str = "Shelf", more: str = "", options: str = "") -> str:
    return SHELF.format(name=name, more=more, options=f", options={options}" if options else "")


def inside(
    database: str = "", state: str = "", container: str = "migrations.SeparateDatabaseAndState"
) -> str:
    return f"{container}(database_operations=[{database}], state_operations=[{state}])"


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (inside(state=ON_ORDER), []),
        (inside(database=ON_ORDER), ["DSM101"]),
        (inside(database=ON_ORDER, state=ON_ORDER), ["DSM101"]),
        (inside(database=inside(database=inside(database=ON_ORDER))), ["DSM101"]),
        (inside(state=inside(database=ON_ORDER)), []),
        # What only the state has is what later operations find.
        (
            inside(state='migrations.RemoveField("order", "total")')
            + ', migrations.AddField("order", "total", models.IntegerField(null=True))',
            [],
        ),
        (
            inside(state='migrations.AlterField("order", "total", models.BigIntegerField())')
            + ', migrations.AlterField("order", "total", models.BigIntegerField())',
            [],
        ),
        # What only the database has is not.
        (
            inside(database='migrations.AlterField("order", "total", models.BigIntegerField())')
            + ', migrations.AlterField("order", "total", models.BigIntegerField())',
            ["DSM506", "DSM506"],
        ),
        # RunSQL's state_operations count for what comes after it.
        (
            'migrations.RunSQL("SELECT 1", "SELECT 1", state_operations=['
            'migrations.AlterField("order", "total", models.BigIntegerField())]), '
            'migrations.AlterField("order", "total", models.BigIntegerField())',
            [],
        ),
    ],
)
def test_containers_at_any_depth_run_one_half_and_bring_the_other_into_the_state(
    codes: Codes, operations: str, expected: list[str]
) -> None:
    assert codes(operations) == expected


def test_our_own_containers_are_judged_inside_those_of_django(codes: Codes) -> None:
    expand = inside(
        database='CreateIndexConcurrently("order", "total_idx")', state=ON_ORDER, container="Expand"
    )
    assert codes(inside(database=expand), setup=OURS, atomic=False) == []
    early = inside(
        database='SetNotNull("customer", "email")',
        state='migrations.AlterField("customer", "email", models.CharField(max_length=254))',
        container="Expand",
    )
    assert codes(inside(database=early), setup=OURS, atomic=False) == ["DSM202"]
    late = early.replace("Expand(", "Contract(")
    assert codes(inside(database=late), setup=OURS, atomic=False) == []


@pytest.mark.parametrize(
    "operations",
    [
        [shelf(), INDEX.format("shelf", "title", "title")],
        [
            shelf(),
            'migrations.RenameModel("Shelf", "Rack")',
            INDEX.format("rack", "title", "title"),
        ],
        [
            shelf(),
            'migrations.AlterModelTable("shelf", "racks")',
            'migrations.RenameField("shelf", "title", "name")',
            INDEX.format("shelf", "name", "name"),
        ],
        [
            shelf(),
            'migrations.RenameModel("Shelf", "Rack")',
            'migrations.RenameModel("Rack", "Board")',
            'migrations.AddField("board", "tag", models.ForeignKey("store.Tag", models.CASCADE))',
            'migrations.AlterUniqueTogether("board", {("title", "tag")})',
            'migrations.DeleteModel("Board")',
        ],
        [inside(database=shelf(), state=shelf()), INDEX.format("shelf", "title", "title")],
        [shelf(), 'migrations.AddField("shelf", "tags", models.ManyToManyField("store.Tag"))'],
        [
            shelf(),
            "migrations.AlterField('shelf', 'title', models.IntegerField(default=0))",
            "migrations.AlterOrderWithRespectTo('shelf', None)",
        ],
    ],
)
def test_a_table_made_in_the_same_file_is_in_nobodys_way_under_any_name(
    codes: Codes, operations: list[str]
) -> None:
    assert codes(", ".join(operations)) == []


def test_a_table_that_was_deleted_and_made_again_is_new(codes: Codes) -> None:
    made = shelf("Tag")
    remove = 'migrations.RemoveField("order", "tags")'
    found = codes(
        f'{remove}, migrations.DeleteModel("Tag"), {made}, ' + INDEX.format("tag", "title", "t")
    )
    assert found == ["DSM503", "DSM504"]


@pytest.mark.parametrize(
    "options",
    ['{"proxy": True}', '{"managed": False}', '{"swappable": "STORE_SHELF_MODEL"}'],
)
def test_models_without_a_table_of_their_own_are_left_alone(project: Project, options: str) -> None:
    made = shelf("Shelf", options=options)
    if "proxy" in options:
        made = (
            'migrations.CreateModel("Shelf", [], options={"proxy": True}, bases=("store.order",))'
        )
    operations = (
        'migrations.AddField("shelf", "more", models.IntegerField(default=0))',
        INDEX.format("shelf", "more", "more"),
        'migrations.AlterField("shelf", "more", models.TextField())',
        'migrations.RemoveField("shelf", "more")',
        'migrations.DeleteModel("Shelf")',
    )
    with override_settings(STORE_SHELF_MODEL="store.Customer"):
        project.add("0002_shelf", f"operations = [{made}]")
        project.add("0003_work", f"operations = [{', '.join(operations)}]")
        assert [f.code for f in project.findings()] == []


def test_a_key_to_a_proxy_is_one_to_the_table_behind_it(project: Project) -> None:
    proxy = (
        'migrations.CreateModel("Buyer", [], options={"proxy": True}, bases=("store.customer",))'
    )
    project.add("0002_proxy", f"operations = [{proxy}]")
    to_proxy = 'models.ForeignKey("store.Buyer", models.PROTECT)'
    assert project.codes(f'migrations.AlterField("order", "customer", {to_proxy})') == []
    found = project.operations(
        'migrations.AddField("order", "buyer", models.ForeignKey("store.Buyer", models.CASCADE, '
        "null=True))"
    )
    assert [f.code for f in found] == ["DSM502"]
    assert "store_customer" in found[0].message


CHILD = (
    'migrations.CreateModel("Parcel", [("order_ptr", models.OneToOneField("store.Order", '
    "models.CASCADE, parent_link=True, primary_key=True, auto_created=True, serialize=False)), "
    '("weight", models.IntegerField())], bases=("store.order",))'
)


def test_a_model_with_a_parents_table_is_judged_by_its_own_table(project: Project) -> None:
    project.add("0002_parcel", f"operations = [{CHILD}]")
    [found] = project.operations(INDEX.format("parcel", "weight", "weight"))
    assert "store_parcel" in found.message
    widened = project.codes('migrations.AlterField("parcel", "weight", models.BigIntegerField())')
    assert widened == ["DSM506"]
    [parent] = project.operations('migrations.RenameModel("Order", "Purchase")')
    assert parent.code == "DSM538"


def test_a_wider_key_of_a_parent_is_found_with_its_childrens_tables(project: Project) -> None:
    small = shelf("Place").replace("BigAutoField", "AutoField")
    heir = CHILD.replace("store.Order", "store.Place").replace("store.order", "store.place")
    project.add("0002_places", f"operations = [{small}, {heir}]")
    [found] = project.operations(
        'migrations.AlterField("place", "id", models.BigAutoField(primary_key=True))'
    )
    assert found.code == "DSM534"
    assert "store_parcel" in found.message


THROUGH = shelf(
    "Placing",
    ', ("order", models.ForeignKey("store.Order", models.CASCADE)), '
    '("tag", models.ForeignKey("store.Tag", models.CASCADE))',
)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        # A relation over a model of its own has no table to do anything with.
        (
            'migrations.AddField("order", "placed", models.ManyToManyField("store.Tag", '
            'through="store.Placing", related_name="+"))',
            [],
        ),
        ('migrations.AddField("order", "more", models.ManyToManyField("store.Tag"))', []),
        (INDEX.format("placing", "title", "title"), ["DSM101"]),
        (
            'migrations.AlterField("order", "tags", models.ManyToManyField("store.Tag", blank=True))',
            [],
        ),
        (
            'migrations.AlterField("order", "tags", models.ManyToManyField("store.Customer"))',
            ["DSM509"],
        ),
        ('migrations.RenameField("order", "tags", "labels")', ["DSM302"]),
        (
            'migrations.AlterField("order", "tags", models.ManyToManyField("store.Tag", '
            'db_table="order_tags"))',
            ["DSM505"],
        ),
    ],
)
def test_many_to_many_fields_are_judged_by_the_table_that_holds_them(
    project: Project, operations: str, expected: list[str]
) -> None:
    project.add("0002_through", f"operations = [{THROUGH}]")
    assert project.codes(operations) == expected


def test_a_generic_relation_is_its_two_columns(project: Project) -> None:
    comment = shelf(
        "Comment",
        ', ("kind", models.ForeignKey("contenttypes.ContentType", models.CASCADE)), '
        '("object_id", models.PositiveIntegerField())',
        '{"indexes": [models.Index(fields=["kind", "object_id"], name="target_idx")]}',
    )
    project.add(
        "0002_comment",
        f'dependencies += [("contenttypes", "0001_initial")]\noperations = [{comment}]',
    )
    assert project.codes(
        'migrations.AlterField("comment", "object_id", models.PositiveBigIntegerField())'
    ) == ["DSM506"]


def test_a_table_in_another_schema_is_named_and_judged(project: Project) -> None:
    made = shelf("Shelf", options="""{"db_table": '"archive"."shelf"'}""")
    project.add("0002_shelf", f"operations = [{made}]")
    [found] = project.operations(INDEX.format("shelf", "title", "title"))
    assert "archive" in found.message


@pytest.mark.parametrize(
    "field",
    [
        "models.IntegerField()",
        "models.IntegerField(help_text='x', verbose_name='y', choices=[(1, 'a')], blank=True)",
        "models.IntegerField(db_column='total')",
        "models.IntegerField(default=5)",
        "models.IntegerField(validators=[])",
    ],
)
def test_an_alteration_that_the_database_does_not_notice_is_none(codes: Codes, field: str) -> None:
    assert codes(f'migrations.AlterField("order", "total", {field})') == []


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (
            'migrations.AlterField("order", "customer", models.ForeignKey("store.Customer", '
            "models.PROTECT, null=True))",
            ["DSM509"],
        ),
        ('migrations.RenameField("order", "customer", "buyer")', ["DSM301", "DSM306"]),
        ('migrations.RenameModel("Customer", "Buyer")', ["DSM505"]),
        (
            'migrations.AddField("order", "count", models.PositiveIntegerField(null=True))',
            ["DSM502"],
        ),
        ('migrations.AlterField("order", "total", models.PositiveIntegerField())', ["DSM507"]),
    ],
)
def test_what_other_linters_miss_is_found(
    project: Project, operations: str, expected: list[str]
) -> None:
    found = project.operations(operations)
    assert [f.code for f in found] == expected
    if "Rename" in operations or "customer" in operations:
        assert "validated" in " ".join(f.message for f in found)


if django.VERSION >= (6, 1):

    def test_an_on_delete_of_the_database_is_another_constraint(codes: Codes) -> None:
        key = 'models.ForeignKey("store.Customer", models.{})'
        assert codes(f'migrations.AlterField("order", "customer", {key.format("DB_CASCADE")})') == [
            "DSM509"
        ]
        assert (
            codes(f'migrations.AlterField("order", "customer", {key.format("DB_CASCADE")})') == []
        )
        assert codes(
            f'migrations.AddField("order", "agent", {key.format("DB_SET_NULL").replace(")", ", null=True)")})'
        ) == ["DSM502"]


def test_a_composite_key_covers_the_foreign_key_that_it_begins_with(codes: Codes) -> None:
    made = (
        'migrations.CreateModel("Line", [("pk", models.CompositePrimaryKey("{}", "{}")), '
        '("order", models.ForeignKey("store.Order", models.CASCADE, db_index=False)), '
        '("number", models.IntegerField())])'
    )
    assert codes(made.format("order", "number")) == []
    assert codes(made.format("number", "order").replace("Line", "Row")) == ["DSM408"]


@pytest.mark.parametrize(("persisted", "expected"), [("True", ["DSM510"]), ("False", [])])
def test_only_a_stored_generated_column_writes_the_table_anew(
    codes: Codes, persisted: str, expected: list[str]
) -> None:
    field = (
        'models.GeneratedField(expression=models.F("total") * 2, '
        f"output_field=models.IntegerField(), db_persist={persisted})"
    )
    assert codes(f'migrations.AddField("order", "double", {field})') == expected


@pytest.mark.parametrize(
    ("cover", "expected"),
    [
        ("", ["DSM408"]),
        ('{"indexes": [models.Index(fields=["order", "title"], name="i")]}', []),
        ('{"indexes": [models.Index(fields=["-order"], name="i")]}', []),
        ('{"indexes": [models.Index(fields=["title", "order"], name="i")]}', ["DSM408"]),
        ('{"unique_together": {("order", "title")}}', []),
        ('{"unique_together": {("title", "order")}}', ["DSM408"]),
        ('{"constraints": [models.UniqueConstraint(fields=["order", "title"], name="i")]}', []),
        (
            '{"indexes": [models.Index(fields=["order"], name="i", '
            'condition=models.Q(title="a"))]}',
            ["DSM408"],
        ),
        (
            '{"indexes": [models.Index(fields=["order"], name="i", '
            "condition=models.Q(order__isnull=False))]}",
            [],
        ),
    ],
)
def test_any_index_that_begins_with_a_foreign_key_covers_it(
    codes: Codes, cover: str, expected: list[str]
) -> None:
    more = ', ("order", models.ForeignKey("store.Order", models.CASCADE, db_index=False))'
    assert codes(shelf("Shelf", more, cover)) == expected


NO_INDEX = (
    'migrations.AddField("order", "agent", models.ForeignKey("store.Customer", models.CASCADE, '
    "null=True, db_index=False{}))"
)


@pytest.mark.parametrize(
    "later",
    [
        'migrations.AlterField("order", "agent", models.ForeignKey("store.Customer", '
        "models.CASCADE, null=True))",
        'migrations.AddIndex("order", models.Index(fields=["agent", "total"], name="agent_idx"))',
        'migrations.AlterUniqueTogether("order", {("agent", "total")})',
        'migrations.RemoveField("order", "agent")',
        'migrations.DeleteModel("Order")',
    ],
)
def test_an_index_may_come_in_a_later_file(project: Project, later: str) -> None:
    project.add("0002_agent", f"operations = [{NO_INDEX.format('')}]")
    project.add("0003_later", f"operations = [{later}]")
    assert "DSM408" not in [f.code for f in project.findings()]


def test_a_renamed_key_without_index_is_found_where_it_was_added(project: Project) -> None:
    project.add("0002_agent", f"operations = [{NO_INDEX.format('')}]")
    project.add(
        "0003_renames",
        'operations = [migrations.RenameField("order", "agent", "clerk"), '
        'migrations.RenameModel("Order", "Purchase")]',
    )
    [found] = [f for f in project.findings() if f.code == "DSM408"]
    assert (found.migration, found.operation) == ("0002_agent", "0")
    assert "store_purchase.clerk_id" in found.message


def test_the_operation_that_takes_the_cover_away_is_named(project: Project) -> None:
    project.add(
        "0002_agent",
        f"operations = [{NO_INDEX.format('')}, migrations.AlterUniqueTogether("
        '"order", {("agent", "total")})]',
    )
    project.add("0003_less", 'operations = [migrations.AlterUniqueTogether("order", set())]')
    [found] = [f for f in project.findings() if f.code == "DSM408"]
    assert found.migration == "0003_less"


def test_a_key_without_constraint_needs_no_index(codes: Codes) -> None:
    assert codes(NO_INDEX.format(", db_constraint=False")) == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('"SELECT 1"', ["DSM409"]),
        ('"ALTER TABLE store_place ALTER id TYPE bigint"', ["DSM409"]),
        (
            '["ALTER TABLE store_place ALTER id TYPE bigint", '
            '"ALTER TABLE store_visit ALTER place_id TYPE bigint"]',
            [],
        ),
    ],
)
def test_a_key_widened_by_hand_leaves_the_columns_that_no_sql_names(
    project: Project, sql: str, expected: list[str]
) -> None:
    place = shelf("Place").replace("BigAutoField", "AutoField")
    visit = shelf("Visit", ', ("place", models.ForeignKey("store.Place", models.CASCADE))')
    project.add("0002_places", f"operations = [{place}, {visit}]")
    alter = 'migrations.AlterField("place", "id", models.BigAutoField(primary_key=True))'
    container = inside(database=f"migrations.RunSQL({sql}, migrations.RunSQL.noop)", state=alter)
    found = project.operations(container)
    assert [f.code for f in found if f.code == "DSM409"] == expected
    if expected:
        assert "store_visit.place_id" in next(f for f in found if f.code == "DSM409").message


def test_django_changes_the_columns_that_refer_to_a_key_by_itself(project: Project) -> None:
    place = shelf("Place").replace("BigAutoField", "AutoField")
    visit = shelf("Visit", ', ("place", models.ForeignKey("store.Place", models.CASCADE))')
    project.add("0002_places", f"operations = [{place}, {visit}]")
    alter = 'migrations.AlterField("place", "id", models.BigAutoField(primary_key=True))'
    assert project.codes(inside(database=alter, state=alter)) == ["DSM534"]


STAGES = {
    "DropColumn": 'DropColumn("customer", "email", field=models.CharField(max_length=9, null=True))',
    "DropColumnDefault": 'DropColumnDefault("order", "total", value=0)',
    "DropKeyColumns": 'DropKeyColumns("order", "id", old_field=models.AutoField(primary_key=True))',
    "DropOldNameView": 'DropOldNameView("order", old_table="store_a", new_table="store_order", columns=["id"])',
    "DropReplacedColumn": 'DropReplacedColumn("order", "total", db_type="integer")',
    "DropSyncedColumns": 'DropSyncedColumns("order", {"a": "total"})',
    "DropTable": 'DropTable("tag", fields=[], options={"db_table": "store_tag"})',
    "MergeContentTypes": 'MergeContentTypes("order", old_name="Purchase")',
    "StopFillingNulls": 'StopFillingNulls("customer", "email", "")',
    "ValidateCheck": 'ValidateCheck("order", "positive")',
    "ValidateFieldCheck": 'ValidateFieldCheck("order", "total")',
    "ValidateForeignKey": 'ValidateForeignKey("order", "customer")',
}


def test_every_stage_that_ends_something_has_an_example_here() -> None:
    from django_safemigrations import operations

    ending = {
        name for name in operations.__all__ if getattr(getattr(operations, name), "finishes", "")
    }
    assert ending == set(STAGES)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_that_ends_what_nothing_began_is_found(codes: Codes, name: str) -> None:
    setup = f"from django_safemigrations.operations import Contract, {name}\n"
    found = codes(f"Contract(database_operations=[{STAGES[name]}])", setup=setup, atomic=False)
    assert found == ["DSM404"]


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_that_takes_what_old_code_needs_belongs_into_a_contract(
    codes: Codes, name: str
) -> None:
    setup = f"from django_safemigrations.operations import Expand, {name}\n"
    found = codes(f"Expand(database_operations=[{STAGES[name]}])", setup=setup, atomic=False)
    harmless = name.startswith("Validate") or name == "DropColumnDefault"
    assert ("DSM520" in found) == (not harmless)
