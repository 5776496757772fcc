"""Merges, squashes and dependencies: what files are to each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import override_settings

from tests.lint.conftest import Project

Codes = Callable[..., list[str]]

HEAD = "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
WIDER = 'migrations.AlterField("order", "reference", models.CharField(max_length={}))'
NOTE = 'migrations.AddField("order", "note", models.TextField(null=True))'
MARK = 'migrations.AddField("order", "mark", models.TextField(null=True))'
UNIQUE = 'migrations.AlterUniqueTogether("order", {{("total", "{}")}})'
RENAME = 'migrations.RenameModel("Tag", "Label")'
SHELF = 'migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))])'


def merge(project: Project, one: str, two: str) -> list[str]:
    """Return what is found in a migration that joins two branches."""
    project.add("0002_a", f"operations = [{one}]")
    project.add("0002_b", f"operations = [{two}]", after="0001_initial")
    project.add(
        "0003_merge",
        'dependencies = [("store", "0002_a"), ("store", "0002_b")]\noperations = []',
    )
    return [f.code for f in project.findings() if f.migration == "0003_merge"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (NOTE, MARK),
        (NOTE, WIDER.format(60)),
        (SHELF, NOTE),
        (WIDER.format(60), WIDER.format(60)),
        (
            WIDER.format("20, help_text='x'"),
            WIDER.format("20, choices=[('a', 'b')]"),
        ),
        ('migrations.AlterModelOptions("order", {"ordering": ["total"]})',) * 2,
        (
            'migrations.AddIndex("order", models.Index(fields=["total"], name="a"))',
            'migrations.AddIndex("order", models.Index(fields=["total"], name="b"))',
        ),
        (UNIQUE.format("reference"), UNIQUE.format("reference")),
        (RENAME, NOTE),
        ("migrations.RunPython(migrations.RunPython.noop)",) * 2,
    ],
)
def test_branches_that_do_not_disturb_each_other_are_not_reported(
    project: Project, one: str, two: str
) -> None:
    assert merge(project, one, two) == []


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (WIDER.format(60), WIDER.format(40)),
        (WIDER.format(60), WIDER.format("20, null=True")),
        (WIDER.format("20, help_text='x'"), WIDER.format(40)),
        (WIDER.format(60), 'migrations.RenameField("order", "reference", "number")'),
        (UNIQUE.format("reference"), UNIQUE.format("customer")),
        (RENAME, 'migrations.AddField("tag", "note", models.TextField(null=True))'),
        ('migrations.AddField("tag", "note", models.TextField(null=True))', RENAME),
        (SHELF, SHELF),
        ('migrations.AlterModelTable("order", "a")', 'migrations.AlterModelTable("order", "b")'),
        (f"migrations.SeparateDatabaseAndState([{WIDER.format(60)}])", WIDER.format(40)),
    ],
)
def test_branches_that_change_the_same_are_reported(project: Project, one: str, two: str) -> None:
    assert "DSM410" in merge(project, one, two)


def test_both_files_and_what_they_change_are_named(project: Project) -> None:
    merge(project, WIDER.format(60), WIDER.format(40))
    [found] = [f for f in project.findings() if f.code == "DSM410"]
    assert "0002_a and 0002_b" in found.message
    assert "store.order.reference" in found.message


def test_what_comes_before_the_branches_is_no_conflict(project: Project) -> None:
    project.add("0002_before", f"operations = [{WIDER.format(30)}]")
    project.add("0003_a", f"operations = [{NOTE}]")
    project.add("0003_b", f"operations = [{WIDER.format(60)}]", after="0002_before")
    project.add(
        "0004_merge",
        'dependencies = [("store", "0003_a"), ("store", "0003_b")]\noperations = []',
    )
    assert [f.code for f in project.findings()] == []


def test_a_file_with_two_dependencies_in_a_row_is_no_merge(project: Project) -> None:
    project.add("0002_a", f"operations = [{WIDER.format(30)}]")
    project.add("0003_b", f"operations = [{WIDER.format(60)}]")
    project.add(
        "0004_c", 'dependencies = [("store", "0002_a"), ("store", "0003_b")]\noperations = []'
    )
    assert [f.code for f in project.findings()] == []


FILL = """

def fill(apps, schema_editor):
    apps.get_model("store", "Tag").objects.create(label="new")


def mend(apps, schema_editor):
    apps.get_model("store", "Tag").objects.filter(label="").update(label="none")
