"""SARIF as code scanning reads it: by the schema, and with places that stay."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest

from django_safemigrations.hazards import CATALOGUE, Severity
from django_safemigrations.lint import Finding
from django_safemigrations.lint.formats import (
    as_sarif,
)
from tests.lint import schemas
from tests.lint.test_formats import ACCEPTED, FOREIGN, HIDDEN, NASTY, finding, report


def sarif(*findings: Finding, **values: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(as_sarif(report(*findings, **values)))
    assert schemas.errors(document, schemas.SARIF) == []
    (run,) = document["runs"]
    return dict(run)


def test_sarif_of_nothing_and_of_everything_is_what_the_schema_says() -> None:
    assert sarif()["results"] == []
    everything = [
        finding(code=code, name=hazard.name, severity=severity, message=NASTY, line=0)
        for code, hazard in CATALOGUE.items()
        for severity in Severity
    ]
    run = sarif(*everything, HIDDEN, ACCEPTED, notices=("Sizes are old.",))
    assert len(run["results"]) == len(everything) + 2


def test_the_schema_would_see_what_is_wrong() -> None:
    document = json.loads(as_sarif(report(finding())))
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert schemas.errors(document, schemas.SARIF)


def test_sarif_explains_every_rule_from_the_catalogue() -> None:
    rules = {rule["id"]: rule for rule in sarif()["tool"]["driver"]["rules"]}
    assert set(rules) == set(CATALOGUE)
    for code, hazard in CATALOGUE.items():
        rule = rules[code]
        assert rule["shortDescription"]["text"] == f"{hazard.title}."
        assert rule["fullDescription"]["text"] == hazard.why
        assert hazard.way_out in rule["help"]["markdown"]
        assert rule["helpUri"] == hazard.url


def test_sarif_levels_places_and_rule_indexes() -> None:
    found = [finding(severity=severity, operation=str(n)) for n, severity in enumerate(Severity)]
    run = sarif(*found)
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
        assert place["region"]["startLine"] == 7


@pytest.mark.parametrize("name", ["my shop", "100% ünïcode", "a#b?c", "a:b"])
def test_sarif_addresses_are_relative_and_quoted(name: str) -> None:
    found = finding(path=f"/checkout/{name}/0002.py")
    (result,) = sarif(found)["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(uri) == f"{name}/0002.py"
    assert not set(uri) & set(" #?:")


def test_sarif_fingerprints_stay_when_lines_move_and_differ_between_findings() -> None:
    marks = fingerprints(finding(line=7), finding(line=9), finding(code="DSM102", line=11))
    assert marks == fingerprints(finding(line=70), finding(line=90), finding(code="DSM102"))
    assert len(set(marks)) == 3
    assert fingerprints(finding(fingerprint="fedcba9876543210"))[0] not in marks


def fingerprints(*findings: Finding) -> list[str]:
    return [
        value
        for result in sarif(*findings)["results"]
        for value in result["partialFingerprints"].values()
    ]


def test_sarif_says_what_is_hidden_by_whom_and_why() -> None:
    run = sarif(finding(), HIDDEN, ACCEPTED)
    assert [result["suppressions"] for result in run["results"]] == [
        [],
        [{"kind": "inSource", "justification": "200 rows"}],
        [{"kind": "external", "justification": "old"}],
    ]


def test_sarif_leaves_packages_out() -> None:
    assert sarif(FOREIGN)["results"] == []


def test_sarif_says_nothing_about_the_machine() -> None:
    assert "/checkout" not in as_sarif(report(finding(), HIDDEN))
