"""Files that can't be read, graphs that can't be followed, squashes, and places in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_safemigrations.lint import LintLoader, lint_migrations
from tests.lint.conftest import Project, forget

UNSAFE = """
operations = [
    migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx")),
]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Migration(:\n", "SyntaxError"),
        ("import no_such_module_at_all\n", "No module named"),
        ("raise RuntimeError('not today')\n", "not today"),
        ("x = 1\n", "no Migration class"),
        ("Migration = 5\n", "TypeError"),
    ],
)
def test_an_unreadable_file_is_one_finding_and_all_others_are_still_linted(
    project: Project, text: str, message: str
) -> None:
    project.add("0002_safe", "operations = []")
    broken = project.add_file("0003_broken", text)
    project.last = "0003_broken"
    project.add("0004_unsafe", UNSAFE)
    findings = project.findings()
    assert [(f.migration, f.code) for f in findings] == [
        ("0003_broken", "DSM904"),
        ("0004_unsafe", "DSM101"),
    ]
    assert message in findings[0].message
    assert findings[0].path == str(broken)


def test_the_line_of_a_syntax_error_is_given(project: Project) -> None:
    project.add_file("0002_broken", "x = 1\ny = (\n")
    project.last = "0002_broken"
    assert project.findings()[0].line == 2


def test_the_line_that_raised_is_given(project: Project) -> None:
    project.add_file("0002_broken", "x = 1\n\nimport no_such_module_at_all\n")
    assert project.findings()[0].line == 3


def test_operations_that_need_an_unreadable_file_are_no_findings_of_their_own(
    project: Project,
) -> None:
    project.add_file("0002_broken", "x = (\n")
    project.last = "0002_broken"
    project.add(
        "0003_needs_it",
        """
        operations = [
            migrations.AlterField("shelf", "name", models.CharField(max_length=9)),
            migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx")),
        ]
        """,
    )
    assert [f.code for f in project.findings()] == ["DSM904", "DSM101"]


def test_a_missing_dependency_is_one_finding(project: Project) -> None:
    project.add("0002_lost", UNSAFE, after="0001_no_such_file")
    findings = project.findings()
    assert sorted(f.code for f in findings if f.migration == "0002_lost") == ["DSM101", "DSM904"]
    assert "store.0001_no_such_file" in next(f for f in findings if f.code == "DSM904").message


def test_a_dependency_on_an_app_that_is_not_installed_is_one_finding(project: Project) -> None:
    project.add("0002_lost", 'dependencies += [("nowhere", "__first__")]\n' + UNSAFE)
    findings = project.findings()
    assert sorted(f.code for f in findings) == ["DSM101", "DSM904"]


def test_a_circle_of_dependencies_is_one_finding(project: Project) -> None:
    project.add("0002_a", UNSAFE, after="0003_b")
    project.add("0003_b", "operations = []", after="0002_a")
    findings = project.findings()
    assert [f.code for f in findings if f.code == "DSM904" and "circle" in f.message] == ["DSM904"]
    assert "DSM101" in [f.code for f in findings]


def test_two_last_migrations_are_one_finding_that_says_merge(project: Project) -> None:
    project.add("0002_a", UNSAFE)
    project.add("0002_b", "operations = []", after="0001_initial")
    findings = project.findings()
    assert sorted(f.code for f in findings) == ["DSM101", "DSM904"]
    conflict = next(f for f in findings if f.code == "DSM904")
    assert "0002_a, 0002_b" in conflict.message
    assert "makemigrations --merge store" in conflict.hint


def test_an_operation_on_a_model_that_no_migration_made_is_one_finding(project: Project) -> None:
    project.add(
        "0002_stray",
        """
        operations = [
            migrations.RemoveField("shelf", "name"),
        ]
        """,
    )
    assert [f.code for f in project.findings()] == ["DSM904"]


