"""Which migrations lintmigrations is to report on: by app, by name, by file, by database, by git."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.apps import apps
from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.migrations.recorder import MigrationRecorder

from django_safemigrations.conf import nearest
from django_safemigrations.lint import LintLoader
from django_safemigrations.lint.loader import migration_path
from django_safemigrations.management.changed_files import changed_files
from django_safemigrations.management.exit_codes import USAGE

Key = tuple[str, str]


@dataclass(frozen=True)
class Targets:
    """What was asked for.

    Attributes:
        keys: of the migrations.
        named: labels of the apps that were named.
        unknown: files that were named and are no migrations of an installed app.
        partial: whether there are others that were not asked for.
        excluded: labels of apps that were asked for, and that the settings leave out.
    """

    keys: frozenset[Key]
    named: frozenset[str]
    unknown: tuple[str, ...]
    partial: bool
    excluded: frozenset[str]


def find_targets(
    loader: LintLoader,
    words: Sequence[str],
    *,
    since: str | None = None,
    unapplied: str | None = None,
    excluded: frozenset[str] = frozenset(),
) -> Targets:
    """Return the migrations that the command line means.

    Args:
        loader: with all files.
        words: an app label and a migration's name or its beginning, or paths of files.
        since: a git commit; only files that have changed since it.
        unapplied: alias of a database; only what it has not applied. Opens a connection.
        excluded: labels of apps that are never judged.

    Raises:
        CommandError: something doesn't exist, with the nearest that does.
        NoChanges: git can't tell what has changed.
    """
    everything = frozenset(loader.disk_migrations) | {problem.key for problem in loader.problems}
    judged = frozenset(key for key in everything if key[0] not in excluded)
    named: frozenset[str] = frozenset()
    unknown: list[str] = []
    if _are_paths(words):
        keys = _by_path(loader, words, unknown)
        named = frozenset(app_label for app_label, _ in keys)
    elif words:
        keys = _by_name(everything, *words)
        named = frozenset({words[0]})
    else:
        keys = everything
    if since is not None:
        changed = changed_files(since, Path.cwd())
        keys = frozenset(key for path, key in _paths(loader).items() if path in changed) & keys
    if unapplied is not None:
        keys -= _applied(unapplied)
    left_out = frozenset(key[0] for key in keys - judged) if words else frozenset()
    keys &= judged
    return Targets(keys, named, tuple(unknown), keys != judged, left_out)


def _are_paths(words: Sequence[str]) -> bool:
    return any(word.endswith(".py") or "/" in word or os.sep in word for word in words)


def _paths(loader: LintLoader) -> dict[Path, Key]:
    """Return the migrations by their files; of a file that can't be read, by its problem's."""
    found = {Path(problem.path).resolve(): problem.key for problem in loader.problems}
    for key, migration in loader.disk_migrations.items():
        path = Path(migration_path(migration)).resolve()
        if key not in loader.unreadable:
            found[path] = key
    return found


def _by_path(loader: LintLoader, words: Iterable[str], unknown: list[str]) -> frozenset[Key]:
    known = _paths(loader)
    found = set()
    for word in words:
        path = Path(word)
        if not path.exists():
            raise CommandError(f"There is no file {word!r}.", returncode=USAGE)
        key = known.get(path.resolve())
        if key is not None:
            found.add(key)
        elif path.name != "__init__.py":
            unknown.append(word)
    return frozenset(found)


def _by_name(
    everything: frozenset[Key], app_label: str, name: str | None = None, *more: str
) -> frozenset[Key]:
    if more:
        raise CommandError(
            "Name an app and one of its migrations, or any number of files.", returncode=USAGE
        )
    of_app = sorted(key for key in everything if key[0] == app_label)
    if not of_app:
        if app_label in {config.label for config in apps.get_app_configs()}:
            raise CommandError(f"App '{app_label}' has no migrations.", returncode=USAGE)
        labels = sorted({label for label, _ in everything})
        raise CommandError(
            f"There is no app '{app_label}'. {nearest(app_label, labels)}", returncode=USAGE
        )
    if name is None:
        return frozenset(of_app)
    if (app_label, name) in everything:
        return frozenset({(app_label, name)})
    names = [key[1] for key in of_app]
    matching = [known for known in names if known.startswith(name)]
    if len(matching) == 1:
        return frozenset({(app_label, matching[0])})
    if matching:
        raise CommandError(
            f"'{name}' fits more than one migration of '{app_label}': {', '.join(matching)}.",
            returncode=USAGE,
        )
    raise CommandError(
        f"App '{app_label}' has no migration '{name}'. {nearest(name, names)}", returncode=USAGE
    )


def _applied(alias: str) -> frozenset[Key]:
    check_alias(alias)
    try:
        return frozenset(MigrationRecorder(connections[alias]).applied_migrations())
    except DatabaseError as error:
        raise CommandError(
            f"--unapplied has to ask the database '{alias}', which doesn't answer: {error}",
            returncode=USAGE,
        ) from error


def check_alias(alias: str) -> None:
    """Refuse an alias that DATABASES doesn't have."""
    if alias not in connections:
        raise CommandError(
            f"There is no database '{alias}'. {nearest(alias, list(connections))}",
            returncode=USAGE,
        )
