"""Keeps the ledger in step with Django's own record of applied migrations."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.utils import timezone

from django_safemigrations.exceptions import SettingsError
from django_safemigrations.models import (
    BackfillProgress,
    BackfillRange,
    Evidence,
    PendingContract,
    Run,
)

APP_LABEL = "django_safemigrations"
FIRST_MODELS = (Run, PendingContract, BackfillProgress, Evidence)
MODELS = (*FIRST_MODELS, BackfillRange)


def refuse_unrouted(alias: str) -> None:
    """Raise if the project's database router keeps the ledger out of a database.

    Raises:
        SettingsError: names the database and what the router has to say.
    """
    for model in MODELS:
        if not router.allow_migrate_model(alias, model):
            raise SettingsError(
                f"A database router forbids {APP_LABEL}.{model.__name__} on {alias!r}, but "
                "safemigrate keeps its ledger in the database that it migrates. Let "
                f"allow_migrate({alias!r}, {APP_LABEL!r}) return True or None in DATABASE_ROUTERS."
            )


def exists(connection: BaseDatabaseWrapper) -> bool:
    """Whether the ledger's first tables are there; newer ones may have to be migrated still.

    What it says of runs and pending contracts counts then, also before a run has brought it up
    to date. Whatever needs the newer tables looks for them by itself.
    """
    return _has_tables(connection, FIRST_MODELS)


def is_whole(connection: BaseDatabaseWrapper) -> bool:
    """Whether all of the ledger's tables are there."""
    return _has_tables(connection, MODELS)


def _has_tables(connection: BaseDatabaseWrapper, wanted: Sequence[type[Model]]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(to_regclass(quote_ident(t)) IS NOT NULL) FROM unnest(%s::text[]) t",
            [[model._meta.db_table for model in wanted]],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def operator() -> str:
    """Who runs this command: operating-system user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        user = "?"
    return f"{user}@{socket.gethostname()}"


def open_contracts(alias: str) -> list[PendingContract]:
    """Return the contracts that are pending, the oldest first."""
    return list(PendingContract.objects.using(alias).filter(resolved_at=None).order_by("pk"))


def resolve(
    row: PendingContract, how: PendingContract.Resolution, alias: str, reason: str = ""
) -> None:
    """Close a pending contract."""
    row.resolved_at = timezone.now()
    row.resolution = how
    row.reason = reason
    row.save(using=alias, update_fields=["resolved_at", "resolution", "reason"])


def record_key(connection: BaseDatabaseWrapper, app_label: str, name: str) -> int | None:
    """Return the primary key of Django's record of a migration, None if it is not applied."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return None
    rows = recorder.migration_qs.filter(app=app_label, name=name).values_list("pk", flat=True)
    return rows.first()


def owed_contracts(
    connection: BaseDatabaseWrapper, loader: MigrationLoader | None = None
) -> tuple[list[PendingContract], list[tuple[PendingContract, str]]]:
    """Return the contracts that are still owed, and those that are not any more and why.

    A record that is gone while the file is still there was unapplied by a plain migrate.
    A record that is gone together with its file was pruned: the contract is still owed.
    """
    owed: list[PendingContract] = []
    settled: list[tuple[PendingContract, str]] = []
    for row in open_contracts(connection.alias):
        key = record_key(connection, row.app_label, row.name)
        if key is not None and key == row.record:
            owed.append(row)
            continue
        if key is None:
            loader = loader or MigrationLoader(None, ignore_no_migrations=True)
            if (row.app_label, row.name) not in (loader.disk_migrations or {}):
                owed.append(row)
            else:
                settled.append((row, "unapplied by something else than safemigrate"))
        else:
            settled.append((row, "applied anew by something else than safemigrate"))
    return owed, settled


def reconcile(
    connection: BaseDatabaseWrapper, loader: MigrationLoader | None = None
) -> list[PendingContract]:
    """Close what is not owed any more, and return what is; see `owed_contracts`."""
    owed, settled = owed_contracts(connection, loader)
    for row, reason in settled:
        resolve(row, PendingContract.Resolution.ELSEWHERE, connection.alias, reason)
    return owed


def mark_interrupted(alias: str) -> None:
    """Say of runs that never ended that they did not; only for who holds the migrator lock."""
    Run.objects.using(alias).filter(status=Run.Status.RUNNING).update(
        status=Run.Status.INTERRUPTED, finished_at=timezone.now()
    )


def note(run: Run | None, alias: str, app_label: str, name: str, action: str) -> None:
    """Add what was done to a run's record, in the transaction that did it."""
    if run is None:
        return
    done = Run.objects.using(alias).values_list("migrations", flat=True).get(pk=run.pk)
    entry = {"app_label": app_label, "name": name, "action": action}
    Run.objects.using(alias).filter(pk=run.pk).update(migrations=[*done, entry])


def last_runs(alias: str, count: int) -> Sequence[Run]:
    """Return the forwards runs that changed something and were not rolled back, newest first."""
    runs = Run.objects.using(alias).filter(kind=Run.Kind.FORWARDS, rolled_back_at=None)
    return list(runs.exclude(migrations=[]).order_by("-pk")[:count])
