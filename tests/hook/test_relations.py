"""Which stages a changed relation, default or comment gets, in which phase, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.db import models
from django.db.migrations import AlterField, Migration
from django.db.migrations.autodetector import MigrationAutodetector

from django_safemigrations.phases import Phase, operation_phase
from tests.kit import chain as chains
from tests.kit.case import LABEL, Case, define


def key(to: Any = "caseapp.Customer", on_delete: Any = models.CASCADE, **options: Any) -> Any:
    return models.ForeignKey(to, on_delete, **options)


def one(to: Any = "caseapp.Customer", on_delete: Any = models.CASCADE, **options: Any) -> Any:
    return models.OneToOneField(to, on_delete, **options)


def detected(
    old: Callable[[], Any], new: Callable[[], Any], others: Callable[[], Any] | None = None
) -> list[Migration]:
    """Return the migrations that makemigrations writes when Order.value changes."""

    def define_all(value: Any) -> None:
        for name in ("Customer", "Client"):
            define(name, code=models.CharField(max_length=20, unique=True))
        define("Purchaser", bases=define("Person", name=models.TextField()))
        define("Code", code=models.CharField(max_length=20, primary_key=True))
        if others is not None:
            others()
        define("Order", number=models.IntegerField(), value=value)

    case = Case("relations", lambda: define_all(old()), lambda: define_all(new()))
    chain = chains.empty_chain(case)
    with chain.installed():
        chain.initial = chain.write("old", MigrationAutodetector)
        return list(chain.detect("new", chains.installed_autodetector()).get(LABEL, []))


def stages(migrations: list[Migration]) -> list[tuple[str, str]]:
    """Return phase and stages of each container; of a plain operation its name."""
    found = []
    for migration in migrations:
        for operation in migration.operations:
            staged: Any = operation
            phase = getattr(operation, "phase", None)
            if phase is None:
                found.append(("plain", type(operation).__name__))
            else:
                names = [type(stage).__name__ for stage in staged.database_operations]
                found.append((str(phase), " ".join(names)))
    return found


def notes(migrations: list[Migration]) -> str:
    return " ".join(note for m in migrations for note in getattr(m, "notes", []))


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], Any], list[tuple[str, str]]]] = {
    "a one-to-one": (key, one, [("expand", "AddFieldUnique")]),
    "a foreign key": (one, key, [("expand", "DropFieldUnique")]),
    "a one-to-one that was unique": (lambda: key(unique=True), one, [("expand", "")]),
    "another model": (
        key,
        lambda: key("caseapp.Client"),
        [("expand", "DropForeignKey"), ("contract", "AddForeignKey ValidateForeignKey")],
    ),
    "another model, and a one-to-one": (
        key,
        lambda: one("caseapp.Client"),
        [
            ("expand", "AddFieldUnique DropForeignKey"),
            ("contract", "AddForeignKey ValidateForeignKey"),
        ],
    ),
    "another column, and a one-to-one": (
        key,
        lambda: one(db_column="buyer", null=True),
        [
            ("expand", "DropNotNull"),
            ("expand", "AddFieldUnique"),
            (
                "expand",
                "AddShadowColumn BackfillShadowColumn CopyShadowIndexes CopyShadowConstraints",
            ),
            ("contract", "DropReplacedColumn"),
        ],
    ),
    "no constraint": (key, lambda: key(db_constraint=False), [("expand", "DropForeignKey")]),
    "a constraint": (
        lambda: key(db_constraint=False),
        key,
        [("contract", "AddForeignKey ValidateForeignKey")],
    ),
    "a constraint, and nullable": (
        lambda: key(db_constraint=False),
        lambda: key(null=True),
        [("plain", "AlterField"), ("contract", "AddForeignKey ValidateForeignKey")],
    ),
    "nullable": (key, lambda: key(null=True), [("expand", "DropNotNull")]),
    "not nullable": (lambda: key(null=True), key, [("contract", "SetNotNull")]),
    "nullable, and without an index": (
        key,
        lambda: key(null=True, db_index=False),
        [("expand", "DropNotNull"), ("contract", "DropFieldIndexesConcurrently")],
    ),
    "an index": (
        lambda: key(db_index=False),
        key,
        [("expand", "CreateFieldIndexesConcurrently")],
    ),
    "a db_default": (key, lambda: key(db_default=1), [("expand", "AlterColumnDefault")]),
    "no db_default": (lambda: key(db_default=1), key, [("contract", "AlterColumnDefault")]),
    "a comment": (key, lambda: key(db_comment="x"), [("expand", "SetColumnComment")]),
    "a comment, a db_default, and nullable": (
        key,
        lambda: key(db_comment="x", db_default=1, null=True),
        [
            ("expand", "DropNotNull"),
            ("expand", "SetColumnComment"),
            ("expand", "AlterColumnDefault"),
        ],
    ),
    "a tablespace": (key, lambda: key(db_tablespace="fast"), [("expand", "")]),
    "a default": (key, lambda: key(default=1), [("expand", "")]),
    "another on_delete of Python's": (
        key,
        lambda: key(on_delete=models.PROTECT),
        [("plain", "AlterField")],
    ),
    "another related_name": (
        key,
        lambda: key(related_name="buys"),
        [("plain", "AlterField")],
    ),
    "a default without a constraint": (
        lambda: key(db_constraint=False),
        lambda: key(db_constraint=False, default=1),
        [("plain", "AlterField")],
    ),
    "the explicit key": (key, lambda: key(to_field="id"), []),
    "a child's key instead of its parent's": (
        lambda: key("caseapp.Person"),
        lambda: key("caseapp.Purchaser"),
        [("expand", "DropForeignKey"), ("contract", "AddForeignKey ValidateForeignKey")],
    ),
    "a db_default of a column": (
        models.IntegerField,
        lambda: models.IntegerField(db_default=1),
        [("plain", "AlterField")],
    ),
    "no db_default of a column": (
        lambda: models.IntegerField(db_default=1),
        models.IntegerField,
        [("contract", "AlterColumnDefault")],
    ),
    "a comment of a column, and an index": (
        models.IntegerField,
        lambda: models.IntegerField(db_comment="x", db_index=True),
        [("expand", "SetColumnComment"), ("expand", "CreateFieldIndexesConcurrently")],
    ),
    "a tablespace of a column": (
        models.IntegerField,
        lambda: models.IntegerField(db_tablespace="fast"),
        [("plain", "AlterField")],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_gets_these_stages(change: str) -> None:
    old, new, wanted = CHANGES[change]
    assert stages(detected(old, new)) == wanted


@pytest.mark.parametrize("change", CHANGES)
def test_a_foreign_key_with_a_constraint_is_never_left_to_django(change: str) -> None:
    # Its AlterField drops the constraint and validates it anew, except for what it ignores.
    old, new, _ = CHANGES[change]
    ignored = ("on_delete", "related_name", "to_field", "default")
    for migration in detected(old, new):
        for operation in migration.operations:
            if not isinstance(operation, AlterField) or not getattr(old(), "db_constraint", False):
                continue
            before, after = old().deconstruct()[3], new().deconstruct()[3]
            changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
            assert changed <= set(ignored), changed


def test_another_model_is_told_of() -> None:
    said = notes(detected(key, lambda: key("caseapp.Client")))
    assert "DSM542" in said
    assert "caseapp.client instead of caseapp.customer" in said


def test_a_tablespace_is_told_of() -> None:
    assert "REINDEX" in notes(detected(key, lambda: key(db_tablespace="fast")))


def test_an_upsert_of_old_code_is_told_of_when_a_one_to_one_goes() -> None:
    assert "DSM515" in notes(detected(one, key))


ACTIONS: dict[str, tuple[str, str, str]] = {
    "PostgreSQL instead of Python": ("CASCADE", "DB_CASCADE", "expand"),
    "PostgreSQL instead of Python, another action": ("PROTECT", "DB_SET_NULL", "expand"),
    "Python instead of PostgreSQL": ("DB_CASCADE", "CASCADE", "contract"),
    "the milder action": ("DB_CASCADE", "DB_SET_NULL", "expand"),
    "the harsher action": ("DB_SET_NULL", "DB_CASCADE", "contract"),
}


@pytest.mark.parametrize("change", ACTIONS)
def test_an_action_of_the_databases_comes_when_both_generations_can_live_with_it(
    change: str,
) -> None:
    if django.VERSION < (6, 1):
        # Database-level actions came with Django 6.1.
        assert not hasattr(models, "DB_CASCADE")
        return
    before, after, phase = ACTIONS[change]
    found = detected(
        lambda: key(on_delete=getattr(models, before), null=True),
        lambda: key(on_delete=getattr(models, after), null=True),
    )
    assert stages(found) == [(phase, "ReplaceForeignKey")]
    assert "when what a row refers to is deleted" in notes(found)


def test_null_comes_before_an_action_that_needs_it() -> None:
    if django.VERSION < (6, 1):
        assert not hasattr(models, "DB_SET_NULL")
        return
    found = detected(key, lambda: key(on_delete=models.DB_SET_NULL, null=True))
    assert stages(found) == [("expand", "DropNotNull"), ("expand", "ReplaceForeignKey")]


def test_the_state_changes_once_and_in_the_first_phase_that_there_is() -> None:
    for old, new, _ in CHANGES.values():
        states = [
            (operation_phase(operation), operation.state_operations)
            for migration in detected(old, new)
            for operation in migration.operations
            if hasattr(operation, "state_operations")
        ]
        expands = [found for phase, found in states if phase is Phase.EXPAND]
        assert all(expands), states
