"""The labelled functions: what lintmigrations says of each, and the figures for each code."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from django.test import override_settings

from tests.lint.conftest import INSTALLED, Project
from tests.lint.python_functions import CASES, MODELS, Case

FIRST = 3
LEAST = 0.98
OF_FUNCTIONS = ("DSM402", "DSM405", *(f"DSM7{number:02}" for number in range(1, 13)))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """All cases as one long history of one app, linted once."""
    patch = pytest.MonkeyPatch()
    root = Path(tmp_path_factory.mktemp("functions"))
    patch.setattr("sys.dont_write_bytecode", True)
    patch.syspath_prepend(str(root))
    project = Project(root)
    project.add_file("0002_models", MODELS)
    before = "0002_models"
    names = {}
    for number, case in enumerate(CASES, FIRST):
        name = f"{number:04}_case"
        project.add_file(name, case.text(before))
        names[name] = case.name
        before = name
    codes: dict[str, set[str]] = {case.name: set() for case in CASES}
    with override_settings(INSTALLED_APPS=[*INSTALLED, "store"]):
        for finding in project.findings():
            if finding.migration in names:
                codes[names[finding.migration]].add(finding.code)
    for name in [name for name in sys.modules if name.split(".")[0] == "store"]:
        del sys.modules[name]
    patch.undo()
    return codes


def test_there_are_enough_cases_each_with_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_function_gets_the_codes_that_it_deserves(found: dict[str, set[str]], case: Case) -> None:
    assert sorted(found[case.name]) == sorted(case.codes)


def test_precision_and_recall_of_each_code(
    found: dict[str, set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    for case in CASES:
        wanted = set(case.codes)
        right.update(found[case.name] & wanted)
        wrong.update(found[case.name] - wanted)
        missed.update(wanted - found[case.name])
    lines = [f"{'code':8}{'cases':>7}{'precision':>11}{'recall':>8}"]
    poor = []
    for code in OF_FUNCTIONS:
        if not right[code] + wrong[code] + missed[code]:
            continue
        precision = right[code] / max(right[code] + wrong[code], 1)
        recall = right[code] / max(right[code] + missed[code], 1)
        lines.append(f"{code:8}{right[code] + missed[code]:>7}{precision:>11.3f}{recall:>8.3f}")
        if min(precision, recall) < LEAST:
            poor.append(code)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert poor == []
