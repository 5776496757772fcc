"""What the rules say of a change is what PostgreSQL does: tables are read or rewritten, or not."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import connection, migrations, models, transaction
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now
from django.db.utils import DataError, IntegrityError, ProgrammingError

from django_safemigrations.hazards.examples import APP_LABEL, BASE
from django_safemigrations.lint.context import Context, History
from django_safemigrations.lint.rules import judge

pytestmark = [pytest.mark.django_db, pytest.mark.postgres_versions]

ROWS = 200
READS_ROWS = frozenset(
    {
        "DSM101",
        "DSM201",
        "DSM203",
        "DSM306",
        "DSM502",
        "DSM506",
        "DSM533",
        "DSM534",
        "DSM507",
        "DSM508",
        "DSM509",
        "DSM510",
    }
)
"""Hazards whose harm is that rows are read or written; the others' is that old code fails."""


def char(**options: Any) -> models.Field[Any, Any]:
    return models.CharField(**{"max_length": 20, **options})


def decimal(digits: int, places: int) -> models.Field[Any, Any]:
    return models.DecimalField(max_digits=digits, decimal_places=places, null=True)


def integer(**options: Any) -> models.Field[Any, Any]:
    return models.IntegerField(**{"null": True, **options})


def tag(**options: Any) -> models.Field[Any, Any]:
    return models.ForeignKey(f"{APP_LABEL}.Tag", models.CASCADE, **{"null": True, **options})


CHANGES: list[tuple[models.Field[Any, Any], models.Field[Any, Any]]] = [
    (char(null=True), char(null=True, max_length=40)),
    (char(null=True), char(null=True, max_length=None)),
    (char(null=True), char(null=True, max_length=10)),
    (char(null=True), char(null=True, help_text="x", default="y")),
    (char(null=True), char(null=True, db_comment="x")),
    (char(null=True), char(null=True, db_collation="C")),
    (char(null=True), char(null=True, db_index=True)),
    (char(null=True), char(null=True, unique=True)),
    (char(null=True), char(default="x")),
    (char(null=True), char(db_default="x")),
    (char(null=True), char()),
    (char(default="x"), char(default="x", null=True)),
    (char(null=True), models.TextField(null=True)),
    (char(null=True, unique=True), char(null=True, unique=True, max_length=40)),
    (char(null=True, unique=True), char(null=True)),
    (char(null=True, db_index=True), char(null=True, db_index=True, max_length=40)),
    (char(null=True, db_index=True), char(null=True, db_index=True, db_collation="C")),
    (char(null=True, db_index=True), models.TextField(null=True, db_index=True)),
    (char(null=True, db_index=True), char(null=True)),
    (models.TextField(null=True), char(null=True, max_length=None)),
    (models.TextField(null=True), char(null=True)),
    (models.TextField(null=True), models.JSONField(null=True)),
    (decimal(10, 2), decimal(12, 2)),
    (decimal(10, 2), decimal(12, 3)),
    (decimal(10, 2), decimal(9, 2)),
    (integer(), models.BigIntegerField(null=True)),
    (integer(), models.TextField(null=True)),
    (integer(), integer(db_default=5)),
    (integer(db_default=5), integer()),
    (integer(), models.PositiveIntegerField(null=True)),
    (models.PositiveIntegerField(null=True), integer()),
    (integer(unique=True), integer(db_index=True)),
    (integer(db_index=True), integer(unique=True)),
    (models.DateField(null=True), models.DateTimeField(null=True)),
    (models.GenericIPAddressField(null=True), models.GenericIPAddressField("ipv4", null=True)),
    (models.UUIDField(null=True), char(null=True, max_length=36)),
    (ArrayField(char(), null=True), ArrayField(char(max_length=40), null=True)),
    (tag(), tag(related_name="x")),
    (tag(), tag(db_comment="x")),
    (tag(), tag(default=1)),
    (tag(), tag(db_index=False)),
    (tag(), tag(db_constraint=False)),
    (tag(), tag(db_column="tag")),
    (tag(), models.OneToOneField(f"{APP_LABEL}.Tag", models.CASCADE, null=True)),
    (tag(), models.BigIntegerField(null=True)),
    (tag(db_constraint=False), tag()),
]

