"""Renamed tables: what is refused, where the view leads, and what becomes of content types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import ProgrammingError, models

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.runner import runner
from django_safemigrations.postgres.views import free_columns
from tests.kit import chain as chains
from tests.kit.case import Case, define
from tests.kit.prepared import content, fresh_copy
from tests.kit.probe import probe
from tests.operations.started import Started, started


def order(name: str, db_table: str | None = None) -> Any:
    return define(
        name,
        meta={"db_table": db_table} if db_table else {},
        number=models.IntegerField(),
        code=models.CharField(max_length=20),
    )


def renamed(**more: Any) -> Case:
    return Case(
        "a renamed model",
        lambda: order("Order") and None,
        lambda: order("Purchase") and None,
        renames={"Order": "Purchase"},
        **more,
    )


def moved(old: str | None, new: str | None) -> Case:
    def connected(db_table: str | None) -> None:
        target = order("Order", db_table)
        define("Line", order=models.ForeignKey(target, models.CASCADE), n=models.IntegerField())
        define("Box", orders=models.ManyToManyField(target), n=models.IntegerField())

    return Case("a moved table", lambda: connected(old), lambda: connected(new), many_to_many=True)


MOVES = [
    ('crm"."order', 'crm"."Purchase'),
    (None, 'crm"."caseapp_order'),
    ('crm"."order', 'Mixed Schema"."Purchase'),
    ('crm"."order', None),
]


@pytest.mark.parametrize(("old", "new"), MOVES)
def test_a_table_moves_between_schemas(old: str | None, new: str | None) -> None:
    case = moved(old, new)
    with started(case) as change:
        change.expand()
        assert probe(case, "old", "new") == []
        change.contract()
        assert probe(case, "new") == []
        assert change.objects("relation caseapp_order") == {}
        change.back()
        change.assert_untouched()


@pytest.mark.parametrize(("old", "new"), MOVES[:3])
def test_plain_django_writes_a_syntax_error_for_such_a_table(old: str | None, new: str) -> None:
    case = moved(old, new)
    chain = chains.make_plain_chain(case)
    with started(case), pytest.raises(ProgrammingError, match="syntax error"):
        chains.migrate(chain, chain.change[-1])


@pytest.mark.parametrize(("old", "new"), MOVES)
def test_a_fresh_database_gets_a_table_in_another_schema_too(
    old: str | None, new: str | None
) -> None:
    case = moved(old, new)
    chain = chains.make_chain(case)
    with fresh_copy() as connection, chain.installed():
        call_command("migrate", "caseapp", verbosity=0, interactive=False)
        assert probe(case, "new") == []
        assert Catalog(connection).find_table(case.model("new", "order")._meta.db_table)
        call_command("migrate", "caseapp", "zero", verbosity=0, interactive=False)


def test_a_schema_that_is_not_there_is_named_and_nothing_is_changed() -> None:
    with started(moved(None, 'nowhere"."order')) as change:
        with pytest.raises(UnsupportedChange, match='CREATE SCHEMA "nowhere"'):
            change.expand()
        change.assert_untouched()


def test_a_new_name_that_something_else_has_is_refused_and_nothing_is_changed() -> None:
    with started(renamed(), "CREATE TABLE caseapp_purchase ()") as change:
        with pytest.raises(UnsupportedChange, match="caseapp_purchase is taken"):
            change.expand()
        change.assert_untouched()


def test_a_view_that_was_built_on_the_old_name_keeps_the_contract_from_running() -> None:
    with started(renamed()) as change:
        change.expand()
        change.run("CREATE VIEW report AS SELECT * FROM caseapp_order")
        with pytest.raises(UnsupportedChange, match=r"view report was built on"):
            change.contract()
        assert probe(change.chain.case, "old", "new") == []
        change.run("DROP VIEW report")
        change.contract()


def test_a_model_that_is_renamed_and_keeps_its_table_by_db_table_keeps_all_tables() -> None:
    def model(name: str, db_table: str | None) -> None:
        target = order(name, db_table)
        define("Line", order=models.ForeignKey(target, models.CASCADE), n=models.IntegerField())
        define("Box", orders=models.ManyToManyField(target), n=models.IntegerField())

    case = Case(
        "keeps its table",
        lambda: model("Order", None),
        lambda: model("Purchase", "caseapp_order"),
        renames={"Order": "Purchase"},
        many_to_many=True,
    )
    with started(case) as change:
        assert len(change.chain.change) == 2
        change.expand()
        assert probe(case, "old", "new") == []
        tables = dict(change.rows("SELECT relname, oid FROM pg_class"))
        change.contract()
        assert probe(case, "new") == []
        after = dict(change.rows("SELECT relname, oid FROM pg_class"))
        assert tables["caseapp_order"] == after["caseapp_order"]
        change.back()
        change.assert_untouched()


@contextmanager
def reader(change: Started, *sql: str) -> Iterator[str]:
    """Make a role, and give it rights."""
    role = "kit_reader"
    change.run(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
        f"THEN CREATE ROLE {role}; END IF; END $$"
    )
    try:
        for statement in sql:
            change.run(statement.replace("ROLE", role))
        yield role
    finally:
        change.run("RESET ROLE")
        change.run(f"DROP OWNED BY {role}")
        change.run(f"DROP ROLE {role}")


SECURITY = (
    "ALTER TABLE caseapp_order ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY first ON caseapp_order TO ROLE USING (id <= 2)",
)


def test_row_level_security_and_grants_hold_through_the_view() -> None:
    with started(renamed()) as change:
        rights = "GRANT SELECT, UPDATE ON caseapp_order TO ROLE WITH GRANT OPTION"
        with reader(change, *SECURITY, rights) as role:
            change.expand()
            change.run(f"SET ROLE {role}")
            assert change.rows("SELECT id FROM caseapp_order ORDER BY id") == [(1,), (2,)]
            change.run("UPDATE caseapp_order SET number = 7 WHERE id IN (1, 2, 3)")
            with pytest.raises(ProgrammingError, match="permission denied"):
                change.run("DELETE FROM caseapp_order")
            change.run("RESET ROLE")
            assert change.value("SELECT count(*) FROM caseapp_purchase WHERE number = 7") == 2
            option = "UPDATE WITH GRANT OPTION"
            assert change.value(
                f"SELECT has_table_privilege('{role}', 'caseapp_order', '{option}')"
            )


def test_grants_of_some_columns_hold_through_the_view() -> None:
    rights = "GRANT SELECT (id, number), UPDATE (number) ON caseapp_order TO ROLE"
    with started(renamed()) as change, reader(change, rights) as role:
        change.expand()
        change.run(f"SET ROLE {role}")
        assert change.value("SELECT count(id) FROM caseapp_order") == 6
        change.run("UPDATE caseapp_order SET number = 7 WHERE id = 1")
        for refused in ("SELECT code FROM caseapp_order", "SELECT code FROM caseapp_purchase"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                change.rows(refused)


def test_grants_of_some_columns_beside_row_level_security_are_refused() -> None:
    rights = "GRANT SELECT (id) ON caseapp_order TO ROLE"
    with started(renamed()) as change, reader(change, *SECURITY, rights):
        before = change.content()
        with pytest.raises(UnsupportedChange, match="row-level security, and roles that may"):
            change.expand()
        assert change.content().differences(before) == []


def test_a_view_shows_what_has_a_columns_name_when_another_one_goes() -> None:
    with started(renamed()) as change:
        change.expand()
        change.run("ALTER TABLE caseapp_purchase RENAME number TO aside")
        change.run("ALTER TABLE caseapp_purchase ADD number bigint DEFAULT 42")
        with change.connection.schema_editor() as editor:
            with runner(editor) as means:
                free_columns(means, means.catalog.table("caseapp_purchase"), ["aside"])
                means.execute("ALTER TABLE caseapp_purchase DROP COLUMN aside")
        assert change.value("SELECT max(number) FROM caseapp_order") == 42
        assert probe(change.chain.case, "old", "new") == []


# -- content types --------------------------------------------------------------------


@contextmanager
def with_content_types() -> Iterator[Started]:
    """Begin a rename on a database with content types, permissions and a grant of one."""
    with started(renamed()) as change:
        call_command("migrate", "auth", verbosity=0, interactive=False)
        ContentType.objects.clear_cache()
        kind = ContentType.objects.create(app_label="caseapp", model="order")
        for action in ("add", "view"):
            Permission.objects.create(
                content_type=kind, codename=f"{action}_order", name=f"Can {action} order"
            )
        staff = Group.objects.create(name="staff")
        staff.permissions.add(Permission.objects.get(codename="add_order"))
        yield change
        ContentType.objects.clear_cache()


def kinds() -> list[tuple[int, str]]:
    return list(
        ContentType.objects.filter(app_label="caseapp").order_by("id").values_list("id", "model")
    )


def codenames() -> set[str]:
    found = Permission.objects.filter(content_type__app_label="caseapp")
    return set(found.values_list("codename", flat=True))


def granted() -> set[str]:
    return set(Group.objects.get(name="staff").permissions.values_list("codename", flat=True))


def test_the_content_type_gets_the_new_name_and_permissions_are_there_under_both() -> None:
    with with_content_types() as change:
        before = kinds()
        change.expand()
        assert kinds() == [(before[0][0], "purchase")]
        assert codenames() == {"add_order", "view_order", "add_purchase", "view_purchase"}
        assert granted() == {"add_order", "add_purchase"}
        change.contract()
        stale = set() if django.VERSION >= (6, 1) else {"add_order", "view_order"}
        assert codenames() == {"add_purchase", "view_purchase"} | stale
        change.back()
        assert kinds() == before
        assert codenames() == {"add_order", "view_order"}
        assert granted() == {"add_order"}


def test_a_second_content_type_that_old_code_made_is_merged_at_contract() -> None:
    with with_content_types() as change:
        change.run(
            "CREATE TABLE note (id int PRIMARY KEY, kind int REFERENCES django_content_type)"
        )
        first = kinds()[0][0]
        change.run("INSERT INTO note VALUES (1, %s)", [first])
        change.expand()
        second = ContentType.objects.create(app_label="caseapp", model="order")
        Permission.objects.create(content_type=second, codename="add_order", name="x")
        late = Permission.objects.create(content_type=second, codename="view_order", name="x")
        Group.objects.get(name="staff").permissions.add(late)
        change.run("INSERT INTO note VALUES (2, %s)", [second.pk])
        change.contract()
        assert kinds() == [(first, "purchase")]
        assert change.rows("SELECT id, kind FROM note ORDER BY id") == [(1, first), (2, first)]
        assert {"add_purchase", "view_purchase"} <= granted()


def test_rows_that_would_be_there_twice_are_named_and_stay() -> None:
    with with_content_types() as change:
        change.run(
            "CREATE TABLE mark (id int PRIMARY KEY, object int, "
            "kind int REFERENCES django_content_type, UNIQUE (object, kind))"
        )
        first = kinds()[0][0]
        change.expand()
        second = ContentType.objects.create(app_label="caseapp", model="order")
        change.run("INSERT INTO mark VALUES (1, 1, %s), (2, 1, %s)", [first, second.pk])
        with pytest.raises(ViolatingRows, match="Delete one of each pair"):
            change.contract()
        assert len(kinds()) == 2
        change.run("DELETE FROM mark WHERE id = 2")
        change.contract()
        assert kinds() == [(first, "purchase")]


def test_without_content_types_nothing_is_asked_of_them() -> None:
    assert apps.is_installed("django.contrib.contenttypes")
    with started(renamed()) as change:
        assert change.value("SELECT to_regclass('django_content_type')") is None
        change.expand()
        change.contract()
        change.back()
        assert content(change.chain.case).differences(change.before) == []
