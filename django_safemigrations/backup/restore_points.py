"""A backup by the WAL archive: a named point that the archive holds everything up to.

https://www.postgresql.org/docs/current/continuous-archiving.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backup.taken import BackupTaken, taken
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed
from django_safemigrations.postgres.catalog import Catalog, quote
from django_safemigrations.postgres.names import short_hash

FACTS = """
SELECT pg_is_in_recovery(), current_setting('wal_level'), current_setting('archive_mode'),
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE'),
       has_function_privilege('pg_switch_wal()', 'EXECUTE'), current_user
"""
ARCHIVER = """
SELECT last_archived_wal, last_failed_wal,
       last_failed_time > coalesce(last_archived_time, '-infinity'), failed_count
FROM pg_stat_archiver
"""
FUNCTIONS = ("pg_create_restore_point(text)", "pg_switch_wal()")
SEGMENT = 24
"""Characters of the name of a WAL segment; what else is archived has longer names."""
POLL = 0.2


def create_restore_point(
    connection: BaseDatabaseWrapper,
    settings: BackupSettings,
    *,
    progress: Callable[[str], None],
    clock: Callable[[], datetime],
    sleep: Callable[[float], None] = time.sleep,
) -> BackupTaken:
    """Set a restore point, and wait until the WAL up to it is archived.

    Args:
        connection: the database.
        settings: how long to wait.
        progress: told what is being done.
        clock: the time.
        sleep: injected by tests.

    Raises:
        BackupFailed: the server does not archive, archiving fails, a right is missing, or the
            WAL was not archived in time.
    """
    catalog = Catalog(connection)
    _refuse(catalog)
    ((_, _, _, failed_before),) = catalog.rows(ARCHIVER)
    started = clock()
    stamp = started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"safemigrations_{stamp}_{short_hash(started.isoformat())}"
    progress(f"Setting the restore point {name}")
    ((lsn, segment),) = catalog.rows(
        "SELECT lsn::text, pg_walfile_name(lsn) FROM pg_create_restore_point(%s) lsn", [name]
    )
    catalog.value("SELECT pg_switch_wal()::text")
    deadline = started.timestamp() + settings.archive_timeout
    while True:
        ((archived, failed_wal, _, failed),) = catalog.rows(ARCHIVER)
        if _is_in(segment, archived):
            break
        if clock().timestamp() >= deadline:
            why = f"; archiving of {failed_wal} failed meanwhile" if failed > failed_before else ""
            raise BackupFailed(
                f"No backup was taken: WAL segment {segment} with the restore point {name} was not "
                f'archived within {settings.archive_timeout:g} s (BACKUP["ARCHIVE_TIMEOUT"]); the '
                f"last archived one is {archived or 'none'}{why}. Look at the server's log for "
                "archive_command."
            )
        progress(f"Waiting for {segment} in the archive; the last one is {archived or 'none'}")
        sleep(POLL)
    summary = f"restore point {name} at {lsn}, archived in {segment}"
    return taken(
        "restore_point",
        started,
        summary,
        (
            summary,
            "To go back to it, restore a base backup from before and let it recover with:",
            f"  recovery_target_name = '{name}'",
            f"  recovery_target_timeline = '{int(segment[:8], 16)}'",
        ),
        restore_point=name,
        lsn=lsn,
        segment=segment,
        timeline=int(segment[:8], 16),
    )


def _is_in(segment: str, archived: str | None) -> bool:
    """Whether a segment is in the archive, by the last one that is: they go there in order."""
    if archived is None or len(archived) < SEGMENT:
        # The history of a timeline is archived, too.
        return False
    return archived[:8] >= segment[:8] and archived[8:SEGMENT] >= segment[8:]


def _refuse(catalog: Catalog) -> None:
    ((standby, wal_level, archive_mode, may_create, may_switch, role),) = catalog.rows(FACTS)
    if standby:
        raise BackupFailed(
            "No backup was taken: this server is a standby, and a restore point is set on the "
            "primary. Let DATABASES name the primary."
        )
    if wal_level == "minimal" or archive_mode == "off":
        raise BackupFailed(
            f"No backup was taken: the server archives no WAL (wal_level = {wal_level}, "
            f"archive_mode = {archive_mode}). Set archive_mode = on with an archive_command or "
            'archive_library and restart it; or choose another BACKUP["STRATEGY"].'
        )
    may = (may_create, may_switch)
    missing = [function for function, allowed in zip(FUNCTIONS, may, strict=True) if not allowed]
    if missing:
        grants = " ".join(
            f"GRANT EXECUTE ON FUNCTION {function} TO {quote(role)};" for function in missing
        )
        raise BackupFailed(
            f"No backup was taken: role {quote(role)} may not call {' or '.join(missing)}. As a "
            f"superuser, type: {grants} Where the provider does not allow that, choose another "
            'BACKUP["STRATEGY"].'
        )
    ((archived, failed_wal, failing, _),) = catalog.rows(ARCHIVER)
    if failing:
        raise BackupFailed(
            f"No backup was taken: archiving of WAL segment {failed_wal} fails, and nothing was "
            f"archived since (the last one is {archived or 'none'}). Look at the server's log for "
            "archive_command."
        )
