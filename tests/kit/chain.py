"""Runs makemigrations' machinery on a case and puts the written files where Django loads them."""

from __future__ import annotations

import importlib
import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.commands import makemigrations
from django.db import connection as default_connection
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models.fields import NOT_PROVIDED
from django.test import override_settings

from tests.kit.case import LABEL, Case, Generation

_numbers = itertools.count(1)
_root = tempfile.TemporaryDirectory(prefix="kit_migrations_")


class Answers(MigrationQuestioner):
    """Answers makemigrations' questions as the case says."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.asked: list[str] = []

    def ask_rename(
        self, model_name: str, old_name: str, new_name: str, field_instance: Any
    ) -> bool:
        self.asked.append(f"rename {model_name}.{old_name} to {new_name}")
        return self.case.renames.get(f"{model_name}.{old_name}") == new_name

    def ask_rename_model(self, old_model_state: Any, new_model_state: Any) -> bool:
        self.asked.append(f"rename model {old_model_state.name} to {new_model_state.name}")
        return bool(self.case.renames.get(old_model_state.name) == new_model_state.name)

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
        self.asked.append(f"default for {model_name}.{field_name}")
        return self.case.default

    def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
        self.asked.append(f"default for new {model_name}.{field_name}")
        return None if self.case.default is NOT_PROVIDED else self.case.default

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> Any:
        self.asked.append(f"default for new {model_name}.{field_name}")
        return None if self.case.default is NOT_PROVIDED else self.case.default


@dataclass
class Chain:
    """A case's migrations as files in a package of their own.

    Attributes:
        case: what was changed.
        package: dotted name, for settings.MIGRATION_MODULES.
        path: the package's directory.
        initial: names of the migrations that create the old models.
        change: names of the migrations that bring the change, in order.
        asked: the questions that the developer was asked for the change.
    """

    case: Case
    package: str
    path: Path
    initial: list[str] = field(default_factory=list)
    change: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make Django load these files as the case app's migrations, under the case's setting.

        They are read from disk anew, as each command does in a process of its own: states
        share their field objects with the loaded files, and RenameField changes some in place.
        """
        for name in [name for name in sys.modules if name.split(".")[0] == self.package]:
            del sys.modules[name]
        modules = {**settings.MIGRATION_MODULES, LABEL: self.package}
        with override_settings(MIGRATION_MODULES=modules, SAFE_MIGRATIONS=dict(self.case.settings)):
            yield

    def loader(self) -> MigrationLoader:
        """Read the files from disk again; no database is asked. Use inside `installed`."""
        return MigrationLoader(None)

    def migration(self, name: str) -> Migration:
        """Return one migration as Django reads it from its file."""
        with self.installed():
            return self.loader().disk_migrations[LABEL, name]

    def source(self) -> str:
        """Return the text of the files that bring the change, for messages."""
        return "\n".join((self.path / f"{name}.py").read_text() for name in self.change)

    def detect(
        self, generation: Generation, autodetector: type[Any], answers: Answers | None = None
    ) -> dict[str, Any]:
        """Return what the autodetector finds between the files and a generation's models."""
        loader = self.loader()
        state = loader.project_state()
        found: dict[str, Any] = autodetector(
            state, self.case.state(generation, state), answers or Answers(self.case)
        ).changes(graph=loader.graph)
        return found

    def write(self, generation: Generation, autodetector: type[Any]) -> list[str]:
        """Write the migrations that lead to a generation's models, and return their names."""
        answers = Answers(self.case)
        changes = self.detect(generation, autodetector, answers)
        self.asked = answers.asked
        if set(changes) - {LABEL}:
            raise AssertionError(f"other apps changed too: {sorted(changes)}")
        written = []
        for migration in changes.get(LABEL, ()):
            text = MigrationWriter(migration).as_string()
            (self.path / f"{migration.name}.py").write_text(text)
            written.append(migration.name)
        importlib.invalidate_caches()
        return written


def installed_autodetector() -> type[Any]:
    """Return the class that makemigrations uses: Django's with the hook composed onto it."""
    return makemigrations.Command.autodetector


def make_chain(case: Case, autodetector: type[Any] | None = None) -> Chain:
    """Write a case's migrations: the old models' by plain Django, then the change's.

    Args:
        case: the change.
        autodetector: writes the change; default the one installed on makemigrations.
    """
    chain = empty_chain(case)
    with chain.installed():
        chain.initial = chain.write("old", MigrationAutodetector)
        chain.change = chain.write("new", autodetector or installed_autodetector())
    return chain


def make_plain_chain(case: Case) -> Chain:
    """Write the same migrations as Django without the hook would: the yardstick."""
    return make_chain(case, MigrationAutodetector)


def empty_chain(case: Case) -> Chain:
    """Make an empty migrations package for a case."""
    package = f"kit_migrations_{next(_numbers)}"
    path = Path(_root.name) / package
    path.mkdir()
    (path / "__init__.py").touch()
    if _root.name not in sys.path:
        sys.path.insert(0, _root.name)
    importlib.invalidate_caches()
    return Chain(case, package, path)


def migrate(chain: Chain, name: str | None) -> ProjectState:
    """Migrate the case app on `default` to a migration, forwards or backwards (None: zero)."""
    with chain.installed():
        executor = MigrationExecutor(default_connection)
        state: ProjectState = executor.migrate([(LABEL, name)])
    return state
