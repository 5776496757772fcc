"""What `safemigrate --rollback N` takes back: the last runs as they were, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.migrations import Migration

from django_safemigrations import ledger
from django_safemigrations.executor import PhasedExecutor, Undo
from django_safemigrations.footprints import Footprint
from django_safemigrations.management.targets import usage
from django_safemigrations.models import PendingContract, Run
from django_safemigrations.schedule import Key, dotted

RECORDED = ("applied", "faked", "stepped_over")


def find_rollback(executor: PhasedExecutor, count: int) -> tuple[list[Run], list[Undo]]:
    """Return the runs to take back and the steps of it, in order.

    What something else has already taken back is left out.

    Raises:
        CommandError: there is no such run, a file is gone, or a migration that stays
            applied depends on one that would go.
    """
    alias = executor.alias
    runs = list(ledger.last_runs(alias, count)) if ledger.exists(executor.connection) else []
    if not runs:
        raise usage(
            f"The ledger of {alias!r} holds no run to roll back. To go back to a migration, type: "
            "manage.py safemigrate APP_LABEL MIGRATION_NAME"
        )
    pending = {(row.app_label, row.name) for row in ledger.open_contracts(alias)}
    steps: list[Undo] = []
    gone: set[Key] = set()
    for run in runs:
        for entry in reversed(run.migrations):
            key = (entry["app_label"], entry["name"])
            if key not in executor.loader.applied_migrations or key in gone:
                continue
            if entry["action"] == "contract_run":
                if key not in pending:
                    steps.append(_contract(executor, key))
            elif entry["action"] in RECORDED:
                migration = _migration(executor, key)
                steps.append(Undo(migration, fake=entry["action"] == "faked"))
                gone.add(key)
    _refuse_orphans(executor, gone)
    return runs, steps


def _contract(executor: PhasedExecutor, key: Key) -> Undo:
    row = (
        PendingContract.objects.using(executor.alias)
        .filter(app_label=key[0], name=key[1], resolution=PendingContract.Resolution.RUN)
        .order_by("-pk")
        .first()
    )
    footprint = Footprint.from_json(row.footprint) if row is not None else Footprint()
    return Undo(_migration(executor, key), contract_only=True, footprint=footprint)


def _migration(executor: PhasedExecutor, key: Key) -> Migration:
    migration: Migration | None = executor.loader.graph.nodes.get(key)
    if migration is None:
        raise usage(
            f"The file of {dotted(key)} is gone or squashed, so its run can't be rolled back. "
            "Bring the file back and run the command again."
        )
    return migration


def _refuse_orphans(executor: PhasedExecutor, gone: set[Key]) -> None:
    nodes = executor.loader.graph.node_map
    for key in sorted(gone):
        for child in sorted(nodes[key].children):
            if child.key in executor.loader.applied_migrations and child.key not in gone:
                raise usage(
                    f"{dotted(child.key)} depends on {dotted(key)} and was applied by something "
                    "else than these runs. Take it back first: "
                    f"manage.py safemigrate {key[0]} {key[1]}"
                )


def mark_rolled_back(alias: str, runs: Sequence[Run], when: datetime) -> None:
    """Say of runs that they were taken back."""
    Run.objects.using(alias).filter(pk__in=[run.pk for run in runs]).update(rolled_back_at=when)
