"""Takes a backup in the way that the settings choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backup.attesting import attested
from django_safemigrations.backup.dumps import dump
from django_safemigrations.backup.restore_points import create_restore_point
from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.backup.snapshots import run_command
from django_safemigrations.backup.taken import BackupTaken
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed

__all__ = ["BackupTaken", "attested", "intended", "take_backup"]


def take_backup(
    connection: BaseDatabaseWrapper,
    settings: BackupSettings,
    *,
    at_risk: Sequence[AtRisk],
    progress: Callable[[str], None],
    clock: Callable[[], datetime],
) -> BackupTaken:
    """Take a backup of a database before a plan runs on it.

    Args:
        connection: the database.
        settings: how.
        at_risk: what the plan takes away.
        progress: told what is being done, in lines.
        clock: the time, with its time zone.

    Raises:
        BackupFailed: there is none that could be relied on; says why, and what to do.
        ProgramMissing: there is no pg_dump that is new enough.

    Locks: ACCESS SHARE on the tables that are dumped, until the dump ends.
    """
    if settings.strategy == "command":
        return run_command(connection, settings, at_risk=at_risk, progress=progress, clock=clock)
    if settings.strategy == "restore_point":
        return create_restore_point(connection, settings, progress=progress, clock=clock)
    if settings.strategy == "attested":
        raise BackupFailed(
            'BACKUP["STRATEGY"] is "attested": say which backup there is, with --backup-id ID.'
        )
    return dump(connection, settings, at_risk=at_risk, progress=progress, clock=clock)


def intended(settings: BackupSettings) -> str:
    """Say what `take_backup` would do, and where it would write."""
    if settings.strategy == "command":
        return f"run {settings.command[0]} for a backup"
    if settings.strategy == "restore_point":
        return "set a restore point, and wait until the WAL up to it is archived"
    if settings.strategy == "attested":
        return "ask for the name of a backup (--backup-id)"
    scope = "the tables at risk" if settings.tables == "at_risk" else "the whole database"
    return f"dump {scope} into {settings.directory}, and verify the dump"
