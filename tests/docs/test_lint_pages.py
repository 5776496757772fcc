"""The pages about linting: recipes are what their readers' tools accept, and do what they say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import override_settings

from django_safemigrations.lint import api
from django_safemigrations.lint.api import Observation
from django_safemigrations.lint.baseline import read_baseline
from django_safemigrations.lint.stats import SPEEDS, read_stats
from django_safemigrations.management.commands.lintmigrations import Command
from tests.docs.markdown import DOCS, Block, blocks, rows, sections
from tests.lint import schemas
from tests.lint.conftest import Project
from tests.lint.test_command import run

ROOT = DOCS.parent
CI = DOCS / "how-to" / "lint-in-ci.md"
OLD = DOCS / "how-to" / "lint-an-old-project.md"
RULE = DOCS / "how-to" / "write-a-lint-rule.md"
REFERENCE = DOCS / "reference" / "lintmigrations.md"
RECIPES = {
    ".github/workflows/migrations.yml": schemas.WORKFLOW,
    ".github/workflows/code-scanning.yml": schemas.WORKFLOW,
    ".gitlab-ci.yml": schemas.GITLAB,
    ".pre-commit-config.yaml": schemas.HOOKS_CONFIG,
}


def titled(page: Path, title: str) -> Block:
    (found,) = [block for block in blocks(page) if block.attributes.get("title") == title]
    return found


def recipe(title: str) -> Any:
    # YAML 1.1 takes the key "on" for true, and GitHub doesn't.
    text = titled(CI, title).text
    return {("on" if key is True else key): value for key, value in yaml.safe_load(text).items()}


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each call of lintmigrations in a text."""
    joined = text.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        words = shlex.split(line.split("run: ")[-1].removeprefix("$ "), comments=True)
        if words[:2] == ["python", "manage.py"] and words[2:3] == ["lintmigrations"]:
            found.append(words[3:])
    return found


def all_commands() -> list[list[str]]:
    gitlab = recipe(".gitlab-ci.yml")["lint-migrations"]["script"]
    lines = [block.text for page in (CI, OLD, RULE) for block in blocks(page)]
    return [words for text in [*lines, *gitlab] for words in commands(text)]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_is_what_its_system_accepts(title: str) -> None:
    assert schemas.errors(recipe(title), RECIPES[title]) == []


def test_every_yaml_block_is_a_recipe_that_is_tested() -> None:
    titles = [b.attributes.get("title") for b in blocks(CI) if b.language == "yaml"]
    assert titles == list(RECIPES)


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_on_the_pages_can_be_typed(words: list[str]) -> None:
    parser = Command().create_parser("manage.py", "lintmigrations")
    known = vars(parser.parse_args(words))
    assert known["format"] in ("text", "json", "github", "sarif", "junit")


def test_the_commands_on_the_pages_are_found() -> None:
    assert len(all_commands()) >= 10


def test_the_hook_of_the_repository_is_the_one_on_the_page() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (local,) = recipe(".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert {key: value for key, value in hook.items() if key != "description"} == local


# --- pre-commit ---------------------------------------------------------------------------------

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
sys.dont_write_bytecode = True
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_safemigrations", "store"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere", "HOST": "/nowhere"}}
"""
INDEX = 'models.Index(fields=["total"], name="{name}")'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own in a git checkout, with one unsafe migration committed."""
    for key, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "Tester",
        "GIT_AUTHOR_EMAIL": "tester@example.org",
        "GIT_COMMITTER_NAME": "Tester",
        "GIT_COMMITTER_EMAIL": "tester@example.org",
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    root = tmp_path / "shop"
    project = Project(root)
    (root / "manage.py").write_text(MANAGE)
    (root / "settings.py").write_text(SETTINGS)
    project.add(
        "0002_old", f"operations = [migrations.AddIndex('order', {INDEX.format(name='old')})]"
    )
    done(root, "git", "init", "--quiet")
    done(root, "git", "add", ".")
    done(root, "git", "commit", "--quiet", "-m", "old")
    return root


