"""Loads migration files as Django does, and goes on when one of them can't be read."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from django.apps import apps
from django.core.management.base import CommandError
from django.db.migrations import Migration
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.lint.contents import is_key, listed, wrong_contents

Key = tuple[str, str]


@dataclass(frozen=True)
class LoadProblem:
    """A file that can't be read, or a dependency that can't be followed."""

    key: Key
    path: str
    line: int
    message: str
    hint: str


class LintLoader(MigrationLoader):
    """A MigrationLoader that leaves out what is broken and remembers it in `problems`.

    An unreadable file is replaced by an empty migration, so that those that
    depend on it keep their place. Opens no database connection when it is given none.
    """

    def __init__(self, connection: Any = None, **options: Any) -> None:
        self.problems: list[LoadProblem] = []
        self._not_followed: dict[Key, str] = {}
        super().__init__(connection, **options)

    def load_disk(self) -> None:
        """Read all files; one by one if one of them stops Django's own loader."""
        self.problems = []
        try:
            super().load_disk()
        except (Exception, SystemExit):  # noqa: BLE001 - a file may raise anything on import
            self._load_what_can_be_read()
        self._look_for_unseen()
        self._check_contents()
        self._cut_replaces()
        self._cut_missing_dependencies()
        self._cut_circles()
        # Django 5.2 reads files in no particular order and fails on a squash of a squash
        # unless the inner one comes first.
        self.disk_migrations = {
            key: self.disk_migrations[key]
            for key in sorted(self.disk_migrations, key=lambda key: (self._depth(key), key))
        }

    def build_graph(self) -> None:
        """Put the files in order.

        Raises:
            SafeMigrationsError: Django can't, for a reason that is not one of the `problems`.
        """
        try:
            super().build_graph()
        except (NodeNotFoundError, CircularDependencyError, CommandError, ValueError) as error:
            squashes = [key for key, m in self.disk_migrations.items() if m.replaces]
            if squashes:
                # `replaces` is all that can still be wrong: try without one after the other.
                self._not_followed[squashes[-1]] = str(error)
                self.build_graph()
                return
            raise SafeMigrationsError(
                f"The migrations can't be put in order: {error}. Django can't run them either; "
                "mend the dependencies or `replaces` of the migration that it names."
            ) from error

    def _depth(self, key: Key, above: frozenset[Key] = frozenset()) -> int:
        """Return how many squashes lie inside each other; 0 for an ordinary migration."""
        migration = self.disk_migrations.get(key)
        if migration is None or not migration.replaces or key in above:
            return 0
        return 1 + max(self._depth(k, above | {key}) for k in replaced_by(migration))

    @property
    def unreadable(self) -> frozenset[Key]:
        """Keys of the files for which an empty migration stands in."""
        return frozenset(
            key for key, migration in self.disk_migrations.items() if isinstance(migration, Unread)
        )

    def _load_what_can_be_read(self) -> None:
        self.disk_migrations = {}
        self.unmigrated_apps = set()
        self.migrated_apps = set()
        for config in apps.get_app_configs():
            package = self._migrations_package(config.label)
            if package is None:
                self.unmigrated_apps.add(config.label)
                continue
            self.migrated_apps.add(config.label)
            names = sorted(
                name
                for _, name, is_package in pkgutil.iter_modules(package.__path__)
                if not is_package and name[0] not in "_~"
            )
            previous: str | None = None
            for name in names:
                self.disk_migrations[config.label, name] = self._read(
                    config.label, name, package, previous
                )
                previous = name

    def _look_for_unseen(self) -> None:
        """Report the packages that Django passes over without a word."""
        known = {problem.key[0] for problem in self.problems}
        for app_label in sorted(self.unmigrated_apps - known):
            module_name, explicit = self.migrations_module(app_label)
            if module_name is None:
                continue
            try:
                spec = find_spec(module_name)
            except (ImportError, ValueError):
                spec = None
            if spec is None and explicit:
                self._unseen(
                    app_label,
                    module_name,
                    f"MIGRATION_MODULES names {module_name} for {app_label}, which doesn't exist: "
                    "Django takes the app for one without migrations.",
                    "Correct the name, or write None if the app shall have none.",
                )
            elif spec is not None and spec.origin is None:
                for directory in spec.submodule_search_locations or ():
                    if any(Path(directory).glob("[0-9]*_*.py")):
                        self._unseen(
                            app_label,
                            directory,
                            f"{directory} has no __init__.py: Django doesn't see the migrations "
                            "in it.",
                            f"Add the file: touch {Path(directory) / '__init__.py'}",
                        )

    def _unseen(self, app_label: str, path: str, message: str, hint: str) -> None:
        self.problems.append(LoadProblem((app_label, "__init__"), path, 0, message, hint))

    def _check_contents(self) -> None:
        """Let an empty migration stand in for one that holds what Django can't run."""
        for key, migration in list(self.disk_migrations.items()):
            wrong = wrong_contents(migration)
            if wrong is None:
                continue
            self.problems.append(
                LoadProblem(
                    key=key,
                    path=migration_path(migration),
                    line=0,
                    message=f"{'.'.join(key)} can't be run: {wrong}.",
                    hint="Mend the file; what comes after it is judged without knowing what it "
                    "does.",
                )
            )
            stand_in = Unread(key[1], key[0])
            for name in ("dependencies", "run_before", "replaces"):
                given = [k for k in listed(getattr(migration, name, ())) if is_key(k)]
                _own(getattr(stand_in, name))[:] = given
            self.disk_migrations[key] = stand_in

    def _migrations_package(self, app_label: str) -> ModuleType | None:
        module_name, explicit = self.migrations_module(app_label)
        if module_name is None:
            return None
        try:
            package = import_module(module_name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")
            if explicit or "migrations" not in missing:
                self._cannot_read((app_label, "__init__"), module_name, error)
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see load_disk
            self._cannot_read((app_label, "__init__"), module_name, error)
            return None
        if not hasattr(package, "__path__"):
            return None
        if getattr(package, "__file__", None) is None and not isinstance(package.__path__, list):
            return None
        return package

    def _read(
        self, app_label: str, name: str, package: ModuleType, previous: str | None
    ) -> Migration:
        path = str(Path(next(iter(package.__path__))) / f"{name}.py")
        try:
            migration = _instance(import_module(f"{package.__name__}.{name}"), name, app_label)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see load_disk
            self._cannot_read((app_label, name), path, error)
            stand_in = Unread(name, app_label)
            if previous is not None:
                # Where it stood can't be known; files are numbered in the order they were made.
                _own(stand_in.dependencies)[:] = [(app_label, previous)]
            return stand_in
        return migration

    def _cannot_read(self, key: Key, path: str, error: BaseException) -> None:
        line = 0
        if isinstance(error, SyntaxError) and error.filename == path:
            line = error.lineno or 0
        else:
            line = _line_in(error, path)
        self.problems.append(
            LoadProblem(
                key=key,
                path=path,
                line=line,
                message=f"{'.'.join(key)} can't be read: {type(error).__name__}: {error}.",
                hint="Mend the file; what comes after it is judged without knowing what it does.",
            )
        )

    def _cut_replaces(self) -> None:
        wrong = dict(self._not_followed)
        for key in self.disk_migrations:
            # Django 5.2 drops such a file from the graph without a word.
            if self._replaces_itself(key):
                wrong.setdefault(key, "it stands in its own place")
        for key, error in wrong.items():
            migration = self.disk_migrations.get(key)
            if migration is None or not migration.replaces:
                continue
            _own(migration.replaces)[:] = []
            self.problems.append(
                LoadProblem(
                    key=key,
                    path=migration_path(migration),
                    line=0,
                    message=f"{'.'.join(key)} replaces migrations that it can't replace: {error}.",
                    hint="Mend its `replaces`: it may name neither itself nor what it depends on, "
                    "and no two squashes may replace each other. Django can't run any file of it.",
                )
            )

    def _replaces_itself(self, key: Key) -> bool:
        seen: set[Key] = set()
        waiting = [key]
        while waiting:
            migration = self.disk_migrations.get(waiting.pop())
            for other in replaced_by(migration) if migration is not None else ():
                if other == key:
                    return True
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return False

    def _cut_missing_dependencies(self) -> None:
        replaced = {
            k for migration in self.disk_migrations.values() for k in replaced_by(migration)
        }
        # That a whole app is out of reach is one finding, not one for each that depends on it.
        lost = {label for label, name in (p.key for p in self.problems) if name == "__init__"}
        for key, migration in self.disk_migrations.items():
            for others in (migration.dependencies, migration.run_before):
                missing = [other for other in others if not self._exists(other, replaced)]
                for other in missing:
                    if other[0] not in lost:
                        self._missing(key, migration, other)
                _own(others)[:] = [other for other in others if other not in missing]

    def _exists(self, key: Sequence[str], replaced: Collection[Key]) -> bool:
        app_label, name = key
        if name in ("__first__", "__latest__"):
            return app_label in self.unmigrated_apps or any(
                label == app_label for label, _ in self.disk_migrations
            )
        return (app_label, name) in self.disk_migrations or (app_label, name) in replaced

    def _missing(self, key: Key, migration: Migration, other: Sequence[str]) -> None:
        near = sorted(name for label, name in self.disk_migrations if label == other[0])
        hint = (
            f"The last migration of {other[0]} is {near[-1]!r}."
            if near
            else f"There is no app {other[0]!r} with migrations in INSTALLED_APPS."
        )
        self.problems.append(
            LoadProblem(
                key=key,
                path=migration_path(migration),
                line=0,
                message=f"{'.'.join(key)} depends on {'.'.join(other)}, which does not exist.",
                hint=hint,
            )
        )

    def _cut_circles(self) -> None:
        while True:
            inside: dict[Key, set[Key]] = {
                key: {(k[0], k[1]) for k in migration.dependencies if k in self.disk_migrations}
                for key, migration in self.disk_migrations.items()
            }
            for key, migration in self.disk_migrations.items():
                for later in migration.run_before:
                    if later in inside:
                        inside[later].add(key)
            try:
                TopologicalSorter(inside).prepare()
            except CycleError as error:
                circle: list[Key] = error.args[1]
                self._cut(circle)
            else:
                return

    def _cut(self, circle: list[Key]) -> None:
        earlier, later = circle[0], circle[1]
        migration = self.disk_migrations[later]
        _own(migration.dependencies)[:] = [k for k in migration.dependencies if tuple(k) != earlier]
        before = self.disk_migrations[earlier]
        _own(before.run_before)[:] = [k for k in before.run_before if tuple(k) != later]
        names = " -> ".join(".".join(key) for key in reversed(circle))
        self.problems.append(
            LoadProblem(
                key=later,
                path=migration_path(migration),
                line=0,
                message=f"{'.'.join(later)} is part of a circle of dependencies: {names}.",
                hint="Take one of these dependencies out; Django can't run any of the files.",
            )
        )


class Unread(Migration):
    """Stands in for a file that can't be read."""


def _own(keys: Sequence[Key]) -> list[Key]:
    """Return a migration's list of keys to change; Migration.__init__ has copied the class's."""
    return cast("list[Key]", keys)


def replaced_by(migration: Migration) -> list[Key]:
    """Return the keys of the migrations that a squashed one replaces."""
    return [(app_label, name) for app_label, name in migration.replaces]


def migration_path(migration: Migration) -> str:
    """Return the file that a migration was read from; its module's name if there is none."""
    module_name = type(migration).__module__
    return getattr(import_module(module_name), "__file__", None) or module_name


def _instance(module: ModuleType, name: str, app_label: str) -> Migration:
    if not hasattr(module, "Migration"):
        raise BadMigrationError("it has no Migration class")
    migration: Migration = module.Migration(name, app_label)
    return migration


def _line_in(error: BaseException, path: str) -> int:
    line = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
