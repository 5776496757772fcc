"""Which stages constraints become, in which phase and order, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterUniqueTogether,
    CreateModel,
    RemoveConstraint,
    RenameField,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, Deferrable, Q, UniqueConstraint
from django.db.models.constraints import BaseConstraint

from django_safemigrations.conf import Settings
from django_safemigrations.rewrites import Chain, Plain, rewrite
from tests.kit import chain as chains
from tests.kit.case import Case, define
from tests.kit.prepared import Prepared, prepare


def steps(operations: list[Operation], **options: Any) -> list[Any]:
    """Return what becomes of operations on Order, which may hold rows."""
    state = ProjectState()
    CreateModel(
        "Order",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("number", models.IntegerField()),
            ("code", models.CharField(max_length=9)),
            ("slug", models.SlugField(unique=True)),
        ],
        options,
    ).state_forwards("shop", state)
    return list(rewrite("shop", operations, state, Settings(), set()))


def told(found: list[Any]) -> list[str]:
    """Return stages and plain operations in words, with the phase of stages."""
    lines: list[str] = []
    for step in found:
        if isinstance(step, Plain):
            lines.append(f"plain: {step.operation.describe()}")
            continue
        for phase, containers in (("expand", step.expand), ("contract", step.contract)):
            for container in containers:
                for stage in container.database_operations:
                    args = [v for k, v in stage.deconstruct()[2].items() if k != "model_name"]
                    text = " ".join(map(str, args)) if args else " ".join(_args(stage))
                    lines.append(f"{phase}: {type(stage).__name__} {text}".strip())
    return lines


def _args(stage: Any) -> Iterator[str]:
    for value in stage._constructor_args[0][1:]:
        yield str(value)


def unique(*fields: str, name: str = "u", **more: Any) -> UniqueConstraint:
    return UniqueConstraint(fields=fields, name=name, **more)


def check(name: str = "c", condition: Q | None = None) -> CheckConstraint:
    return CheckConstraint(condition=condition or Q(number__gt=0), name=name)


def exclude(name: str = "e") -> ExclusionConstraint:
    return ExclusionConstraint(name=name, expressions=[("number", "=")])


def add(constraint: BaseConstraint) -> AddConstraint:
    return AddConstraint("order", constraint)


def remove(name: str) -> RemoveConstraint:
    return RemoveConstraint("order", name)


def together(*sets: tuple[str, ...]) -> AlterUniqueTogether:
    return AlterUniqueTogether("order", set(sets))


def alter(name: str, field: models.Field[Any, Any]) -> AlterField:
    return AlterField("order", name, field)


CODE = models.CharField(max_length=9, unique=True)
SLUG = models.SlugField(db_index=False)
PARTIAL: dict[str, Any] = {"condition": Q(number__gt=0)}
AB = ("number", "code")

CHANGES: dict[str, tuple[list[Operation], dict[str, Any], list[str]]] = {
    "a unique constraint": ([add(unique("code"))], {}, ["expand: AddUniqueConstraint u"]),
    "a deferrable one waits for old code to go": (
        [add(unique("code", deferrable=Deferrable.DEFERRED))],
        {},
        ["contract: AddUniqueConstraint u"],
    ),
    "a check": ([add(check())], {}, ["contract: AddCheckNotValid c", "contract: ValidateCheck c"]),
    "a check on a field of the same run": (
        [
            AddField("order", "rank", models.IntegerField(null=True)),
            add(check(condition=Q(rank__gt=0))),
        ],
        {},
        ["plain: Add field rank to order", "expand: AddCheckNotValid c", "expand: ValidateCheck c"],
    ),
    "a check on a field of the same run and another": (
        [
            AddField("order", "rank", models.IntegerField(null=True)),
            add(check(condition=Q(rank__gt=models.F("number")))),
        ],
        {},
        [
            "plain: Add field rank to order",
            "contract: AddCheckNotValid c",
            "contract: ValidateCheck c",
        ],
    ),
    "a check that goes": (
        [remove("c")],
        {"constraints": [check()]},
        ["expand: DropConstraint c"],
    ),
    "a check that changes": (
        [remove("c"), add(check(condition=Q(number__gt=1)))],
        {"constraints": [check()]},
        ["expand: DropConstraint c", "contract: AddCheckNotValid c", "contract: ValidateCheck c"],
    ),
    "a check that gets another name": (
        [remove("c"), add(check("d"))],
        {"constraints": [check()]},
        ["expand: RenameConstraint c d"],
    ),
    "an exclusion constraint that gets another name": (
        [remove("e"), add(exclude("f"))],
        {"constraints": [exclude()]},
        ["expand: RenameConstraint e f"],
    ),
    "a unique constraint that gets another name": (
        [remove("u"), add(unique("code", name="v"))],
        {"constraints": [unique("code")]},
        ["expand: RenameConstraint u v"],
    ),
    "a unique constraint with another definition": (
        [remove("u"), add(unique("code", **PARTIAL))],
        {"constraints": [unique("code")]},
        ["expand: ReplaceUniqueConstraint u"],
    ),
    "a unique constraint with another name and definition": (
        [remove("u"), add(unique("code", name="v", **PARTIAL))],
        {"constraints": [unique("code")]},
        ["expand: AddUniqueConstraint v", "expand: DropConstraint u"],
    ),
    "a unique constraint that has nothing to do with the one that goes": (
        [remove("u"), add(unique("number", name="v"))],
        {"constraints": [unique("code")]},
        ["expand: DropConstraint u", "expand: AddUniqueConstraint v"],
    ),
    "unique_together that becomes a constraint": (
        [together(), add(unique(*AB))],
        {"unique_together": {AB}},
        ["expand: RenameConstraint ['number', 'code'] u"],
    ),
    "unique_together that becomes a constraint in another order": (
        [together(), add(unique(*reversed(AB)))],
        {"unique_together": {AB}},
        [
            "expand: AddUniqueConstraint u",
            "expand: DropUniqueTogether ['number', 'code']",
        ],
    ),
    "a set in place of another": (
        [together(("code", "slug"))],
        {"unique_together": {AB}},
        [
            "expand: AddUniqueTogether ['code', 'slug']",
            "expand: DropUniqueTogether ['number', 'code']",
        ],
    ),
    "a unique field": ([alter("code", CODE)], {}, ["expand: AddFieldUnique code"]),
    "a field that was unique": ([alter("slug", SLUG)], {}, ["expand: DropFieldUnique slug"]),
    "a unique field that becomes a constraint": (
        [alter("slug", SLUG), add(unique("slug"))],
        {},
        ["expand: RenameConstraint ['slug'] u", "expand: AlterFieldIndexesConcurrently slug"],
    ),
    "a constraint that becomes a unique field": (
        [remove("u"), alter("code", CODE)],
        {"constraints": [unique("code")]},
        ["expand: RenameConstraint u ['code']", "expand: AlterFieldIndexesConcurrently code"],
    ),
    "a constraint that becomes a unique field of another type": (
        [remove("u"), alter("code", models.CharField(max_length=30, unique=True))],
        {"constraints": [unique("code")]},
        [
            "expand: DropConstraint u",
            "plain: Alter field code on order",
            "expand: AddFieldUnique code",
        ],
    ),
    "unique_together that waits for a field of the same run": (
        [
            together(),
            AddField("order", "rank", models.IntegerField(null=True)),
            add(unique(*AB, "rank")),
        ],
        {"unique_together": {AB}},
        [
            "plain: Add field rank to order",
            "expand: AddUniqueConstraint u",
            "expand: DropUniqueTogether ['number', 'code']",
        ],
    ),
    "unique_together that waits for the set that takes its place": (
        [
            together(),
            AddField("order", "rank", models.IntegerField(null=True)),
            together((*AB, "rank")),
        ],
        {"unique_together": {AB}},
        [
            "plain: Add field rank to order",
            "expand: AddUniqueTogether ['number', 'code', 'rank']",
            "expand: DropUniqueTogether ['number', 'code']",
        ],
    ),
    "two constraints that change their names": (
        [remove("u"), remove("v"), add(unique("number")), add(unique("code", name="v"))],
        {"constraints": [unique("code"), unique("number", name="v")]},
        [
            "expand: DropConstraint u",
            "expand: RenameConstraint v u",
            "expand: AddUniqueConstraint v",
        ],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_becomes_stages_in_their_phases(what: str) -> None:
    operations, options, expected = CHANGES[what]
    assert told(steps(operations, **options)) == expected


def test_only_messages_that_differ_are_no_work_in_the_database() -> None:
    [step] = steps(
        [remove("u"), add(unique("code", violation_error_message="no"))],
        constraints=[unique("code")],
    )
    assert isinstance(step, Plain)
    assert isinstance(step.operation, SeparateDatabaseAndState)
    assert step.operation.database_operations == []


def note(operations: list[Operation], **options: Any) -> str:
    return " ".join(step.note for step in steps(operations, **options))


@pytest.mark.parametrize(
    ("operations", "options", "lost"),
    [
        ([remove("u")], {"constraints": [unique("code")]}, "(code)"),
        ([remove("u")], {"constraints": [unique("code", **PARTIAL)]}, ""),
        (
            [remove("u")],
            {"constraints": [unique("code"), unique("code", name="v", include=["id"])]},
            "",
        ),
        ([together(), add(unique(*AB))], {"unique_together": {AB}}, ""),
        ([together(), add(unique(*AB, **PARTIAL))], {"unique_together": {AB}}, "(number, code)"),
        ([together(tuple(reversed(AB)))], {"unique_together": {AB}}, ""),
        ([alter("slug", SLUG)], {}, "(slug)"),
        ([alter("slug", SLUG), together(("slug",))], {}, ""),
    ],
)
def test_upserts_of_old_code_that_fail_are_reported(
    operations: list[Operation], options: dict[str, Any], lost: str
) -> None:
    text = note(operations, **options)
    assert ("DSM515" in text) == bool(lost), text
    assert lost in text


def test_what_postgresql_cannot_build_online_is_reported() -> None:
    [step] = steps([add(exclude())])
    assert isinstance(step, Plain)
    assert "DSM516" in step.note
    assert "e of shop.Order" in step.note


def test_a_constraint_of_somebody_else_is_left_alone_and_reported() -> None:
    class Special(UniqueConstraint):
        def create_sql(self, model: Any, schema_editor: Any) -> Any:
            raise NotImplementedError

    [step] = steps([add(Special(fields=["code"], name="s"))])
    assert isinstance(step, Plain)
    assert "Special" in step.note


def test_a_deferrable_constraint_in_place_of_another_is_reported() -> None:
    text = note(
        [remove("u"), add(unique("code", deferrable=Deferrable.DEFERRED))],
        constraints=[unique("code")],
    )
    assert "DSM515" in text
    assert "DSM517" in text


def test_a_rule_over_a_renamed_field_goes_before_the_rename() -> None:
    found = steps(
        [
            remove("u"),
            RenameField("order", "code", "mark"),
            add(unique("mark", "number")),
        ],
        constraints=[unique("code")],
    )
    first, *_, last = found
    assert isinstance(first, Chain)
    assert isinstance(last, Chain)
    assert told([first]) == ["expand: DropConstraint u"]
    assert told([last]) == ["expand: AddUniqueConstraint u"]


def model(meta: dict[str, Any], name: str = "code", **more: Any) -> None:
    define(
        "Order",
        meta=meta,
        number=models.IntegerField(),
        **{name: models.CharField(max_length=30)},
        **more,
    )


def case(old: Callable[[], None], new: Callable[[], None], **more: Any) -> Case:
    return Case("constraints of one run", old, new, **more)


TOGETHER: dict[str, Case] = {
    "names that change hands": case(
        lambda: model({"constraints": [unique("code"), unique("number", name="v")]}),
        lambda: model({"constraints": [unique("number"), unique("code", name="v")]}),
    ),
    "a rename and another constraint over the field": case(
        lambda: model({"constraints": [unique("code")]}),
        lambda: model({"constraints": [unique("mark", "number")]}, "mark"),
        renames={"order.code": "mark"},
    ),
    "a rename, a check on it and unique_together": case(
        lambda: model({"unique_together": [("code", "number")]}),
        lambda: model(
            {
                "unique_together": [("mark", "number")],
                "constraints": [check(condition=~Q(mark=""))],
            },
            "mark",
        ),
        renames={"order.code": "mark"},
    ),
    "a field, a check and a unique constraint over it, and a set that goes": case(
        lambda: model({"unique_together": [("code", "number")]}),
        lambda: model(
            {"constraints": [unique("code", "rank"), check(condition=Q(rank__gte=0))]},
            rank=models.PositiveIntegerField(default=3),
        ),
    ),
    "all kinds at once, a chain for each phase": case(
        lambda: model({"unique_together": [("code", "number")], "constraints": [check()]}),
        lambda: model(
            {
                "constraints": [
                    unique("code", "number", **PARTIAL),
                    check(condition=Q(number__gt=-1)),
                    check("d", Q(number__lt=10**9)),
                ]
            }
        ),
        settings={"GROUPING": "phase"},
    ),
}


class TestTogether:
    @pytest.fixture(params=TOGETHER)
    def prepared(self, request: pytest.FixtureRequest) -> Iterator[Prepared]:
        with prepare(TOGETHER[request.param]) as found:
            yield found

    def test_the_end_is_django_s_and_so_is_the_way_back(self, prepared: Prepared) -> None:
        with prepared.database():
            prepared.run()
            lines = prepared.content().differences(prepared.after)
            assert lines == [], prepared.explain(lines)
            prepared.reverse()
            lines = prepared.content().differences(prepared.back)
            assert lines == [], prepared.explain(lines)
        with prepared.chain.installed():
            assert prepared.chain.detect("new", chains.installed_autodetector()) == {}
