"""What `safemigrate --status` and `--check` say: read from disk, Django's record and the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from django_safemigrations import ledger
from django_safemigrations.backup.kept import Kept
from django_safemigrations.management.backfills import Looks, backfill_lines, documents_of
from django_safemigrations.management.history import run_document
from django_safemigrations.management.plan_report import table_lines
from django_safemigrations.models import Evidence, PendingContract, Run
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.schedule import Key, dotted

RUNS = 5
EVIDENCE = 10


def work_document(
    loader: MigrationLoader,
    pending: Sequence[PendingContract],
    app_label: str | None,
    wanted: Collection[Key] | None = None,
) -> dict[str, Any]:
    """Return what is applied and what is left, phase by phase, and the pending contracts.

    Args:
        loader: the migrations.
        pending: the contracts to report.
        app_label: report only the migrations of this app.
        wanted: report only these as left to do.
    """
    owed = {(row.app_label, row.name) for row in pending}
    found: dict[str, Any] = {
        str(phase): {"applied": 0, "pending": []} for phase in (Phase.EXPAND, Phase.CONTRACT)
    }
    for key, migration in sorted(loader.graph.nodes.items()):
        if migration is None or (app_label and key[0] != app_label):
            continue
        part = found[migration_phase(migration)]
        if key not in loader.applied_migrations:
            if wanted is None or key in wanted:
                part["pending"].append(dotted(key))
        elif key not in owed:
            part["applied"] += 1
    return {
        **found,
        "pending_contracts": [
            _contract(loader, row) for row in pending if not app_label or row.app_label == app_label
        ],
    }


def _contract(loader: MigrationLoader, row: PendingContract) -> dict[str, Any]:
    return {
        "app_label": row.app_label,
        "name": row.name,
        "needed_by": row.needed_by,
        "since": row.created_at.isoformat(),
        "tables": row.footprint.get("tables", []),
        "operations": row.operations,
        "file": file_state(loader, (row.app_label, row.name)),
        "last_error": row.last_error,
    }


def file_state(loader: MigrationLoader, key: Key) -> str:
    """Say what became of a migration's file: "present", "squashed" or "missing"."""
    if key in loader.graph.nodes:
        return "present"
    return "squashed" if key in (loader.disk_migrations or {}) else "missing"


def ledger_document(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return what the ledger holds besides pending contracts."""
    alias, looks = connection.alias, Looks(connection)
    return {
        "backfills": documents_of(looks, looks.look()),
        "runs": [run_document(row) for row in Run.objects.using(alias).order_by("-pk")[:RUNS]],
        "evidence": [
            {
                "item": row.item,
                "kind": row.kind,
                "plan_hash": row.plan_hash,
                "details": row.details,
                "reason": row.reason,
                "created_at": row.created_at.isoformat(),
            }
            for row in Evidence.objects.using(alias).order_by("-pk")[:EVIDENCE]
        ],
    }


def has_work(document: dict[str, Any], phase: Phase | None) -> bool:
    """Whether something is left to do, in one phase or in any."""
    expand = bool(document[Phase.EXPAND]["pending"])
    contract = bool(document[Phase.CONTRACT]["pending"] or document["pending_contracts"])
    if phase is None:
        return expand or contract
    return expand if phase is Phase.EXPAND else contract


def work_lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield the phases and the pending contracts."""
    for phase in (Phase.EXPAND, Phase.CONTRACT):
        part = document[phase]
        yield f"{phase.capitalize()}: {part['applied']} applied, {len(part['pending'])} to run"
        for name in part["pending"]:
            yield f"  {name}"
    rows = document["pending_contracts"]
    if not rows:
        return
    yield f"Pending contracts: {len(rows)} stepped over, to run with --phase contract"
    for row in rows:
        name = f"{row['app_label']}.{row['name']}"
        yield f"  {name} on {', '.join(row['tables']) or 'no table'}, since {_minute(row['since'])}"
        if row["needed_by"]:
            yield f"    stepped over for {row['needed_by']}"
        if row["file"] == "missing":
            yield "    its file is gone, so it can't be run; it had still to do:"
            for operation in row["operations"]:
                yield f"      {operation}"
            yield "    do it by hand, or bring the file back; if it is done, type:"
            yield f'      manage.py safemigrate --resolve-contract {name}="how it was done"'
        elif row["file"] == "squashed":
            yield "    a squash replaces it; it runs from its own file, so keep that until then"
        if row["last_error"]:
            error = row["last_error"].strip().split("\n")[0]
            yield f"    last error: {error}"


def ledger_lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield backfills, runs and evidence."""
    if document["backfills"]:
        yield "Backfills:"
        yield from backfill_lines(document["backfills"])
    if document["runs"]:
        yield "Last runs:"
        rows = []
        for row in document["runs"]:
            status = row["status"] + (", rolled back" if row["rolled_back_at"] else "")
            what = f"{row['kind']} {row['phase']}".strip()
            count = f"{len(row['migrations'])} migrations"
            who = row["operator"]
            rows.append([str(row["id"]), _minute(row["started_at"]), what, status, count, who])
        yield from table_lines(["run", "started", "what", "status", "", "by"], rows)
        for row in document["runs"]:
            for item, reason in row["waivers"].items():
                yield f"  run {row['id']} waived {item}: {reason.strip().split(chr(10))[0]}"
    if document["evidence"]:
        yield "Evidence:"
        rows = [
            [row["item"], row["kind"], _minute(row["created_at"]), row["plan_hash"][:12]]
            for row in document["evidence"]
        ]
        yield from table_lines(["item", "kind", "recorded", "plan"], rows)


def empty_ledger() -> dict[str, Any]:
    """Return what `ledger_document` returns before the ledger's tables exist."""
    return {"backfills": [], "runs": [], "evidence": []}


def read_ledger(
    connection: BaseDatabaseWrapper, loader: MigrationLoader
) -> tuple[list[PendingContract], dict[str, Any]]:
    """Return the contracts that are owed and the rest of the ledger, without changing it."""
    if not ledger.exists(connection):
        return [], empty_ledger()
    owed, _ = ledger.owed_contracts(connection, loader)
    return owed, ledger_document(connection)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def kept_lines(kept: Sequence[Kept]) -> list[str]:
    """Say what is kept of dropped columns and tables."""
    return ["Kept of what was dropped:", *(f"  {each}" for each in kept)] if kept else []
