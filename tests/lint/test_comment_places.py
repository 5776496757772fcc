"""Where a comment may stand: at an operation, inside of it, in a function, for the whole file."""

from __future__ import annotations

import textwrap

import pytest

from tests.lint.conftest import Project

# --- comments ------------------------------------------------------------------------------------


def in_file(project: Project, body: str, setup: str = "") -> list[str]:
    name = f"{int(project.last[:4]) + 1:04}_test"
    project.add(name, textwrap.dedent(body), setup=textwrap.dedent(setup))
    return [one.code for one in project.findings() if one.migration == name]


TWO = """
operations = [
    migrations.AddIndex("order", models.Index(fields=["total"], name="one_idx")),
    migrations.AddIndex("order", models.Index(fields=["total"], name="two_idx")),
]
"""


def test_a_comment_for_the_file_hides_a_code_everywhere_in_it(project: Project) -> None:
    comment = "# safemigrations: ignore-file DSM101 -- the table has 200 rows"
    assert in_file(project, f"{comment}\n{TWO}") == []
    assert in_file(project, TWO.replace("operations = [", f"operations = [\n    {comment}")) == []
    assert in_file(project, TWO, setup=f"{comment}\n") == []


def test_a_comment_for_the_file_needs_a_reason_a_code_that_exists_and_a_finding(
    project: Project,
) -> None:
    assert in_file(project, f"# safemigrations: ignore-file DSM101\n{TWO}") == ["DSM901"]
    assert in_file(project, f"# safemigrations: ignore-file DSM102 -- why\n{TWO}") == [
        "DSM101",
        "DSM101",
        "DSM902",
    ]
    assert in_file(project, "# safemigrations: ignore-file DSM1O1 -- why\noperations = []") == [
        "DSM903"
    ]
    assert in_file(project, "# safemigrations: ignore-file -- why\noperations = []") == ["DSM903"]


def test_a_comment_inside_a_long_operation_counts_for_it(project: Project) -> None:
    assert (
        in_file(
            project,
            """
            operations = [
                migrations.AddIndex(
                    "order",
                    # safemigrations: ignore DSM101 -- 200 rows
                    models.Index(fields=["total"], name="one_idx"),
                ),
            ]
            """,
        )
        == []
    )


def test_a_comment_inside_a_container_counts_for_the_operation_below_it_only(
    project: Project,
) -> None:
    assert in_file(
        project,
        """
        operations = [
            migrations.SeparateDatabaseAndState(
                database_operations=[
                    # safemigrations: ignore DSM101 -- 200 rows
                    migrations.AddIndex("order", models.Index(fields=["total"], name="one_idx")),
                    migrations.AddIndex("order", models.Index(fields=["total"], name="two_idx")),
                ],
                state_operations=[],
            ),
        ]
        """,
    ) == ["DSM101"]


def test_a_comment_in_a_container_at_no_operation_counts_for_the_container(
    project: Project,
) -> None:
    assert (
        in_file(
            project,
            """
            operations = [
                migrations.SeparateDatabaseAndState(
                    state_operations=[],
                    # safemigrations: ignore DSM101 -- 200 rows

                    database_operations=[
                        migrations.AddIndex("order", models.Index(fields=["total"], name="o_idx")),
                        migrations.AddIndex("order", models.Index(fields=["total"], name="t_idx")),
                    ],
                ),
            ]
            """,
        )
        == []
    )


def test_several_codes_share_a_reason_and_each_must_be_there(project: Project) -> None:
    assert in_file(
        project,
        """
        operations = [
            # safemigrations: ignore DSM101, DSM102 -- 200 rows
            migrations.AddIndex("order", models.Index(fields=["total"], name="one_idx")),
        ]
        """,
    ) == ["DSM902"]


def test_a_computed_list_of_operations_can_be_hidden_by_a_comment_for_the_file(
    project: Project,
) -> None:
    body = """
    operations = [
        migrations.AddIndex("order", models.Index(fields=["total"], name=f"{name}_idx"))
        for name in ("one", "two")
    ]
    """
    assert in_file(project, body) == ["DSM101", "DSM101"]
    assert (
        in_file(project, f"# safemigrations: ignore-file DSM101 -- small\n{textwrap.dedent(body)}")
        == []
    )


# --- comments in functions -----------------------------------------------------------------------

CODE = """
def same(function):
    return function


{head}
@same{decorator}
def forwards(apps, schema_editor):
    for order in apps.get_model("store", "Order").objects.all():
        {above}
        order.save(){beside}
"""
RUN = "migrations.RunPython(forwards, migrations.RunPython.noop),"


@pytest.mark.parametrize("place", ["head", "decorator", "above", "beside", "operation"])
def test_what_is_found_in_a_function_is_hidden_there_or_at_its_operation(
    project: Project, place: str
) -> None:
    def codes(comment: str) -> list[str]:
        places = {"head": "", "decorator": "", "above": "", "beside": "", "operation": ""}
        places[place] = comment
        body = f"operations = [\n    {places.pop('operation')}\n    {RUN}\n]"
        return in_file(project, body, CODE.format(**places))

    found = codes("")
    (line,) = {one.line for one in project.findings()}
    text = (project.directory / f"{project.last}.py").read_text().splitlines()
    assert text[line - 1].strip() == "order.save()"
    assert codes(f"  # safemigrations: ignore {', '.join(found)} -- 200 rows") == []
    assert codes(f"  # safemigrations: ignore {found[0]}") == [*found[1:], "DSM901"]
