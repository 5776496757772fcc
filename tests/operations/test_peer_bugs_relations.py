"""What other packages get wrong with foreign keys is right here.

Each of these was seen in a package that stages migrations: a wrong column, a wrong target,
a constraint nobody asked for, a constraint that was not found because its table's name has
capitals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models

from tests.kit import schema
from tests.kit.case import Case, define
from tests.kit.prepared import prepare


def cafe() -> Any:
    """Define a model whose primary key is a one-to-one, after one whose keys differ from its own."""
    place = define("Place", code=models.CharField(max_length=20))
    return define(
        "Cafe",
        place=models.OneToOneField(place, models.CASCADE, primary_key=True, db_column="at"),
        seats=models.IntegerField(),
    )


def order(key: Callable[[Any], Any] | None, table: str = "caseapp_order") -> None:
    target = cafe()
    more = {"served": key(target)} if key is not None else {}
    define("Order", meta={"db_table": table}, number=models.IntegerField(), **more)


def to(target: Any, **options: Any) -> Any:
    return models.ForeignKey(target, models.CASCADE, null=True, **options)


def foreign_keys() -> dict[str, str]:
    """Return the definitions of all foreign keys of `default`, by table and name."""
    return {
        name.removeprefix("constraint "): text
        for name, text in schema.fingerprint(connection).items()
        if name.startswith("constraint ") and "FOREIGN KEY" in text and "order" in name.lower()
    }


ADDED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "its own column": (lambda t: to(t, db_column="bb"), "(bb) REFERENCES caseapp_cafe(at)"),
    "a column in capitals": (
        lambda t: to(t, db_column="Served At"),
        '("Served At") REFERENCES caseapp_cafe(at)',
    ),
    "a primary key that is a one-to-one": (to, "(served_id) REFERENCES caseapp_cafe(at)"),
    "itself": (lambda t: to("self"), "(served_id) REFERENCES"),
    "itself, and its own column": (lambda t: to("self", db_column="bb"), "(bb) REFERENCES"),
}


@pytest.mark.parametrize("table", ["caseapp_order", "Mixed Order"])
@pytest.mark.parametrize("kind", ADDED)
def test_an_added_foreign_key_has_the_column_and_target_that_django_gives_it(
    kind: str, table: str
) -> None:
    key, wanted = ADDED[kind]
    case = Case("added", lambda: order(None, table), lambda: order(key, table))
    with prepare(case) as prepared, prepared.database():
        prepared.run()
        assert prepared.content().differences(prepared.after) == []
        [definition] = foreign_keys().values()
        assert wanted in definition
        prepared.reverse()
        assert prepared.content().differences(prepared.before) == []


@pytest.mark.parametrize("table", ["caseapp_order", "Mixed Order"])
def test_no_constraint_is_added_that_nobody_asked_for(table: str) -> None:
    case = Case(
        "unconstrained",
        lambda: order(None, table),
        lambda: order(lambda t: to(t, db_constraint=False), table),
    )
    with prepare(case) as prepared, prepared.database():
        prepared.run()
        assert foreign_keys() == {}
        assert prepared.content().differences(prepared.after) == []


@pytest.mark.parametrize("table", ["Mixed Order", 'crm"."Order', 'Mixed Schema"."Mixed Order'])
def test_a_constraint_is_found_in_a_table_of_any_name(table: str) -> None:
    case = Case(
        "found",
        lambda: order(to, table),
        lambda: order(lambda t: to(t, db_constraint=False), table),
    )
    with prepare(case) as prepared, prepared.database():
        assert len(foreign_keys()) == 1
        prepared.run()
        assert foreign_keys() == {}


@pytest.mark.parametrize("table", ["Mixed Order", 'crm"."Order'])
def test_removing_a_foreign_key_leaves_none_behind(table: str) -> None:
    case = Case("removed", lambda: order(to, table), lambda: order(None, table))
    with prepare(case) as prepared, prepared.database():
        prepared.run()
        assert foreign_keys() == {}
        assert prepared.content().differences(prepared.after) == []
