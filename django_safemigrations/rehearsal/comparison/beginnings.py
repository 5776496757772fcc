"""Contracts whose expand is in the plan, and those that finish what was begun before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db.migrations import Migration

from django_safemigrations.operations.base import Contract, Expand, Stage
from django_safemigrations.rehearsal.comparison.differing import differences


def against_start(
    start: Mapping[str, str], now: Mapping[str, str], migrations: Sequence[Migration]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return how a schema differs from the start after forwards and backwards, and what is told only.

    Args:
        start: the fingerprint of the start.
        now: that after the way back.
        migrations: those of the plan, in order.
    """
    lines = differences(start, now)
    finishing = finished_only(migrations)
    if not lines or not finishing:
        return lines, ()
    names = ", ".join(map(str, finishing))
    return (), tuple(
        f"after backwards: {line} ({names} finishes what was begun before this plan, and its way "
        "back gives old code all that it needs, not the very schema of the start)"
        for line in lines
    )


def finished_only(migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Return the migrations of a plan that finish what was begun before it.

    The way back of a whole change ends at the very schema of the start. That of its contract
    alone ends where old code works again, with what old code needs: the old column gets back
    its constraints and indexes, which the expand may have taken. So after such a plan the
    schema of the start is no yardstick.
    """
    expanded: list[tuple[str, Stage]] = []
    found = []
    for migration in migrations:
        label = migration.app_label
        for operation in migration.operations:
            if not isinstance(operation, Expand | Contract):
                continue
            stages = [o for o in operation.database_operations if isinstance(o, Stage)]
            finishing = any(stage.finishes for stage in stages)
            if (
                isinstance(operation, Contract)
                and finishing
                and not is_begun(operation, stages, label, expanded)
            ):
                found.append(migration)
                break
            expanded.extend((label, stage) for stage in stages)
    return tuple(found)


def is_begun(
    contract: Contract,
    stages: Sequence[Stage],
    app_label: str,
    expanded: Sequence[tuple[str, Stage]],
) -> bool:
    """Whether what a contract finishes was begun in the plan, so that here nothing is to finish."""
    earlier = [stage for label, stage in expanded if label == app_label]
    for stage in stages:
        if not stage.finishes and contract.state_operations:
            continue
        begins: Sequence[Stage] = earlier
        if stage.finishes:
            # A key of its own is added and validated by one and the same contract.
            begins = [s for s in (*earlier, *stages) if type(s).__name__ == stage.finishes]
        if not any(_same(s, stage, "model_name") and _same(s, stage, "name") for s in begins):
            return False
    return True


def _same(one: Stage, two: Stage, attribute: str) -> bool:
    """Whether two stages are about the same, as far as both say."""
    a, b = getattr(one, attribute, None), getattr(two, attribute, None)
    if not isinstance(a, str) or not isinstance(b, str):
        return True
    return a.lower() == b.lower()
