"""What the page of makemigrations says of each change is what the hook and the linter do with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.hazards.examples import APP_LABEL, BASE
from django_safemigrations.rewrites import Plain, rewrite
from tests.docs.markdown import DOCS, rows, sections
from tests.lint.conftest import Project

PAGE = sections(DOCS / "reference" / "makemigrations.md", 2)
STAGED = {cells[0]: cells[1:] for cells in rows(PAGE["What is written in stages"])}
PLAIN = {cells[0]: cells[1:] for cells in rows(PAGE["What is written as Django writes it"])}

EMAIL = 'migrations.AlterField("customer", "email", models.CharField(max_length=254'

# An operation on the examples' shop for each row of the page.
STAGED_EXAMPLES = {
    "`AddIndex`": 'migrations.AddIndex("order", models.Index(fields=["total"], name="by_total"))',
    "`RemoveIndex`": 'migrations.RemoveIndex("order", "order_reference_idx")',
    "`AlterField` that adds `db_index=True`": (
        'migrations.AlterField("order", "total", models.IntegerField(db_index=True))'
    ),
    "`AlterField` that removes `db_index=True`": (
        'migrations.AlterField("order", "total", models.IntegerField())'
    ),
    "`AlterField`, null → NOT NULL, with a constant default": f'{EMAIL}, default=""))',
    "`AlterField`, null → NOT NULL, with `db_default` only": (
        'migrations.AlterField("order", "discount", models.IntegerField(db_default=0))'
    ),
    "`AlterField`, null → NOT NULL, with another callable as default": (
        f"{EMAIL}, default=only_in_python))"
    ),
    "`AlterField`, null → NOT NULL, without a default": f"{EMAIL}))",
    "`RenameField`": 'migrations.RenameField("order", "total", "amount")',
}
BEFORE = {
    "`AlterField` that removes `db_index=True`": (
        'migrations.AlterField("order", "total", models.IntegerField(db_index=True))'
    ),
}
PLAIN_EXAMPLES = {
    "Add a model": 'migrations.CreateModel("Box", [("id", models.BigAutoField(primary_key=True))])',
    "Add a nullable field": 'migrations.AddField("order", "x", models.IntegerField(null=True))',
    "Add a field with a constant `db_default`": (
        'migrations.AddField("order", "x", models.IntegerField(db_default=1))'
    ),
    "Add a NOT NULL field with a `default`": (
        'migrations.AddField("order", "x", models.IntegerField(default=1))'
    ),
    "Add a `PositiveIntegerField`, null": (
        'migrations.AddField("order", "x", models.PositiveIntegerField(null=True))'
    ),
    "Add a field with `unique=True`, null": (
        'migrations.AddField("order", "x", models.IntegerField(null=True, unique=True))'
    ),
    "Add a foreign key, null": (
        'migrations.AddField("order", "x", models.ForeignKey("store.Tag", models.CASCADE, null=True))'
    ),
    "Add a field with a volatile `db_default`": (
        'migrations.AddField("order", "x", models.FloatField(db_default=models.functions.Random()))'
    ),
    "Remove a field": 'migrations.RemoveField("order", "total")',
    "Make a field nullable": (
        'migrations.AlterField("order", "total", models.IntegerField(null=True))'
    ),
    "Widen a `CharField`": (
        'migrations.AlterField("order", "reference", models.CharField(max_length=30))'
    ),
    "Change a type so that the table is rewritten": (
        'migrations.AlterField("order", "total", models.BigIntegerField())'
    ),
    "Add `unique=True` to a field": (
        'migrations.AlterField("order", "total", models.IntegerField(unique=True))'
    ),
    "Change where a foreign key points": (
        'migrations.AlterField("order", "customer", models.ForeignKey("store.Tag", models.PROTECT))'
    ),
    "Rename a primary key": 'migrations.RenameField("order", "id", "number")',
    "Rename a `ManyToManyField`": 'migrations.RenameField("order", "tags", "labels")',
    "Rename an index": (
        'migrations.RenameIndex("order", new_name="other", old_name="order_reference_idx")'
    ),
    "Rename a model": 'migrations.RenameModel("Order", "Purchase")',
    "Change `db_table`": 'migrations.AlterModelTable("order", "purchases")',
    "Delete a model": 'migrations.DeleteModel("Order")',
    "Add a `CheckConstraint`": (
        'migrations.AddConstraint("order", models.CheckConstraint('
        'condition=models.Q(total__gt=0), name="positive"))'
    ),
    "Add a `UniqueConstraint`": (
        'migrations.AddConstraint("order", models.UniqueConstraint('
        'fields=["reference"], name="once"))'
    ),
    "Remove a constraint": 'migrations.RemoveConstraint("order", "once")',
    "Extend `unique_together`": 'migrations.AlterUniqueTogether("order", {("reference", "total")})',
    "Set `order_with_respect_to`": 'migrations.AlterOrderWithRespectTo("order", "customer")',
}
BEFORE["Remove a constraint"] = PLAIN_EXAMPLES["Add a `UniqueConstraint`"]


def only_in_python() -> str:
    return "x"


NAMES: dict[str, Any] = {
    "migrations": migrations,
    "models": models,
    "only_in_python": only_in_python,
}


def steps_of(change: str, source: str) -> list[Any]:
    """Return what the hook makes of an operation on the examples' shop."""
    names: dict[str, Any] = {"__name__": "base"}
    exec(BASE, names)
    state = ProjectState()
    names["Migration"]("0001_initial", APP_LABEL).mutate_state(state, preserve=False)
    if change in BEFORE:
        eval(BEFORE[change], NAMES).state_forwards(APP_LABEL, state)
    return rewrite(APP_LABEL, [eval(source, NAMES)], state, Settings(), set())


