"""What is staged ends at the models that Django's own migrations end at, or nothing is written."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.db import models
from django.db.migrations import AddIndex
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.models import Index

from django_safemigrations.rewrites import rules
from django_safemigrations.rewrites.chain import Chain, Step
from django_safemigrations.rewrites.context import Context
from tests.kit import chain as chains
from tests.kit.case import Case, define


def changed(new: bool) -> None:
    define(
        "Order",
        meta={"indexes": [Index(fields=["number"], name="order_number")] if new else []},
        number=models.IntegerField(null=new),
    )


CASE = Case("endings", lambda: changed(False), lambda: changed(True))


def forgets(operation: Operation, context: Context) -> list[Step]:
    return [Chain(title="nothing", name="nothing")]


def test_a_rule_that_forgets_a_change_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rules.RULES, AddIndex, forgets)
    chain = chains.empty_chain(CASE)
    with chain.installed():
        chain.initial = chain.write("old", MigrationAutodetector)
        with pytest.raises(CommandError, match=r"caseapp\.order can't be staged in one run"):
            chain.write("new", chains.installed_autodetector())
    assert sorted(path.stem for path in chain.path.glob("0*.py")) == chain.initial


def test_the_field_of_an_operation_is_not_changed_by_a_later_rename() -> None:
    def models_of(new: bool) -> None:
        name = "slug" if new else "code"
        customer = define("Customer", **{name: models.CharField(max_length=9, unique=True)})
        more = (
            {"payer": models.ForeignKey(customer, models.CASCADE, to_field=name, null=True)}
            if new
            else {}
        )
        define("Order", number=models.IntegerField(), **more)

    case = Case(
        "endings",
        lambda: models_of(False),
        lambda: models_of(True),
        renames={"customer.code": "slug"},
    )
    chain = chains.make_chain(case)
    with chain.installed():
        state = chain.loader().project_state()
        assert state.models["caseapp", "order"].fields["payer"].remote_field.field_name == "slug"
        assert chain.detect("new", chains.installed_autodetector()) == {}
