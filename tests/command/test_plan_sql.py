"""The plan and the checklist know what lintmigrations read in the SQL of a RunSQL."""

from __future__ import annotations

from typing import Any

import pytest

from tests.command.project import Project


def plan(project: Project, sql: str) -> dict[str, Any]:
    project.write("store", "0002_sql", f"migrations.RunSQL({sql!r}, ''),")
    document: dict[str, Any] = project.run("--plan", "--format", "json").document
    return document


@pytest.mark.parametrize(
    ("sql", "hazards", "unmet"),
    [
        ("SELECT 1", [], None),
        ("UPDATE store_item SET total = 1", ["DSM402"], "batched"),
        ("CREATE INDEX by_total ON store_item (total)", ["DSM101"], "concurrent"),
        ("TRUNCATE store_item", ["DSM604"], "no_downtime"),
    ],
)
def test_sql_is_judged_in_plan_and_checklist(
    project: Project, sql: str, hazards: list[str], unmet: str | None
) -> None:
    document = plan(project, sql)
    (step,) = (step for step in document["steps"] if step["migration"] == "0002_sql")
    assert step["hazards"] == hazards
    states = {verdict["item"]: verdict["state"] for verdict in document["checklist"]}
    read = ("reversible", "batched", "concurrent", "no_downtime")
    assert [item for item in read if states[item] == "unmet"] == ([unmet] if unmet else [])


def test_a_block_that_was_read_and_is_harmless_says_so(project: Project) -> None:
    block = "DO $$ BEGIN ALTER TABLE store_item ADD COLUMN note text; END $$"
    (step,) = plan(project, block)["steps"]
    assert "its SQL was parsed: nothing in it blocks others" in step["note"]


def test_a_block_that_was_not_read_stays_unknown(project: Project) -> None:
    (step,) = plan(project, "DO $$ BEGIN EXECUTE format('SELECT %s', 1); END $$")["steps"]
    assert (step["hazards"], step["note"]) == (["DSM405"], "")
    assert step["statements"][0]["blocks"] == "unknown"
