"""A backup that somebody says there is: its name and time are kept, and nothing is proven."""

from __future__ import annotations

from datetime import datetime, timedelta

from django_safemigrations.backup.taken import BackupTaken, taken
from django_safemigrations.exceptions import BackupFailed

LONGEST_ID = 200
CLOCKS_DIFFER = timedelta(minutes=5)


def attested(backup_id: str, taken_at: datetime, max_age: float, now: datetime) -> BackupTaken:
    """Take somebody's word for a backup.

    Args:
        backup_id: what it is called where it is.
        taken_at: when it was begun, with its time zone.
        max_age: hours for which a backup counts.
        now: the time.

    Raises:
        BackupFailed: it has no name, is too old, or from the future.
    """
    name = backup_id.strip()
    if not name or len(name) > LONGEST_ID or not name.isprintable():
        raise BackupFailed(
            f"{backup_id[:LONGEST_ID]!r} names no backup: give the name by which it is found, in "
            f"at most {LONGEST_ID} printable characters."
        )
    if taken_at.tzinfo is None:
        raise BackupFailed(
            f"When backup {name} was taken has no time zone. Write it as "
            f"{taken_at.isoformat(timespec='seconds')}+00:00, for example."
        )
    if taken_at > now + CLOCKS_DIFFER:
        raise BackupFailed(
            f"Backup {name} is said to be taken at {taken_at.isoformat(timespec='seconds')}, which "
            "is still to come. Give the time at which it was begun."
        )
    age = now - taken_at
    if age > timedelta(hours=max_age):
        raise BackupFailed(
            f'Backup {name} is {age.total_seconds() / 3600:.0f} h old; BACKUP["MAX_AGE"] is '
            f"{max_age:g} h. Take a newer one."
        )
    summary = f"{name}, attested, taken at {taken_at.isoformat(timespec='minutes')}"
    return taken("attested", taken_at, summary, (summary,), backup_id=name)