ADDITIONS: list[models.Field[Any, Any]] = [
    integer(),
    integer(null=False, default=0),
    integer(null=False, db_default=0),
    integer(unique=True),
    integer(db_index=True),
    models.PositiveIntegerField(null=True),
    models.SlugField(null=True),
    models.DateTimeField(db_default=Now()),
    models.UUIDField(db_default=RandomUUID()),
    models.GeneratedField(
        expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=True
    ),
    tag(),
    tag(db_index=False, db_constraint=False),
]

OTHERS: list[Operation] = [
    migrations.RenameField("order", "total", "amount"),
    migrations.RenameField("order", "customer", "buyer"),
    migrations.RenameIndex("order", old_name="order_reference_idx", new_name="other"),
    migrations.RemoveIndex("order", "order_reference_idx"),
    migrations.RemoveField("order", "customer"),
    migrations.AlterUniqueTogether("order", {("total", "reference")}),
    migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx")),
    migrations.AddConstraint(
        "order", models.CheckConstraint(condition=models.Q(total__gt=0), name="total_check")
    ),
    migrations.AddConstraint(
        "order", models.UniqueConstraint(fields=["total"], name="total_unique")
    ),
]


@pytest.fixture
def state() -> ProjectState:
    """The examples' tables, with rows, in a transaction that is rolled back."""
    namespace: dict[str, Any] = {"__name__": "base"}
    exec(BASE, namespace)
    built = ProjectState()
    for operation in namespace["Migration"].operations:
        built = run(operation, built)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO store_customer (name) VALUES ('a')")
        cursor.execute("INSERT INTO store_tag (label) VALUES ('a')")
        cursor.execute(
            "INSERT INTO store_order (customer_id, reference, total) "
            "SELECT (SELECT id FROM store_customer), 'r', n FROM generate_series(1, %s) n",
            [ROWS],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return built


def run(operation: Operation, state: ProjectState) -> ProjectState:
    after = state.clone()
    operation.state_forwards(APP_LABEL, after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards(APP_LABEL, editor, state, after)
    return after


def rows_were_read(operation: Operation, state: ProjectState) -> bool:
    """Return whether PostgreSQL read or rewrote the table, or refused it after looking."""
    before = measured()
    try:
        with transaction.atomic():
            run(operation, state)
            after = measured()
    except (IntegrityError, DataError, ProgrammingError):
        # A NULL, a duplicate or a value that doesn't fit can only be found by reading.
        return True
    return after[0] - before[0] >= ROWS or after[1] != before[1]


def measured() -> tuple[int, int]:
    """Return how many rows of the table this transaction has read, and which file holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_get_xact_tuples_returned('store_order'::regclass), "
            "pg_relation_filenode('store_order'::regclass)"
        )
        row: tuple[int, int] = cursor.fetchone()
    return row


def is_said_to_read_rows(operation: Operation, state: ProjectState) -> bool:
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})
    context = Context(
        migration=migration("0002_test", APP_LABEL),
        state=state,
        history=History(),
        files={},
    )
    codes = {observation.code for _, observation in judge(operation, "0", context)}
    return bool(codes & READS_ROWS)


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_changed_field_reads_rows_if_and_only_if_it_is_said_to(
    state: ProjectState, old: models.Field[Any, Any], new: models.Field[Any, Any]
) -> None:
    state = run(migrations.AddField("order", "probe", old), state)
    operation = migrations.AlterField("order", "probe", new)
    assert is_said_to_read_rows(operation, state) == rows_were_read(operation, state)


@pytest.mark.parametrize("field", ADDITIONS)
def test_an_added_field_reads_rows_if_and_only_if_it_is_said_to(
    state: ProjectState, field: models.Field[Any, Any]
) -> None:
    operation = migrations.AddField("order", "probe", field)
    assert is_said_to_read_rows(operation, state) == rows_were_read(operation, state)


@pytest.mark.parametrize("operation", OTHERS)
def test_an_operation_reads_rows_if_and_only_if_it_is_said_to(
    state: ProjectState, operation: Operation
) -> None:
    assert is_said_to_read_rows(operation, state) == rows_were_read(operation, state)
