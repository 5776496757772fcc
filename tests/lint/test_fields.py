"""Fields that come and go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]
FUNCTIONS = (
    "from django.contrib.postgres.functions import RandomUUID, TransactionNow\n"
    "from django.db.models.functions import Now, Random\n"
    "import uuid\n"
)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("models.IntegerField(null=True)", []),
        ("models.TextField(null=True)", []),
        ("models.IntegerField(db_default=0)", []),
        ("models.DateTimeField(db_default=Now())", []),
        ("models.DateTimeField(db_default=TransactionNow())", []),
        ("models.IntegerField(default=0)", ["DSM501"]),
        ("models.CharField(max_length=5, blank=True)", ["DSM501"]),
        ("models.DateTimeField(auto_now_add=True)", ["DSM501"]),
        ("models.PositiveIntegerField(null=True)", ["DSM502"]),
        ("models.PositiveSmallIntegerField(db_default=0)", ["DSM502"]),
        ("models.PositiveBigIntegerField(default=0)", ["DSM501", "DSM502"]),
        ("models.IntegerField(null=True, unique=True)", ["DSM502"]),
        ("models.IntegerField(null=True, db_index=True)", ["DSM502"]),
        ("models.SlugField(null=True)", ["DSM502"]),
        ('models.ForeignKey("store.Tag", models.CASCADE, null=True)', ["DSM502"]),
        ('models.OneToOneField("store.Tag", models.CASCADE, null=True)', ["DSM502"]),
        (
            'models.ForeignKey("store.Tag", models.CASCADE, null=True, db_index=False)',
            ["DSM502", "DSM408"],
        ),
        (
            (
                'models.ForeignKey("store.Tag", models.CASCADE, null=True, db_index=False, '
                "db_constraint=False)"
            ),
            [],
        ),
        ('models.ForeignKey("store.Tag", models.CASCADE, default=1)', ["DSM501", "DSM502"]),
        ('models.ManyToManyField("store.Customer")', []),
        ("models.UUIDField(db_default=RandomUUID())", ["DSM510"]),
        ("models.FloatField(db_default=Random(), null=True)", ["DSM510"]),
        (
            'models.IntegerField(db_default=models.Func(function="nextval"), null=True)',
            ["DSM510"],
        ),
        (
            'models.TextField(db_default=models.Func(models.Value("x"), function="lower"))',
            [],
        ),
        (
            'models.TextField(db_default=models.Func(function="our_own_function"))',
            ["DSM510"],
        ),
        (
            (
                'models.GeneratedField(expression=models.F("total") * 2, '
                "output_field=models.IntegerField(), db_persist=True)"
            ),
            ["DSM510"],
        ),
        (
            (
                'models.GeneratedField(expression=models.F("total") * 2, '
                "output_field=models.IntegerField(), db_persist=False)"
            ),
            [],
        ),
        ("models.UUIDField(default=uuid.uuid4)", ["DSM501"]),
    ],
)
def test_an_added_field_is_judged_by_what_django_writes_for_it(
    codes: Codes, field: str, expected: list[str]
) -> None:
    assert codes(f'migrations.AddField("order", "extra", {field})', setup=FUNCTIONS) == expected


def test_a_callable_default_is_said_to_give_every_row_the_same_value(project: Project) -> None:
    found = project.operations(
        'migrations.AddField("order", "token", models.UUIDField(default=uuid.uuid4))',
        setup="import uuid",
    )
    assert "same value" in found[0].message


def test_the_message_names_the_users_table_column_and_lock(project: Project) -> None:
    found = project.operations(
        'migrations.AddField("order", "rank", models.PositiveIntegerField(null=True))'
    )
    assert "store_order.rank" in found[0].message
    assert "ACCESS EXCLUSIVE" in found[0].message


def test_a_removed_field_breaks_old_code(codes: Codes) -> None:
    assert codes('migrations.RemoveField("customer", "email")') == ["DSM503"]


def test_a_removed_many_to_many_field_drops_its_table(project: Project) -> None:
    found = project.operations('migrations.RemoveField("order", "tags")')
    assert [finding.code for finding in found] == ["DSM503"]
    assert "store_order_tags" in found[0].message


def test_a_field_removed_from_the_state_alone_is_not_flagged(codes: Codes) -> None:
    assert (
        codes(
            """
            migrations.SeparateDatabaseAndState(
                state_operations=[migrations.RemoveField("customer", "email")]
            )
            """
        )
        == []
    )


def test_a_removal_and_an_addition_of_one_type_look_like_a_rename_in_either_order(
    codes: Codes,
) -> None:
    add = 'migrations.AddField("order", "amount", models.IntegerField(null=True))'
    remove = 'migrations.RemoveField("order", "total")'
    assert codes(f"{remove}, {add}") == ["DSM305"]


def test_the_addition_may_come_first(codes: Codes) -> None:
    add = 'migrations.AddField("order", "amount", models.IntegerField(null=True))'
    remove = 'migrations.RemoveField("order", "total")'
    assert codes(f"{add}, {remove}") == ["DSM305"]


def test_a_removal_and_an_addition_of_different_types_are_no_rename(codes: Codes) -> None:
    assert codes(
        """
        migrations.RemoveField("order", "total"),
        migrations.AddField("order", "remark", models.TextField(null=True)),
        """
    ) == ["DSM503"]


def test_a_removal_and_an_addition_on_different_models_are_no_rename(codes: Codes) -> None:
    assert codes(
        """
        migrations.RemoveField("order", "total"),
        migrations.AddField("customer", "total", models.IntegerField(null=True)),
        """
    ) == ["DSM503"]


def test_whatever_happens_to_a_table_created_in_the_same_migration_is_safe(codes: Codes) -> None:
    assert (
        codes(
            """
            migrations.CreateModel("Shelf", [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=10, null=True)),
            ]),
            migrations.AddField("shelf", "rank", models.PositiveIntegerField(default=0)),
            migrations.AlterField("shelf", "name", models.CharField(max_length=10)),
            migrations.RenameField("shelf", "name", "label"),
            migrations.AddIndex("shelf", models.Index(fields=["label"], name="shelf_label")),
            migrations.AlterUniqueTogether("shelf", {("label", "rank")}),
            migrations.AddConstraint(
                "shelf", models.CheckConstraint(condition=models.Q(rank__gt=0), name="shelf_rank")
            ),
            migrations.RenameModel("Shelf", "Board"),
            migrations.RemoveField("board", "label"),
            migrations.DeleteModel("Board"),
            """
        )
        == []
    )


def test_a_table_deleted_and_created_again_is_new(codes: Codes) -> None:
    assert codes(
        """
        migrations.RemoveField("order", "tags"),
        migrations.DeleteModel("Tag"),
        migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
        migrations.AddField("tag", "rank", models.PositiveIntegerField(default=0)),
        """
    ) == ["DSM503", "DSM504"]


@pytest.mark.parametrize(
    "options",
    ['{"managed": False}', '{"proxy": True}', '{"swappable": "AUTH_USER_MODEL"}'],
)
def test_unmanaged_proxy_and_swapped_models_are_left_alone(project: Project, options: str) -> None:
    bases = ', bases=("store.order",)' if "proxy" in options else ""
    project.add(
        "0002_model",
        f"""
        operations = [
            migrations.CreateModel("Other", [], options={options}{bases}),
        ]
        """,
    )
    assert project.codes('migrations.DeleteModel("Other")') == []


def test_ordering_with_respect_to_another_model_adds_a_not_null_column(project: Project) -> None:
    assert project.codes('migrations.AlterOrderWithRespectTo("order", "customer")') == ["DSM501"]
    assert project.codes('migrations.AlterOrderWithRespectTo("order", None)') == ["DSM503"]


def test_deleting_a_model_breaks_old_code(codes: Codes) -> None:
    assert codes('migrations.DeleteModel("Tag")') == ["DSM504"]
