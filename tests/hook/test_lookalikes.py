"""A rename that Django takes for a removal and an addition is warned about before data is lost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector

from tests.kit import chain as chains
from tests.kit.case import LABEL, Case, define
from tests.kit.chain import make_chain


def notes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what makemigrations tells the developer of a change of Order's fields."""
    case = Case(
        "lookalikes",
        lambda: define("Order", number=models.IntegerField(), **old) and None,
        lambda: define("Order", number=models.IntegerField(), **new) and None,
    )
    chain = chains.empty_chain(case)
    with chain.installed():
        chain.initial = chain.write("old", MigrationAutodetector)
        found = chain.detect("new", chains.installed_autodetector())
    return [note for migration in found[LABEL] for note in getattr(migration, "notes", [])]


LOOKALIKES = {
    "a longer text": (models.CharField(max_length=10), models.CharField(max_length=20, null=True)),
    "a text of another kind": (models.CharField(max_length=10), models.TextField(null=True)),
    "a wider number": (models.IntegerField(), models.BigIntegerField(null=True)),
    "a date that gets a time": (models.DateField(), models.DateTimeField(null=True)),
    "a rename answered with no": (models.IntegerField(null=True), models.IntegerField(null=True)),
}


@pytest.mark.parametrize("kind", LOOKALIKES)
def test_a_rename_with_another_change_is_warned_about(kind: str) -> None:
    old, new = LOOKALIKES[kind]
    [note] = [note for note in notes({"total": old}, {"amount": new}) if "DSM305" in note]
    assert "caseapp.Order.total is removed and caseapp.Order.amount" in note


@pytest.mark.parametrize("new", [models.UUIDField(null=True), models.BooleanField(null=True)])
def test_a_field_of_another_kind_is_no_rename(new: models.Field[Any, Any]) -> None:
    assert not any("DSM305" in note for note in notes({"total": models.DateField()}, {"on": new}))


def test_of_several_new_fields_the_one_with_the_nearest_name_is_named() -> None:
    found = notes(
        {"total": models.IntegerField()},
        {"weight": models.BigIntegerField(null=True), "totals": models.BigIntegerField(null=True)},
    )
    assert any("caseapp.Order.totals, which looks like it" in note for note in found)


def test_the_file_that_drops_the_column_says_it_too() -> None:
    case = Case(
        "lookalikes",
        lambda: define("Order", total=models.IntegerField(null=True)) and None,
        lambda: define("Order", amount=models.BigIntegerField(null=True)) and None,
    )
    chain = make_chain(case)
    dropping = [m for m in map(chain.migration, chain.change) if "DSM305" in (m.__doc__ or "")]
    assert len(dropping) == 1
