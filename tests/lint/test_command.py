"""The command: what it prints, what it refuses, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_safemigrations.hazards import CATALOGUE, Severity
from django_safemigrations.lint import Finding
from django_safemigrations.lint.formats import FORMATS
from django_safemigrations.lint.report import Report
from django_safemigrations.management.commands.lintmigrations import Command
from tests.lint import schemas
from tests.lint.conftest import Project, forget

KEYS = [
    "code",
    "name",
    "severity",
    "app_label",
    "migration",
    "operation",
    "path",
    "line",
    "message",
    "hint",
    "url",
]


@pytest.fixture
def unsafe(project: Project) -> Project:
    """Two files: an error in the first, a warning in the second."""
    project.add(
        "0002_index",
        'operations = [migrations.AddIndex("order", '
        'models.Index(fields=["total"], name="total_idx"))]',
    )
    project.add(
        "0003_again",
        """
        atomic = False
        operations = [
            AddIndexConcurrently("order", models.Index(fields=["total"], name="again_idx")),
        ]
        """,
        setup="from django.contrib.postgres.operations import AddIndexConcurrently",
    )
    return project


def run(*arguments: str, **options: Any) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    forget()
    out = StringIO()
    try:
        call_command(Command(), *arguments, stdout=out, no_color=True, **options)
    except SystemExit as stop:
        return int(str(stop.code)), out.getvalue()
    return 0, out.getvalue()


def refused(*arguments: str) -> CommandError:
    """Return the error of a run that is refused."""
    forget()
    with pytest.raises(CommandError) as caught:
        call_command(Command(), *arguments, stdout=StringIO())
    return caught.value


def test_findings_are_printed_with_file_line_code_message_and_hint(unsafe: Project) -> None:
    code, printed = run("store")
    assert code == 1
    heading, first, second, third, *_ = printed.splitlines()
    path = unsafe.directory / "0002_index.py"
    assert heading == "store.0002_index"
    assert first == f"{path}:5: error DSM101 index-blocks-writes"
    assert second.startswith('    5 | operations = [migrations.AddIndex("order", ')
    assert third.startswith(
        "    CREATE INDEX total_idx reads all of store_order under a SHARE lock"
    )
    assert "        Expand(state_operations=[<this operation>]" in printed
    assert "3 migrations read: 1 error, 1 warning." in printed


def test_a_clean_project_exits_0(project: Project) -> None:
    assert run("store") == (0, "1 migration read, nothing found.\n")


def test_paths_below_the_working_directory_are_relative(
    unsafe: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unsafe.directory.parents[1])
    assert "\nstore/migrations/0002_index.py:5:" in run("store")[1]


def test_one_migration_can_be_named_in_full_or_by_prefix(unsafe: Project) -> None:
    assert run("store", "0001_initial")[0] == 0
    assert run("store", "0002")[0] == 1
    assert run("store", "0003")[0] == 0


def test_warnings_fail_only_when_asked_to(unsafe: Project) -> None:
    assert run("store", "0003_again")[0] == 0
    assert run("store", "0003_again", "--fail-on", "warning")[0] == 1


def test_codes_can_be_selected_and_ignored_by_code_and_name(unsafe: Project) -> None:
    assert run("store", "--select", "DSM101")[0] == 1
    assert "DSM104" not in run("store", "--select", "DSM101")[1]
    assert run("store", "--ignore", "DSM101,DSM104") == (
        0,
        "3 migrations read, nothing found.\n",
    )
    assert run("store", "--ignore", "DSM101", "--ignore", "concurrent-index-not-rerunnable")[0] == 0


def test_the_setting_leaves_codes_out(unsafe: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"LINT_IGNORE": ["DSM101", "DSM104"]}):
        assert run("store")[0] == 0


def test_json_has_the_shape_that_is_documented(unsafe: Project) -> None:
    code, printed = run("store", "--format", "json")
    report = json.loads(printed)
    assert code == 1
    assert list(report) == ["findings", "summary"]
    assert [list(finding) for finding in report["findings"]] == [KEYS, KEYS]
    first = report["findings"][0]
    assert {key: first[key] for key in KEYS[:6]} == {
        "code": "DSM101",
        "name": "index-blocks-writes",
        "severity": "error",
        "app_label": "store",
        "migration": "0002_index",
        "operation": "0",
    }
    assert first["path"] == str(unsafe.directory / "0002_index.py")
    assert first["line"] == 5
    assert first["url"] == CATALOGUE["DSM101"].url
    assert report["summary"] == {
        "migrations": 3,
        "errors": 1,
        "warnings": 1,
        "notes": 0,
        "third_party": 0,
        "suppressed": 0,
        "baseline": 0,
        "stale_baseline": 0,
        "failed": True,
    }


def test_json_of_a_clean_project_is_json_too(project: Project) -> None:
    code, printed = run("store", "--format", "json")
    assert (code, json.loads(printed)["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stor"], "There is no app 'stor'. Did you mean 'store'?"),
        (
            ["store", "0002_indx"],
            "App 'store' has no migration '0002_indx'. Did you mean '0002_index'?",
        ),
        (["store", "000"], "'000' fits more than one migration of 'store'"),
        (["--select", "DSM1O1"], "There is no hazard 'DSM1O1'. Did you mean 'DSM101'"),
        (["--ignore", "DSM101,nonsense"], "There is no hazard 'nonsense'."),
        (["--explain", "DSM999"], "There is no hazard 'DSM999'."),
        (["--unapplied", "--database", "defalt"], "There is no database 'defalt'."),
    ],
)
def test_wrong_usage_exits_2_and_names_the_nearest_right_one(
    unsafe: Project, arguments: list[str], message: str
) -> None:
    error = refused(*arguments)
    assert error.returncode == 2
    assert message in str(error)


def test_a_wrong_setting_exits_2(unsafe: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"LINT_IGNOR": []}):
        error = refused("store")
    assert error.returncode == 2
    assert "LINT_IGNORE" in str(error)


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_explained(code: str) -> None:
    exit_code, printed = run("--explain", code.lower())
    hazard = CATALOGUE[code]
    assert exit_code == 0
    assert hazard.title in printed
    assert hazard.way_out in printed
    assert hazard.url in printed


def test_unreadable_files_are_findings_and_not_tracebacks(unsafe: Project) -> None:
    unsafe.add_file("0004_broken", "x = (\n")
    code, printed = run("store")
    assert code == 1
    assert "0004_broken.py:1: error DSM904" in printed
    assert "Traceback" not in printed


@pytest.mark.django_db
def test_unapplied_leaves_out_what_the_database_has_applied(unsafe: Project) -> None:
    from django.db.migrations.recorder import MigrationRecorder

    recorder = MigrationRecorder(connections["default"])
    recorder.ensure_schema()
    recorder.record_applied("store", "0001_initial")
    recorder.record_applied("store", "0002_index")
    code, printed = run("store", "--unapplied")
    assert code == 0
    assert "DSM101" not in printed
    assert "1 migration read: 0 errors, 1 warning." in printed


def test_findings_of_installed_packages_are_listed_and_do_not_fail() -> None:
    report = Report((finding("/env/site-packages/pkg/migrations/0001.py"),), ())
    assert not report.failed
    assert report.summary()["third_party"] == 1


def test_findings_of_an_installed_package_count_when_it_is_named() -> None:
    path = "/env/site-packages/pkg/migrations/0001.py"
    assert Report((finding(path),), (), named=frozenset({"pkg"})).failed


def finding(path: str) -> Finding:
    return Finding(
        code="DSM101",
        name="index-blocks-writes",
        severity=Severity.ERROR,
        app_label="pkg",
        migration="0001",
        operation="0",
        path=path,
        line=1,
        message="message",
        hint="hint",
        url="url",
    )


def test_the_reference_page_lists_every_option() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "lintmigrations.md"
    text = page.read_text(encoding="utf-8")
    parser = BaseCommand().create_parser("manage.py", "lintmigrations")
    everybodys = {option for action in parser._actions for option in action.option_strings}
    parser = Command().create_parser("manage.py", "lintmigrations")
    ours = {option for action in parser._actions for option in action.option_strings} - everybodys
    assert len(ours) > 10
    assert [option for option in sorted(ours) if f"`{option}" not in text] == []


def test_no_connection_is_opened_unless_an_option_needs_one(
    unsafe: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def count(self: BaseDatabaseWrapper) -> None:
        opened.append(self.alias)
        raise OperationalError("no connection here")

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", count)
    sizes = tmp_path / "sizes.json"
    sizes.write_text(
        '{"version": 1, "exported_at": "2026-01-01", "search_path": ["public"], "tables": {}}'
    )
    baseline = str(tmp_path / "baseline.json")
    for arguments in [
        [],
        ["store"],
        ["store", "0002"],
        [str(unsafe.directory / "0002_index.py")],
        *(["--format", form] for form in FORMATS),
        ["--explain", "DSM101"],
        ["--list-rules"],
        ["--stats", str(sizes)],
        ["--baseline", baseline, "--write-baseline"],
        ["--baseline", baseline],
    ]:
        run(*arguments)
    assert opened == []
    for option in ("--unapplied", "--export-stats", "--leftovers"):
        assert "answer: no connection here" in str(refused(option))
    assert set(opened) == {"default"}


def test_rules_are_listed_with_the_severity_in_force(project: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"LINT_SEVERITIES": {"DSM101": "off"}}):
        code, printed = run("--list-rules")
        rules = json.loads(run("--list-rules", "--format", "json")[1])
        explained = run("--explain", "DSM101")[1]
    assert code == 0
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == sorted(CATALOGUE)
    assert next(line for line in lines if line.startswith("DSM101")).split()[1:3] == [
        "off",
        "index-blocks-writes",
    ]
    assert [rule["code"] for rule in rules] == sorted(CATALOGUE)
    assert rules[0]["severity"] == "off"
    assert rules[0]["default_severity"] == "error"
    assert explained.startswith(
        "DSM101 index-blocks-writes (off by your settings, error otherwise)"
    )


def test_an_explanation_is_found_by_name_and_shows_both_examples() -> None:
    printed = run("--explain", "index-blocks-writes")[1]
    assert "\nGrows with the table: every row is read, and put into an index.\n" in printed
    assert printed.index("Unsafe") < printed.index("Safe\n")
    assert "    class Migration(migrations.Migration):" in printed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("DSM1O1", "Did you mean 'DSM101' or"),
        ("dsm1o1", "'DSM101'"),
        ("DSM10", "'DSM101'"),
        ("index-block-writes", "'index-blocks-writes'"),
        ("zzz", "lintmigrations --list-rules lists them all."),
    ],
)
def test_a_mistyped_code_or_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    assert meant in str(refused("--explain", typed))


@pytest.fixture
def unvalidated(transactional_db: None) -> Iterator[None]:
    """What no migration accounts for: a constraint that nobody validated."""
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE left_behind (id int)")
        cursor.execute("ALTER TABLE left_behind ADD CONSTRAINT positive CHECK (id > 0) NOT VALID")
    yield
    with connections["default"].cursor() as cursor:
        cursor.execute("DROP TABLE left_behind")


def test_leftovers_in_a_database_are_found_when_asked_for(
    project: Project, unvalidated: None
) -> None:
    assert "DSM418" not in run()[1]
    code, printed = run("--leftovers", "--fail-on", "warning")
    assert code == 1
    assert "database default: warning DSM418 " in printed
    assert "Constraint positive of left_behind is NOT VALID" in printed
    with override_settings(SAFE_MIGRATIONS={"LINT_SEVERITIES": {"DSM418": "error"}}):
        assert run("--leftovers")[0] == 1
        assert run("store", "--leftovers")[0] == 0
    with override_settings(SAFE_MIGRATIONS={"LINT_IGNORE": ["DSM418"]}):
        assert run("--leftovers", "--fail-on", "warning")[0] == 0


def test_leftovers_have_no_file_that_a_machine_could_point_to(
    project: Project, unvalidated: None
) -> None:
    github = run("--leftovers", "--format", "github")[1]
    assert "::warning title=DSM418 " in github
    assert "::database default: Constraint positive" in github
    document = json.loads(run("--leftovers", "--format", "sarif")[1])
    assert schemas.errors(document, schemas.SARIF) == []
    (result,) = [r for r in document["runs"][0]["results"] if r["ruleId"] == "DSM418"]
    assert "physicalLocation" not in result["locations"][0]
    assert "Constraint positive" in run("--leftovers", "--format", "junit")[1]
