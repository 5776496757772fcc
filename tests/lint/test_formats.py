"""What lintmigrations writes for people and for machines, read as they read it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from django.core.management import call_command
from django.core.management.color import color_style, no_style
from django.test import override_settings
from junitparser import JUnitXml

from django_safemigrations.hazards import CATALOGUE, Severity
from django_safemigrations.lint import Finding
from django_safemigrations.lint.finding import Hidden, HiddenBy
from django_safemigrations.lint.formats import (
    FORMATS,
    as_github,
    as_junit,
    as_text,
)
from django_safemigrations.lint.report import Read, Report, checkout_root
from django_safemigrations.management.commands.lintmigrations import Command
from tests.lint import schemas
from tests.lint.conftest import Project, forget
from tests.lint.test_command import run

NASTY = '100% of it: a, b\r\nand `c` <d> & "e" ünïcode \x00\x1b'
"""What would break a format that doesn't escape."""


def finding(**values: Any) -> Finding:
    hazard = CATALOGUE["DSM101"]
    plain = Finding(
        code="DSM101",
        name=hazard.name,
        severity=Severity.ERROR,
        app_label="store",
        migration="0002_index",
        operation="0",
        path="/checkout/my shop/migrations/0002_index.py",
        line=7,
        message="CREATE INDEX reads everything.",
        hint="Write instead:\nExpand(…)",
        url=hazard.url,
        fingerprint="0123456789abcdef",
    )
    return replace(plain, **values)


def report(*findings: Finding, **values: Any) -> Report:
    read = dict.fromkeys((f.app_label, f.migration, f.path) for f in findings)
    return Report(findings, tuple(Read(*one) for one in read), root=Path("/checkout"), **values)


FOREIGN = finding(
    path="/env/site-packages/pkg/migrations/0001.py", app_label="pkg", migration="0001"
)
HIDDEN = finding(hidden=Hidden(HiddenBy.COMMENT, "200 rows"), operation="1")
ACCEPTED = finding(hidden=Hidden(HiddenBy.BASELINE, "old"), operation="2")


# --- text ----------------------------------------------------------------------------------------


def test_text_shows_the_line_in_question(tmp_path: Path) -> None:
    path = tmp_path / "0002_index.py"
    path.write_text("first\n        migrations.AddIndex(\n")
    text = as_text(report(finding(path=str(path), line=2)), no_style())
    assert text.splitlines()[2] == "    2 | migrations.AddIndex("


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (["migrations.AddField('order', 'a'),", "other()"], "migrations.AddField('order', 'a'),"),
        (
            ["migrations.AddField(", "    'order',", "    'a',", "),", "other()"],
            "migrations.AddField('order', 'a', ),",
        ),
        (["migrations.RunSQL(", f"    {'x' * 200!r}"], f"migrations.RunSQL({'x' * 200!r}"),
        (["migrations.AddField("], "migrations.AddField("),
    ],
)
def test_text_shows_an_operation_over_several_lines_in_one(
    tmp_path: Path, source: list[str], shown: str
) -> None:
    path = tmp_path / "0002_index.py"
    path.write_text("\n".join(source))
    line = as_text(report(finding(path=str(path), line=1)), no_style()).splitlines()[2]
    expected = f"    1 | {shown}"
    assert line == (expected if len(expected) <= 100 else f"{expected[:99]}…")


def test_text_without_a_terminal_is_one_line_a_sentence() -> None:
    long = finding(message="word " * 60 + "end.")
    assert any(line.endswith("end.") and len(line) > 300 for line in lines(long, None))


def lines(found: Finding, width: int | None) -> list[str]:
    return as_text(report(found), no_style(), width).splitlines()


@pytest.mark.parametrize("width", [40, 72, 100])
def test_text_is_wrapped_at_the_terminals_width_and_code_is_not(width: int) -> None:
    code = "Expand(state_operations=[<this operation>], database_operations=[CreateIndex(...)])"
    long = finding(path="/m.py", message="word " * 60 + "end.", hint=f"{'Write ' * 30}:\n{code}")
    shown = lines(long, width)
    assert f"        {code}" in shown
    prose = [line for line in shown[2:-2] if code not in line]
    assert len(prose) > 5
    assert max(map(len, prose)) <= width


