"""The hook beside other packages that change makemigrations, in every order of INSTALLED_APPS."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from django.core.checks import run_checks
from django.core.management.commands import makemigrations, migrate
from django.test import override_settings

from django_safemigrations.hook import StagedAutodetectorMixin, compose, install
from tests.hook.project import Project

OTHERS = ("django_safemigrations", "pgtrigger", "django_linear_migrations")

INITIAL = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=20)),
            ],
            options={"indexes": [models.Index(fields=["code"], name="order_old")]},
        ),
    ]
"""
CHANGED = """
import pgtrigger
from django.db import models

class Order(models.Model):
    code = models.CharField(max_length=20)
    total = models.IntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["code", "id"], name="order_new")]
        triggers = [pgtrigger.Protect(name="keep", operation=pgtrigger.Delete)]
"""


def changed_project(make: Callable[..., Project], order: tuple[str, ...]) -> Project:
    project = make(*order, "shop", FIRST_PARTY_APPS=["shop"])
    project.write("shop/migrations/0001_initial.py", INITIAL)
    project.write("shop/migrations/max_migration.txt", "0001_initial\n")
    project.models("shop", CHANGED)
    return project


@pytest.mark.parametrize("order", list(permutations(OTHERS)), ids="-".join)
def test_any_order_of_installed_apps_works(
    new_project: Callable[..., Project], order: tuple[str, ...]
) -> None:
    project = changed_project(new_project, order)
    checked = project.run("check")
    assert "no issues" in checked
    project.run("makemigrations", "shop", "--no-input")
    names = project.names()
    assert len(names) >= 4, names
    migrations = [project.migration(name) for name in names]
    kinds = [type(op).__name__ for migration in migrations for op in migration.operations]
    assert "AddTrigger" in kinds
    assert "Expand" in kinds
    assert not {"AddIndex", "RemoveIndex"} & set(kinds)
    assert all(not m.atomic for m in migrations if m.operations[0].__class__.__name__ == "Expand")
    newest = (project.directory / "shop/migrations/max_migration.txt").read_text()
    assert newest == f"{names[-1]}\n"
    assert "no issues" in project.run("check")
    assert "No changes" in project.run("makemigrations", "--check", "--dry-run")


def test_the_chain_and_the_trigger_of_pgtrigger_run(new_project: Callable[..., Project]) -> None:
    project = changed_project(new_project, OTHERS)
    project.run("makemigrations", "shop", "--no-input")
    project.run("migrate", "--no-input")
    assert "[ ]" not in project.run("showmigrations", "shop")
    project.run("migrate", "shop", "0001", "--no-input")
    project.run("migrate", "shop", "zero", "--no-input")


def test_both_commands_use_one_class() -> None:
    assert makemigrations.Command.autodetector is migrate.Command.autodetector
    assert issubclass(makemigrations.Command.autodetector, StagedAutodetectorMixin)


def test_installing_twice_composes_once() -> None:
    before = makemigrations.Command.autodetector
    install()
    assert makemigrations.Command.autodetector is before
    assert compose(before) is before


def test_a_subclass_of_django_s_command_gets_the_hook_too(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("shadow", "django_safemigrations", "shop")
    project.write("shadow/management/__init__.py", "")
    project.write("shadow/management/commands/__init__.py", "")
    project.write(
        "shadow/management/commands/makemigrations.py",
        "from django.core.management.commands.makemigrations import Command as Django\n"
        "class Command(Django):\n    pass\n",
    )
    project.begin()
    assert "no issues" in project.run("check")
    project.models(
        "shop",
        """
        from django.db import models

        class Order(models.Model):
            code = models.CharField(max_length=20, db_index=True)
            total = models.IntegerField(null=True)
            note = models.TextField(null=True)
    """,
    )
    project.run("makemigrations", "--no-input")
    assert "CreateFieldIndexesConcurrently" in project.text(project.names()[-1])


class TestChecks:
    def test_a_command_that_bypasses_the_hook_is_warned_about(
        self, new_project: Callable[..., Project]
    ) -> None:
        project = new_project("shadow", "django_safemigrations", "shop")
        for path in ("shadow/management/__init__.py", "shadow/management/commands/__init__.py"):
            project.write(path, "")
        own = """
            from django.core.management.commands.{name} import Command as Django
            from django.db.migrations.autodetector import MigrationAutodetector

            class Command(Django):
                autodetector = MigrationAutodetector
        """
        for name in ("makemigrations", "migrate"):
            project.write(f"shadow/management/commands/{name}.py", own.format(name=name))
        said = project.manage("check").said
        assert "django_safemigrations.W001" in said
        assert "makemigrations comes from shadow" in said
        assert "lintmigrations" in said

    def test_a_command_that_shadows_ours_is_warned_about(
        self, new_project: Callable[..., Project]
    ) -> None:
        project = new_project("shadow", "django_safemigrations", "shop")
        for path in ("shadow/management/__init__.py", "shadow/management/commands/__init__.py"):
            project.write(path, "")
        project.write(
            "shadow/management/commands/safemigrate.py",
            "from django.core.management import BaseCommand\n"
            "class Command(BaseCommand):\n    pass\n",
        )
        said = project.manage("check").said
        assert "django_safemigrations.W002" in said
        assert "`safemigrate` runs the command of shadow" in said
        assert "above it in INSTALLED_APPS" in said

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"LOCK_TIMOUT": 50}, ["LOCK_TIMOUT", "Did you mean 'LOCK_TIMEOUT'?"]),
            ({"lock_timeout": 50}, ["lock_timeout", "Did you mean 'LOCK_TIMEOUT'?"]),
            ({"RENAME_FIELD": "dbcolumn"}, ["'dbcolumn'", "Did you mean 'db_column'?"]),
            ({"LOCK_BUDGET": 0}, ["LOCK_BUDGET", "above 0"]),
            ({"CHECKLIST": {"bakcup": "warn"}}, ["bakcup", "Did you mean 'backup'?"]),
            ({"CHECKLIST": {"backup": "wran"}}, ["'wran'", "Did you mean 'warn'?"]),
            ([], ["is not a dict"]),
        ],
        ids=str,
    )
    def test_a_wrong_setting_is_an_error_that_names_the_nearest_right_one(
        self, setting: object, said: list[str]
    ) -> None:
        with override_settings(SAFE_MIGRATIONS=setting):
            found = [m for m in run_checks() if m.id == "django_safemigrations.E001"]
        assert len(found) == 1
        for part in said:
            assert part in str(found[0]), str(found[0])

    def test_every_wrong_key_is_named_and_right_ones_pass(self) -> None:
        with override_settings(SAFE_MIGRATIONS={"LOCK": 1, "BATCH": 2, "BATCH_TIME": 100}):
            assert len([m for m in run_checks() if m.id == "django_safemigrations.E001"]) == 2
        with override_settings(SAFE_MIGRATIONS={"BATCH_TIME": 100, "LINT_IGNORE": ["DSM101"]}):
            assert [m for m in run_checks() if str(m.id).startswith("django_safemigrations")] == []

    def test_makemigrations_stops_at_a_wrong_setting(
        self, new_project: Callable[..., Project]
    ) -> None:
        project = new_project("django_safemigrations", "shop", SAFE_MIGRATIONS={"LOCK_TIMOUT": 5})
        result = project.manage("makemigrations", "--no-input")
        assert result.code == 1
        assert "Did you mean 'LOCK_TIMEOUT'?" in result.err
        assert project.names() == []
