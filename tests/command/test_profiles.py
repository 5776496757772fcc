"""Profiles: nothing refuses on a laptop, CI asks what files can answer, production asks everything."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_safemigrations.byte_sizes import parse_size
from django_safemigrations.conf import get_settings, validate
from tests.command.project import INITIAL, Project
from tests.docs.markdown import DOCS, blocks

SAFE = "ALTER TABLE store_item ADD COLUMN more int"
UNSAFE = "migrations.AddIndex('Item', models.Index(fields=['total'], name='by_total')),"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAFEMIGRATIONS_PROFILE", raising=False)


def levels(**settings: Any) -> dict[str, str]:
    with override_settings(SAFE_MIGRATIONS=settings):
        return dict(get_settings().checklist)


def test_production_is_what_nobody_has_to_ask_for() -> None:
    assert set(levels().values()) == {"require"}
    with override_settings(SAFE_MIGRATIONS={}):
        assert get_settings().profile == "production"
        assert get_settings().plain_migrate == "refuse"


def test_development_asks_for_nothing_that_costs() -> None:
    found = levels(PROFILE="development")
    assert found["rehearsed"] == found["backup"] == "off"
    assert {level for item, level in found.items() if item not in ("rehearsed", "backup")} == {
        "warn"
    }
    with override_settings(SAFE_MIGRATIONS={"PROFILE": "development"}):
        assert get_settings().plain_migrate == "allow"


def test_ci_requires_what_files_can_answer() -> None:
    found = levels(PROFILE="ci")
    assert found["rehearsed"] == found["backup"] == "off"
    assert found["no_downtime"] == found["rollback_plan"] == "require"


def test_what_is_set_wins_over_the_profile() -> None:
    found = levels(PROFILE="ci", CHECKLIST={"backup": "warn", "batched": "off"})
    assert (found["backup"], found["batched"], found["rehearsed"]) == ("warn", "off", "off")
    with override_settings(SAFE_MIGRATIONS={"PROFILE": "development", "PLAIN_MIGRATE": "refuse"}):
        assert get_settings().plain_migrate == "refuse"


def test_the_environment_chooses_where_the_setting_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAFEMIGRATIONS_PROFILE", "ci")
    assert levels()["backup"] == "off"
    assert levels(PROFILE="production")["backup"] == "require"


def test_an_unknown_profile_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = validate({"PROFILE": "prod"})
    assert "production" in problem.hint
    monkeypatch.setenv("SAFEMIGRATIONS_PROFILE", "prod")
    result = project.run()
    assert result.code == 2
    assert "SAFEMIGRATIONS_PROFILE" in result.err


def test_on_a_laptop_an_unsafe_plan_runs_and_is_told_of(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFEMIGRATIONS_PROFILE", "development")
    project.write("store", "0002_index", UNSAFE)
    project.contract("store", "0003_less", "ALTER TABLE store_item DROP COLUMN total")
    result = project.run("store", "0002")
    assert result.code == 0, result.said
    assert "DSM101" in result.out
    assert "warns only" in result.out
    assert "switched off by the profile 'development'" in " ".join(result.out.split())
    assert project.plainly("store").code == 0
    assert project.applied("store")[-1] == "0003_less"


def test_in_ci_a_safe_plan_runs_and_an_unsafe_one_exits_3(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFEMIGRATIONS_PROFILE", "ci")
    project.expand("store", "0002_more", SAFE)
    result = project.run()
    assert result.code == 0, result.said
    project.write("store", "0003_index", UNSAFE)
    result = project.run()
    assert result.code == 3
    assert "DSM101" in result.err
    assert 'rehearsed="..."' not in result.err


def test_the_documented_workflow_of_a_pull_request_runs(
    empty_project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAFEMIGRATIONS_PROFILE", "ci")
    monkeypatch.chdir(tmp_path)
    page = DOCS / "how-to" / "deploy-github-actions.md"
    (workflow,) = (
        block
        for block in blocks(page)
        if block.attributes.get("title") == ".github/workflows/migrations.yml"
    )
    base, *branch = (
        shlex.split(line.partition("manage.py safemigrate")[2])
        for line in workflow.text.splitlines()
        if "manage.py safemigrate" in line
    )
    empty_project.write("store", "0001_initial", INITIAL)
    assert empty_project.run(*base).code == 0
    empty_project.execute("INSERT INTO store_item (name) VALUES ('a')")
    empty_project.expand("store", "0002_more", SAFE)
    empty_project.contract("store", "0003_less", "COMMENT ON TABLE store_item IS 'done'")
    for words in branch:
        result = empty_project.run(*words)
        assert result.code == 0, (words, result.said)
    assert "Point of no return: none" in (tmp_path / "way-back.txt").read_text()
    assert empty_project.applied("store")[-1] == "0002_more"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10 GB", 10 * 1024**3),
        ("500MB", 500 * 1024**2),
        ("1.5 kB", 1536),
        ("0", 0),
        (4096, 4096),
        ("2 tb", 2 * 1024**4),
    ],
)
def test_sizes_are_read_in_the_units_of_postgresql(text: str | int, size: int) -> None:
    assert parse_size(text) == size
    with override_settings(SAFE_MIGRATIONS={"SMALL_DATABASE": text}):
        assert get_settings().small_database_bytes == size


@pytest.mark.parametrize("value", ["many", "10 PB", "GB", -1, 1.5, True, None, "", "1..5 GB"])
def test_what_is_no_size_is_refused(value: Any) -> None:
    (problem,) = validate({"SMALL_DATABASE": value})
    assert "is not a size" in problem.message


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("RELEASE", " "),
        ("RELEASE", 7),
        ("SOAK", -1),
        ("SOAK", "1"),
        ("CONTRACT_OVERDUE", 0),
        ("ON_PROGRESS", "nodots"),
        ("PROFILE", None),
    ],
)
def test_unusable_values_are_refused(key: str, wrong: Any) -> None:
    (problem,) = validate({key: wrong})
    assert problem.key == key
