"""Evidence in the ledger: bound to exact files and one database, signed, and of limited age."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.utils import ProgrammingError
from django.utils import timezone
from django.utils.crypto import salted_hmac

from django_safemigrations import ledger
from django_safemigrations.conf import CHECKLIST_ITEMS, nearest
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.models import Evidence, Run

SALT = "django_safemigrations.evidence"

# https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text, oid::text
FROM pg_database WHERE datname = current_database()
"""
# For roles that may not call it; another server with the same name and oid is unlikely.
IDENTITY_WITHOUT_CONTROL = """
SELECT datname::text, oid::text FROM pg_database WHERE datname = current_database()
"""


def plan_hash(connection: BaseDatabaseWrapper, migrations: Iterable[Migration]) -> str:
    """Return the hash that binds evidence: migration names, file contents, database.

    Args:
        connection: the database; its server's identity and its own oid are hashed.
        migrations: the migrations that are about to run, in any order.
    """
    found = hashlib.sha256()
    for part in _database_identity(connection):
        found.update(part.encode() + b"\0")
    for migration in sorted(migrations, key=lambda m: (m.app_label, m.name)):
        content = hashlib.sha256(migration_source(migration)).hexdigest()
        found.update(f"{migration.app_label}.{migration.name}\0{content}\0".encode())
    return found.hexdigest()


def migration_source(migration: Migration) -> bytes:
    """Return the bytes of the file that a migration was read from."""
    module = import_module(type(migration).__module__)
    loader, path = module.__spec__ and module.__spec__.loader, getattr(module, "__file__", None)
    if path is None or not hasattr(loader, "get_data"):
        raise SafeMigrationsError(
            f"The file of {migration} can't be read, so nothing can be bound to its contents. "
            "Install it as an ordinary .py file."
        )
    content: bytes = loader.get_data(path)  # type: ignore[union-attr]
    return content


def record_evidence(
    using: str,
    item: str,
    plan_hash: str,
    details: Mapping[str, Any],
    *,
    now: datetime | None = None,
    run: Run | None = None,
) -> Evidence:
    """Record that something was gathered which meets an item for one plan.

    Args:
        using: alias of the database that is going to be migrated.
        item: name of the checklist item.
        plan_hash: hash of the plan, as ``safemigrate --plan --format json`` prints it.
        details: what was gathered; JSON types only.
        now: when it was gathered; the present time by default.
        run: the run that it belongs to, if there is one already.

    Raises:
        SafeMigrationsError: there is no such item, or the ledger does not exist yet.
    """
    if item not in CHECKLIST_ITEMS:
        raise SafeMigrationsError(
            f"There is no checklist item {item!r}. {nearest(item, CHECKLIST_ITEMS)}"
        )
    if not ledger.exists(connections[using]):
        raise SafeMigrationsError(
            f"The ledger's tables do not exist on {using!r} yet. Create them first: "
            f"manage.py safemigrate {ledger.APP_LABEL} --database {using}"
        )
    row = Evidence(item=item, plan_hash=plan_hash, details=dict(details), run=run)
    return _save(using, row, now)


def record_waiver(using: str, item: str, plan_hash: str, reason: str, run: Run) -> Evidence:
    """Record that an item was waived for one run, and why."""
    row = Evidence(item=item, kind=Evidence.Kind.WAIVER, plan_hash=plan_hash, reason=reason)
    row.run = run
    return _save(using, row, None)


def gathered(using: str) -> tuple[Evidence, ...]:
    """Return what was recorded, the newest first; nothing if there is no ledger yet."""
    if not ledger.exists(connections[using]):
        return ()
    rows = Evidence.objects.using(using).filter(kind=Evidence.Kind.RECORDED)
    # Kept with runs to be looked at, and large; none of them answers for another run.
    rows = rows.exclude(item="rollback_plan", run__isnull=False)
    return tuple(rows.order_by("-created_at", "-pk")[:1000])


def is_genuine(row: Evidence) -> bool:
    """Whether a row is as it was recorded, by somebody who knows SECRET_KEY."""
    return hmac.compare_digest(row.signature, _signature(row))


def is_stale(row: Evidence, now: datetime, max_age: float) -> bool:
    """Whether a row is older than so many hours."""
    return now - row.created_at > timedelta(hours=max_age)


def _save(using: str, row: Evidence, now: datetime | None) -> Evidence:
    row.created_at = now or timezone.now()
    row.signature = _signature(row)
    row.save(using=using)
    return row


def _signature(row: Evidence) -> str:
    signed = [
        row.item,
        row.kind,
        row.plan_hash,
        row.details,
        row.reason,
        row.created_at.timestamp(),
    ]
    text = json.dumps(signed, sort_keys=True)
    return salted_hmac(SALT, text, algorithm="sha256").hexdigest()


def _database_identity(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(IDENTITY)
            return tuple(cursor.fetchone())
    except ProgrammingError:
        with connection.cursor() as cursor:
            cursor.execute(IDENTITY_WITHOUT_CONTROL)
            return tuple(cursor.fetchone())
