"""An old project: files as arguments, a baseline that accepts what is there, and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib import contenttypes
from django.core.checks import Error
from django.test import override_settings

from django_safemigrations.checks import check_lint_settings
from django_safemigrations.hazards.examples import APP_LABEL
from django_safemigrations.lint.fingerprints import fingerprint
from django_safemigrations.lint.source import read_source
from tests.lint.conftest import Project
from tests.lint.test_command import refused, run

INDEX = 'migrations.AddIndex("order", models.Index(fields=["total"], name="{name}_idx")),'


def add_index(project: Project, name: str, *, indent: str = "", comment: str = "") -> Path:
    """Write a migration with one finding, DSM101."""
    operation = INDEX.format(name=name.partition("_")[2])
    lines = [comment, operation] if comment else [operation]
    body = "\n".join(f"    {indent}{line}" for line in lines)
    return project.add(name, f"operations = [\n{body}\n]")


def found(*arguments: str) -> list[tuple[str, str]]:
    """Return migration and code of what is found in the project's own app."""
    printed = run(*arguments, "--format", "json")[1]
    return [
        (one["migration"], one["code"])
        for one in json.loads(printed)["findings"]
        if one["app_label"] == APP_LABEL
    ]


def summary(*arguments: str) -> dict[str, Any]:
    totals: dict[str, Any] = json.loads(run(*arguments, "--format", "json")[1])["summary"]
    return totals


# --- files as arguments --------------------------------------------------------------------------


def test_files_are_named_as_a_pre_commit_hook_names_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_index(project, "0002_a")
    add_index(project, "0003_b")
    add_index(project, "0004_c")
    monkeypatch.chdir(project.directory.parents[1])
    files = [f"store/migrations/{name}.py" for name in ("__init__", "0002_a", "0003_b", "0004_c")]
    assert found(*files[:2]) == [("0002_a", "DSM101")]
    assert len(found(*files)) == 3
    assert run(files[0])[1] == "0 migrations read, nothing found.\n"


def test_a_file_that_cannot_be_read_is_a_finding_when_it_is_named(project: Project) -> None:
    path = project.add_file("0002_broken", "x = (\n")
    assert found(str(path)) == [("0002_broken", "DSM904")]


def test_a_file_that_is_no_migration_is_said_and_one_that_is_not_there_is_refused(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "views.py").write_text("")
    code, printed = run(str(tmp_path / "views.py"))
    assert (code, "views.py is not a migration of an installed app." in printed) == (0, True)
    assert "There is no file 'migrations/0009.py'." in str(refused("migrations/0009.py"))


# --- the baseline --------------------------------------------------------------------------------


@pytest.fixture
def baseline(project: Project, tmp_path: Path) -> str:
    """Two accepted findings."""
    add_index(project, "0002_a")
    add_index(project, "0003_b")
    path = str(tmp_path / "baseline.json")
    code, printed = run("--baseline", path, "--write-baseline")
    assert code == 0
    assert printed.startswith(f"{path} accepts 2 findings.")
    return path


