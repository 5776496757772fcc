"""Indexes and constraints of a model's Meta."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]
CONTRIB = (
    "from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, "
    "BtreeGistExtension, RemoveIndexConcurrently, ValidateConstraint\n"
    "from django.contrib.postgres.constraints import ExclusionConstraint\n"
)
INDEX = 'models.Index(fields=["total"], name="total_idx")'
CHECK = 'models.CheckConstraint(condition=models.Q(total__gt=0), name="total_check")'


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (f'migrations.AddIndex("order", {INDEX})', ["DSM101"]),
        ('migrations.RemoveIndex("order", "order_reference_idx")', ["DSM102"]),
        (
            'migrations.RenameIndex("order", old_name="order_reference_idx", new_name="other")',
            [],
        ),
        (f'AddIndexConcurrently("order", {INDEX})', ["DSM103"]),
        ('RemoveIndexConcurrently("order", "order_reference_idx")', ["DSM103"]),
        ('migrations.AlterIndexTogether("order", {("total", "reference")})', ["DSM101"]),
        (f'migrations.AddConstraint("order", {CHECK})', ["DSM507"]),
        (f'AddConstraintNotValid("order", {CHECK})', []),
        (
            (
                'migrations.AddConstraint("order", '
                'models.UniqueConstraint(fields=["total"], name="total_unique"))'
            ),
            ["DSM507"],
        ),
        (
            (
                'migrations.AddConstraint("order", models.UniqueConstraint('
                'fields=["total"], name="total_unique", deferrable=models.Deferrable.DEFERRED))'
            ),
            ["DSM507", "DSM517"],
        ),
        (
            (
                'migrations.AddConstraint("order", ExclusionConstraint('
                'name="total_once", expressions=[("total", "=")]))'
            ),
            ["DSM516"],
        ),
        ('migrations.AlterUniqueTogether("order", {("total", "reference")})', ["DSM508"]),
        ('migrations.AlterUniqueTogether("order", ("total", "reference"))', ["DSM508"]),
        ('migrations.AlterModelOptions("order", {"ordering": ["total"]})', []),
        ('migrations.AlterModelTableComment("order", "one row an order")', []),
        ("BtreeGistExtension()", []),
    ],
)
def test_an_operation_is_judged_by_the_lock_it_takes(
    codes: Codes, operation: str, expected: list[str]
) -> None:
    assert codes(operation, setup=CONTRIB) == expected


def test_a_unique_index_blocks_writes_and_a_unique_constraint_blocks_reads_too(
    project: Project,
) -> None:
    plain, partial, _together = project.operations(
        """
        migrations.AddConstraint(
            "order", models.UniqueConstraint(fields=["total"], name="u1")
        ),
        migrations.AddConstraint(
            "order",
            models.UniqueConstraint(
                fields=["total"], condition=models.Q(total__gt=0), name="u2"
            ),
        ),
        """
    )
    assert "ACCESS EXCLUSIVE" in plain.message
    assert "SHARE lock" in partial.message


def test_a_concurrent_build_of_django_outside_of_a_transaction_is_only_warned_about(
    project: Project,
) -> None:
    found = project.operations(
        f'AddIndexConcurrently("order", {INDEX})', setup=CONTRIB, atomic=False
    )
    assert [(finding.code, finding.severity) for finding in found] == [("DSM104", "warning")]
    assert 'CreateIndexConcurrently(model_name="order", name="total_idx")' in found[0].hint


def test_a_concurrent_drop_of_django_outside_of_a_transaction_is_safe(codes: Codes) -> None:
    operation = 'RemoveIndexConcurrently("order", "order_reference_idx")'
    assert codes(operation, setup=CONTRIB, atomic=False) == []


def test_a_constraint_validated_in_a_migration_of_its_own_is_safe(project: Project) -> None:
    assert project.codes(f'AddConstraintNotValid("order", {CHECK})', setup=CONTRIB) == []
    assert project.codes('ValidateConstraint("order", "total_check")', setup=CONTRIB) == []


def test_a_constraint_validated_in_the_transaction_that_added_it_still_blocks(
    codes: Codes,
) -> None:
    both = f'AddConstraintNotValid("order", {CHECK}), ValidateConstraint("order", "total_check")'
    assert codes(both, setup=CONTRIB) == ["DSM507"]


def test_a_constraint_validated_in_the_same_file_without_a_transaction_is_safe(
    codes: Codes,
) -> None:
    both = f'AddConstraintNotValid("order", {CHECK}), ValidateConstraint("order", "total_check")'
    assert codes(both, setup=CONTRIB, atomic=False) == []


def test_removed_constraints_and_sets_are_instant_but_upserts_may_need_them(
    project: Project,
) -> None:
    project.add(
        "0002_constraints",
        f"""
        operations = [
            migrations.AddConstraint("order", {CHECK}),
            migrations.AlterUniqueTogether("order", {{("total", "reference")}}),
        ]
        """,
    )
    assert project.codes(
        """
            migrations.RemoveConstraint("order", "total_check"),
            migrations.AlterUniqueTogether("order", set()),
            """
    ) == ["DSM515"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ["DSM507"]),
        # An index is built under SHARE, after the drop that took ACCESS EXCLUSIVE.
        (", include=['id']", ["DSM507", "DSM406"]),
        (", condition=models.Q(total__gt=0)", ["DSM515", "DSM507", "DSM406"]),
    ],
)
def test_a_set_whose_place_a_constraint_takes_is_still_there_for_upserts(
    project: Project, more: str, expected: list[str]
) -> None:
    project.add(
        "0002_unique",
        """
        operations = [
            migrations.AlterUniqueTogether("order", {("total", "reference")}),
        ]
        """,
    )
    unique = f'models.UniqueConstraint(fields=["reference", "total"], name="once"{more})'
    removed = 'migrations.AlterUniqueTogether("order", set()),'
    codes = project.codes(f'{removed} migrations.AddConstraint("order", {unique})')
    assert codes == expected


def test_only_the_sets_that_are_new_are_built(project: Project) -> None:
    assert project.codes('migrations.AlterUniqueTogether("order", {("total", "reference")})') == [
        "DSM508"
    ]
    assert project.codes(
        'migrations.AlterUniqueTogether("order", {("reference", "total"), ("total", "reference")})'
    ) == ["DSM508"]
