"""Whatever is wrong with a file, a package or the graph: one clear finding, and all else is linted."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import override_settings

from tests.lint.conftest import Project

HEAD = (
    "from django.db import migrations, models\n\n\n"
    "class Migration(migrations.Migration):\n"
    '    dependencies = [("store", "0001_initial")]\n'
)
UNSAFE = """
operations = [
    migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx")),
]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        (f"{HEAD}    operations = None\n", "TypeError"),
        (f"{HEAD}    operations = 'AddField'\n", "its operation 0 is 'A'"),
        (f"{HEAD}    operations = [migrations.AddField]\n", "its operation 0 is AddField"),
        (f"{HEAD}    operations = [migrations.RunSQL('SELECT 1'), None]\n", "operation 1 is None"),
        (
            f"{HEAD}    operations = [migrations.SeparateDatabaseAndState([migrations.AddField])]\n",
            "its operation 0.0 is AddField",
        ),
        (
            f"{HEAD}    operations = [migrations.SeparateDatabaseAndState(migrations.RunSQL(''))]\n",
            "0 are RunSQL, no list",
        ),
        (HEAD.replace('[("store", "0001_initial")]', '["store"]'), "'store' in its dependencies"),
        (HEAD.replace('"0001_initial")]', '"0001_initial", 1)]'), "is not a pair"),
        (f"{HEAD}    run_before = [('store',)]\n", "in its run_before is not a pair"),
        (f"{HEAD}    replaces = ['0002_a']\n", "in its replaces is not a pair"),
        ("class Migration:\n    def __init__(self, name, app_label): pass\n", "no subclass"),
    ],
)
def test_a_file_that_holds_what_django_cannot_run_is_one_finding(
    project: Project, text: str, message: str
) -> None:
    project.add_file("0002_broken", text)
    project.last = "0002_broken"
    project.add("0003_unsafe", UNSAFE)
    findings = project.findings()
    assert [(f.migration, f.code) for f in findings] == [
        ("0002_broken", "DSM904"),
        ("0003_unsafe", "DSM101"),
    ]
    assert message in findings[0].message


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"\xff\xfe# caf\xe9\n", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_text_is_one_finding(project: Project, content: bytes) -> None:
    (project.directory / "0002_binary.py").write_bytes(content)
    project.last = "0002_binary"
    project.add("0003_unsafe", UNSAFE)
    assert [f.code for f in project.findings()] == ["DSM904", "DSM101"]


@pytest.mark.parametrize(
    "text", ["import no_such_module_at_all\n", "raise RuntimeError('not today')\n", "x = (\n"]
)
def test_a_package_that_cannot_be_imported_is_one_finding_and_other_apps_are_linted(
    project: Project, text: str
) -> None:
    project.add_other("billing.0001_initial", f"{HEAD}    operations = []\n")
    project.add("0002_unsafe", 'dependencies += [("billing", "0001_initial")]\n' + UNSAFE)
    (project.directory.parents[1] / "billing" / "migrations" / "__init__.py").write_text(text)
    findings = project.every_finding()
    assert [f.code for f in findings if f.app_label == "billing"] == ["DSM904"]
    assert [f.code for f in findings if f.app_label == "store"] == ["DSM101"]


def test_a_package_without_init_is_one_finding_since_django_passes_it_over(
    project: Project,
) -> None:
    project.add_other("billing.0001_initial", f"{HEAD}    operations = []\n")
    (project.directory.parents[1] / "billing" / "migrations" / "__init__.py").unlink()
    project.add("0002_unsafe", UNSAFE)
    findings = project.every_finding()
    [lost] = [f for f in findings if f.app_label == "billing"]
    assert lost.code == "DSM904"
    assert "no __init__.py" in lost.message
    assert [f.code for f in findings if f.app_label == "store"] == ["DSM101"]


def test_a_module_named_for_migrations_that_does_not_exist_is_one_finding(
    project: Project,
) -> None:
    with override_settings(MIGRATION_MODULES={"store": "store.no_such_package"}):
        [found] = project.findings()
    assert found.code == "DSM904"
    assert "MIGRATION_MODULES names store.no_such_package for store" in found.message


def test_an_app_whose_migrations_are_switched_off_is_passed_over(project: Project) -> None:
    project.add("0002_unsafe", UNSAFE)
    with override_settings(MIGRATION_MODULES={"store": None}):
        assert project.findings() == []


def test_a_migration_that_depends_on_itself_is_one_finding(project: Project) -> None:
    project.add("0002_self", UNSAFE, after="0002_self")
    assert sorted(f.code for f in project.findings()) == ["DSM101", "DSM904"]


@pytest.mark.parametrize(
    ("replaces", "problems"),
    [
        ('[("store", "0002_squashed")]', 1),
        ('[("store", "0002_squashed"), ("store", "0001_initial")]', 1),
        ('[("store", "0001_initial"), ("store", "0001_initial")]', 1),
        ('[("nowhere", "0001_initial")]', 0),
    ],
)
def test_a_squash_that_makes_no_sense_is_one_finding_and_all_else_is_linted(
    project: Project, replaces: str, problems: int
) -> None:
    project.add("0002_squashed", f"replaces = {replaces}\n{UNSAFE}")
    assert sorted(f.code for f in project.findings()) == ["DSM101"] + ["DSM904"] * problems


def test_an_operation_that_raises_wherever_it_is_asked_is_found_and_the_rest_is_judged(
    project: Project,
) -> None:
    setup = """
from django.db.migrations.operations.base import Operation


class Stubborn(Operation):
    phase = "whatever"
    reversible = True
    model_name = None

    def state_forwards(self, app_label, state):
        raise ValueError("no")
"""
    found = project.operations(
        "Stubborn(), migrations.SeparateDatabaseAndState([Stubborn()]), "
        'migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx"))',
        setup=setup,
    )
    assert "DSM101" in [f.code for f in found]
    assert {f.code for f in found} <= {"DSM101", "DSM405", "DSM904"}


def test_what_a_container_names_that_the_state_lacks_is_found(project: Project) -> None:
    found = project.operations(
        """
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField("order", "total")],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RemoveField("order", "total")],
        ),
        """
    )
    assert [(f.code, f.operation) for f in found] == [("DSM904", "1.0")]
    assert "store.order.total" in found[0].message


def test_the_path_of_a_broken_file_is_given(project: Project) -> None:
    path = project.add_file("0002_broken", f"{HEAD}    operations = [None]\n")
    assert Path(project.findings()[0].path) == path
