"""Comments that hide findings, and what is found in the comments."""

from __future__ import annotations

from textwrap import dedent

import pytest

from django_safemigrations.lint.source import parse_comment
from tests.lint.conftest import Project

INDEX = 'models.Index(fields=["total"], name="total_idx")'


def found(project: Project, operations: str) -> list[str]:
    return project.codes(dedent(operations))


@pytest.mark.parametrize(
    "operations",
    [
        f"""
        # safemigrations: ignore DSM101 -- 200 rows
        migrations.AddIndex("order", {INDEX}),
        """,
        f"""
        migrations.AddIndex("order", {INDEX}),  # safemigrations: ignore DSM101 -- 200 rows
        """,
        f"""
        migrations.AddIndex(  # safemigrations: ignore DSM101 -- 200 rows
            "order",
            {INDEX},
        ),
        """,
        f"""
        migrations.AddIndex(
            "order",
            {INDEX},
        ),  # safemigrations: ignore DSM101 -- 200 rows
        """,
        f"""
        # safemigrations: ignore DSM101 -- a table of settings, which never has more than
        # a few hundred rows
        migrations.AddIndex("order", {INDEX}),
        """,
        f"""
        #safemigrations:ignore dsm101, DSM401 -- 200 rows
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL("SELECT 1"),
                migrations.AddIndex("order", {INDEX}),
            ]
        ),
        """,
    ],
)
def test_a_comment_with_a_reason_hides_the_finding(project: Project, operations: str) -> None:
    assert found(project, operations) == []


def test_a_comment_hides_its_own_codes_only(project: Project) -> None:
    assert found(
        project,
        """
        # safemigrations: ignore DSM501 -- nobody inserts
        migrations.AddField("order", "rank", models.PositiveIntegerField(default=0)),
        """,
    ) == ["DSM502"]


def test_a_comment_does_not_reach_the_next_operation(project: Project) -> None:
    assert found(
        project,
        f"""
        # safemigrations: ignore DSM101 -- 200 rows
        migrations.AlterModelOptions("order", {{}}),
        migrations.AddIndex("order", {INDEX}),
        """,
    ) == ["DSM101", "DSM902"]


def test_a_comment_without_a_reason_is_the_finding(project: Project) -> None:
    assert found(
        project,
        f"""
        # safemigrations: ignore DSM101
        migrations.AddIndex("order", {INDEX}),
        """,
    ) == ["DSM901"]


def test_an_unknown_code_names_the_nearest(project: Project) -> None:
    found = project.operations(
        f"""
        # safemigrations: ignore DSM1O1 -- 200 rows
        migrations.AddIndex("order", {INDEX}),
        """
    )
    assert [finding.code for finding in found] == ["DSM101", "DSM903"]
    assert "DSM101" in found[1].hint
    assert found[1].operation == "0"


def test_a_comment_that_names_no_code_is_a_finding(project: Project) -> None:
    assert found(
        project,
        """
        # safemigrations: ignore -- everything
        migrations.AlterModelOptions("order", {}),
        """,
    ) == ["DSM903"]


def test_an_unused_comment_is_found_at_its_own_line(project: Project) -> None:
    path = project.add(
        "0002_unused",
        """
        # safemigrations: ignore DSM101 -- 200 rows
        operations = []
        """,
    )
    finding = project.findings()[0]
    assert finding.code == "DSM902"
    assert "ignore DSM101" in path.read_text().splitlines()[finding.line - 1]
    assert finding.operation is None


def test_text_that_looks_like_a_comment_is_none(project: Project) -> None:
    assert (
        found(
            project,
            """
        migrations.AlterModelTableComment("order", "# safemigrations: ignore DSM101"),
        """,
        )
        == []
    )


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# safemigrations: ignore DSM101 -- why", (("DSM101",), "why")),
        ("#safemigrations:ignore DSM101,DSM102--why not", (("DSM101", "DSM102"), "why not")),
        ("# Safemigrations: Ignore DSM101", (("DSM101",), "")),
        ("# safemigrations: ignore DSM101 --", (("DSM101",), "")),
        ("# safemigrations: why", None),
        ("# about safemigrations: ignore DSM101", None),
        ("# noqa", None),
    ],
)
def test_a_comment_is_read(comment: str, expected: object) -> None:
    assert parse_comment(comment) == expected
