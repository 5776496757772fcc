"""What changes left in a database: found, told from what is still to be done, and removable as said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from django_safemigrations.lint import Finding, LintLoader
from django_safemigrations.lint.leftovers import leftovers
from tests.lint.conftest import INSTALLED, Project, forget

pytestmark = pytest.mark.django_db(transaction=True)

OURS = (
    "from django_safemigrations.operations import AddColumn, AddSyncedColumns, "
    "BackfillSyncedColumns, Contract, DropColumn, DropColumnDefault, DropOldNameView, "
    "DropSyncedColumns, Expand, FillNullsOnWrite, RelaxColumn, RenameTableBehindView, "
    "StopFillingNulls\n"
)
STAGED = "atomic = False\noperations = [{}]"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def shop(project: Project) -> Iterator[Project]:
    """The examples' shop, with tables."""
    yield project
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('DROP %s %I.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' "
            "END, relnamespace::regnamespace, relname) FROM pg_class WHERE relkind IN ('r', 'v') "
            "AND relname LIKE 'store%' AND relnamespace = 'public'::regnamespace"
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement.replace("DROP VIEW", "DROP VIEW IF EXISTS"))
        cursor.execute(
            "SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure) FROM pg_proc "
            "WHERE proname LIKE 'dsm\\_%' AND pronamespace = 'public'::regnamespace"
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
    MigrationRecorder(connection).migration_qs.filter(app="store").delete()


def migrate(project: Project, name: str, *, fake: bool = False) -> None:
    forget(project.apps)
    with override_settings(INSTALLED_APPS=[*INSTALLED, *project.apps]):
        call_command("migrate", "store", name, fake=fake, verbosity=0)


def found(project: Project, *pending: tuple[str, str]) -> list[Finding]:
    forget(project.apps)
    with override_settings(INSTALLED_APPS=[*INSTALLED, *project.apps]):
        loader = LintLoader(connection, ignore_no_migrations=True)
        return [
            finding
            for finding in leftovers(connection, pending, loader)
            if finding.app_label in ("store", "")
        ]


RENAME = '"order", {"total": "amount"}'

CHAINS = {
    "the trigger and column of a rename": (
        f"""Expand(
            state_operations=[migrations.RenameField("order", "total", "amount")],
            database_operations=[AddSyncedColumns({RENAME}), BackfillSyncedColumns({RENAME})],
        )""",
        f"Contract(database_operations=[DropSyncedColumns({RENAME})])",
        "Trigger function dsm_sync_",
    ),
    "the trigger that fills NULLs": (
        'Expand(database_operations=[FillNullsOnWrite("customer", "email", "")])',
        'Contract(database_operations=[StopFillingNulls("customer", "email", "")])',
        "Trigger function dsm_fill_",
    ),
    "the view under an old name": (
        """Expand(
            state_operations=[migrations.RenameModel("Tag", "Label")],
            database_operations=[RenameTableBehindView(
                model_name="label", old_table="store_tag", new_table="store_label",
                columns=["id", "label"],
            )],
        )""",
        """Contract(database_operations=[DropOldNameView(
            model_name="label", old_table="store_tag", new_table="store_label",
            columns=["id", "label"],
        )])""",
        "The view under the old name store_tag",
    ),
    "the default for old code": (
        """Expand(
            state_operations=[migrations.AddField("order", "note", models.IntegerField(default=5))],
            database_operations=[AddColumn("order", "note", value=5)],
        )""",
        'Contract(database_operations=[DropColumnDefault("order", "note", value=5)])',
        "The default of store_order.note",
    ),
    "a removed column": (
        """Expand(
            state_operations=[migrations.RemoveField("order", "discount")],
            database_operations=[RelaxColumn("order", "discount")],
        )""",
        """Contract(database_operations=[
            DropColumn("order", "discount", field=models.IntegerField(null=True)),
        ])""",
        "Column store_order.discount",
    ),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_what_a_faked_contract_left_is_found_and_goes_as_said(shop: Project, kind: str) -> None:
    expand, contract, message = CHAINS[kind]
    shop.add("0002_expand", STAGED.format(expand), setup=OURS)
    shop.add("0003_contract", STAGED.format(contract), setup=OURS)
    migrate(shop, "0002_expand")
    assert found(shop) == [], "the contract is still to run"
    migrate(shop, "0003_contract", fake=True)
    assert found(shop, ("store", "0003_contract")) == [], "the ledger holds it as pending"
    findings = found(shop)
    assert {(f.code, f.migration) for f in findings} == {("DSM418", "0003_contract")}
    assert any(message in f.message for f in findings)
    assert all("migrate store 0002_expand --fake" in f.hint for f in findings)
    # What the hint says, with the phase that plain migrate doesn't ask for on an empty database.
    migrate(shop, "0002_expand", fake=True)
    migrate(shop, "0003_contract")
    assert found(shop) == []


def test_a_contract_with_followers_is_run_by_its_sql(shop: Project) -> None:
    expand, contract, _ = CHAINS["the trigger that fills NULLs"]
    shop.add("0002_expand", STAGED.format(expand), setup=OURS)
    shop.add("0003_contract", STAGED.format(contract), setup=OURS)
    shop.add("0004_later", "operations = []")
    migrate(shop, "0002_expand")
    migrate(shop, "0004_later", fake=True)
    [finding] = found(shop)
    assert "sqlmigrate store 0003_contract | manage.py dbshell" in finding.hint


def test_a_trigger_without_any_migration_is_found_with_the_statement_that_drops_it(
    shop: Project,
) -> None:
    expand, _, _ = CHAINS["the trigger that fills NULLs"]
    path = shop.add("0002_expand", STAGED.format(expand), setup=OURS)
    migrate(shop, "0002_expand")
    path.unlink()
    shop.last = "0001_initial"
    MigrationRecorder(connection).migration_qs.filter(app="store", name="0002_expand").delete()
    [finding] = found(shop)
    assert finding.migration == ""
    assert "no migration on disk accounts for it" in finding.message
    execute(finding.hint.partition(": ")[2])
    assert found(shop) == []


def test_an_invalid_index_and_an_unvalidated_constraint_are_found_and_go_as_said(
    shop: Project,
) -> None:
    migrate(shop, "0001_initial")
    execute("INSERT INTO store_tag (label) VALUES ('twice'), ('twice')")
    with pytest.raises(IntegrityError):
        execute("CREATE UNIQUE INDEX CONCURRENTLY label_once ON store_tag (label)")
    execute("ALTER TABLE store_tag ADD CONSTRAINT filled CHECK (label <> '') NOT VALID")
    findings = found(shop)
    assert [f.message.partition(" is ")[0] for f in findings] == [
        "Index label_once on store_tag",
        "Constraint filled of store_tag",
    ]
    assert {f.path for f in findings} == {"database default"}
    for finding in findings:
        execute(finding.hint.partition(";")[0])
    assert found(shop) == []


def test_what_an_unapplied_migration_will_validate_is_not_reported(shop: Project) -> None:
    migrate(shop, "0001_initial")
    execute("ALTER TABLE store_tag ADD CONSTRAINT filled CHECK (label <> '') NOT VALID")
    shop.add(
        "0002_validate",
        'operations = [ValidateConstraint("tag", "filled")]',
        setup="from django.contrib.postgres.operations import ValidateConstraint\n",
    )
    assert found(shop) == []


def test_a_database_without_leftovers_is_clean(shop: Project) -> None:
    migrate(shop, "0001_initial")
    assert found(shop) == []
