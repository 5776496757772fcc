"""What makemigrations writes and says for a change of type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Lower

from tests.hook.project import ORDER, Project
from tests.kit.case import Case, define
from tests.kit.chain import make_chain

SHADOW = [
    "AddShadowColumn",
    "BackfillShadowColumn",
    "CopyShadowIndexes",
    "CopyShadowConstraints",
]


def stages(old: Callable[[], Any], new: Callable[[], Any], **meta: Any) -> list[list[str]]:
    """Return the stages of each migration that is written, or the operations of a plain one."""

    def model(make: Callable[[], Any]) -> None:
        define("Order", meta=meta, number=models.IntegerField(), total=make())

    chain = make_chain(Case("a type", lambda: model(old), lambda: model(new)))
    return [
        [type(stage).__name__ for operation in found.operations for stage in inside(operation)]
        for found in map(chain.migration, chain.change)
    ]


def inside(operation: Operation) -> list[Operation]:
    return list(getattr(operation, "database_operations", [operation]))


def char(length: int) -> Callable[[], Any]:
    return lambda: models.CharField(max_length=length)


def test_what_postgresql_does_in_an_instant_stays_one_operation() -> None:
    assert stages(char(10), char(20)) == [["AlterField"]]
    assert stages(char(10), lambda: models.TextField(blank=True)) == [["AlterField"]]


@pytest.mark.parametrize(
    "meta",
    [
        {"constraints": [models.CheckConstraint(condition=~models.Q(total="x"), name="checked")]},
        {"indexes": [models.Index(Lower("total"), name="lowered")]},
        {"indexes": [models.Index(fields=["number"], condition=models.Q(total="x"), name="part")]},
        {
            "constraints": [
                models.UniqueConstraint(
                    fields=["number"], condition=models.Q(total="x"), name="partly"
                )
            ]
        },
    ],
    ids=["check", "expression", "partial", "partial unique"],
)
def test_but_not_where_it_would_read_the_table_or_build_an_index(meta: dict[str, Any]) -> None:
    assert stages(char(10), char(20), **meta) == [[*SHADOW, "SwapColumns"], ["DropReplacedColumn"]]


def test_a_plain_index_keeps_an_instant_change_plain() -> None:
    index = models.Index(fields=["total", "number"], name="both")
    assert stages(char(10), char(20), indexes=[index]) == [["AlterField"]]


def test_widenings_are_swapped_in_expand_and_narrowings_in_contract() -> None:
    small, big = models.IntegerField, models.BigIntegerField
    assert stages(small, big) == [[*SHADOW, "SwapColumns"], ["DropReplacedColumn"]]
    assert stages(big, small) == [SHADOW, ["SwapColumns", "DropReplacedColumn"]]


def test_an_exclusion_constraint_leaves_it_as_django_wrote_it() -> None:
    from django.contrib.postgres.constraints import ExclusionConstraint

    constraint = ExclusionConstraint(name="apart", expressions=[("total", "=")])
    assert stages(models.IntegerField, models.BigIntegerField, constraints=[constraint]) == [
        ["AlterField"]
    ]


def test_the_line_that_gives_new_code_a_column_of_its_own_is_printed_and_works(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("django_safemigrations", "shop")
    project.begin()
    retyped = ORDER.replace(
        "total = models.IntegerField(null=True)", "total = models.TextField(null=True)"
    )
    project.models("shop", retyped)
    said = " ".join(project.run("makemigrations", "shop", "--dry-run").split())
    assert "DSM525" in said
    line = 'db_column="total_text"'
    assert f"add {line} to shop.Order.total in the model" in said
    project.models("shop", retyped.replace("(null=True)", f"(null=True, {line})", 1))
    said = project.run("makemigrations", "shop")
    assert "DSM525" not in said
    project.run("makemigrations", "--check")
    assert "'total': 'total_text'" in project.text(project.names()[1])
