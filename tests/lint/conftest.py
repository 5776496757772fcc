"""Migration files written into a directory of the test's own, linted as an installed app."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from django.test import override_settings

from django_safemigrations.hazards.examples import APP_LABEL, BASE, BASE_NAME
from django_safemigrations.lint import Finding, LintLoader, lint_migrations

INSTALLED = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
]


class Project:
    """An app `store` with the examples' tables and whatever files a test adds."""

    def __init__(self, root: Path) -> None:
        self.directory = root / APP_LABEL / "migrations"
        self.directory.mkdir(parents=True)
        (root / APP_LABEL / "__init__.py").write_text("")
        (self.directory / "__init__.py").write_text("")
        self.add_file(BASE_NAME, BASE)
        self.last = BASE_NAME
        self.apps = [APP_LABEL]

    def add_file(self, name: str, text: str) -> Path:
        """Write a whole file."""
        path = self.directory / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    def add_other(self, name: str, text: str) -> Path:
        """Write a whole file of any app, by ``app_label.name``; a new app needs no more."""
        app_label, _, migration = name.partition(".")
        directory = self.directory.parents[1] / app_label / "migrations"
        if not directory.exists():
            directory.mkdir(parents=True)
            (directory.parent / "__init__.py").write_text("")
            (directory / "__init__.py").write_text("")
            self.apps.append(app_label)
        path = directory / f"{migration}.py"
        path.write_text(dedent(text).lstrip(), encoding="utf-8")
        return path

    def add(self, name: str, body: str, *, setup: str = "", after: str | None = None) -> Path:
        """Write a migration that depends on the last one added (or another), from its class "
        "body."""
        body = dedent(body).strip("\n")
        indented = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
        text = (
            "from django.db import migrations, models\n"
            f"{dedent(setup)}\n"
            "class Migration(migrations.Migration):\n"
            f'    dependencies = [("{APP_LABEL}", "{after or self.last}")]\n'
            f"{indented}\n"
        )
        self.last = name
        return self.add_file(name, text)

    def add_rules(self, text: str) -> Path:
        """Write the module `store.lint` with rules of the project's own."""
        path = self.directory.parent / "lint.py"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def operations(self, source: str, *, setup: str = "", atomic: bool = True) -> list[Finding]:
        """Add a migration with these operations and return what is found in it."""
        body = f"atomic = {atomic}\noperations = [\n{dedent(source).strip(chr(10))}\n]"
        name = f"{int(self.last[:4]) + 1:04}_test"
        self.add(name, body, setup=setup)
        return [finding for finding in self.findings() if finding.migration == name]

    def codes(self, source: str, *, setup: str = "", atomic: bool = True) -> list[str]:
        """Return the codes that `operations` finds."""
        return [finding.code for finding in self.operations(source, setup=setup, atomic=atomic)]

    def findings(self) -> list[Finding]:
        """Lint all files of the app."""
        return [finding for finding in self.every_finding() if finding.app_label == APP_LABEL]

    def every_finding(self) -> list[Finding]:
        """Lint all files of all apps."""
        forget(self.apps)
        with override_settings(INSTALLED_APPS=[*INSTALLED, *self.apps]):
            return lint_migrations(LintLoader(None, ignore_no_migrations=True))


def forget(apps: Collection[str] = (APP_LABEL,)) -> None:
    """Let the files be imported anew."""
    for name in [name for name in sys.modules if name.split(".")[0] in apps]:
        if name.split(".")[-1] not in (*apps, "migrations"):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Project(tmp_path)
    with override_settings(INSTALLED_APPS=[*INSTALLED, APP_LABEL]):
        yield made
    for name in [name for name in sys.modules if name.split(".")[0] in made.apps]:
        del sys.modules[name]


@pytest.fixture
def codes(project: Project) -> Callable[..., list[str]]:
    """Return the codes found in the operations of one migration of the examples' shop."""
    return project.codes
