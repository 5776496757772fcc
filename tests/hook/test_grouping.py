"""GROUPING: one chain of files for each change, or one for each phase."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import AddField, Migration
from django.db.models import Index

from django_safemigrations.phases import Phase, migration_phase
from tests.kit.case import Case, define
from tests.kit.chain import Chain, make_chain


def order(new: bool, *, extra: bool = False) -> None:
    """An index, a NOT NULL and a rename; `extra`: and a plain addition among them."""
    name = "amount" if new else "total"
    added: dict[str, Any] = {"extra": models.IntegerField(null=True)} if new and extra else {}
    define(
        "Order",
        meta={"indexes": [Index(fields=["placed"], name="order_placed")] if new else []},
        placed=models.DateTimeField(),
        code=models.CharField(max_length=20, null=not new),
        **{name: models.IntegerField()},
        **added,
    )


def chain(grouping: str, **options: bool) -> Chain:
    return make_chain(
        Case(
            "grouping",
            lambda: order(False, **options),
            lambda: order(True, **options),
            renames={"order.total": "amount"},
            default="none",
            settings={"GROUPING": grouping},
        )
    )


def files(grouping: str, **options: bool) -> list[Migration]:
    found = chain(grouping, **options)
    return [found.migration(name) for name in found.change]


def phases(migrations: list[Migration]) -> list[Phase]:
    return [migration_phase(migration) for migration in migrations]


def operations(migrations: list[Migration]) -> list[Any]:
    return [operation.deconstruct() for m in migrations for operation in m.operations]


def test_each_change_has_its_own_files_unless_told_otherwise() -> None:
    assert phases(files("change")) == [Phase.EXPAND] * 3 + [Phase.CONTRACT] * 2


def test_one_file_holds_all_changes_of_a_phase() -> None:
    grouped = files("phase")
    assert phases(grouped) == [Phase.EXPAND, Phase.CONTRACT]
    assert all(not migration.atomic for migration in grouped)


def test_the_same_operations_run_in_the_same_order_either_way() -> None:
    assert repr(operations(files("phase"))) == repr(operations(files("change")))


def test_the_file_says_each_change_it_is_for() -> None:
    for migration in files("phase"):
        text = " ".join((migration.__doc__ or "").split())
        assert "rename caseapp.order: total to amount" in text
        assert "NOT NULL on caseapp.order.code" in text


def test_what_is_not_staged_stays_in_a_transaction_of_its_own() -> None:
    grouped = files("phase", extra=True)
    plain = [m for m in grouped if any(type(op) is AddField for op in m.operations)]
    assert len(plain) == 1
    assert plain[0].atomic
    assert len(plain[0].operations) == 1
    assert phases(grouped) == sorted(phases(grouped), key=[Phase.EXPAND, Phase.CONTRACT].index)


def test_contract_files_bear_their_phase_in_the_name() -> None:
    names = chain("phase").change
    assert names[-1].endswith("_contract")
    assert len(set(names)) == len(names)


def test_a_name_that_would_be_too_long_says_so() -> None:
    assert chain("phase").change[0].endswith("_and_more")
