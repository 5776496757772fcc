"""What makemigrations writes besides operations: why a file exists, and `atomic = False`."""

from __future__ import annotations

import functools
import textwrap
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations
from django.db.migrations import Migration
from django.db.migrations.writer import MigrationWriter

CLASS_LINE = "class Migration(migrations.Migration):\n"
WIDTH = 96


def with_reason(source: str, migration: Migration) -> str:
    """Return a migration's source with its reason as docstring and `atomic = False` if it has that.

    Django 5.2 does not write `atomic`; later versions do, and then nothing is added.
    """
    added = ""
    reason = getattr(migration, "reason", "")
    if reason:
        safe = reason.replace("\\", "\\\\").replace('"', '\\"')
        added += textwrap.fill(f'"""{safe}', WIDTH, initial_indent="    ", subsequent_indent="    ")
        added += '\n    """\n' if "\n" in added or len(added) + 3 > WIDTH + 4 else '"""\n'
    if not migration.atomic and "    atomic = False\n" not in source:
        added += "\n    atomic = False\n"
    elif added:
        added += "" if source.partition(CLASS_LINE)[2].startswith("\n") else "\n"
    return source.replace(CLASS_LINE, CLASS_LINE + added, 1)


def _patched_as_string(original: Any) -> Any:
    @functools.wraps(original)
    def as_string(self: MigrationWriter) -> str:
        source: str = original(self)
        return with_reason(source, self.migration)

    as_string.safemigrations = True  # type: ignore[attr-defined]
    return as_string


def _patched_write(original: Any) -> Any:
    @functools.wraps(original)
    def write_migration_files(
        self: Any, changes: dict[str, list[Migration]], *args: Any, **kwargs: Any
    ) -> None:
        original(self, changes, *args, **kwargs)
        for migrations in changes.values():
            for migration in migrations:
                for note in getattr(migration, "notes", []):
                    self.log(self.style.WARNING(note))

    write_migration_files.safemigrations = True  # type: ignore[attr-defined]
    return write_migration_files


def _patched_update(original: Any) -> Any:
    @functools.wraps(original)
    def write_to_last_migration_files(self: Any, changes: dict[str, list[Migration]]) -> None:
        for migrations in changes.values():
            for migration in migrations:
                if getattr(migration, "reason", ""):
                    raise CommandError(
                        "--update would pour a chain of staged migrations into one file, where its "
                        "phases and `atomic = False` are lost. Nothing was written. Delete the last "
                        f"migration of {migration.app_label} if it was not applied anywhere, then "
                        "run makemigrations without --update."
                    )
        original(self, changes)

    write_to_last_migration_files.safemigrations = True  # type: ignore[attr-defined]
    return write_to_last_migration_files


def install() -> None:
    """Patch Django's writer and makemigrations, once."""
    patches = (
        (MigrationWriter, "as_string", _patched_as_string),
        (makemigrations.Command, "write_migration_files", _patched_write),
        (makemigrations.Command, "write_to_last_migration_files", _patched_update),
    )
    for owner, name, patched in patches:
        original = getattr(owner, name)
        if not getattr(original, "safemigrations", False):
            setattr(owner, name, patched(original))
