"""Rules of a project's own: what they are given, what they may do, and what happens if they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations import AddField
from django.db.migrations.state import ProjectState
from django.test import override_settings

from django_safemigrations.checks import check_lint_settings
from django_safemigrations.exceptions import SettingsError
from django_safemigrations.lint import Finding, LintLoader, lint_migrations, rulebook
from django_safemigrations.lint.api import Observation, RuleContext, lint_rule, own_hazard
from tests.lint import schemas
from tests.lint.conftest import Project, forget
from tests.lint.test_command import refused, run

HEAD = """
from django.db import migrations, models
from django_safemigrations.lint.api import *
from django_safemigrations.lint.api import Observation, Severity, Work, lint_rule, own_hazard

SHOP001 = own_hazard(
    "SHOP001",
    "text-without-limit",
    "A text field has no limit",
    why="Users paste books into it.",
    way_out="Give it `max_length`.",
    bad="migrations.AddField('order', 'note', models.TextField(null=True))",
    good="migrations.AddField('order', 'note', models.CharField(max_length=200, null=True))",
    page="https://shop.example/rules/SHOP001",
)
"""
RULE = """
@lint_rule(SHOP001, operations=[migrations.AddField], state_operations={state})
def no_text(operation, context):
    if isinstance(operation.field, models.TextField):
        yield Observation("SHOP001", f"{{context.app_label}}.{{operation.name}} has no limit.", "Use a CharField.")