def stages(operations: tuple[Any, ...]) -> str:
    """Return the stages of some containers as the page lists them."""
    return ", ".join(
        f"`{type(stage).__name__}`"
        for container in operations
        for stage in container.database_operations
    )


def test_every_row_of_the_page_has_an_example() -> None:
    assert list(STAGED) == list(STAGED_EXAMPLES)
    assert list(PLAIN) == list(PLAIN_EXAMPLES)


@pytest.mark.parametrize("change", STAGED_EXAMPLES)
def test_what_is_staged_becomes_these_stages(change: str) -> None:
    (chain,) = steps_of(change, STAGED_EXAMPLES[change])
    assert not isinstance(chain, Plain)
    assert [stages(chain.expand), stages(chain.contract)] == STAGED[change]


@pytest.mark.parametrize("change", PLAIN_EXAMPLES)
def test_what_is_not_staged_stays_as_django_wrote_it(change: str) -> None:
    assert all(isinstance(step, Plain) for step in steps_of(change, PLAIN_EXAMPLES[change]))


@pytest.mark.parametrize("change", PLAIN_EXAMPLES)
def test_what_is_not_staged_is_reported_under_this_code(project: Project, change: str) -> None:
    if change in BEFORE:
        project.add("0002_before", f"operations = [{BEFORE[change]}]")
    (reported,) = PLAIN[change]
    assert project.codes(PLAIN_EXAMPLES[change]) == ([] if reported == "nothing" else [reported])


@pytest.mark.parametrize("change", STAGED_EXAMPLES)
def test_what_is_staged_would_be_reported_as_django_writes_it(
    project: Project, change: str
) -> None:
    if change in BEFORE:
        project.add("0002_before", f"operations = [{BEFORE[change]}]")
    setup = "def only_in_python():\n    return 'x'\n"
    assert project.codes(STAGED_EXAMPLES[change], setup=setup)


@pytest.mark.parametrize("page", ["makemigrations", "support"])
def test_every_code_on_a_page_is_in_the_catalogue(page: str) -> None:
    text = (DOCS / "reference" / f"{page}.md").read_text()
    words = text.replace(".", " ").replace("[", " ").replace("]", " ").split()
    codes = {word for word in words if word.startswith("DSM") and word[3:].isdigit()}
    assert codes
    assert codes <= set(CATALOGUE)
