"""What is said of the functions of data migrations is what PostgreSQL and Django do with them."""

from __future__ import annotations

import sys
import tracemalloc
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import connection, transaction
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.utils import OperationalError, ProgrammingError

from django_safemigrations.hazards.examples import APP_LABEL, BASE
from tests.lint.python_functions import CASES, MODELS, Case, batches

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_versions]

ROWS = 2500
"""More than two batches of the functions, which take a thousand each."""
BY_NAME = {case.name: case for case in CASES}

Function = Callable[[Any, Any], Any]


class Shop:
    """The examples' tables in a real database."""

    def __init__(self) -> None:
        self.state = ProjectState()
        # Relations of the users' tables are of no matter here.
        for number, text in enumerate((BASE, MODELS)):
            self.migrate(migration_of(text, f"000{number}"))

    def migrate(self, migration: Migration) -> None:
        """Run a migration as `migrate` does."""
        editor = connection.schema_editor(atomic=bool(migration.atomic))
        try:
            with editor:
                self.state = migration.apply(self.state, editor)
        except Exception:
            # Where SQL that Django has deferred fails, it leaves the transaction open, and
            # the process ends.
            if connection.in_atomic_block:
                editor.atomic.__exit__(*sys.exc_info())
            raise

    def fill(self, rows: int) -> None:
        """Give every table rows."""
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO store_customer (name) VALUES ('c')")
            cursor.execute(
                "INSERT INTO store_order (customer_id, reference, total) "
                "SELECT 1, '', n FROM generate_series(1, %s) n",
                [rows],
            )
            cursor.execute("INSERT INTO store_category (name, slug) VALUES ('n', 'x')")
            cursor.execute("INSERT INTO store_tag (label) VALUES ('t')")

    def run(self, function: Function, *, atomic: bool) -> None:
        """Run a function as RunPython does."""
        with connection.schema_editor(atomic=atomic) as editor:
            function(self.state.apps, editor)

    def drop(self) -> None:
        """Remove all tables."""
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                if table.startswith("store_"):
                    cursor.execute(f'DROP TABLE "{table}" CASCADE')


def module_of(text: str) -> types.ModuleType:
    module = types.ModuleType("made")
    exec(compile(dedent(text), "made", "exec"), vars(module))
    return module


def migration_of(text: str, name: str) -> Migration:
    migration: Migration = module_of(text).Migration(name, APP_LABEL)
    return migration


def function_of(text: str) -> Function:
    function: Function = module_of(text).run
    return function


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.drop()


