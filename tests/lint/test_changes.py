"""AlterField, judged by the field before and after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

POSTGRES_FIELDS = "from django.contrib.postgres.fields import ArrayField\n"


def alter(project: Project, old: str, new: str, *, between: str = "") -> list[str]:
    """Return the codes of changing a column from one field to another."""
    project.add(
        "0002_old",
        f"""
        operations = [
            migrations.AddField("order", "probe", {old}),
            {between}
        ]
        """,
        setup=POSTGRES_FIELDS,
    )
    return project.codes(f'migrations.AlterField("order", "probe", {new})', setup=POSTGRES_FIELDS)


CHAR = "models.CharField(max_length=20"
INT = "models.IntegerField("
DECIMAL = "models.DecimalField(max_digits={}, decimal_places={})"
TO_TAG = 'models.ForeignKey("store.Tag", models.CASCADE'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{CHAR})", "models.CharField(max_length=40)"),
        (f"{CHAR}, unique=True)", "models.CharField(max_length=40, unique=True)"),
        (f"{CHAR})", "models.CharField()"),
        (f"{CHAR})", "models.TextField()"),
        (f"{CHAR})", f'{CHAR}, help_text="x", choices=[("a", "b")], verbose_name="y")'),
        (f"{CHAR})", f'{CHAR}, default="x")'),
        (f"{CHAR})", f'{CHAR}, db_column="probe")'),
        (f"{CHAR})", f'{CHAR}, db_comment="says what it is")'),
        (f"{CHAR})", f"{CHAR}, null=True)"),
        ("models.TextField()", "models.CharField()"),
        (DECIMAL.format(10, 2), DECIMAL.format(12, 2)),
        (f"{INT})", f"{INT}db_default=5)"),
        ("models.PositiveIntegerField()", "models.IntegerField()"),
        (f"{TO_TAG}, null=True)", f'{TO_TAG}, null=True, related_name="x")'),
        (f"{TO_TAG}, null=True)", 'models.ForeignKey("store.tag", models.PROTECT, null=True)'),
        (f"{TO_TAG}, null=True)", f'{TO_TAG}, null=True, db_comment="says what it is")'),
        ("models.GenericIPAddressField()", 'models.GenericIPAddressField(protocol="ipv4")'),
    ],
)
def test_a_change_without_work_for_the_database_or_without_rewrite_is_not_flagged(
    project: Project, old: str, new: str
) -> None:
    assert alter(project, old, new) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{CHAR})", "models.CharField(max_length=10)"),
        ("models.TextField()", f"{CHAR})"),
        ("models.CharField()", f"{CHAR})"),
        (f"{INT})", "models.BigIntegerField()"),
        ("models.SmallIntegerField()", f"{INT})"),
        (f"{INT})", "models.TextField()"),
        (f"{INT})", "models.FloatField()"),
        (DECIMAL.format(10, 2), DECIMAL.format(10, 3)),
        (DECIMAL.format(10, 2), DECIMAL.format(9, 2)),
        ("models.DateField()", "models.DateTimeField()"),
        ("models.TextField()", "models.JSONField()"),
        ("ArrayField(models.IntegerField())", "ArrayField(models.BigIntegerField())"),
        (f"{CHAR}, db_index=True)", f'{CHAR}, db_index=True, db_collation="C")'),
    ],
)
def test_a_change_that_rewrites_the_table_or_an_index_is_flagged(
    project: Project, old: str, new: str
) -> None:
    assert alter(project, old, new) == ["DSM506"]


def test_another_collation_without_an_index_is_not_flagged(project: Project) -> None:
    assert alter(project, f"{CHAR})", f'{CHAR}, db_collation="C")') == []


@pytest.mark.parametrize(
    "between",
    [
        (
            'migrations.AddConstraint("order", models.CheckConstraint('
            'condition=models.Q(probe__gt="a"), name="probe_check"))'
        ),
        'migrations.AddIndex("order", models.Index(models.F("probe").desc(), name="probe_desc"))',
        (
            'migrations.AddIndex("order", models.Index('
            'fields=["total"], condition=~models.Q(probe=""), name="probe_partial"))'
        ),
        (
            'migrations.AddConstraint("order", models.UniqueConstraint('
            'fields=["total"], condition=models.Q(probe="x"), name="probe_unique"))'
        ),
    ],
)
def test_a_longer_varchar_is_flagged_if_a_check_or_a_special_index_names_it(
    project: Project, between: str
) -> None:
    assert alter(project, f"{CHAR})", "models.CharField(max_length=40)", between=between) == [
        "DSM506"
    ]


def test_a_longer_varchar_with_plain_indexes_is_not_flagged(project: Project) -> None:
    between = 'migrations.AddIndex("order", models.Index(fields=["probe"], name="probe_idx"))'
    assert alter(project, f"{CHAR})", "models.CharField(max_length=40)", between=between) == []


def test_a_longer_key_that_foreign_keys_point_to_is_flagged(project: Project) -> None:
    project.add(
        "0002_key",
        """
        operations = [
            migrations.CreateModel("Region", [
                ("code", models.CharField(max_length=5, primary_key=True)),
            ]),
            migrations.AddField(
                "order", "region", models.ForeignKey("store.Region", models.CASCADE, null=True)
            ),
        ]
        """,
    )
    assert project.codes(
        'migrations.AlterField("region", "code", models.CharField(max_length=9, primary_key=True))'
    ) == ["DSM506"]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (f"{CHAR})", ["DSM201"]),
        (f"{CHAR}, blank=True)", ["DSM201"]),
        (f'{CHAR}, default="x")', ["DSM203"]),
        (f'{CHAR}, default="x"), preserve_default=False', ["DSM203"]),
        (f'{CHAR}, db_default="x")', ["DSM203"]),
        (f"{CHAR}, null=True, db_index=True)", ["DSM101"]),
        (f"{CHAR}, null=True, unique=True)", ["DSM101"]),
        (f"{CHAR}, db_index=True)", ["DSM201", "DSM101"]),
        ('models.CharField(max_length=10, default="")', ["DSM506", "DSM203"]),
    ],
)
def test_a_nullable_column_that_changes_gives_one_finding_a_harm(
    project: Project, new: str, expected: list[str]
) -> None:
    assert alter(project, f"{CHAR}, null=True)", new) == expected


def test_a_validated_check_spares_the_scan(project: Project) -> None:
    between = (
        'migrations.AddConstraint("order", models.CheckConstraint('
        'condition=models.Q(probe__isnull=False), name="probe_set"))'
    )
    assert alter(project, f"{CHAR}, null=True)", f"{CHAR})", between=between) == []


def test_a_check_that_is_not_valid_does_not_spare_the_scan(project: Project) -> None:
    between = (
        "__import__('django.contrib.postgres.operations', fromlist=['x'])."
        'AddConstraintNotValid("order", models.CheckConstraint('
        'condition=models.Q(probe__isnull=False), name="probe_set"))'
    )
    assert alter(project, f"{CHAR}, null=True)", f"{CHAR})", between=between) == ["DSM201"]


def test_a_check_of_something_else_does_not_spare_the_scan(project: Project) -> None:
    between = (
        'migrations.AddConstraint("order", models.CheckConstraint('
        'condition=models.Q(probe__isnull=False) | models.Q(total=0), name="probe_set"))'
    )
    assert alter(project, f"{CHAR}, null=True)", f"{CHAR})", between=between) == ["DSM201"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (f"{INT}null=True)", f"{INT}null=True, db_index=True)", ["DSM101"]),
        (f"{INT}db_index=True)", f"{INT})", ["DSM102"]),
        (f"{INT}db_index=True)", f"{INT}unique=True)", ["DSM101"]),
        (f"{INT}unique=True)", f"{INT}db_index=True)", ["DSM515", "DSM101"]),
        (f"{INT}unique=True)", f"{INT})", ["DSM515"]),
        (f"{CHAR}, db_index=True)", "models.TextField(db_index=True)", ["DSM101"]),
        (f"{INT})", "models.PositiveIntegerField()", ["DSM507"]),
        (f"{INT})", "models.PositiveBigIntegerField()", ["DSM506", "DSM507"]),
    ],
)
def test_what_comes_and_goes_with_the_field_is_judged(
    project: Project, old: str, new: str, expected: list[str]
) -> None:
    assert alter(project, old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (f"{TO_TAG}, null=True)", f"{TO_TAG})", ["DSM201", "DSM509"]),
        (f"{TO_TAG})", f"{TO_TAG}, null=True)", ["DSM509"]),
        (f"{TO_TAG})", f"{TO_TAG}, default=1)", ["DSM509"]),
        (
            f"{TO_TAG}, null=True)",
            f"{TO_TAG}, null=True, db_index=False)",
            ["DSM102", "DSM509", "DSM408"],
        ),
        (
            f"{TO_TAG}, null=True)",
            'models.ForeignKey("store.Customer", models.CASCADE, null=True)',
            ["DSM509", "DSM542"],
        ),
        (
            f"{TO_TAG}, null=True)",
            'models.OneToOneField("store.Tag", models.CASCADE, null=True)',
            ["DSM101", "DSM509"],
        ),
        (f"{TO_TAG}, null=True, db_constraint=False)", f"{TO_TAG}, null=True)", ["DSM509"]),
        (f"{TO_TAG}, null=True)", f"{TO_TAG}, null=True, db_constraint=False)", []),
        (
            "models.BigIntegerField(null=True)",
            f'{TO_TAG}, null=True, db_column="probe", db_index=False)',
            ["DSM509", "DSM408"],
        ),
        (
            f"{TO_TAG}, null=True)",
            "models.BigIntegerField(null=True)",
            ["DSM301", "DSM102"],
        ),
        (
            f"{TO_TAG}, null=True)",
            f'{TO_TAG}, null=True, db_column="tag")',
            ["DSM301", "DSM306"],
        ),
    ],
)
def test_django_drops_a_foreign_key_and_adds_it_again(
    project: Project, old: str, new: str, expected: list[str]
) -> None:
    assert alter(project, old, new) == expected


def test_an_unlike_column_name_in_the_new_field_is_a_rename(codes: Codes) -> None:
    assert codes(
        'migrations.AlterField("order", "total", models.IntegerField(db_column="amount"))'
    ) == ["DSM301"]


def test_a_many_to_many_field_with_another_table_or_target_is_flagged(project: Project) -> None:
    assert project.codes(
        'migrations.AlterField("order", "tags", '
        'models.ManyToManyField("store.Tag", db_table="labels"))'
    ) == ["DSM505"]
    assert project.codes(
        'migrations.AlterField("order", "tags", '
        'models.ManyToManyField("store.Customer", db_table="labels"))'
    ) == ["DSM509"]


def test_a_many_to_many_field_with_another_related_name_is_not_flagged(codes: Codes) -> None:
    assert (
        codes(
            'migrations.AlterField("order", "tags", '
            'models.ManyToManyField("store.Tag", related_name="orders", blank=True))'
        )
        == []
    )
