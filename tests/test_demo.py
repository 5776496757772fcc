"""The parts of the demo that need no traffic: its edits fit the shop, its verdict is honest."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from testproject.demo.__main__ import Outcome, closing, table
from testproject.demo.project import make_project


def outcome(*, ours: bool, failed: int = 0, longest: float = 0.05, problem: str = "") -> Outcome:
    return Outcome(
        title="ours" if ours else "plain",
        ours=ours,
        requests=1000,
        failed=failed,
        longest=longest,
        longest_kind="save",
        seconds=40.0,
        errors=[],
        problem=problem,
    )


def test_the_demos_edits_still_fit_the_shops_models(tmp_path: Path) -> None:
    project = make_project(tmp_path, {}, safe=True)
    project.edit_models()
    text = (tmp_path / "testproject" / "shop" / "models.py").read_text()
    ast.parse(text)
    assert "amount = models.DecimalField(max_digits=12" in text
    assert 'name="order_by_status"' in text
    with pytest.raises(ValueError, match="does not hold this once"):
        project.edit_models()


def test_one_failed_request_on_our_side_fails_the_demo() -> None:
    code, sentence = closing([outcome(ours=True, failed=1), outcome(ours=False, failed=900)])
    assert code == 1
    assert sentence == "FAILED: 1 of 1,000 requests failed on our side."


def test_a_command_that_failed_on_our_side_fails_the_demo() -> None:
    code, sentence = closing([outcome(ours=True, problem="manage.py safemigrate ended")])
    assert code == 1
    assert "manage.py safemigrate ended" in sentence


def test_failures_of_plain_django_alone_do_not_fail_the_demo() -> None:
    code, sentence = closing([outcome(ours=True), outcome(ours=False, failed=900, longest=5.0)])
    assert code == 0
    assert "100 x ours" in sentence


def test_the_table_shows_failures_stalls_and_time_of_both() -> None:
    lines = table([outcome(ours=True), outcome(ours=False, failed=900, longest=5.0)])
    text = "\n".join(lines)
    for shown in ("ours", "plain", "900", "50 ms (save)", "5,000 ms (save)", "40 s"):
        assert shown in text