"""
ADD = 'migrations.AddField("order", "{name}", models.TextField(null=True)),'


@pytest.fixture
def own(project: Project) -> Iterator[Project]:
    """The rule `store.lint.no_text` in force, and a file that breaks it."""
    project.add_rules(HEAD + RULE.format(state=False))
    project.add("0002_note", f"operations = [\n{ADD.format(name='note')}\n]")
    with override_settings(SAFE_MIGRATIONS={"LINT_RULES": ["store.lint.no_text"]}):
        yield project
    sys.modules.pop("store.lint", None)


def rules(project: Project, text: str, *paths: str) -> Any:
    """Put other rules in force."""
    project.add_rules(HEAD + text)
    sys.modules.pop("store.lint", None)
    return override_settings(SAFE_MIGRATIONS={"LINT_RULES": list(paths) or ["store.lint.rule"]})


def found(project: Project) -> list[Finding]:
    sys.modules.pop("store.lint", None)
    return project.findings()


def test_a_rule_of_a_project_finds_with_its_own_code(own: Project) -> None:
    (one,) = found(own)
    assert (one.code, one.name, one.severity) == ("SHOP001", "text-without-limit", "error")
    assert (one.operation, one.message) == ("0", "store.note has no limit.")
    assert one.url == "https://shop.example/rules/SHOP001"


def test_a_rule_is_not_told_of_other_operations(own: Project) -> None:
    own.add("0003_model", 'operations = [migrations.AlterModelOptions("order", {})]')
    assert len(found(own)) == 1


def test_a_rule_looks_into_containers(own: Project) -> None:
    own.add(
        "0003_inside",
        f"""
        operations = [
            migrations.SeparateDatabaseAndState(
                database_operations=[
                    migrations.SeparateDatabaseAndState([{ADD.format(name="deep")}]),
                    {ADD.format(name="wide")}
                ],
                state_operations=[{ADD.format(name="state")}],
            ),
        ]
        """,
    )
    places = [(f.operation, f.message) for f in found(own) if f.migration == "0003_inside"]
    assert places == [("0.0.0", "store.deep has no limit."), ("0.1", "store.wide has no limit.")]


def test_a_rule_may_ask_for_what_changes_the_state_only(own: Project) -> None:
    own.add_rules(HEAD + RULE.format(state=True))
    own.add(
        "0003_staged",
        f"""
        operations = [
            Expand(state_operations=[{ADD.format(name="staged")}], database_operations=[]),
        ]
        """,
        setup="from django_safemigrations.operations import Expand",
    )
    (one,) = [f for f in found(own) if f.migration == "0003_staged" and f.code == "SHOP001"]
    assert (one.operation, one.message) == ("0", "store.staged has no limit.")


def test_a_rules_finding_is_hidden_by_a_comment_with_a_reason(own: Project) -> None:
    path = own.directory / "0002_note.py"
    path.write_text(
        path.read_text().replace(
            "operations = [", "operations = [\n    # safemigrations: ignore SHOP001 -- from a form"
        )
    )
    assert found(own) == []
    path.write_text(path.read_text().replace("SHOP001", "SHOP002"))
    assert [f.code for f in found(own)] == ["SHOP001", "DSM903"]


def test_a_rule_in_a_comment_that_is_gone_is_unknown(own: Project) -> None:
    path = own.directory / "0002_note.py"
    path.write_text(
        path.read_text().replace(
            "operations = [", "operations = [\n    # safemigrations: ignore SHOP001 -- from a form"
        )
    )
    with override_settings(SAFE_MIGRATIONS={}):
        assert [f.code for f in found(own)] == ["DSM903"]


def test_a_rules_code_works_in_every_option(own: Project, tmp_path: Path) -> None:
    assert run("store", "--select", "SHOP001")[0] == 1
    assert run("store", "--ignore", "text-without-limit")[0] == 0
    for setting in ({"LINT_SEVERITIES": {"SHOP001": "warning"}}, {"LINT_IGNORE": ["SHOP001"]}):
        with override_settings(SAFE_MIGRATIONS={"LINT_RULES": ["store.lint.no_text"], **setting}):
            assert run("store")[0] == 0
    path = str(tmp_path / "baseline.json")
    run("store", "--baseline", path, "--write-baseline")
    assert run("store", "--baseline", path)[0] == 0
    document = json.loads(run("store", "--format", "sarif")[1])
    assert schemas.errors(document, schemas.SARIF) == []
    assert document["runs"][0]["results"][0]["ruleId"] == "SHOP001"


def test_a_rules_code_is_explained_and_listed(own: Project) -> None:
    code, printed = run("--explain", "shop001")
    assert code == 0
    assert printed.startswith("SHOP001 text-without-limit (error)\nA text field has no limit.\n")
    for part in (
        "Users paste books",
        "Unsafe",
        "models.TextField(null=True)",
        "Safe",
        "max_length",
    ):
        assert part in printed
    assert printed.endswith("https://shop.example/rules/SHOP001\n")
    assert "SHOP001  error    text-without-limit" in run("--list-rules")[1]
    assert "Did you mean 'SHOP001'?" in str(refused("--explain", "SHOP002"))


# --- what a rule is given -----------------------------------------------------------------------

SEEN: list[Any] = []

# The state is walked on when the rule has looked.
CONTEXT = """
from dataclasses import replace
from tests.lint import test_custom_rules

@lint_rule(SHOP001)
def rule(operation, context):
    kept = replace(context, before=context.before.clone())
    test_custom_rules.SEEN.append((operation, kept))
    return iter(())
