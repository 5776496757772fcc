"""Where findings of a function stand, what they say, and how little it costs to read it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from django.conf import settings

from django_safemigrations.lint import parsing
from django_safemigrations.lint.finding import Finding
from tests.lint.conftest import Project

RUN = "migrations.RunPython(run, migrations.RunPython.noop)"

LOOP = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for order in Order.objects.filter(reference=""):
        order.reference = str(order.pk)
        order.save()
"""


def only(found: list[Finding], code: str) -> Finding:
    [finding] = [finding for finding in found if finding.code == code]
    return finding


def text_at(finding: Finding) -> str:
    text = Path(finding.path).read_text(encoding="utf-8")
    return text.splitlines()[finding.line - 1].strip()


def test_a_finding_stands_at_the_line_that_does_the_harm(project: Project) -> None:
    found = project.operations(RUN, setup=LOOP)
    assert {finding.code: text_at(finding) for finding in found} == {
        "DSM402": "order.save()",
        "DSM702": "order.save()",
    }


def test_a_comment_at_that_line_hides_it(project: Project) -> None:
    hidden = "order.save()  # safemigrations: ignore DSM402, DSM702 -- forty orders"
    assert project.codes(RUN, setup=LOOP.replace("order.save()", hidden)) == []


def test_a_finding_says_which_rows_of_which_table_and_what_to_write(project: Project) -> None:
    finding = only(project.operations(RUN, setup=LOOP), "DSM402")
    assert finding.message.startswith(
        "run() updates, one by one, as many rows as there are in store_order in one transaction "
        "(the migration is atomic): each row stays locked"
    )
    assert "All rows are read into memory first." in finding.message
    assert "@row_function(writes=['reference'])" in finding.hint
    assert "RunInBatches('order', change, RunInBatches.noop)" in finding.hint
    assert finding.table == "store_order"


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        (
            'Order.objects.filter(total__lt=0).exclude(discount=None).update(reference="x")',
            "RunInBatches('order', UpdateRows({\"reference\": 'x'}, "
            "where=Q(total__lt=0) & ~Q(discount=None)), RunInBatches.noop)",
        ),
        (
            "Order.objects.filter(total=0).delete()",
            "RunInBatches('order', DeleteRows(where=Q(total=0)), RunInBatches.noop)",
        ),
    ],
)
def test_the_hint_is_the_same_statement_in_batches(
    project: Project, statement: str, hint: str
) -> None:
    setup = f"""
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    {statement}
"""
    assert hint in only(project.operations(RUN, setup=setup), "DSM402").hint


def test_a_helper_in_another_module_of_the_project_is_followed(project: Project) -> None:
    helper = project.directory.parent / "helpers.py"
    helper.write_text("def empty(model):\n    model.objects.all().delete()\n", encoding="utf-8")
    found = project.operations(
        RUN,
        setup="""
from store.helpers import empty

def run(apps, schema_editor):
    empty(apps.get_model("store", "Tag"))
""",
    )
    finding = only(found, "DSM402")
    assert text_at(finding) == 'empty(apps.get_model("store", "Tag"))'
    assert finding.message.endswith("(helpers.py:2)")
    del sys.modules["store.helpers"]


def test_the_same_harm_is_found_once_and_all_its_lines_are_named(project: Project) -> None:
    found = project.operations(
        RUN,
        setup="""
def run(apps, schema_editor):
    apps.get_model("store", "Tag").objects.update(label="")
    apps.get_model("store", "Order").objects.update(total=0)
""",
    )
    assert "The same on line 5." in only(found, "DSM402").message


def test_several_databases_make_the_connection_matter(project: Project) -> None:
    setup = """
from django.db import connection

def run(apps, schema_editor):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
"""
    assert project.codes(RUN, setup=setup) == []
    replica = {**settings.DATABASES["default"], "TEST": {"MIRROR": "default"}}
    with patch.dict(settings.DATABASES, {"replica": replica}):
        assert project.codes(RUN, setup=setup) == []
    with patch.dict(settings.DATABASES, {"other": settings.DATABASES["default"]}):
        assert project.codes(RUN, setup=setup) == ["DSM710"]


def test_a_model_of_an_app_that_the_migration_does_not_depend_on_is_there_by_luck(
    project: Project,
) -> None:
    setup = """
def run(apps, schema_editor):
    apps.get_model("auth", "Group").objects.get_or_create(name="x")
"""
    found = only(project.operations(RUN, setup=setup), "DSM706")
    assert 'Add ("auth", "0001_initial") to its dependencies.' in found.message


def test_a_function_without_source_is_named_with_the_reason(project: Project) -> None:
    found = project.operations("migrations.RunPython(print, migrations.RunPython.noop)")
    assert only(found, "DSM405").message == (
        "print is not written in Python: what it does was not inspected."
    )


def test_a_function_that_calls_itself_is_read_to_an_end(project: Project) -> None:
    setup = """
def walk(apps, depth):
    apps.get_model("store", "Tag").objects.update(label=str(depth))
    walk(apps, depth + 1)

def run(apps, schema_editor):
    walk(apps, 0)
"""
    assert project.codes(RUN, setup=setup) == ["DSM402"]


def test_nothing_of_a_function_is_executed(project: Project) -> None:
    setup = """
def run(apps, schema_editor):
    raise SystemExit
    apps.get_model("store", "Tag").objects.update(label="")

class Lazy:
    def __getattr__(self, name):
        raise SystemExit

    @property
    def __class__(self):
        raise SystemExit

lazy = Lazy()
"""
    used = setup.replace("raise SystemExit\n    apps", "lazy.anything()\n    apps", 1)
    assert project.codes(RUN, setup=used) == ["DSM402"]


def test_each_file_is_parsed_once_and_only_if_there_is_something_to_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def counted(text: str) -> ast.Module:
        parsed.append(text)
        return ast.parse(text)

    monkeypatch.setattr(parsing, "to_tree", counted)
    project.add(
        "0002_plain",
        'operations = [migrations.AlterModelOptions("order", {"verbose_name": "order"})]',
    )
    found = project.operations(f"{RUN},\n{RUN}", setup=LOOP)
    assert len(found) == 4
    assert len(parsed) == 1
