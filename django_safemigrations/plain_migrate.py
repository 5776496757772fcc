"""Keeps a typed `manage.py migrate` from running contracts on a database that is being used.

Called from code, on a database without applied migrations, or with --fake, migrate
always runs. After every migrate the ledger is brought in step with Django's record.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

from django_safemigrations import ledger
from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import MixedPhases
from django_safemigrations.phases import Phase, migration_phase

_typed: ContextVar[bool] = ContextVar("typed", default=False)


def install() -> None:
    """Wrap Django's migrate and listen to its signals; calling it again changes nothing."""
    original = migrate.Command.run_from_argv
    if not hasattr(original, "__wrapped__"):
        migrate.Command.run_from_argv = _noting_that_it_was_typed(original)  # type: ignore[method-assign]
    pre_migrate.connect(_before, dispatch_uid="django_safemigrations.plain_migrate")
    post_migrate.connect(_after, dispatch_uid="django_safemigrations.plain_migrate")


def _noting_that_it_was_typed(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def run_from_argv(self: migrate.Command, argv: list[str]) -> None:
        guarded = getattr(self, "guarded_by_plain_migrate", True) and "--fake" not in argv
        token = _typed.set(guarded)
        try:
            original(self, argv)
        finally:
            _typed.reset(token)

    return run_from_argv


def _before(
    sender: Any,
    using: str,
    plan: Sequence[tuple[Migration, bool]] = (),
    stdout: Any = sys.stdout,
    **_: Any,
) -> None:
    """Refuse, or warn, before anything has run."""
    connection = connections[using]
    # The signal is sent once an app.
    if sender.label != ledger.APP_LABEL or connection.vendor != "postgresql":
        return
    _spare_pending_contracts(connection, plan)
    way = get_settings().plain_migrate
    if way == "allow" or not _typed.get():
        return
    contracts = [
        f"{migration.app_label}.{migration.name}"
        for migration, backwards in plan
        if not backwards and _is_contract(migration)
    ]
    if not contracts or not MigrationRecorder(connection).applied_migrations():
        return
    told = (
        f"This would run contracts: {', '.join(contracts)}. They break old code that is still "
        "serving requests."
    )
    if way == "warn":
        stdout.write(f"WARNING: {told} Use: manage.py safemigrate\n")
        return
    raise CommandError(
        f"{told} Nothing was changed. Two ways on:\n"
        "  manage.py safemigrate                    runs the expand phase; then deploy, then\n"
        "  manage.py safemigrate --phase contract   when no old code is left\n"
        'or, where nobody is served: SAFE_MIGRATIONS = {"PLAIN_MIGRATE": "allow"}'
    )


def _spare_pending_contracts(
    connection: BaseDatabaseWrapper, plan: Sequence[tuple[Migration, bool]]
) -> None:
    """Take the database part out of contracts that are about to be reversed but never ran."""
    going = {(m.app_label, m.name): m for m, backwards in plan if backwards}
    if not going or not ledger.exists(connection):
        return
    for row in ledger.open_contracts(connection.alias):
        migration = going.get((row.app_label, row.name))
        if migration is not None:
            state_only = SeparateDatabaseAndState(state_operations=list(migration.operations))
            vars(migration)["operations"] = [state_only]


def _is_contract(migration: Migration) -> bool:
    try:
        return migration_phase(migration) is Phase.CONTRACT
    except MixedPhases:
        return True


def _after(sender: Any, using: str, **_: Any) -> None:
    """Close pending contracts that migrate has taken back."""
    connection = connections[using]
    if sender.label != ledger.APP_LABEL or connection.vendor != "postgresql":
        return
    if ledger.exists(connection):
        ledger.reconcile(connection)
