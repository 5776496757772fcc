"""The page about the report says what is in the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from django_safemigrations.rehearsal.report import write_report
from django_safemigrations.rehearsal.report.files import SCHEMA
from tests.docs.markdown import DOCS, blocks
from tests.rehearsal.report import documented, sample

HOW_TO = DOCS / "how-to" / "read-a-rehearsal-report.md"


def test_the_tables_of_the_page_are_those_of_the_values() -> None:
    """After a change of `results.py`: python -m tests.rehearsal.report.documented."""
    assert documented.PAGE.read_text() == documented.page()
    assert f"`schema`, the number {SCHEMA}" in documented.PAGE.read_text()


@pytest.mark.parametrize(
    ("failing", "said"), [(True, "store.0013_archive_view 0 rewrote"), (False, "")]
)
def test_the_example_for_pipelines_judges_the_newest_report(
    failing: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = (block for block in blocks(HOW_TO) if block.language == "python")
    monkeypatch.chdir(tmp_path)
    write_report(sample.rehearsal(failing=failing), ".safemigrations/rehearsals")
    code = compile(example.text, example.place, "exec")
    if failing:
        with pytest.raises(SystemExit, match=said):
            exec(code, {})
    else:
        exec(code, {})


def test_the_example_of_the_page_reads_a_document(tmp_path: Path) -> None:
    _, path = write_report(sample.rehearsal(), tmp_path)
    (example,) = (block for block in blocks(documented.PAGE) if block.language == "python")
    names: dict[str, object] = {"path": path}
    exec(compile(example.text, example.place, "exec"), names)
    assert names["rehearsal"] == sample.rehearsal()
    assert names["schema"] == json.loads(path.read_text())["schema"]
