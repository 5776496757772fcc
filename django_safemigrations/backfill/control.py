"""Pauses, resumes, cancels and retries a backfill from any session; workers see it within a batch."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.leases import BACKFILLS, LedgerProgress
from django_safemigrations.backfill.listing import Listed, list_backfills
from django_safemigrations.backfill.store import State
from django_safemigrations.conf import nearest
from django_safemigrations.exceptions import BackfillStopped


class Order(StrEnum):
    """What somebody tells a backfill."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"


FROM = {
    Order.PAUSE: (State.PENDING, State.RUNNING),
    Order.RESUME: (State.PAUSED, State.CANCELLED),
    Order.CANCEL: (State.PENDING, State.RUNNING, State.PAUSED, State.FAILED),
    Order.RETRY: (State.FAILED,),
}
TO = {
    Order.PAUSE: State.PAUSED,
    Order.RESUME: State.RUNNING,
    Order.CANCEL: State.CANCELLED,
    Order.RETRY: State.RUNNING,
}


def find(found: Iterable[Listed], key: str) -> Listed:
    """Return the backfill that was meant: by its key, or by the beginning of it.

    Raises:
        BackfillStopped: there is none, or more than one.
    """
    known = {each.key: each for each in found}
    if key in known:
        return known[key]
    begun = [name for name in known if key and name.startswith(key)]
    if len(begun) == 1:
        return known[begun[0]]
    if begun:
        raise BackfillStopped(
            f"More than one backfill begins with {key!r}: {', '.join(map(repr, begun))}.", key
        )
    if not known:
        raise BackfillStopped("There are no backfills in this database.", key)
    raise BackfillStopped(f"There is no backfill {key!r}. {nearest(key, list(known))}", key)


def tell(connection: BaseDatabaseWrapper, order: Order, key: str, reason: str = "") -> Listed:
    """Give an order to a backfill and return it as it was before.

    Workers see it before their next batch; the one in flight is finished.

    Args:
        connection: the database.
        order: what to do.
        key: its key, or the beginning of it.
        reason: why; the ledger keeps it.

    Raises:
        BackfillStopped: there is no such backfill, or its state is not one for that.
    """
    found = find(list_backfills(connection), key)
    if order is Order.RETRY and found.state is State.FAILED:
        LedgerProgress(connection, found.key, found.table).retry()
        return found
    with connection.cursor() as cursor:
        # Its state may have changed since it was looked at.
        cursor.execute(
            f"UPDATE {BACKFILLS} SET state = %s, reason = %s, updated_at = now()"
            " WHERE key = %s AND state = ANY (%s) RETURNING id",
            [TO[order], reason, found.key, list(map(str, FROM[order]))],
        )
        if cursor.fetchone():
            return found
    now = next((each for each in list_backfills(connection) if each.key == found.key), found)
    raise BackfillStopped(_refused(order, now), found.key)


def _refused(order: Order, found: Listed) -> str:
    if found.state == TO[order] and order is not Order.RETRY:
        return f"{found.title} is {found.state} already."
    if found.state is State.FAILED and order in (Order.RESUME, Order.PAUSE):
        return (
            f"{found.title} has failed, so it can't be {order}d: {found.reason}\n"
            f"When that is mended, type: manage.py runbackfill --retry {quoted(found.key)}"
        )
    if found.state is State.CANCELLED:
        return (
            f"{found.title} was cancelled, so there is nothing to {order}. To go on, type: "
            f"manage.py runbackfill --resume {quoted(found.key)}"
        )
    return f"{found.title} is {found.state}, so there is nothing to {order}."


def quoted(key: str) -> str:
    """Return a key as it has to be typed in a shell."""
    return "'" + key.replace("'", "'\\''") + "'"


def unfinished_reason(found: Listed) -> str:
    """Say why what needs a backfill can't run, and what to type."""
    why = f": {found.reason}" if found.reason else "."
    typed = {
        State.FAILED: f"Mend that, then type: manage.py runbackfill --retry {quoted(found.key)}",
        State.CANCELLED: f"To go on, type: manage.py runbackfill --resume {quoted(found.key)}",
        State.PAUSED: f"To go on, type: manage.py runbackfill --resume {quoted(found.key)}",
    }.get(found.state, "To work on it, type: manage.py runbackfill")
    state = {
        State.FAILED: "has failed",
        State.CANCELLED: "was cancelled",
        State.PAUSED: "is paused",
    }.get(found.state, "is not finished")
    return (
        f"The backfill {found.title} of {found.table} {state}{why}\nIt comes before this "
        f"migration, which would take away what it needs. {typed}"
    )