"""


def squash(project: Project, old: str, new: str) -> list[str]:
    project.add("0002_a", old, setup=FILL)
    project.add(
        "0002_squashed",
        f'replaces = [("store", "0002_a")]\n{new}',
        setup=FILL,
        after="0001_initial",
    )
    return [f.code for f in project.findings() if f.migration == "0002_squashed"]


RUN = "migrations.RunPython(fill, migrations.RunPython.noop{})"
SUPPRESSED = "DSM411"


def test_a_squash_that_loses_atomic_for_code_that_it_keeps_is_reported(project: Project) -> None:
    old = f"atomic = False\noperations = [{RUN.format('')}]"
    assert SUPPRESSED in squash(project, old, f"operations = [{RUN.format('')}]")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            f"atomic = False\noperations = [{RUN.format('')}]",
            f"atomic = False\noperations = [{RUN.format('')}]",
        ),
        (f"atomic = False\noperations = [{NOTE}]", f"operations = [{NOTE}]"),
        (f"atomic = False\noperations = [{RUN.format(', elidable=True')}]", "operations = []"),
        (f"operations = [{RUN.format(', elidable=True')}]", "operations = []"),
        ("operations = [migrations.RunPython(migrations.RunPython.noop)]", "operations = []"),
        # There are no rows to mend on a new database.
        (f"operations = [{RUN.format('').replace('fill', 'mend')}]", "operations = []"),
        (f"operations = [{RUN.format('')}]", f"operations = [{NOTE}, {RUN.format('')}]"),
    ],
)
def test_a_squash_that_keeps_what_matters_is_not_reported(
    project: Project, old: str, new: str
) -> None:
    assert SUPPRESSED not in squash(project, old, new)


def test_a_squash_that_leaves_code_out_that_makes_rows_is_reported(project: Project) -> None:
    assert squash(project, f"operations = [{RUN.format('')}]", "operations = []") == ["DSM411"]


def test_a_comment_for_the_whole_file_hides_what_is_said_of_the_whole_file(
    project: Project,
) -> None:
    comment = "# safemigrations: ignore-file DSM411 -- new databases need no old prices"
    new = f"{comment}\noperations = []"
    assert squash(project, f"operations = [{RUN.format('')}]", new) == []


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [
        ('("auth", "__latest__")', ["DSM412"]),
        ('("auth", "__first__")', []),
        ('("auth", "0012_alter_user_first_name_max_length")', []),
    ],
)
def test_only_a_dependency_on_the_last_migration_of_another_app_is_reported(
    project: Project, dependency: str, expected: list[str]
) -> None:
    project.add("0002_a", f"dependencies += [{dependency}]\noperations = [{NOTE}]")
    assert [f.code for f in project.findings()] == expected


BADGE = (
    'migrations.CreateModel("Badge", [("id", models.BigAutoField(primary_key=True)), '
    '("holder", models.ForeignKey("{}", models.CASCADE))])'
)


@pytest.mark.parametrize(
    ("dependencies", "to", "expected"),
    [
        ("[]", "auth.User", ["DSM417"]),
        ("[]", "store.Customer", []),
        ('[("auth", "0001_initial")]', "auth.User", []),
        ('[("auth", "0001_initial")]', "contenttypes.ContentType", []),
        ('[migrations.swappable_dependency("auth.User")]', "auth.User", []),
        ('[("contenttypes", "0001_initial")]', "auth.User", ["DSM417"]),
    ],
)
def test_a_relation_to_another_app_needs_a_dependency_even_if_indirect(
    project: Project, dependencies: str, to: str, expected: list[str]
) -> None:
    body = f"dependencies += {dependencies}\noperations = [{BADGE.format(to)}]"
    project.add("0002_badge", body)
    assert [f.code for f in project.findings()] == expected


def test_the_dependency_may_stand_in_an_earlier_file_of_the_app(project: Project) -> None:
    project.add("0002_a", 'dependencies += [("auth", "0001_initial")]\noperations = []')
    project.add("0003_badge", f"operations = [{BADGE.format('auth.User')}]")
    assert project.findings() == []


def test_the_first_migration_of_an_app_is_not_enough_if_a_later_one_makes_the_model(
    project: Project,
) -> None:
    project.add_other("billing.0001_initial", f"{HEAD}    operations = []\n")
    project.add_other(
        "billing.0002_invoice",
        f'{HEAD}    dependencies = [("billing", "0001_initial")]\n    operations = ['
        + SHELF.replace("Shelf", "Invoice")
        + "]\n",
    )
    for first, expected in (("0001_initial", ["DSM417"]), ("0002_invoice", [])):
        body = f'dependencies += [("billing", "{first}")]\noperations = [{BADGE.format("billing.Invoice")}]'
        project.add("0002_badge", body, after="0001_initial")
        assert [f.code for f in project.findings()] == expected


def test_a_relation_to_a_model_of_an_app_without_migrations_needs_none(project: Project) -> None:
    with override_settings(MIGRATION_MODULES={"auth": None}):
        project.add("0002_badge", f"operations = [{BADGE.format('auth.User')}]")
        assert project.findings() == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("store.Customer", ["DSM416"]), ("store.Person", []), (None, [])],
)
def test_only_a_relation_to_a_model_that_was_swapped_out_is_reported(
    project: Project, setting: str | None, expected: list[str]
) -> None:
    project.add(
        "0002_person",
        'operations = [migrations.CreateModel("Person", '
        '[("id", models.BigAutoField(primary_key=True))], '
        'options={"swappable": "STORE_PERSON_MODEL"})]',
    )
    project.add("0003_badge", f"operations = [{BADGE.format('store.Person')}]")
    with override_settings(STORE_PERSON_MODEL=setting):
        assert [f.code for f in project.findings()] == expected


OURS = "from django_safemigrations.operations import Contract, SetNotNull\n"
CONTRACT = (
    f"{OURS}{HEAD}    atomic = False\n"
    '    dependencies = [("billing", "0001_initial")]\n'
    '    operations = [Contract(database_operations=[SetNotNull("invoice", "number")])]\n'
)
BILLING = (
    f'{HEAD}    operations = [migrations.CreateModel("Invoice", '
    '[("id", models.BigAutoField(primary_key=True)), ("number", models.TextField(null=True))])]\n'
)


def test_a_contract_may_depend_on_another_apps_contract(project: Project) -> None:
    project.add_other("billing.0001_initial", BILLING)
    project.add_other("billing.0002_contract", CONTRACT)
    own = (
        'atomic = False\ndependencies += [("billing", "0002_contract")]\n'
        'operations = [Contract(database_operations=[SetNotNull("customer", "email")])]'
    )
    project.add("0002_contract", own, setup=OURS)
    assert project.findings() == []
    project.add(
        "0003_expand", f'dependencies += [("billing", "0002_contract")]\noperations = [{NOTE}]'
    )
    [found] = project.findings()
    assert found.code == "DSM415"
    assert "('billing', '0001_initial')" in found.hint
