"""Django's own migrations, and that no database is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from django_safemigrations.conf import Settings
from django_safemigrations.lint import Finding, LintLoader, lint_migrations

CONTRIB = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.admin",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.flatpages",
    "django.contrib.redirects",
]

EXPLAINED = {
    # Drops a column of the live table django_content_type.
    ("contenttypes", "0002_remove_content_type_name", "DSM503"),
    # Makes django_site.domain unique, an ordinary ADD CONSTRAINT … UNIQUE.
    ("sites", "0002_alter_domain_unique", "DSM101"),
}


def lint_contrib() -> list[Finding]:
    with override_settings(INSTALLED_APPS=CONTRIB, MIGRATION_MODULES={}):
        return lint_migrations(LintLoader(None), settings=Settings())


def test_the_findings_in_djangos_own_migrations_are_those_that_the_docs_explain() -> None:
    found = {(f.app_label, f.migration, f.code) for f in lint_contrib()}
    assert found == EXPLAINED
    page = Path(__file__).parents[2] / "docs" / "reference" / "lintmigrations.md"
    for app_label, migration, code in EXPLAINED:
        assert f"`{app_label}.{migration}` | [{code}]" in page.read_text(encoding="utf-8")


def test_djangos_own_migrations_are_those_of_an_installed_package() -> None:
    assert all(finding.third_party for finding in lint_contrib())


WITHOUT_SERVER = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS={apps!r},
    DATABASES={{
        "default": {{
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "nothing", "HOST": "127.0.0.1", "PORT": "1",
        }}
    }},
)
django.setup()
from django_safemigrations.management.commands.lintmigrations import Command

Command().run_from_argv(["manage.py", "lintmigrations", "sites"])
"""


def test_no_database_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER.format(apps=CONTRIB)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    assert done.returncode == 1
    assert "DSM101" in done.stdout


def test_a_loader_of_django_serves_as_well() -> None:
    with override_settings(INSTALLED_APPS=CONTRIB, MIGRATION_MODULES={}):
        findings = lint_migrations(
            MigrationLoader(None), [("sites", "0002_alter_domain_unique")], Settings()
        )
    assert [finding.code for finding in findings] == ["DSM101"]


@pytest.mark.parametrize("keys", [[], [("auth", "0001_initial")]])
def test_only_what_is_asked_for_is_reported(keys: list[tuple[str, str]]) -> None:
    with override_settings(INSTALLED_APPS=CONTRIB, MIGRATION_MODULES={}):
        assert lint_migrations(LintLoader(None), keys, Settings()) == []