@pytest.fixture
def request_connection() -> Iterator[psycopg.Connection[Any]]:
    """A session of the application."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        yield other


def free_rows(session: psycopg.Connection[Any], table: str = "store_order") -> int:
    """Return how many rows a request could change without waiting."""
    found = session.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {table} FOR UPDATE SKIP LOCKED) AS free"
    ).fetchone()
    return int(found[0]) if found else 0


@contextmanager
def after_each(seen: Callable[[str], None]) -> Iterator[None]:
    """Call something after every statement of the migration."""

    def wrapper(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        seen(str(sql))
        return result

    with connection.execute_wrapper(wrapper):
        yield


IN_ONE = ["one update of all rows", "the classic loop", "bulk_update has a transaction of its own"]


@pytest.mark.parametrize(
    "name",
    [
        "keyset, all in the migration's transaction",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in IN_ONE),
    ],
)
def test_rows_changed_in_one_transaction_stay_locked_until_its_end(
    shop: Shop, request_connection: psycopg.Connection[Any], name: str
) -> None:
    rows = 100 if name == IN_ONE[1] else ROWS
    shop.fill(rows)
    if name == IN_ONE[2]:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE store_order SET total = -1")
    free: list[int] = []
    case = BY_NAME[name]
    assert "DSM402" in case.codes

    def seen(sql: str) -> None:
        if sql.startswith("UPDATE"):
            free.append(free_rows(request_connection))

    # The classic loop takes one statement a row: looking at the last is enough.
    watched = nullcontext() if name == IN_ONE[1] else after_each(seen)
    with watched:
        with connection.schema_editor(atomic=case.atomic) as editor:
            function_of(case.source)(shop.state.apps, editor)
            if case.atomic:
                free.append(free_rows(request_connection))
    assert free[-1] == 0
    assert free_rows(request_connection) == rows


@pytest.mark.parametrize(
    "text",
    [
        batches.KEYSET,
        *(
            pytest.param(text, marks=pytest.mark.exhaustive)
            for text in (batches.RANGE, batches.FLUSH, batches.GENERATOR)
        ),
    ],
)
def test_batches_that_commit_one_by_one_lock_one_batch_at_a_time(
    shop: Shop, request_connection: psycopg.Connection[Any], text: str
) -> None:
    shop.fill(ROWS)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE store_order SET discount = NULL")
    free: list[int] = []

    def seen(sql: str) -> None:
        if sql.startswith("UPDATE"):
            free.append(free_rows(request_connection))

    with after_each(seen):
        shop.run(function_of(text), atomic=False)
    assert len(free) >= 3
    assert min(free) >= ROWS - 1000


def test_save_in_a_loop_undoes_what_a_request_wrote_and_update_fields_does_not(
    shop: Shop, request_connection: psycopg.Connection[Any]
) -> None:
    lost = BY_NAME["the loop without a transaction, all columns"]
    kept = BY_NAME["the loop without a transaction"]
    assert ("DSM702" in lost.codes, "DSM702" in kept.codes) == (True, False)
    shop.fill(3)
    discounts = {}
    for case in (lost, kept):
        asked: list[str] = []

        def seen(sql: str, asked: list[str] = asked) -> None:
            if sql.startswith("UPDATE") and not asked:
                asked.append(sql)
                request_connection.execute("UPDATE store_order SET discount = 77 WHERE id % 3 = 0")

        with connection.cursor() as cursor:
            cursor.execute("UPDATE store_order SET reference = '', discount = 0")
        with after_each(seen):
            shop.run(function_of(case.source), atomic=False)
        with connection.cursor() as cursor:
            cursor.execute("SELECT max(discount) FROM store_order")
            discounts[case.name] = cursor.fetchone()[0]
    assert discounts == {lost.name: 0, kept.name: 77}


PENDING = {
    "inserted with a foreign key, and then changed",
    "deleted where others point to, and then changed",
    "a foreign key written, and then changed",
    "an index that Django puts off until after the data",
}


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CASES
        if c.name in PENDING or "ed, and then changed" in c.name or "inserted without" in c.name
    ],
    ids=lambda case: case.name,
)
def test_a_table_with_pending_foreign_key_checks_can_not_be_altered(shop: Shop, case: Case) -> None:
    shop.fill(5)
    with connection.cursor() as cursor:
        # One to point to, and a value that differs from what is written.
        cursor.execute("INSERT INTO store_category (name, slug) VALUES ('m', 'z')")
        cursor.execute("UPDATE store_category SET parent_id = 1")
    migration = migration_of(case.text("0002"), "0003")
    if case.name in PENDING:
        assert "DSM707" in case.codes
        with pytest.raises(OperationalError, match="pending trigger events"):
            shop.migrate(migration)
    else:
        shop.migrate(migration)


def test_a_lock_of_add_field_is_held_while_the_function_works(
    shop: Shop, request_connection: psycopg.Connection[Any]
) -> None:
    case = BY_NAME["a column added, while another table is read"]
    assert "DSM707" in case.codes
    shop.fill(3)
    held = []

    def seen(sql: str) -> None:
        if "store_line" in sql and sql.startswith("SELECT"):
            held.extend(
                request_connection.execute(
                    "SELECT mode FROM pg_locks WHERE relation = 'store_order'::regclass"
                ).fetchall()
            )

    with after_each(seen):
        shop.migrate(migration_of(case.text("0002"), "0003"))
    assert ("AccessExclusiveLock",) in held


def test_what_the_historical_registry_lacks_stops_the_migration(shop: Shop) -> None:
    shop.fill(2)
    column = 'migrations.AddField("category", "rank", models.IntegerField(null=True))'
    shop.migrate(migration_of(Case("added", "", operations=column).text("0002"), "0003"))
    state = with_users(shop.state)
    state.apps.get_model("auth", "User").objects.create(username="root")
    cases = [case for case in CASES if {"DSM705", "DSM706"} & set(case.codes)]
    went_through = []
    for case in cases:
        shop.state = state.clone()
        try:
            shop.migrate(migration_of(case.text("0002"), "0003"))
        except STOPS:
            continue
        went_through.append(case.name)
    assert len(cases) > 10
    assert went_through == []


STOPS = (AttributeError, LookupError, FieldError, FieldDoesNotExist, TypeError, ValueError)


def with_users(state: ProjectState) -> ProjectState:
    """Return a state that has the users' models too, whose tables the test database has."""
    loader = MigrationLoader(connection)
    users = loader.project_state([("auth", "0012_alter_user_first_name_max_length")])
    for key, model in users.models.items():
        state.models.setdefault(key, model)
    # Rendered before they were there.
    vars(state).pop("apps", None)
    return state


