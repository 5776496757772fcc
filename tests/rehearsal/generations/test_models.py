"""Models of every kind of field and shape are really tried, and not only left out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.postgres import fields as postgres
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now, Upper

from django_safemigrations.rehearsal.generations import Generations
from django_safemigrations.rehearsal.results import BoundaryCheck, StepKey
from tests.kit.case import Case, define
from tests.kit.databases import scratch_database
from tests.kit.prepared import base_template
from tests.kit.seed import seed

pytestmark = pytest.mark.postgres_versions

AFTER = StepKey("caseapp", "0002_change", "0", "expand", "something")


class Shouted(models.CharField):  # type: ignore[type-arg]
    """A field of a project's own that does not give back what it got."""

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value if value is None else value.upper()


class Odd(models.Field):  # type: ignore[type-arg]
    """A field of a project's own of which nothing is known but its column."""

    def db_type(self, connection: Any) -> str:
        return "point"


def everything() -> None:
    define(
        "Everything",
        meta={"db_table": '"crm"."every thing"'},
        key=models.UUIDField(primary_key=True, default=uuid.uuid4),
        flag=models.BooleanField(),
        small=models.SmallIntegerField(),
        positive=models.PositiveIntegerField(),
        big=models.BigIntegerField(null=True),
        price=models.DecimalField(max_digits=8, decimal_places=3),
        ratio=models.FloatField(),
        mail=models.EmailField(unique=True),
        page=models.URLField(),
        slug=models.SlugField(max_length=8),
        one=models.CharField(max_length=1),
        text=models.TextField(blank=True),
        at=models.DateTimeField(),
        made=models.DateTimeField(auto_now_add=True),
        changed=models.DateTimeField(auto_now=True),
        day=models.DateField(),
        hour=models.TimeField(),
        span=models.DurationField(),
        document=models.JSONField(),
        data=models.BinaryField(),
        address=models.GenericIPAddressField(),
        file=models.FileField(),
        picture=models.ImageField(width_field="small"),
        numbers=postgres.ArrayField(models.IntegerField()),
        names=postgres.ArrayField(postgres.ArrayField(models.CharField(max_length=5)), null=True),
        pairs=postgres.HStoreField(),
        period=postgres.DateTimeRangeField(),
        counts=postgres.IntegerRangeField(null=True),
        state=models.CharField(max_length=3, choices=[("a", "A"), ("b", "B")]),
        since=models.DateTimeField(db_default=Now()),
        loud=models.GeneratedField(
            expression=Upper("text"), output_field=models.TextField(), db_persist=True
        ),
    )


def shapes() -> None:
    place = define("Place", name=models.CharField(max_length=20))
    define("Bar", place, seats=models.IntegerField())
    define("Owner", place=models.OneToOneField(place, models.CASCADE), parent=models.ForeignKey(
        "self", models.CASCADE, null=True))  # fmt: skip
    define(
        "Visit",
        pk=models.CompositePrimaryKey("place_id", "number"),
        place=models.ForeignKey(place, models.PROTECT),
        number=models.IntegerField(),
        note=models.TextField(null=True),
    )
    define(
        "Booking",
        meta={
            "constraints": [
                models.CheckConstraint(condition=models.Q(start__lt=models.F("end")), name="order"),
                models.UniqueConstraint(Upper("code"), name="loud"),
                models.UniqueConstraint(fields=["place", "start"], name="one"),
                ExclusionConstraint(
                    name="alone",
                    expressions=[("room", RangeOperators.EQUAL)],
                    condition=models.Q(cancelled=False),
                ),
            ]
        },
        place=models.ForeignKey(place, models.CASCADE),
        start=models.IntegerField(),
        end=models.IntegerField(),
        code=models.CharField(max_length=20),
        room=models.CharField(max_length=30),
        cancelled=models.BooleanField(default=False),
        guests=models.ManyToManyField("Owner", through="Guest"),
        friends=models.ManyToManyField("self"),
    )
    define(
        "Guest",
        booking=models.ForeignKey("Booking", models.CASCADE),
        owner=models.ForeignKey("Owner", models.CASCADE),
        rank=models.IntegerField(),
    )


def custom() -> None:
    define("Sign", shouted=Shouted(max_length=20), point=Odd(null=True), text=models.TextField())


def touching(case: Case) -> Generations:
    """Return both generations of a case that changes nothing, as if a plan touched all of it."""
    state = ProjectState()
    for model in case.apps("old").get_models():
        state.add_model(migrations.state.ModelState.from_model(model))
    plan = migrations.Migration("0002_change", "caseapp")
    vars(plan)["operations"] = [
        migrations.AlterModelOptions(model._meta.model_name or "", {}) for model in case.models("old")
    ]  # fmt: skip
    return Generations(state, state.clone(), [plan], seconds=60)


@contextmanager
def tables(define_them: Callable[[], None], **more: Any) -> Iterator[Case]:
    case = Case("models", define_them, define_them, **more)
    with scratch_database(base_template()):
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")
            cursor.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
        with connection.schema_editor() as editor:
            for model in case.models("old"):
                editor.create_model(model)
        yield case


def both(case: Case) -> tuple[BoundaryCheck, BoundaryCheck]:
    generations = touching(case)
    first = generations.check(None, ("old",), "default")
    return first, generations.check(AFTER, ("new",), "default")


def test_every_type_of_field_is_written_and_read() -> None:
    with tables(everything) as case:
        first, second = both(case)
    assert first.not_tried == ()
    assert first.calls > 200
    assert second.failures == ()
    assert second.not_tried == ()
    assert second.calls > 200


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [0, 6])
def test_keys_relations_and_constraints_of_every_shape_are_tried(rows: int) -> None:
    values = {"end": lambda n: n + 10, "cancelled": lambda n: False}
    with tables(shapes, rows=rows, values=values, many_to_many=True) as case:
        seed(case)
        first, second = both(case)
    assert second.failures == ()
    assert second.calls > 200
    assert not any("no row can be made" in line for line in first.not_tried), first.not_tried
    # Only what a made-up value can't know: that start is before end, and whom PROTECT protects.
    assert all("SQLSTATE 23" in line or "Protected" in line for line in first.not_tried)


def test_fields_of_a_projects_own_are_no_false_alarm() -> None:
    with tables(custom) as case:
        _, second = both(case)
    assert second.failures == ()
    assert second.calls > 50
