"""What the way back of applied migrations takes away, and which code it would break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.backup.kept import list_kept
from django_safemigrations.checklist.releases_seen import aware, releases_connected, releases_since
from django_safemigrations.executor import PhasedExecutor, Undo
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.postgres.sessions import other_sessions
from django_safemigrations.rollback_plans import way_back_of


@dataclass(frozen=True)
class Losses:
    """What becomes of data.

    Attributes:
        lost: what was written meanwhile and is lost.
        gone: what the way forwards has taken away and the way back does not bring back.
        kept: what it has taken away and is put back, for it was kept (KEEP_DROPPED).
    """

    lost: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost)

    def lines(self) -> Iterator[str]:
        """Yield it as text."""
        for text in self.lost:
            yield f"  lost: {text}"
        for text in self.gone:
            yield f"  not brought back: {text}"
        for text in self.kept:
            yield f"  put back: {text}, as they were kept"


def losses_of(executor: PhasedExecutor, steps: Sequence[Undo]) -> Losses:
    """Return what becomes of data when migrations are taken back.

    What has not run in the database, because it is pending or was faked, takes nothing away.
    """
    rows = ledger.open_contracts(executor.alias) if ledger.exists(executor.connection) else []
    pending = {(row.app_label, row.name) for row in rows}
    migrations = [
        step.migration
        for step in steps
        if not step.fake and (step.migration.app_label, step.migration.name) not in pending
    ]
    found = way_back_of(migrations)
    there = {kept.migration for kept in list_kept(executor.connection) if not kept.restored_at}
    lost = dict.fromkeys(step.meanwhile for step in found if step.loses)
    gone = dict.fromkeys(step.gone for step in found if step.gone and step.name not in there)
    kept = dict.fromkeys(step.gone for step in found if step.gone and step.name in there)
    return Losses(tuple(lost), tuple(gone), tuple(kept))


def new_code_lines(executor: PhasedExecutor, steps: Sequence[Undo]) -> list[str]:
    """Return warnings of connected code that knows what is taken back and can't do without it."""
    expands = {
        (step.migration.app_label, step.migration.name)
        for step in steps
        if not step.contract_only and migration_phase(step.migration) is Phase.EXPAND
    }
    if not expands:
        return []
    knowing = releases_since(executor.alias, expands, aware(timezone.now()))
    sessions = other_sessions(executor.connection)
    connected = [name for name in releases_connected(sessions) if name in knowing]
    if not connected:
        return []
    return [
        f"Release {name} is connected and needs what is taken back here: its requests will fail."
        for name in connected
    ]
