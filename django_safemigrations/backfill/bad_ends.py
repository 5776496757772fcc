"""Why a backfill does not come to its end, in words that say what to type."""

from __future__ import annotations

from collections.abc import Sequence

from django_safemigrations.backfill.ranges import Member
from django_safemigrations.backfill.store import Known, ProgressStore
from django_safemigrations.backfill.work import Work
from django_safemigrations.exceptions import (
    BackfillCancelled,
    BackfillFailed,
    DataDiffers,
    ViolatingRows,
)
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.postgres.runner import Runner

NAMED = 5
"""Rows that a message names."""


def refuse_rows_no_update_can_touch(runner: Runner, work: Work) -> None:
    """Raise if rows break a CHECK that was added NOT VALID: PostgreSQL refuses any UPDATE of them.

    Raises:
        ViolatingRows: the constraint, how many rows, and the keys of a few.
    """
    needed = getattr(work, "needed", None)
    if needed is None:
        return
    for name, condition in runner.catalog.unvalidated_checks(work.table):
        broken = f"({needed}) AND NOT ({condition})"
        with runner.guard.as_long_as_it_takes():
            count = runner.catalog.value(
                f"SELECT count(*) FROM {work.table.qualified} WHERE {broken}"
            )
        if count:
            named = runner.catalog.some_keys(work.table, broken)
            raise ViolatingRows(
                f"{count} row{'s' if count != 1 else ''} of {work.table.qualified} that "
                f"{'have' if count != 1 else 'has'} to be filled break{'' if count != 1 else 's'} "
                f"the constraint {quote(name)}{named}. It was never validated, and PostgreSQL "
                "refuses every UPDATE of such a row. Mend the rows or drop the constraint, then "
                "run the command again; what is filled stays filled."
            )


def cancelled(work: Work, key: str, known: Known) -> BackfillCancelled:
    """Return the error of a backfill that somebody cancelled."""
    reason = f" ({known.reason})" if known.reason else ""
    return BackfillCancelled(
        f"{work.title}: cancelled{reason}. What is filled stays filled. To go on, type: "
        f"manage.py runbackfill --resume {_quoted(key)}",
        key,
    )


def failed(
    work: Work, store: ProgressStore, members: Sequence[Member], known: Known
) -> BackfillFailed:
    """Store that rows can't be filled, and return the error that names some of them."""
    keys = {member.relation.sql: member.relation for member in members}
    told = []
    found = store.failures(NAMED)
    for relation, key, error in found:
        names = [name for name, _ in keys[relation].key] if relation in keys else []
        named = ", ".join(f"{n} = {v}" for n, v in zip(names, key, strict=False))
        told.append(f"  {named or ', '.join(key)}: {error}")
    if known.failed > len(found):
        told.append("  …")
    one = known.failed == 1
    reason = "\n".join(
        [
            f"{work.title}: {known.failed:,} {'row' if one else 'rows'} of {work.table.qualified} "
            "can't be filled; all others are.",
            *told,
            f"Mend {'it' if one else 'them'} and run the command again: only "
            f"{'this row is' if one else 'these rows are'} tried again.",
        ]
    )
    store.fail(reason)
    return BackfillFailed(reason, store.key)


def differs(
    runner: Runner, work: Work, store: ProgressStore, left: int | None, why: str, passes: int
) -> DataDiffers | BackfillFailed:
    """Store that rows are left after the last pass, and return the error.

    Args:
        runner: the means to look.
        work: what was done.
        store: where it is stored.
        left: how many rows are left, None if they can't be counted.
        why: why they can't.
        passes: how many passes there were.
    """
    table = work.table.qualified
    if left is None:
        reason = f"{work.title}: what is left of {table} can't be counted: {why}"
        store.fail(reason)
        return BackfillFailed(reason, store.key)
    needed, named = getattr(work, "needed", None), ""
    if needed is not None:
        with runner.guard.as_long_as_it_takes():
            named = runner.catalog.some_keys(work.table, needed)
    reason = (
        f"{work.title}: {left} rows of {table}{named} still need it after {passes} passes over the "
        f"whole table. Something writes them back: look for a trigger that sets {listed(work)} or "
        "a job that resets it, stop it, and run the command again."
    )
    store.fail(reason)
    return DataDiffers(reason)


def listed(work: Work) -> str:
    """Return the columns that are written, quoted; the title if nobody knows them."""
    return ", ".join(map(quote, work.columns_written)) or work.title


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
