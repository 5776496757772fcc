"""The errors a user can meet; each says what happened, to what, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SafeMigrationsError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(SafeMigrationsError):
    """The SAFE_MIGRATIONS setting can't be used as it is."""


class MixedPhases(SafeMigrationsError):
    """One migration holds operations of both phases."""


@dataclass(frozen=True)
class Blocker:
    """A session that holds, or waits ahead of us for, a lock that we need."""

    pid: int
    user: str
    application: str
    state: str
    query: str
    seconds: float
    """Age of its transaction, in seconds."""
    relation: str
    backend: str = "client backend"

    def __str__(self) -> str:
        who = f"pid {self.pid}"
        if self.backend != "client backend":
            who += f" ({self.backend})"
        else:
            who += f", user {self.user or '?'}, application {self.application or '(unnamed)'}"
        return (
            f"{who}, {self.state or 'active'} for {self.seconds:.1f} s"
            f"{f' on {self.relation}' if self.relation else ''}: {self.query or '(no query)'}"
        )


class LockNotGranted(SafeMigrationsError):
    """A lock was not granted within LOCK_BUDGET; nothing of the statement was done."""

    def __init__(self, what: str, seconds: float, blockers: Sequence[Blocker] = ()) -> None:
        self.what = what
        self.seconds = seconds
        self.blockers = tuple(blockers)
        lines = [f"No lock for {what} within {seconds:.0f} s (LOCK_BUDGET); nothing was changed."]
        if self.blockers:
            lines.append("In the way:")
            lines += [f"  {blocker}" for blocker in self.blockers]
            lines.append(
                "Wait for these sessions to end, or end one with "
                f"SELECT pg_terminate_backend({self.blockers[0].pid}); then run the command again."
            )
        else:
            lines.append("The sessions in the way were gone when they were looked for; run again.")
        super().__init__("\n".join(lines))


class ViolatingRows(SafeMigrationsError):
    """Rows exist that the new constraint or NOT NULL forbids."""


class UnsupportedChange(SafeMigrationsError):
    """PostgreSQL or this package offers no online way for a change on this table."""


class DataDiffers(SafeMigrationsError):
    """Two columns that must be equal are not; dropping one would lose data."""


class InvalidIndex(SafeMigrationsError):
    """A concurrent build ended with an index that is not valid."""


class PooledConnection(SafeMigrationsError):
    """The connection goes through a pooler that shares server sessions between transactions."""


class AnotherMigrator(SafeMigrationsError):
    """Another session is migrating this database."""


class ThrottleFailed(SafeMigrationsError):
    """What is asked whether a backfill may go on can't say it."""


class BackfillStopped(SafeMigrationsError):
    """A backfill did not come to its end.

    Attributes:
        key: what the ledger calls it; empty if the ledger does not know it.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class BackfillCancelled(BackfillStopped):
    """Somebody cancelled a backfill; what it has filled stays filled."""


class BackfillFailed(BackfillStopped):
    """Some rows could not be filled; they are named, and all others are filled."""


class BackfillLeft(BackfillStopped):
    """A backfill is ready, and left to workers (`runbackfill`)."""


class BackfillUnfinished(BackfillStopped):
    """A contract needs a backfill that is not proven complete."""


class ChecklistUnmet(SafeMigrationsError):
    """The checklist refuses the plan."""


class PendingContractConflict(SafeMigrationsError):
    """A later expand migration touches what a pending contract still has to change."""


class ProgramMissing(SafeMigrationsError):
    """No program of PostgreSQL's that is new enough for the server was found."""


class ProgramFailed(SafeMigrationsError):
    """A program that was run ended badly.

    Attributes:
        status: its exit status; negative for a signal.
        stderr: the last of what it wrote there, secrets replaced.
    """

    def __init__(self, message: str, status: int, stderr: str) -> None:
        super().__init__(message)
        self.status = status
        self.stderr = stderr


class CopyRefused(SafeMigrationsError):
    """No copy of the database is made as things stand; nothing was changed anywhere."""


class CopyFailed(SafeMigrationsError):
    """Copying the database ended badly; production was only read, and what was made is gone."""


class BackupFailed(SafeMigrationsError):
    """There is no backup that could be relied on; nothing in the database was changed."""


class ReportNotWritten(SafeMigrationsError):
    """A report can't be written where it should be."""