def test_text_is_coloured_only_with_a_style_that_colours() -> None:
    plain = as_text(report(finding()), no_style())
    coloured = as_text(report(finding()), color_style(force_color=True))
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_text_goes_through_a_file_from_top_to_bottom() -> None:
    shown = as_text(report(finding(line=9), finding(line=3, operation="1")), no_style())
    assert shown.startswith("store.0002_index\n")
    assert shown.count("store.0002_index\n") == 1
    assert shown.index("0002_index.py:3:") < shown.index("0002_index.py:9:")


def test_text_counts_what_is_hidden_and_lists_packages_in_one_line_each() -> None:
    shown = as_text(report(FOREIGN, HIDDEN, ACCEPTED), no_style()).splitlines()
    assert shown[0].startswith("Installed packages (listed, never failing")
    assert shown[1].startswith("/env/site-packages/pkg/migrations/0001.py:7: error DSM101 CREATE")
    assert shown[-1] == (
        "2 migrations read, nothing found (1 hidden by comments, 1 accepted by the baseline)."
    )


# --- GitHub --------------------------------------------------------------------------------------


class Annotation(NamedTuple):
    """A workflow command, read as GitHub's runner reads it."""

    command: str
    properties: dict[str, str]
    message: str


def read_annotation(line: str) -> Annotation:
    """Follow the runner: properties are cut at commas, and what was escaped is put back."""
    match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert match, line
    properties = dict(part.split("=", 1) for part in match[2].split(","))

    def unescaped(text: str, *, in_property: bool) -> str:
        pairs = [("%0D", "\r"), ("%0A", "\n")]
        if in_property:
            pairs += [("%3A", ":"), ("%2C", ",")]
        for written, meant in [*pairs, ("%25", "%")]:
            text = text.replace(written, meant)
        return text

    return Annotation(
        match[1],
        {key: unescaped(value, in_property=True) for key, value in properties.items()},
        unescaped(match[3], in_property=False),
    )


@pytest.mark.parametrize(
    ("severity", "command"),
    [(Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.NOTE, "notice")],
)
def test_github_shows_a_finding_at_its_line_with_its_level(
    severity: Severity, command: str
) -> None:
    annotation = read_annotation(as_github(report(finding(severity=severity))))
    assert annotation.command == command
    assert annotation.properties == {
        "file": "my shop/migrations/0002_index.py",
        "line": "7",
        "title": "DSM101 index-blocks-writes",
    }
    assert annotation.message == (
        f"CREATE INDEX reads everything.\nWrite instead:\nExpand(…)\n{CATALOGUE['DSM101'].url}"
    )


def test_github_gets_everything_back_that_had_to_be_escaped() -> None:
    nasty = finding(
        message=NASTY, hint=NASTY, name="a: b, 100%", path="/checkout/100%, a:b/0002.py"
    )
    written = as_github(report(nasty))
    assert "\n" not in written
    annotation = read_annotation(written)
    assert annotation.message.startswith(f"{NASTY}\n{NASTY}\n")
    assert annotation.properties["title"] == "DSM101 a: b, 100%"
    assert annotation.properties["file"] == "100%, a:b/0002.py"


def test_github_points_to_the_top_of_a_file_without_a_line() -> None:
    annotation = read_annotation(as_github(report(finding(line=0))))
    assert annotation.properties["line"] == "1"


def test_github_shows_nothing_of_packages_or_of_what_is_hidden() -> None:
    assert as_github(report(FOREIGN, HIDDEN, ACCEPTED)) == ""


def test_github_names_the_file_in_the_message_if_it_is_outside_of_the_checkout() -> None:
    annotation = read_annotation(as_github(report(FOREIGN, named=frozenset({"pkg"}))))
    assert "file" not in annotation.properties
    assert annotation.message.startswith("/env/site-packages/pkg/migrations/0001.py:7: CREATE")


def test_paths_are_relative_to_the_checkout_and_not_to_the_directory_inside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "backend").mkdir()
    assert checkout_root(tmp_path / "backend") == tmp_path
    there = Report((), (), root=tmp_path)
    assert there.in_checkout(str(tmp_path / "backend" / "m.py")) == "backend/m.py"


# --- JUnit ---------------------------------------------------------------------------------------


