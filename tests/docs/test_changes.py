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

CUSTOMER = 'models.ForeignKey("store.Customer", models.PROTECT'
EMAIL = 'migrations.AlterField("customer", "email", models.CharField(max_length=254'

EXCLUDE = (
    '__import__("django.contrib.postgres.constraints", fromlist=["x"]).ExclusionConstraint('
    'name="exclude", expressions=[("total", "=")])'
)

# An operation on the examples' shop for each row of the page.
STAGED_EXAMPLES = {
    "`AddField`, NOT NULL, with a constant default": (
        'migrations.AddField("order", "x", models.IntegerField(default=1))'
    ),
    "`AddField` that may be blank, without a default": (
        'migrations.AddField("order", "x", models.TextField(blank=True))'
    ),
    "`AddField` with `auto_now_add` or `auto_now`": (
        'migrations.AddField("order", "x", models.DateTimeField(auto_now=True))'
    ),
    "`AddField`, NOT NULL, with `uuid.uuid4` as default": (
        'migrations.AddField("order", "x", models.UUIDField(default=__import__("uuid").uuid4))'
    ),
    "`AddField`, NOT NULL, with another callable as default": (
        'migrations.AddField("order", "x", models.TextField(default=only_in_python))'
    ),
    "`AddField` with a volatile `db_default`": (
        'migrations.AddField("order", "x", models.FloatField(db_default=models.functions.Random()))'
    ),
    "`AddField` of a `PositiveIntegerField`, null": (
        'migrations.AddField("order", "x", models.PositiveIntegerField(null=True))'
    ),
    "`AddField` with `unique=True`, null": (
        'migrations.AddField("order", "x", models.IntegerField(null=True, unique=True))'
    ),
    "`AddField` with `db_index=True`, null": (
        'migrations.AddField("order", "x", models.IntegerField(null=True, db_index=True))'
    ),
    "`AddField` of a foreign key, null": (
        'migrations.AddField("order", "x", models.ForeignKey("store.Tag", models.CASCADE, null=True))'
    ),
    "`AddField` of a one-to-one, null": (
        'migrations.AddField("order", "x", models.OneToOneField("store.Tag", models.CASCADE, '
        "null=True))"
    ),
    "`AlterOrderWithRespectTo` to a field": (
        'migrations.AlterOrderWithRespectTo("order", "customer")'
    ),
    "`AddIndex`": 'migrations.AddIndex("order", models.Index(fields=["total"], name="by_total"))',
    "`RemoveIndex`": 'migrations.RemoveIndex("order", "order_reference_idx")',
    "`AlterField` that adds `db_index=True`": (
        'migrations.AlterField("order", "total", models.IntegerField(db_index=True))'
    ),
    "`AlterField` that removes `db_index=True`": (
        'migrations.AlterField("order", "total", models.IntegerField())'
    ),
    "`AddConstraint`, a check": (
        'migrations.AddConstraint("order", models.CheckConstraint('
        'condition=models.Q(total__gt=0), name="positive"))'
    ),
    "`AddConstraint`, a unique constraint": (
        'migrations.AddConstraint("order", models.UniqueConstraint('
        'fields=["reference"], name="once"))'
    ),
    "`AddConstraint`, a deferrable unique constraint": (
        'migrations.AddConstraint("order", models.UniqueConstraint('
        'fields=["reference"], name="once", deferrable=models.Deferrable.DEFERRED))'
    ),
    "`RemoveConstraint`, a check": 'migrations.RemoveConstraint("order", "positive")',
    "`RemoveConstraint`, a unique constraint": 'migrations.RemoveConstraint("order", "once")',
    "`AlterUniqueTogether` that adds a set": (
        'migrations.AlterUniqueTogether("order", {("reference", "total")})'
    ),
    "`AlterUniqueTogether` that removes a set": 'migrations.AlterUniqueTogether("order", set())',
    "`AlterUniqueTogether`, one set in place of another": (
        'migrations.AlterUniqueTogether("order", {("reference", "customer")})'
    ),
    "`AlterField` that adds `unique=True`": (
        'migrations.AlterField("order", "total", models.IntegerField(unique=True))'
    ),
    "`AlterField` that removes `unique=True`": (
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
    "`AlterField`, foreign key → one-to-one": (
        'migrations.AlterField("order", "customer", models.OneToOneField('
        '"store.Customer", models.PROTECT))'
    ),
    "`AlterField`, one-to-one → foreign key": (
        f'migrations.AlterField("order", "customer", {CUSTOMER}))'
    ),
    "`AlterField` that makes a foreign key nullable": (
        f'migrations.AlterField("order", "customer", {CUSTOMER}, null=True))'
    ),
    "`AlterField`, another target of a foreign key, of the same type": (
        'migrations.AlterField("order", "customer", models.ForeignKey("store.Tag", models.PROTECT))'
    ),
    "`AlterField` that adds `db_constraint=True`": (
        f'migrations.AlterField("order", "customer", {CUSTOMER}))'
    ),
    "`AlterField` that changes the `db_default` of a foreign key": (
        f'migrations.AlterField("order", "customer", {CUSTOMER}, db_default=1))'
    ),
    "`AlterField` that drops a `db_default`": (
        'migrations.AlterField("order", "discount", models.IntegerField(null=True))'
    ),
    "`AlterField` that changes `db_comment`": (
        'migrations.AlterField("order", "total", models.PositiveIntegerField(db_comment="cents"))'
    ),
    "`AlterField` to a wider type (`IntegerField` → `BigIntegerField`, …)": (
        'migrations.AlterField("order", "total", models.BigIntegerField())'
    ),
    "`AlterField` to a narrower type (a shorter `CharField`, …)": (
        'migrations.AlterField("order", "reference", models.CharField(max_length=10))'
    ),
    "`AlterField` to another kind of type": (
        'migrations.AlterField("order", "total", models.TextField())'
    ),
    "`AlterField` to another kind of type, with a new `db_column`": (
        'migrations.AlterField("order", "total", models.TextField(db_column="total_text"))'
    ),
    "`AlterField` that adds the CHECK of a type (`PositiveIntegerField`)": (
        'migrations.AlterField("order", "total", models.PositiveIntegerField())'
    ),
    "`AlterField` that drops the CHECK of a type": (
        'migrations.AlterField("order", "total", models.IntegerField())'
    ),
    "`AlterField` to a longer varchar that foreign keys point to": (
        'migrations.AlterField("place", "code", models.CharField(max_length=12, unique=True))'
    ),
    "`AlterField` of a primary key to a wider integer, `BigAutoField` for one": (
        'migrations.AlterField("box", "id", models.BigAutoField(primary_key=True))'
    ),
    "`RenameField`": 'migrations.RenameField("order", "total", "amount")',
    "`RenameField` of a `ManyToManyField`": 'migrations.RenameField("order", "tags", "labels")',
    "`RenameModel`": 'migrations.RenameModel("Order", "Purchase")',
    "`AlterField` that changes a `ManyToManyField`'s `db_table`": (
        'migrations.AlterField("order", "tags", models.ManyToManyField("store.Tag", db_table="ot"))'
    ),
    "`RenameModel` of a `ManyToManyField`'s target": 'migrations.RenameModel("Tag", "Label")',
    "`AlterModelTable`": 'migrations.AlterModelTable("order", "purchases")',
    "`RemoveField`": 'migrations.RemoveField("order", "total")',
    "`RemoveField` of a `ManyToManyField`": 'migrations.RemoveField("order", "tags")',
    "`DeleteModel`": 'migrations.DeleteModel("Tag")',
    "`AlterOrderWithRespectTo` to `None`": 'migrations.AlterOrderWithRespectTo("order", None)',
}
BEFORE = {
    "`AlterOrderWithRespectTo` to `None`": (
        'migrations.AlterOrderWithRespectTo("order", "customer")'
    ),
    "`AlterField`, one-to-one → foreign key": (
        'migrations.AlterField("order", "customer", models.OneToOneField('
        '"store.Customer", models.PROTECT))'
    ),
    "`AlterField` that adds `db_constraint=True`": (
        f'migrations.AlterField("order", "customer", {CUSTOMER}, db_constraint=False))'
    ),
    "`AlterField` that changes `db_comment`": (
        'migrations.AlterField("order", "total", models.PositiveIntegerField())'
    ),
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
    "Add a `ManyToManyField`": (
        'migrations.AddField("order", "x", models.ManyToManyField("store.Tag"))'
    ),
    "Add a stored generated field": (
        'migrations.AddField("order", "x", models.GeneratedField('
        'expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=True))'
    ),
    "Add a virtual generated field": (
        'migrations.AddField("order", "x", models.GeneratedField('
        'expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=False))'
    ),
    "Make a field nullable": (
        'migrations.AlterField("order", "total", models.IntegerField(null=True))'
    ),
    "Widen a `CharField`": (
        'migrations.AlterField("order", "reference", models.CharField(max_length=30))'
    ),
    "Change a type that foreign keys point to (`to_field`), unless a varchar gets longer": (
        'migrations.AlterField("place", "code", models.CharField(max_length=5, unique=True))'
    ),
    "Add or change a `db_default`": (
        'migrations.AlterField("order", "total", models.IntegerField(db_default=1))'
    ),
    "Rename a primary key": 'migrations.RenameField("order", "id", "number")',
    "Make another kind of value of a primary key": (
        'migrations.AlterField("order", "id", models.UUIDField(primary_key=True))'
    ),
    "Rename an index": (
        'migrations.RenameIndex("order", new_name="other", old_name="order_reference_idx")'
    ),
    "Change how a generated field is computed": (
        'migrations.AlterField("order", "twice", models.GeneratedField('
        'expression=models.F("total") * 3, output_field=models.IntegerField(), db_persist=True))'
    ),
    "Add or take away the `through` model of a `ManyToManyField`": (
        'migrations.AlterField("order", "tags", '
        'models.ManyToManyField("store.Tag", through="store.Tagging"))'
    ),
    "Give a `ManyToManyField` another `through` model": (
        'migrations.AlterField("order", "marks", '
        'models.ManyToManyField("store.Tag", through="store.Customer"))'
    ),
    "Give a `ManyToManyField` another target": (
        'migrations.AlterField("order", "tags", models.ManyToManyField("store.Customer"))'
    ),
    "Add an `ExclusionConstraint`": f'migrations.AddConstraint("order", {EXCLUDE})',
    "Remove an `ExclusionConstraint`": 'migrations.RemoveConstraint("order", "exclude")',
}
BEFORE["`AlterField` of a primary key to a wider integer, `BigAutoField` for one"] = (
    'migrations.CreateModel("Box", [("id", models.AutoField(primary_key=True))])'
)
BEFORE["Change a type that foreign keys point to (`to_field`), unless a varchar gets longer"] = (
    'migrations.CreateModel("Place", [("id", models.BigAutoField(primary_key=True)),'
    ' ("code", models.CharField(max_length=9, unique=True)),'
    ' ("within", models.ForeignKey("self", models.CASCADE, to_field="code", null=True))])'
)
BEFORE["`AlterField` to a longer varchar that foreign keys point to"] = BEFORE[
    "Change a type that foreign keys point to (`to_field`), unless a varchar gets longer"
]
BEFORE["`AlterField` that drops the CHECK of a type"] = (
    'migrations.AlterField("order", "total", models.PositiveIntegerField())'
)
BEFORE["Change how a generated field is computed"] = (
    'migrations.AddField("order", "twice", models.GeneratedField('
    'expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=True))'
)
BEFORE["Give a `ManyToManyField` another `through` model"] = (
    'migrations.AddField("order", "marks", '
    'models.ManyToManyField("store.Tag", through="store.Tagging"))'
)
BEFORE["Remove an `ExclusionConstraint`"] = PLAIN_EXAMPLES["Add an `ExclusionConstraint`"]
BEFORE["`RemoveConstraint`, a check"] = STAGED_EXAMPLES["`AddConstraint`, a check"]
BEFORE["`RemoveConstraint`, a unique constraint"] = STAGED_EXAMPLES[
    "`AddConstraint`, a unique constraint"
]
BEFORE["`AlterUniqueTogether` that removes a set"] = STAGED_EXAMPLES[
    "`AlterUniqueTogether` that adds a set"
]
BEFORE["`AlterUniqueTogether`, one set in place of another"] = STAGED_EXAMPLES[
    "`AlterUniqueTogether` that adds a set"
]
BEFORE["`AlterField` that removes `unique=True`"] = STAGED_EXAMPLES[
    "`AlterField` that adds `unique=True`"
]


HARMLESS = {"`AlterField` that drops the CHECK of a type", "`RemoveConstraint`, a check"}
"""Staged for their way back: it is what would read the table under a lock."""


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
    codes = project.codes(STAGED_EXAMPLES[change], setup=setup)
    assert bool(codes) == (change not in HARMLESS)


@pytest.mark.parametrize("page", ["makemigrations", "support"])
def test_every_code_on_a_page_is_in_the_catalogue(page: str) -> None:
    text = (DOCS / "reference" / f"{page}.md").read_text()
    words = text.replace(".", " ").replace("[", " ").replace("]", " ").split()
    codes = {word for word in words if word.startswith("DSM") and word[3:].isdigit()}
    assert codes
    assert codes <= set(CATALOGUE)
