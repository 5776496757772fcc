"""Mistakes in plans, each found at the boundary where it hurts, in the generation that it hurts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import connection

from django_safemigrations.rehearsal.results import BoundaryCheck
from tests.rehearsal.generations.passes import forwards, told
from tests.rehearsal.generations.shop import SHOP, plan, separate, sql


@dataclass(frozen=True)
class Mistake:
    """A plan with a mistake.

    Attributes:
        name: what is wrong.
        operations: the plan, as it stands in the file.
        hurts: the generation that can't work.
        model: the model with which it can't.
        calls: beginnings of calls that fail.
        error: a part of what is told.
        works: beginnings of calls that must not be said to fail.
    """

    name: str
    operations: str
    hurts: str
    model: str
    calls: tuple[str, ...]
    error: str
    works: tuple[str, ...] = ()


MISTAKES = [
    Mistake(
        "a column dropped too early",
        "migrations.RemoveField('order', 'note')",
        "old",
        "caseapp.Order",
        ("all()",),
        "42703",
    ),
    Mistake(
        "a NOT NULL that old code violates",
        sql("UPDATE \"The Order's\" SET note = '' WHERE note IS NULL")
        + sql('ALTER TABLE "The Order\'s" ALTER note SET NOT NULL'),
        "old",
        "caseapp.Order",
        ("create(only what has no default)",),
        "23502",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a type that old code can't read",
        "migrations.AlterField('order', 'number', models.TextField(db_column='Num ber')),",
        "old",
        "caseapp.Order",
        ("create(every field)",),
        "number is '",
    ),
    Mistake(
        "a type that old code can't write",
        "migrations.AlterField('order', 'note', models.CharField(max_length=10, null=True)),",
        "old",
        "caseapp.Order",
        ("update(note=<longest>)",),
        "22001",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a column renamed without a dual write",
        "migrations.RenameField('order', 'total', 'amount'),",
        "old",
        "caseapp.Order",
        ("all()",),
        "42703",
    ),
    Mistake(
        "a unique index that no model knows",
        sql('CREATE UNIQUE INDEX "on%%e" ON "The Order\'s" (total, account)'),
        "old",
        "caseapp.Order",
        ("create(the same values again)",),
        "23505",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a CHECK that old code violates",
        sql('ALTER TABLE "The Order\'s" ADD CONSTRAINT positive CHECK (total >= 0) NOT VALID'),
        "old",
        "caseapp.Order",
        ("update(total=<smallest>)",),
        "23514",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a table renamed without a view",
        "migrations.AlterModelTable('order', 'orders'),",
        "old",
        "caseapp.Order",
        ("all()",),
        "42P01",
    ),
    Mistake(
        "a trigger that raises",
        sql(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no %', NEW.code; END $$",
            'CREATE TRIGGER no BEFORE UPDATE ON "The Order\'s" FOR EACH ROW EXECUTE FUNCTION no()',
        ),
        "old",
        "caseapp.Order",
        ("save()", "save() of a row that was there"),
        "P0001",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a dual write that loses writes",
        separate(
            "migrations.RenameField('order', 'account', 'ledger')",
            sql(
                'ALTER TABLE "The Order\'s" ADD ledger integer',
                'UPDATE "The Order\'s" SET ledger = account',
                "CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF TG_OP = 'INSERT' THEN NEW.ledger := coalesce(NEW.ledger, NEW.account);"
                " NEW.account := NEW.ledger; END IF; RETURN NEW; END $$",
                'CREATE TRIGGER copy BEFORE INSERT OR UPDATE ON "The Order\'s"'
                " FOR EACH ROW EXECUTE FUNCTION copy()",
            ),
        ),
        "old",
        "caseapp.Order",
        ("update(account=…)", "save()"),
        "new code does not read in ledger",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "rows that were not copied",
        separate(
            "migrations.RenameField('order', 'account', 'ledger')",
            sql(
                'ALTER TABLE "The Order\'s" ADD ledger integer NOT NULL DEFAULT 0',
                "CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF TG_OP = 'INSERT' THEN"
                " IF NEW.ledger = 0 THEN NEW.ledger := NEW.account; ELSE NEW.account := NEW.ledger;"
                " END IF; ELSIF NEW.ledger <> OLD.ledger THEN NEW.account := NEW.ledger;"
                " ELSIF NEW.account <> OLD.account THEN NEW.ledger := NEW.account; END IF;"
                " RETURN NEW; END $$",
                'ALTER TABLE "The Order\'s" ALTER account SET DEFAULT 0',
                'CREATE TRIGGER copy BEFORE INSERT OR UPDATE ON "The Order\'s"'
                " FOR EACH ROW EXECUTE FUNCTION copy()",
            ),
        ),
        "new",
        "caseapp.Order",
        ("get(pk=…) of a row that was there",),
        "old code does not read in account",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a foreign key on what old code writes",
        sql(
            "CREATE TABLE account (id integer PRIMARY KEY)",
            'INSERT INTO account SELECT DISTINCT account FROM "The Order\'s"',
            'ALTER TABLE "The Order\'s" ADD FOREIGN KEY (account) REFERENCES account'
            " DEFERRABLE INITIALLY DEFERRED",
        ),
        "old",
        "caseapp.Order",
        ("create(every field)",),
        "23503",
        ("all()",),
    ),
    Mistake(
        "a many-to-many table renamed",
        sql('ALTER TABLE "order tags" RENAME TO tags_of_orders'),
        "old",
        "caseapp.Order",
        ("tags.add()", "tags.all()", "delete()"),
        "42P01",
        ("all()", "create(every field)"),
    ),
    Mistake(
        "a default dropped too early",
        "migrations.AddField('order', 'weight', models.IntegerField(default=3)),",
        "old",
        "caseapp.Order",
        ("create(every field)",),
        "23502",
        ("all()",),
    ),
    Mistake(
        "a column in another schema dropped too early",
        "migrations.RemoveField('customer', 'born'),",
        "old",
        "caseapp.Customer",
        ("all()",),
        "42703",
    ),
    Mistake(
        "a default that new code needs",
        separate("migrations.AddField('order', 'weight', models.IntegerField(default=3))"),
        "new",
        "caseapp.Order",
        ("all()",),
        "42703",
    ),
]

HARMLESS = [
    ("a nullable column", "migrations.AddField('order', 'w', models.IntegerField(null=True)),"),
    ("an index", "migrations.AddIndex('order', models.Index(fields=['total'], name='t')),"),
    ("a widened type", "migrations.AlterField('order', 'code', models.CharField(max_length=40, unique=True)),"),
    ("a unique constraint that new code knows", "migrations.AlterField('order', 'account', models.IntegerField(default=0)), migrations.AddConstraint('order', models.UniqueConstraint(fields=['total', 'number'], name='u')),"),
    ("a default of the database", "migrations.AddField('order', 'w', models.IntegerField(db_default=3)),"),
    ("a model", "migrations.CreateModel('Parcel', [('id', models.BigAutoField(primary_key=True)), ('order', models.ForeignKey('caseapp.order', models.CASCADE))]),"),
    ("other rows", sql('UPDATE "The Order\'s" SET note = \'x\' WHERE note IS NULL')),
]  # fmt: skip


def checked(template: str, operations: str) -> list[BoundaryCheck]:
    with plan(template, operations) as chain:
        found = forwards(chain)
        with connection.cursor() as cursor:
            cursor.execute('SELECT count(*) FROM "Mixed Schema"."A Customer\'s"')
            assert cursor.fetchone() == (SHOP.rows,), "a call was committed"
        return found


QUICK = {
    "a NOT NULL that old code violates",
    "a type that old code can't read",
    "a dual write that loses writes",
    "a many-to-many table renamed",
}
PARAMETERS = [
    pytest.param(m, id=m.name, marks=[] if m.name in QUICK else [pytest.mark.exhaustive])
    for m in MISTAKES
]


@pytest.mark.parametrize("mistake", PARAMETERS)
def test_a_mistake_is_found(template: str, mistake: Mistake) -> None:
    checks = checked(template, mistake.operations)
    assert checks[0].failures == ()
    mine = [
        failure
        for check in checks
        for failure in check.failures
        if failure.generation == mistake.hurts and failure.model == mistake.model
    ]
    assert any(
        failure.call.startswith(mistake.calls) and mistake.error in failure.error
        for failure in mine
    ), told(checks)
    wrong = [f for f in mine if mistake.works and f.call.startswith(mistake.works)]
    assert wrong == [], told(checks)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "operations"), HARMLESS, ids=[name for name, _ in HARMLESS])
def test_what_is_harmless_is_not_reported(template: str, name: str, operations: str) -> None:
    checks = checked(template, operations)
    assert told(checks) == []


def test_a_failure_names_the_step_and_the_statement(template: str) -> None:
    checks = checked(template, "migrations.RemoveField('order', 'note')")
    broken = next(check for check in checks if check.failures)
    assert broken.after is not None
    assert broken.after.migration == "0002_change"
    assert {failure.generation for failure in broken.failures} == {"old"}
    statement = broken.failures[0].statement
    assert '"The Order\'s"' in statement
    assert "note" in statement


def test_what_failed_before_the_plan_is_left_out_and_said(template: str) -> None:
    with plan(template, "migrations.RemoveField('order', 'note')") as chain:
        with connection.cursor() as cursor:
            cursor.execute('UPDATE "The Order\'s" SET account = 7')
            cursor.execute('ALTER TABLE "The Order\'s" ADD CHECK (account < 1000)')
        checks = forwards(chain)
    assert checks[0].failures == ()
    assert any("update(account=…)" in line or "account" in line for line in checks[0].not_tried)
    assert all("23514" not in line for line in told(checks))
