"""Which column serves the statements of two code generations, by what their calls really do.

`serves_both` is a table of pairs of types. Here each pair is tried out: code written for the
one type and code written for the other make every kind of ORM call, on a column of the old
type and on one of the new.
"""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.type_changes import Serves, serves_both
from tests.kit.case import Case, Generation, define
from tests.kit.databases import scratch_database
from tests.kit.probe import probe
from tests.kit.values import Values

Maker = Callable[[], Any]
Value = Callable[[int], Any]


class Citext(models.CharField):  # type: ignore[type-arg]
    """A text in which case does not matter."""

    def db_type(self, connection: Any) -> str:
        return "citext"


class Json(models.JSONField):
    """A column of PostgreSQL's other type for JSON."""

    def db_type(self, connection: Any) -> str:
        return "json"


@dataclass(frozen=True)
class Pair:
    """A change of type.

    Attributes:
        old: the field before.
        new: the field after.
        serves: which column both generations can use.
        old_values: what old code writes, if it is special.
        new_values: what new code writes, if it is special.
    """

    old: Maker
    new: Maker
    serves: Serves
    old_values: Value | None = None
    new_values: Value | None = None

    def __str__(self) -> str:
        old, new = (make().db_type(connection) for make in (self.old, self.new))
        return f"{old} to {new}"

    def case(self) -> Case:
        def model(make: Maker) -> None:
            define("Order", number=models.IntegerField(), total=make())

        return Case(
            f"pair {self}",
            lambda: model(self.old),
            lambda: model(self.new),
            values={"total": self.old_values} if self.old_values else {},
            new_values={"total": self.new_values} if self.new_values else {},
        )


def char(length: int) -> Maker:
    return lambda: models.CharField(max_length=length)


def number(digits: int, places: int) -> Maker:
    return lambda: models.DecimalField(max_digits=digits, decimal_places=places)


def array(make: Maker, size: int | None = None) -> Maker:
    return lambda: ArrayField(make(), size=size)


small, integer, big = models.SmallIntegerField, models.IntegerField, models.BigIntegerField
text, json, moment = models.TextField, models.JSONField, models.DateTimeField


def cents(n: int) -> decimal.Decimal:
    return decimal.Decimal(n % 10_000) / 100


PAIRS = [
    # Widenings
    Pair(small, integer, Serves.NEW, new_values=lambda n: n % 30_000),
    Pair(small, big, Serves.NEW, new_values=lambda n: n % 30_000),
    Pair(integer, big, Serves.NEW),
    Pair(char(20), char(30), Serves.NEW),
    Pair(char(20), text, Serves.NEW),
    Pair(number(8, 2), number(10, 2), Serves.NEW, cents, cents),
    Pair(number(8, 2), number(12, 4), Serves.NEW, cents, cents),
    Pair(array(char(20)), array(char(30)), Serves.NEW),
    Pair(array(integer, 3), array(integer), Serves.NEW),
    Pair(Json, json, Serves.NEW),
    Pair(Citext, text, Serves.NEW),
    # Narrowings
    Pair(integer, small, Serves.OLD, lambda n: n % 30_000),
    Pair(big, integer, Serves.OLD),
    Pair(char(30), char(20), Serves.OLD, lambda n: str(n)),
    Pair(text, char(20), Serves.OLD, lambda n: str(n)),
    Pair(number(10, 2), number(8, 2), Serves.OLD, cents, cents),
    Pair(number(12, 4), number(8, 2), Serves.OLD, cents, cents),
    Pair(text, Citext, Serves.OLD),
    Pair(json, Json, Serves.OLD),
    # Neither
    Pair(
        number(8, 2),
        number(8, 4),
        Serves.NEITHER,
        lambda n: decimal.Decimal(n % 999_999),
        lambda n: cents(n) / 100,
    ),
    Pair(integer, number(12, 2), Serves.NEITHER),
    Pair(number(12, 2), integer, Serves.NEITHER),
    Pair(integer, models.FloatField, Serves.NEITHER),
    Pair(models.FloatField, number(12, 2), Serves.NEITHER),
    Pair(models.FloatField, integer, Serves.NEITHER),
    Pair(integer, text, Serves.NEITHER),
    Pair(text, integer, Serves.NEITHER, lambda n: str(n)),
    Pair(models.BooleanField, integer, Serves.NEITHER, new_values=lambda n: n % 2),
    Pair(integer, models.BooleanField, Serves.NEITHER, lambda n: n % 2),
    Pair(text, json, Serves.NEITHER, lambda n: f'{{"n": {n}}}'),
    Pair(json, text, Serves.NEITHER, new_values=lambda n: f'{{"n": {n}}}'),
    Pair(models.UUIDField, text, Serves.NEITHER, new_values=lambda n: str(uuid.UUID(int=n))),
    Pair(text, models.UUIDField, Serves.NEITHER, lambda n: str(uuid.UUID(int=n))),
    Pair(models.DateField, moment, Serves.NEITHER),
    Pair(moment, models.DateField, Serves.NEITHER),
    Pair(
        models.GenericIPAddressField, text, Serves.NEITHER, new_values=lambda n: f"10.0.0.{n % 250}"
    ),
    Pair(text, models.GenericIPAddressField, Serves.NEITHER, lambda n: f"10.0.0.{n % 250}"),
    Pair(array(integer), array(big), Serves.NEITHER),
    Pair(array(char(20)), array(text), Serves.NEITHER),
    Pair(models.BinaryField, text, Serves.NEITHER),
    Pair(models.TimeField, text, Serves.NEITHER, new_values=lambda n: "10:00:00"),
]


@pytest.fixture(scope="module")
def database(database_access: None) -> Iterator[BaseDatabaseWrapper]:
    with scratch_database() as found:
        with found.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS citext")
        yield found


def failures(case: Case, column: Generation) -> list[str]:
    """Return what fails when both generations use the column of one of them."""
    model = case.model(column, "order")
    with connection.schema_editor() as editor:
        editor.create_model(model)
    try:
        found = probe(case, "old", "new")
        for generation in ("old", "new"):
            found += kinds(case, generation, model)
        return found
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


def kinds(case: Case, generation: Generation, owner: type[models.Model]) -> list[str]:
    """Return whether code reads another kind of value from a column than it was written for."""
    model: Any = case.model(generation, "order")
    values = Values(case.values_of(generation), nulls=False, using="default")
    row = values.row(model, 7)
    try:
        written = model._base_manager.create(**row)
        read = model._base_manager.get(pk=written.pk).total
    except Exception as error:  # noqa: BLE001 - whatever it is, code fails
        return [str(error)]
    mine, wanted = type(read), type(row["total"])
    return [] if mine is wanted else [f"{generation} reads {mine}, not {wanted}"]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_table_of_pairs_is_what_both_generations_can_do(
    pair: Pair, database: BaseDatabaseWrapper
) -> None:
    old, new = (make().db_type(connection) for make in (pair.old, pair.new))
    assert serves_both(old, new) is pair.serves
    case = pair.case()
    on_old, on_new = failures(case, "old"), failures(case, "new")
    if pair.serves is Serves.NEITHER:
        assert on_old and on_new, (on_old, on_new)
    else:
        assert (on_new if pair.serves is Serves.NEW else on_old) == []