def entries(path: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(Path(path).read_text())["findings"]
    return listed


def test_a_baseline_hides_the_findings_of_today_and_no_others(
    project: Project, baseline: str
) -> None:
    assert run("--baseline", baseline)[0] == 0
    add_index(project, "0004_c")
    code, printed = run("--baseline", baseline)
    assert code == 1
    assert found("--baseline", baseline) == [("0004_c", "DSM101")]
    assert "1 error, 0 warnings (2 accepted by the baseline)" in printed


def test_a_baseline_holds_code_place_fingerprint_and_a_reason_to_fill_in(baseline: str) -> None:
    first, second = entries(baseline)
    assert list(first) == [
        "code",
        "app_label",
        "migration",
        "operation",
        "fingerprint",
        "reason",
    ]
    assert [first["code"], first["app_label"], first["migration"], first["operation"]] == [
        "DSM101",
        "store",
        "0002_a",
        "0",
    ]
    assert first["fingerprint"] != second["fingerprint"]


def test_a_baseline_does_not_mind_lines_layout_comments_and_quotes(
    project: Project, baseline: str
) -> None:
    path = project.directory / "0002_a.py"
    path.write_text(
        "# A comment\n\n\n"
        + path.read_text().replace(
            'migrations.AddIndex("order", models.Index(fields=["total"], name="a_idx")),',
            "migrations.AddIndex(\n        'order',  # why\n        models.Index(\n"
            "            fields=['total'],\n            name='a_idx',\n        ),\n    ),",
        )
    )
    assert "'a_idx'" in path.read_text()
    assert run("--baseline", baseline)[0] == 0


def test_a_baseline_follows_an_operation_to_another_place_in_the_list(
    project: Project, baseline: str
) -> None:
    path = project.directory / "0002_a.py"
    path.write_text(
        path.read_text().replace(
            "operations = [", 'operations = [\nmigrations.AlterModelOptions("order", {}),\n'
        )
    )
    assert run("--baseline", baseline)[0] == 0


def test_a_baseline_accepts_an_operation_once(project: Project, baseline: str) -> None:
    path = project.directory / "0002_a.py"
    text = path.read_text()
    operation = 'migrations.AddIndex("order", models.Index(fields=["total"], name="a_idx")),'
    path.write_text(text.replace(operation, f"{operation}\n{operation}"))
    assert ("0002_a", "DSM101") in found("--baseline", baseline)


def test_a_changed_operation_is_found_again_and_its_entry_is_stale(
    project: Project, baseline: str
) -> None:
    path = project.directory / "0002_a.py"
    path.write_text(path.read_text().replace("total", "reference"))
    assert found("--baseline", baseline) == [("0002_a", "DSM101")]
    totals = summary("--baseline", baseline)
    assert (totals["baseline"], totals["stale_baseline"]) == (1, 1)
    printed = run("--baseline", baseline)[1]
    assert "In the baseline and found no more" in printed
    assert "  DSM101 in store.0002_a, operation 0" in printed


def test_entries_of_files_that_are_gone_are_stale_only_when_all_files_are_read(
    project: Project, baseline: str
) -> None:
    (project.directory / "0003_b.py").unlink()
    assert summary("--baseline", baseline)["stale_baseline"] == 1
    assert summary("store", "0002", "--baseline", baseline)["stale_baseline"] == 0
    assert run("--baseline", baseline)[0] == 0


def test_writing_anew_keeps_reasons_and_drops_what_is_stale(
    project: Project, baseline: str
) -> None:
    document = json.loads(Path(baseline).read_text())
    for entry in document["findings"]:
        entry["reason"] = f"because of {entry['migration']}"
    Path(baseline).write_text(json.dumps(document))
    (project.directory / "0003_b.py").unlink()
    project.last = "0002_a"
    add_index(project, "0004_c")
    run("--baseline", baseline, "--write-baseline")
    reasons = [(entry["migration"], entry["reason"]) for entry in entries(baseline)]
    assert reasons == [("0002_a", "because of 0002_a"), ("0004_c", "")]


def test_writing_for_one_app_leaves_the_other_entries(project: Project, baseline: str) -> None:
    before = entries(baseline)
    run("auth", "--baseline", baseline, "--write-baseline")
    assert [one for one in entries(baseline) if one["app_label"] == "store"] == before


def test_the_reason_of_an_entry_is_in_sarif(project: Project, baseline: str) -> None:
    document = json.loads(Path(baseline).read_text())
    document["findings"][0]["reason"] = "ran in 2019"
    Path(baseline).write_text(json.dumps(document))
    results = json.loads(run("--baseline", baseline, "--format", "sarif")[1])["runs"][0]["results"]
    assert {
        result["suppressions"][0]["justification"] for result in results if result["suppressions"]
    } == {"ran in 2019", "accepted when the baseline was written"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read: No such file or directory. Write it with: manage.py lint"),
        ("{", "is not JSON"),
        ("[]", "has version None, and not 1"),
        ('{"version": 2}', "has version 2, and not 1"),
        ('{"version": 1}', "has no list of findings"),
        ('{"version": 1, "findings": [1]}', "findings[0] is not an object"),
        ('{"version": 1, "findings": [{"code": "DSM101"}]}', "no text for 'app_label'"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_wrong_usage(
    project: Project, tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "baseline.json"
    if text is not None:
        path.write_text(text)
    error = refused("--baseline", str(path))
    assert error.returncode == 2
    assert said in str(error)


@pytest.mark.parametrize(
    "arguments",
    [["--write-baseline"], ["--baseline", "x", "--write-baseline", "--select", "DSM101"]],
)
def test_a_baseline_is_written_somewhere_and_whole(project: Project, arguments: list[str]) -> None:
    assert refused(*arguments).returncode == 2


def test_a_function_belongs_to_the_operation_that_runs_it(project: Project) -> None:
    def mark(function: str, name: str) -> str:
        setup = f"def {name}(apps, schema_editor):\n    {function}\n\ndef other(apps, e): ...\n"
        path = project.add("0002_code", f"operations = [migrations.RunPython({name})]", setup=setup)
        return fingerprint(read_source(str(path)), "0")

    assert mark("return 1", "fill") == mark("return 1  # why", "fill")
    assert mark("return 1", "fill") != mark("return 2", "fill")


def test_an_operation_that_is_not_in_the_file_has_no_fingerprint(project: Project) -> None:
    path = project.add("0002_made", "operations = make()", setup="def make(): return []")
    assert fingerprint(read_source(str(path)), "0") == ""


# --- settings ------------------------------------------------------------------------------------


def test_severities_are_those_of_the_setting(project: Project) -> None:
    add_index(project, "0002_a")
    for severity, code, number in (
        ("warning", 0, 1),
        ("note", 0, 1),
        ("error", 1, 1),
        ("off", 0, 0),
    ):
        with override_settings(SAFE_MIGRATIONS={"LINT_SEVERITIES": {"DSM101": severity}}):
            assert run("store")[0] == code
            assert len(found("store")) == number


def test_apps_can_be_left_out(project: Project) -> None:
    add_index(project, "0002_a")
    with override_settings(SAFE_MIGRATIONS={"LINT_EXCLUDE_APPS": ["store"]}):
        code, printed = run("store")
        assert found() == []
    assert code == 0
    assert printed == (
        "store is left out by LINT_EXCLUDE_APPS.\n0 migrations read, nothing found.\n"
    )


def test_installed_packages_are_listed_and_fail_only_when_they_are_named(project: Project) -> None:
    path = Path(contenttypes.__file__).parent / "migrations/0002_remove_content_type_name.py"
    assert run()[0] == 0
    assert summary()["third_party"] > 0
    assert run("contenttypes")[0] == 1
    assert run(str(path))[0] == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"LINT_SEVERITIES": {"DSM1O1": "off"}}, "LINT_SEVERITIES: there is no hazard DSM1O1."),
        (
            {"LINT_SEVERITIES": {"DSM101": "eror"}},
            "'eror' is not one of error, warning, note, off.",
        ),
        ({"LINT_SEVERITIES": ["DSM101"]}, "is not a dict of codes."),
        ({"LINT_IGNORE": ["DSM1O1"]}, "LINT_IGNORE: there is no hazard DSM1O1."),
        ({"LINT_EXCLUDE_APPS": ["stor"]}, "there is no app 'stor'. Did you mean 'store'?"),
        ({"LINT_SMALL_ROWS": 0}, "0 is not a whole number, 1 or more."),
        ({"LINT_SEVERITY": {}}, "Did you mean 'LINT_SEVERITIES'?"),
    ],
)
def test_a_wrong_setting_is_wrong_usage_and_names_the_nearest(
    project: Project, setting: dict[str, Any], said: str
) -> None:
    with override_settings(SAFE_MIGRATIONS=setting):
        error = refused("store")
    assert error.returncode == 2
    assert said in str(error)


def test_the_system_check_names_unknown_codes_and_apps(project: Project) -> None:
    setting = {"LINT_SEVERITIES": {"DSM1O1": "off"}, "LINT_EXCLUDE_APPS": ["stor"]}
    with override_settings(SAFE_MIGRATIONS=setting):
        found = check_lint_settings(None)
    assert [(error.id, isinstance(error, Error)) for error in found] == [
        ("django_safemigrations.E002", True)
    ] * 2
    assert "Did you mean 'DSM101'" in str(found[0].hint)
    assert check_lint_settings(None) == []