def test_linting_leaves_the_operations_fit_to_be_run(project: Project) -> None:
    project.add(
        "0002_keys",
        """
        operations = [
            migrations.AddField(
                "customer", "code", models.CharField(max_length=9, null=True, unique=True)
            ),
            migrations.AddField(
                "order",
                "agent",
                models.ForeignKey("store.Customer", models.CASCADE, null=True, to_field="code"),
            ),
        ]
        """,
    )
    project.add(
        "0003_rename",
        """
        operations = [
            migrations.SeparateDatabaseAndState(
                state_operations=[migrations.RenameField("customer", "code", "number")],
            ),
        ]
        """,
    )
    forget()
    loader = LintLoader(None, ignore_no_migrations=True)
    lint_migrations(loader)
    apps = loader.project_state(("store", "0002_keys")).apps
    agent = apps.get_model("store", "Order")._meta.get_field("agent")
    assert agent.target_field.name == "code"


def test_a_squash_and_the_files_that_it_replaces_are_all_linted(project: Project) -> None:
    project.add("0002_a", UNSAFE)
    project.add(
        "0003_b",
        'operations = [migrations.RemoveIndex("order", "total_idx")]',
    )
    project.add(
        "0002_squashed_0003",
        'replaces = [("store", "0002_a"), ("store", "0003_b")]\n'
        'operations = [migrations.AddField("order", "x", models.IntegerField(default=0))]',
        after="0001_initial",
    )
    project.add("0004_after", UNSAFE.replace("total_idx", "other"), after="0003_b")
    assert [(f.migration, f.code) for f in project.findings()] == [
        ("0002_a", "DSM101"),
        ("0003_b", "DSM102"),
        ("0002_squashed_0003", "DSM501"),
        ("0004_after", "DSM101"),
    ]


def test_a_squash_of_a_squash_is_linted_with_all_its_files(project: Project) -> None:
    for name in ("0002_a", "0003_b"):
        project.add(name, UNSAFE.replace("total_idx", name))
    project.add(
        "0002_squashed",
        'replaces = [("store", "0002_a"), ("store", "0003_b")]\n' + UNSAFE,
        after="0001_initial",
    )
    project.add("0004_c", "operations = []", after="0003_b")
    project.add(
        "0002_squashed_again",
        'replaces = [("store", "0002_squashed"), ("store", "0004_c")]\n' + UNSAFE,
        after="0001_initial",
    )
    found = sorted((f.migration, f.code) for f in project.findings())
    assert found == [
        ("0002_a", "DSM101"),
        ("0002_squashed", "DSM101"),
        ("0002_squashed_again", "DSM101"),
        ("0003_b", "DSM101"),
    ]


def test_a_squash_whose_replaced_files_are_gone_is_linted(project: Project) -> None:
    project.add("0002_squashed", 'replaces = [("store", "0002_a"), ("store", "0003_b")]\n' + UNSAFE)
    project.add("0004_after", UNSAFE.replace("total_idx", "other"), after="0003_b")
    assert [(f.migration, f.code) for f in project.findings()] == [
        ("0002_squashed", "DSM101"),
        ("0004_after", "DSM101"),
        ("0004_after", "DSM413"),
    ]


def test_a_computed_list_of_operations_gets_the_line_of_the_class(project: Project) -> None:
    path = project.add(
        "0002_computed",
        """
        operations = [
            migrations.AddIndex("order", models.Index(fields=[name], name=name))
            for name in ["total"]
        ]
        """,
    )
    finding = project.findings()[0]
    assert (finding.code, finding.operation) == ("DSM101", "0")
    assert Path(finding.path).read_text().splitlines()[finding.line - 1].startswith("class")
    assert finding.path == str(path)


def test_operations_of_added_lists_keep_their_lines(project: Project) -> None:
    project.add(
        "0002_sum",
        """
        operations = [
            migrations.AlterModelOptions("order", {}),
        ] + [
            migrations.AddIndex("order", models.Index(fields=["total"], name="total_idx")),
        ]
        """,
    )
    finding = project.findings()[0]
    line = Path(finding.path).read_text().splitlines()[finding.line - 1]
    assert "AddIndex" in line
    assert finding.operation == "1"
