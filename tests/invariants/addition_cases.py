"""Fields that are added: with and without a default, and with all that they may bring along."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Index
from django.db.models.fields import NOT_PROVIDED
from django.db.models.functions import Now, Random
from django.utils import timezone

from tests.invariants.index_cases import LONG, MIXED, QUALIFIED, QUALIFIED_MIXED
from tests.kit.case import Case, define

Maker: TypeAlias = "Callable[..., models.Field[Any, Any]]"

BARE = "Add a nullable field"
CONSTANT = "Add a NOT NULL field with a constant default"
COMPUTED = "Add a NOT NULL field with a callable default"
DATABASE = "Add a field with a `db_default`"
VOLATILE = "Add a field with a volatile default"
UNIQUE = "Add a unique field"
CHECKED = "Add a field whose type has a CHECK"
INDEXED = "Add a field with `db_index=True`"

_codes = itertools.count(1)


def next_code() -> str:
    """Return a value that PostgreSQL has no function for, another one each time."""
    return f"code {next(_codes)}"


def usual_code() -> str:
    """Return the same value each time, which nobody but Python knows."""
    return "usual"


def two_tags() -> list[int]:
    """Return a list, as the default of an array has to."""
    return [1, 2]


def added(
    name: str,
    field: Maker,
    default: Any = NOT_PROVIDED,
    *,
    change: str,
    plain: tuple[str, ...] = (),
    table: str | None = None,
    repeatable: bool = True,
    meta: dict[str, Any] | None = None,
    new_meta: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """Return a case in which Order gets the field `value`.

    Args:
        name: of the case.
        field: makes the field.
        default: the developer's one-off default.
        change: the row of the support matrix.
        plain: codes that plain Django's migration is reported under.
        table: the model's db_table.
        repeatable: whether the filled values are the same in two runs.
        meta: more options of the model.
        new_meta: and those that come with the field.
        more: as in Case.
    """
    options = {**({"db_table": table} if table else {}), **(meta or {})}
    bare = (table or "caseapp_order").replace('"', "").split(".")[-1]

    def old() -> None:
        define("Order", meta=options, number=models.IntegerField())

    def new() -> None:
        meta = {**options, **(new_meta or {})}
        define("Order", meta=meta, number=models.IntegerField(), value=field())

    return Case(
        f"add: {name}",
        old,
        new,
        default=default,
        change=change,
        plain_hazards=plain,
        not_repeatable=() if repeatable else (f"{bare}.value",),
        **more,
    )


class Size(models.TextChoices):
    SMALL = "s"
    LARGE = "l"


def char(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(max_length=20, **options)


FIELD_CASES = [
    added("nullable", lambda: models.IntegerField(null=True), change=BARE),
    added(
        "nullable, with a comment and a collation",
        lambda: char(null=True, db_comment='it\'s "this"', db_collation="C"),
        change=BARE,
        extra=True,
    ),
    added(
        "constant default",
        lambda: models.IntegerField(default=7),
        change=CONSTANT,
        plain=("DSM501",),
    ),
    added("answered 0", models.IntegerField, 0, change=CONSTANT, plain=("DSM501",)),
    added(
        "constant default, nullable",
        lambda: models.IntegerField(null=True, default=7),
        change=BARE,
        extra=True,
    ),
    added(
        "char with quotes and percent, with a comment and a collation",
        lambda: char(default='it\'s 100% \\ "x"', db_comment="it's five", db_collation="C"),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "required char that may be blank",
        lambda: char(blank=True),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "binary that may be blank",
        lambda: models.BinaryField(blank=True),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "boolean",
        lambda: models.BooleanField(default=False),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "choices",
        lambda: char(choices=Size.choices, default=Size.LARGE),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "decimal",
        lambda: models.DecimalField(
            max_digits=8, decimal_places=2, default=decimal.Decimal("-1.5")
        ),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "date and time, answered with a constant",
        models.DateTimeField,
        dt.datetime(2020, 2, 29, 12, tzinfo=dt.UTC),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "interval",
        lambda: models.DurationField(default=dt.timedelta(days=1, seconds=5)),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "constant uuid",
        lambda: models.UUIDField(default=uuid.UUID(int=7)),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "json, default dict",
        lambda: models.JSONField(default=dict),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "json, answered with a dict",
        models.JSONField,
        {"a": [1, None, "it's %"]},
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "array, default list",
        lambda: ArrayField(models.IntegerField(), default=list),
        change=CONSTANT,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "array, default of a function",
        lambda: ArrayField(models.IntegerField(), default=two_tags),
        change=COMPUTED,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "auto_now_add",
        lambda: models.DateTimeField(auto_now_add=True),
        timezone.now,
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
    ),
    added(
        "auto_now",
        lambda: models.DateTimeField(auto_now=True),
        timezone.now,
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
        extra=True,
    ),
    added(
        "date, auto_now_add",
        lambda: models.DateField(auto_now_add=True),
        timezone.now,
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
        extra=True,
    ),
    added(
        "time, auto_now",
        lambda: models.TimeField(auto_now=True),
        timezone.now,
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
        extra=True,
    ),
    added(
        "default timezone.now",
        lambda: models.DateTimeField(default=timezone.now),
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
        extra=True,
    ),
    added(
        "function that PostgreSQL does not have",
        lambda: char(default=next_code),
        change=COMPUTED,
        plain=("DSM501",),
        repeatable=False,
    ),
    added(
        "function that always gives the same",
        lambda: char(default=usual_code),
        change=COMPUTED,
        plain=("DSM501",),
        extra=True,
    ),
    added(
        "function that PostgreSQL does not have, nullable",
        lambda: char(default=usual_code, null=True),
        change=COMPUTED,
        extra=True,
    ),
    added(
        "db_default",
        lambda: models.IntegerField(db_default=9),
        change=DATABASE,
    ),
    added(
        "db_default now",
        lambda: models.DateTimeField(db_default=Now()),
        change=DATABASE,
        repeatable=False,
        extra=True,
    ),
    added(
        "db_default and default",
        lambda: models.IntegerField(db_default=9, default=8),
        change=DATABASE,
        extra=True,
    ),
    added(
        "volatile db_default",
        lambda: models.FloatField(db_default=Random()),
        change=VOLATILE,
        plain=("DSM510",),
        repeatable=False,
    ),
    added(
        "volatile db_default, nullable",
        lambda: models.UUIDField(db_default=RandomUUID(), null=True),
        change=VOLATILE,
        plain=("DSM510",),
        repeatable=False,
        nulls=False,
        extra=True,
    ),
    added(
        "uuid4",
        lambda: models.UUIDField(default=uuid.uuid4),
        change=VOLATILE,
        plain=("DSM501",),
        repeatable=False,
    ),
    added(
        "uuid4, nullable",
        lambda: models.UUIDField(default=uuid.uuid4, null=True),
        change=VOLATILE,
        repeatable=False,
        extra=True,
    ),
]


BROUGHT_CASES = [
    added(
        "positive int, nullable",
        lambda: models.PositiveIntegerField(null=True),
        change=CHECKED,
        plain=("DSM502",),
    ),
    added(
        "positive int with a default",
        lambda: models.PositiveSmallIntegerField(default=3),
        change=CHECKED,
        plain=("DSM501", "DSM502"),
        extra=True,
    ),
    added(
        "positive int in a table of mixed case",
        lambda: models.PositiveIntegerField(default=3, db_column="The Value"),
        change=CHECKED,
        plain=("DSM501", "DSM502"),
        table=MIXED,
        extra=True,
    ),
    added(
        "positive int in a schema of mixed case",
        lambda: models.PositiveBigIntegerField(null=True),
        change=CHECKED,
        plain=("DSM502",),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    added(
        "positive int in a table of a long name",
        lambda: models.PositiveIntegerField(db_column="a_rather_long_name_of_a_column", null=True),
        change=CHECKED,
        plain=("DSM502",),
        table=LONG,
        extra=True,
    ),
    added(
        "indexed char, nullable",
        lambda: char(null=True, db_index=True),
        change=INDEXED,
        plain=("DSM502",),
    ),
    added(
        "indexed int with a default",
        lambda: models.IntegerField(default=1, db_index=True),
        change=INDEXED,
        plain=("DSM501", "DSM502"),
        extra=True,
    ),
    added(
        "indexed int, nullable with a default",
        lambda: models.IntegerField(default=1, null=True, db_index=True),
        change=INDEXED,
        plain=("DSM502",),
        extra=True,
    ),
    added(
        "indexed slug with a db_default",
        lambda: models.SlugField(db_default="none"),
        change=INDEXED,
        plain=("DSM502",),
        extra=True,
    ),
    added(
        "indexed char in a schema of mixed case",
        lambda: char(null=True, db_index=True),
        change=INDEXED,
        plain=("DSM502",),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    added(
        "unique char, nullable",
        lambda: char(null=True, unique=True),
        change=UNIQUE,
        plain=("DSM502",),
    ),
    added(
        "unique int in a schema of mixed case",
        lambda: models.IntegerField(null=True, unique=True, db_column="The Value"),
        change=UNIQUE,
        plain=("DSM502",),
        table=QUALIFIED_MIXED,
        extra=True,
    ),
    added(
        "unique int in a table of a long name",
        lambda: models.IntegerField(null=True, unique=True, db_column="a_rather_long_name_of_it"),
        change=UNIQUE,
        plain=("DSM502",),
        table=LONG,
        extra=True,
    ),
    added(
        "unique volatile db_default",
        lambda: models.UUIDField(db_default=RandomUUID(), unique=True),
        change=UNIQUE,
        plain=("DSM502", "DSM510"),
        repeatable=False,
        extra=True,
    ),
    added(
        "unique, one default for one row",
        lambda: char(unique=True),
        "only",
        change=UNIQUE,
        plain=("DSM501", "DSM502"),
        rows=1,
    ),
    added(
        "check, index, comment and collation at once",
        lambda: models.PositiveIntegerField(db_index=True, default=5, db_comment="it's"),
        change=CHECKED,
        plain=("DSM501", "DSM502"),
        extra=True,
    ),
    added(
        "table of mixed case",
        lambda: char(default="x", db_column="The Value"),
        change=CONSTANT,
        plain=("DSM501",),
        table=MIXED,
        extra=True,
    ),
    added(
        "schema of mixed case",
        lambda: models.UUIDField(default=uuid.uuid4),
        change=VOLATILE,
        plain=("DSM501",),
        table=QUALIFIED_MIXED,
        repeatable=False,
        extra=True,
    ),
    added(
        "table in a schema",
        lambda: char(default=usual_code),
        change=COMPUTED,
        plain=("DSM501",),
        table=QUALIFIED,
        extra=True,
    ),
    added(
        "empty table",
        lambda: models.PositiveIntegerField(default=3, unique=True),
        change=CONSTANT,
        plain=("DSM501", "DSM502"),
        rows=0,
        extra=True,
    ),
    added(
        "with an index over it",
        lambda: models.IntegerField(default=3),
        change=CONSTANT,
        plain=("DSM101", "DSM501"),
        new_meta={"indexes": [Index(fields=["value", "number"], name="order_value")]},
        extra=True,
    ),
]

ADDITION_CASES = [*FIELD_CASES, *BROUGHT_CASES]