def test_junit_has_one_test_case_a_migration_and_fails_by_what_counts() -> None:
    warning = finding(severity=Severity.WARNING, migration="0003_again")
    clean = Read("store", "0001_initial", "/checkout/my shop/migrations/0001_initial.py")
    whole = report(finding(), finding(code="DSM102"), warning, FOREIGN, HIDDEN)
    whole = replace(whole, read=(clean, *whole.read))
    (suite,) = JUnitXml.fromstring(as_junit(whole).encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 1, 0, 0)
    cases = {case.name: case for case in suite}
    assert list(cases) == ["store.0001_initial", "store.0002_index", "store.0003_again", "pkg.0001"]
    (failure,) = cases["store.0002_index"].result
    assert failure.message == "2 findings: DSM101, DSM102"
    assert "CREATE INDEX reads everything." in failure.text
    assert cases["store.0002_index"].classname == "store"
    for passing in ("store.0001_initial", "store.0003_again", "pkg.0001"):
        assert cases[passing].is_passed
    assert "DSM101" in cases["store.0003_again"].system_out


def test_junit_has_the_structure_that_readers_expect() -> None:
    root = ET.fromstring(
        as_junit(report(finding(), finding(severity=Severity.WARNING, operation="1")))
    )
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.attrib)
    (case,) = suite
    assert case.tag == "testcase"
    assert {"classname", "name", "time", "file"} <= set(case.attrib)
    assert case.get("file") == "my shop/migrations/0002_index.py"
    # At most one failure: some readers show the first one only.
    assert [child.tag for child in case] == ["failure", "system-out"]


def test_junit_can_hold_any_text() -> None:
    text = as_junit(report(finding(message=NASTY, hint=NASTY, path="/checkout/<&\x00>.py")))
    (suite,) = JUnitXml.fromstring(text.encode())
    ((failure,),) = [case.result for case in suite]
    assert "100% of it: a, b" in failure.text
    assert "ünïcode" in failure.text


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def unsafe(project: Project) -> Project:
    project.add(
        "0002_index",
        'operations = [migrations.AddIndex("order", '
        'models.Index(fields=["total"], name="total_idx"))]',
    )
    return project


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_exits_by_what_was_found(unsafe: Project, form: str) -> None:
    code, printed = run("store", "--format", form)
    assert code == 1
    assert "DSM101" in printed
    (unsafe.directory / "0002_index.py").unlink()
    assert run("store", "--format", form)[0] == 0


@pytest.mark.parametrize("form", FORMATS)
def test_output_writes_the_report_and_prints_the_total(
    unsafe: Project, form: str, tmp_path: Path
) -> None:
    target = tmp_path / "report"
    printed = run("store", "--format", form)[1]
    code, said = run("store", "--format", form, "--output", str(target))
    assert code == 1
    assert said.endswith(f"The report is in {target}.\n")
    assert "2 migrations read: 1 error, 0 warnings." in said
    assert target.read_text().startswith(printed.split("\n2 migrations")[0].strip()[:200])


def test_output_that_cannot_be_written_is_wrong_usage(unsafe: Project, tmp_path: Path) -> None:
    from tests.lint.test_command import refused

    error = refused("store", "--output", str(tmp_path / "missing" / "report"))
    assert error.returncode == 2
    assert "can't be written: No such file or directory" in str(error)


def test_the_machine_formats_are_not_coloured_on_a_terminal(unsafe: Project) -> None:
    for form in FORMATS[1:]:
        forget()
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command(Command(), "store", "--format", form, stdout=out, force_color=True)
        assert "\x1b[" not in out.getvalue()


def test_a_narrow_terminal_gets_narrow_text(
    unsafe: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert shutil.get_terminal_size().columns == 60
    prose = [line for line in run("store")[1].splitlines()[3:] if "Expand(" not in line]
    assert max(map(len, prose[:-1])) <= 60


def test_sarif_of_a_project_is_what_the_schema_says(unsafe: Project) -> None:
    unsafe.add(
        "0003_hidden",
        """
        operations = [
            # safemigrations: ignore DSM101 -- the table has 200 rows
            migrations.AddIndex("order", models.Index(fields=["total"], name="again_idx")),
        ]
        """,
    )
    with override_settings(SAFE_MIGRATIONS={"LINT_SEVERITIES": {"DSM101": "warning"}}):
        document = json.loads(run("store", "--format", "sarif")[1])
    assert schemas.errors(document, schemas.SARIF) == []
    shown, hidden = document["runs"][0]["results"]
    assert shown["level"] == "warning"
    assert hidden["suppressions"][0]["justification"] == "the table has 200 rows"