def done(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


def unsafe(root: Path) -> None:
    text = (root / "store/migrations/0002_old.py").read_text()
    changed = text.replace("0001_initial", "0002_old").replace("name='old'", "name='new'")
    (root / "store/migrations/0003_new.py").write_text(changed.replace('"old"', '"new"'))
    (root / "views.py").write_text("")
    done(root, "git", "add", ".")


def test_the_hooks_entry_lints_the_files_that_it_is_given(checkout: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    unsafe(checkout)
    ran = done(checkout, *hook["entry"].split(), "store/migrations/0003_new.py")
    assert ran.returncode == 1, ran.stderr
    assert "store/migrations/0003_new.py:5: error DSM101" in ran.stdout
    assert "0002_old" not in ran.stdout


@pytest.mark.exhaustive
def test_pre_commit_runs_the_hook_on_what_is_staged(checkout: Path) -> None:
    hooks = checkout.parent / "hooks"
    hooks.mkdir()
    (hooks / ".pre-commit-hooks.yaml").write_text((ROOT / ".pre-commit-hooks.yaml").read_text())
    done(hooks, "git", "init", "--quiet")
    done(hooks, "git", "add", ".")
    done(hooks, "git", "commit", "--quiet", "-m", "hooks")
    rev = done(hooks, "git", "rev-parse", "HEAD").stdout.strip()
    config = {"repos": [{"repo": str(hooks), "rev": rev, "hooks": [{"id": "lintmigrations"}]}]}
    (checkout / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    done(checkout, "git", "add", ".pre-commit-config.yaml")
    clean = done(checkout, sys.executable, "-m", "pre_commit", "run")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    unsafe(checkout)
    found = done(checkout, sys.executable, "-m", "pre_commit", "run")
    assert found.returncode == 1, found.stderr
    assert "store/migrations/0003_new.py:5: error DSM101" in found.stdout
    assert "0002_old" not in found.stdout


# --- rules and files ----------------------------------------------------------------------------


def test_the_rule_on_the_page_finds_what_the_page_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours(text: str) -> str:
        return text.replace("shop.", "store.").replace("shop/", "store/").replace("shop_", "store_")

    project.add_rules(titled(RULE, "shop/lint.py").text)
    project.add_file(
        "0002_order_note",
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        '    dependencies = [("store", "0001_initial")]\n\n'
        "    operations = [\n"
        '        migrations.AddField("order", "note", models.TextField(null=True)),\n'
        "    ]\n",
    )
    names: dict[str, Any] = {}
    exec(ours(titled(RULE, "settings.py").text), names)
    monkeypatch.chdir(project.directory.parents[1])
    (expected,) = [b.text for b in blocks(RULE) if b.language == "console"]
    with override_settings(SAFE_MIGRATIONS=names["SAFE_MIGRATIONS"]):
        code, printed = run("store")
    assert code == 1
    assert f"$ python manage.py lintmigrations shop\n{printed}" == expected.replace(
        "shop_order", "store_order"
    ).replace("shop/migrations", "store/migrations").replace("shop.0002", "store.0002")


def test_the_page_tells_every_name_of_the_api() -> None:
    text = RULE.read_text()
    told = {"Column", "Table", "CustomRule", "Hazard"}  # what the others return
    assert {name for name in api.__all__ if name not in text} <= told
    assert Observation.__dataclass_fields__.keys() == {"code", "message", "hint", "line", "table"}


def test_the_files_on_the_pages_can_be_read(tmp_path: Path) -> None:
    (baseline,) = [b.text for b in blocks(OLD) if b.language == "json"]
    path = tmp_path / "baseline.json"
    path.write_text(baseline)
    assert read_baseline(str(path))[0].reason
    (sizes,) = [b.text for b in blocks(REFERENCE) if '"search_path"' in b.text]
    path.write_text(sizes)
    assert read_stats(str(path)).find("shop_order") is not None


def test_the_page_of_the_command_gives_the_speeds_of_the_estimates() -> None:
    table = [row for row in rows(sections(REFERENCE, 2)["Sizes of tables"]) if "rows/s" in row[1]]
    told = [[cell.replace(",", "") for cell in row[1:]] for row in table]
    assert told == [
        [
            f"{speed.slow_rows:.0f} rows/s {speed.slow_bytes / 1e6:.0f} MB/s",
            f"{speed.fast_rows:.0f} rows/s {speed.fast_bytes / 1e6:.0f} MB/s",
        ]
        for speed in SPEEDS.values()
    ]


def test_the_page_of_the_command_shows_the_summary_that_is_written(project: Project) -> None:
    (text,) = [b.text for b in blocks(REFERENCE) if '"summary"' in b.text]
    shown = json.loads(text)
    written = json.loads(run("store", "--format", "json")[1])
    assert list(shown) == list(written)
    assert list(shown["summary"]) == list(written["summary"])