"""


def seen(project: Project, body: str, *, stats: Any = None) -> list[tuple[Any, RuleContext]]:
    SEEN.clear()
    project.add("0002_seen", body)
    with rules(project, CONTEXT):
        forget()
        loader = LintLoader(None, ignore_no_migrations=True)
        lint_migrations(loader, [("store", "0002_seen")], stats=stats)
    return list(SEEN)


def test_a_rule_sees_the_states_before_and_after(project: Project) -> None:
    ((operation, context),) = seen(project, f"operations = [{ADD.format(name='note')}]")
    assert isinstance(operation, AddField)
    assert (context.app_label, context.migration, context.is_atomic) == ("store", "0002_seen", True)
    assert not context.is_state_only
    before, after = context.model("Order"), context.model("order", after=True)
    assert before is not None
    assert after is not None
    assert "note" not in before.fields
    assert "note" in after.fields
    assert context.model("order", "auth") is None
    assert context.model("nothing") is None


def test_a_rule_that_looks_after_leaves_the_state_as_it_was(project: Project) -> None:
    found = seen(project, f"operations = [{ADD.format(name='a')}\n{ADD.format(name='b')}]")
    for _, context in found:
        assert context.after is not context.before
    (_, first), (_, second) = found
    assert isinstance(first.after, ProjectState)
    model = second.model("order")
    assert model is not None
    assert "a" in model.fields
    assert "b" not in model.fields


def test_a_rule_knows_tables_and_columns(project: Project) -> None:
    found = seen(
        project,
        """
        operations = [
            migrations.CreateModel("Invoice", [("id", models.BigAutoField(primary_key=True))]),
            migrations.AddField("invoice", "paid", models.PositiveIntegerField(default=0)),
            migrations.AlterModelTable("tag", "labels"),
        ]
        """,
    )
    (_, created), (_, added), (_, renamed) = found
    new = created.table("invoice")
    assert new is not None
    assert (new.name, new.is_new, new.rows) == ("store_invoice", True, None)
    assert added.column("invoice", "paid") is None
    column = added.column("invoice", "paid", after=True)
    assert column is not None
    assert (column.name, column.type, column.check) == ("paid", "integer", '"column" >= 0')
    old = renamed.table("tag")
    assert old is not None
    assert (old.name, old.is_new) == ("store_tag", False)
    assert renamed.table("nothing") is None


def test_a_rule_knows_the_size_of_a_table_from_the_stats(project: Project) -> None:
    from tests.lint.test_stats import stats

    ((_, context),) = seen(
        project, f"operations = [{ADD.format(name='note')}]", stats=stats(store_order=7)
    )
    table = context.table("order")
    assert table is not None
    assert (table.rows, table.bytes) == (7, 700)


def test_a_rule_can_be_called_in_a_test_of_its_own(project: Project) -> None:
    ((operation, context),) = seen(project, f"operations = [{ADD.format(name='note')}]")
    hazard = own_hazard("SHOP009", "nine", "Nine", why="It is.", way_out="Write ten.")

    @lint_rule(hazard)
    def nine(operation: AddField, context: RuleContext) -> Iterator[Observation]:
        yield Observation("SHOP009", operation.name, context.app_label)

    assert list(nine(operation, context)) == [Observation("SHOP009", "note", "store")]


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("yield operation.nothing", "AttributeError: 'AddField' object has no attribute 'nothing'"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return None", "TypeError: 'NoneType' object is not iterable"),
        ("yield 'text'", "TypeError: it yielded 'text', which is not an Observation"),
        (
            "yield Observation('DSM101', '', '')",
            "ValueError: it reported DSM101, and declares SHOP001",
        ),
    ],
)
def test_a_rule_that_fails_is_one_finding_that_names_it(
    project: Project, body: str, said: str
) -> None:
    project.add("0002_note", f"operations = [{ADD.format(name='note')}]")
    rule = f"@lint_rule(SHOP001, operations=[migrations.AddField])\ndef rule(operation, context):\n    {body}\n"
    with rules(project, rule):
        failing = [f for f in found(project) if f.code == "DSM905"]
        code, printed = run("store")
    (one,) = failing
    assert (one.code, one.operation) == ("DSM905", "0")
    assert one.message == f"The rule store.lint.rule did not judge AddField: {said}"
    assert code == 1
    assert "Traceback" not in printed


def test_a_rule_that_fails_everywhere_is_said_once(project: Project) -> None:
    for number in (2, 3):
        adds = "\n".join(ADD.format(name=f"note{number}{part}") for part in "ab")
        project.add(f"000{number}_notes", f"operations = [\n{adds}\n]")
    with rules(project, "@lint_rule(SHOP001)\ndef rule(operation, context):\n    return 1 / 0\n"):
        assert [f.code for f in found(project)] == ["DSM905"]


def test_a_rule_that_fails_does_not_stop_the_others(project: Project) -> None:
    project.add(
        "0002_index",
        'operations = [migrations.AddIndex("order", models.Index(fields=["total"], name="i"))]',
    )
    text = (
        "@lint_rule(SHOP001, operations=[migrations.AddIndex])\n"
        "def rule(operation, context):\n    return 1 / 0\n"
    )
    with rules(project, text):
        codes = [f.code for f in found(project) if f.migration == "0002_index"]
    assert codes == ["DSM101", "DSM905"]


def hazard(code: str, name: str = "some-name") -> str:
    return (
        f'H = own_hazard("{code}", "{name}", "T", why="W", way_out="O")\n'
        "@lint_rule(H)\ndef rule(operation, context):\n    return iter(())\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (hazard("DSM101"), "DSM101 is taken. Codes are unique"),
        (hazard("DSM999"), "Codes that begin with DSM are django_safemigrations' own"),
        (hazard("shop1"), "'shop1' is not a code."),
        (hazard("SHOP"), "'SHOP' is not a code."),
        (hazard("SHOP-1"), "'SHOP-1' is not a code."),
        (hazard("SHOP1", "rename-column"), "the name 'rename-column' is taken."),
        (
            "def rule(operation, context): ...",
            "is not a rule. Decorate the function with lint_rule",
        ),
        ("rule = [1]", "1 is not a rule."),
        ("raise RuntimeError('at import')", "can't be imported: RuntimeError: at import."),
        ("", 'can\'t be imported: ImportError: Module "store.lint" does not define a "rule"'),
    ],
)
def test_a_rule_that_cannot_be_used_is_wrong_usage_and_a_system_check(
    project: Project, text: str, said: str
) -> None:
    with rules(project, text):
        error = refused("store")
        checked = check_lint_settings(None)
    assert error.returncode == 2
    assert said in str(error)
    assert [message.id for message in checked] == ["django_safemigrations.E002"]


def test_two_rules_may_share_a_hazard_but_not_a_code(project: Project) -> None:
    shared = "@lint_rule(SHOP001)\ndef a(o, c): return iter(())\n@lint_rule(SHOP001)\ndef b(o, c): return iter(())\n"
    with rules(project, f"{shared}RULES = [a, b]", "store.lint.RULES", "store.lint.a"):
        assert run("store")[0] == 0
    again = 'OTHER = own_hazard("SHOP001", "x", "T", why="W", way_out="O")\n'
    with rules(
        project,
        f"{shared}{again}@lint_rule(OTHER)\ndef c(o, x): ...\nRULES = [a, c]",
        "store.lint.RULES",
    ):
        assert "SHOP001 is taken." in str(refused("store"))


# --- entry points -------------------------------------------------------------------------------


@pytest.fixture
def entry_point(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """What an installed package with the entry point `shop` offers."""
    project.add_rules(HEAD + RULE.format(state=False))
    point = EntryPoint("shop", "store.lint:no_text", rulebook.GROUP)
    monkeypatch.setattr(
        rulebook, "entry_points", lambda group: [point] if group == rulebook.GROUP else []
    )
    sys.modules.pop("store.lint", None)
    return project


def test_rules_of_installed_packages_are_found_by_entry_point(entry_point: Project) -> None:
    entry_point.add("0002_note", f"operations = [{ADD.format(name='note')}]")
    assert [f.code for f in found(entry_point)] == ["SHOP001"]


def test_an_entry_point_that_cannot_be_loaded_names_itself(entry_point: Project) -> None:
    entry_point.add_rules("raise RuntimeError('broken')")
    with pytest.raises(SettingsError, match=r"entry point 'shop' \(store.lint:no_text\): can't be"):
        found(entry_point)


def test_the_entry_point_group_is_the_documented_one() -> None:
    assert rulebook.GROUP == "django_safemigrations.lint_rules"