def test_after_a_swallowed_error_every_statement_of_the_transaction_fails(shop: Shop) -> None:
    case = BY_NAME["every error ignored"]
    assert "DSM708" in case.codes
    shop.fill(1)
    run = function_of(case.source)

    def twice(apps: Any, editor: Any) -> None:
        run(apps, editor)
        apps.get_model("store", "Tag").objects.count()

    with pytest.raises(
        (transaction.TransactionManagementError, ProgrammingError, OperationalError)
    ):
        shop.run(twice, atomic=True)
    saved = BY_NAME["a conflict ignored inside a savepoint"]
    assert saved.codes == ()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE store_category SET slug = 'a'")
    shop.run(function_of(saved.source), atomic=True)


@pytest.mark.parametrize(
    "name", ["inserted again by a second run", "added to again by a second run"]
)
def test_a_second_run_does_it_twice(shop: Shop, name: str) -> None:
    case = BY_NAME[name]
    assert case.codes == ("DSM712",)
    shop.fill(20)
    run = function_of(case.source)
    figures = []
    for _ in range(2):
        shop.run(run, atomic=False)
        with connection.cursor() as cursor:
            cursor.execute("SELECT (SELECT count(*) FROM store_event), sum(total) FROM store_order")
            figures.append(cursor.fetchone())
    assert figures[0] != figures[1]


def test_rows_saved_unchanged_are_what_they_were(shop: Shop) -> None:
    case = BY_NAME["rows saved unchanged"]
    assert "DSM711" in case.codes
    shop.fill(10)
    query = "SELECT string_agg(o::text, ',' ORDER BY id), min(xmin::text) FROM store_order o"
    with connection.cursor() as cursor:
        cursor.execute(query)
        before = cursor.fetchone()
        shop.run(function_of(case.source), atomic=True)
        cursor.execute(query)
        after = cursor.fetchone()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_list_of_all_rows_takes_memory_for_each(shop: Shop) -> None:
    shop.fill(ROWS)
    Order = shop.state.apps.get_model("store", "Order")
    peaks = {}
    ways: dict[str, Callable[[], int]] = {
        "list": lambda: len(list(Order.objects.all())),
        "iterator": lambda: sum(1 for _ in Order.objects.iterator(chunk_size=100)),
    }
    for name, read in ways.items():
        tracemalloc.start()
        assert read() == ROWS
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["list"] > 5 * peaks["iterator"]
