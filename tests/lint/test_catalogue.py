"""Every hazard of the catalogue is real: its bad example has it, its good example has none."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from django.conf import settings
from django.test import override_settings

from django_safemigrations.hazards import CATALOGUE, UnknownHazard, get
from django_safemigrations.hazards.examples import (
    APP_LABEL,
    BEFORE_NAME,
    EXAMPLE_NAME,
    before_source,
    migration_source,
    rules_source,
)
from django_safemigrations.hazards.hazard import Example
from django_safemigrations.hazards.leftovers import IN_DATABASE
from django_safemigrations.hazards.pages import pages
from tests.lint.conftest import Project

CODES = sorted(CATALOGUE)
PAGES = Path(__file__).parents[2] / "docs" / "reference" / "hazards"


def lint_example(project: Project, example: Example) -> list[str]:
    if (before := before_source(example)) is not None:
        project.add_file(BEFORE_NAME, before)
    for name, text in example.others:
        project.add_other(name, text)
    project.add_file(EXAMPLE_NAME, migration_source(example))
    if example.databases > 1:
        more = {
            f"number{n}": settings.DATABASES["default"] for n in range(2, example.databases + 1)
        }
        with patch.dict(settings.DATABASES, more):
            return [finding.code for finding in project.findings()]
    if not example.rules:
        return [finding.code for finding in project.findings()]
    project.add_rules(rules_source(example))
    with override_settings(SAFE_MIGRATIONS={"LINT_RULES": [f"{APP_LABEL}.lint.RULES"]}):
        return [finding.code for finding in project.findings()]


@pytest.mark.parametrize("code", CODES)
def test_the_bad_example_has_exactly_its_hazard(project: Project, code: str) -> None:
    hazard = CATALOGUE[code]
    own = set() if code in IN_DATABASE else {code}
    assert sorted(lint_example(project, hazard.bad)) == sorted({*own, *hazard.bad.also})


@pytest.mark.parametrize("code", CODES)
def test_the_good_example_has_no_finding(project: Project, code: str) -> None:
    assert lint_example(project, CATALOGUE[code].good) == []


def test_the_committed_pages_are_those_that_the_catalogue_generates() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    assert committed == pages(), (
        "Run: python -m django_safemigrations.hazards.pages docs/reference/hazards"
    )


@pytest.mark.parametrize("code", CODES)
def test_an_entry_says_everything(code: str) -> None:
    hazard = CATALOGUE[code]
    assert hazard.code == code
    for text in (hazard.title, hazard.why, hazard.lock, hazard.who_waits, hazard.way_out):
        assert text.strip()
    assert "```" in hazard.way_out or "`" in hazard.way_out


def test_names_are_unique() -> None:
    assert len({hazard.name for hazard in CATALOGUE.values()}) == len(CATALOGUE)


def test_a_hazard_is_found_by_code_in_either_case_and_by_name() -> None:
    assert get("dsm101") is get("DSM101") is get("index-blocks-writes")


def test_an_unknown_code_names_the_nearest_one() -> None:
    with pytest.raises(UnknownHazard, match="DSM10"):
        get("DSM1O1")


def test_an_unknown_name_names_the_nearest_one() -> None:
    with pytest.raises(UnknownHazard, match="rename-column"):
        get("rename-colum")
