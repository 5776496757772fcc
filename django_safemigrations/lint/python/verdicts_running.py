"""Verdicts on what happens while a function runs: errors, waits, a second run."""

from __future__ import annotations

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.python import outside
from django_safemigrations.lint.python.events import Kind, LoopKind, Reading
from django_safemigrations.lint.python.hints import lines
from django_safemigrations.lint.python.place import Place, seen


def swallowed(reading: Reading, place: Place) -> Observation | None:
    """DSM708: an error of the database is kept quiet."""
    found = [
        event
        for event in reading.of(Kind.SWALLOW)
        if place.one_transaction or event.outside is not None or event.detail == "silent"
    ]
    if not found:
        return None
    first = found[0]
    statement = first.fields[0] if first.fields else "the statement"
    if place.one_transaction or first.outside is not None:
        message = (
            f"{reading.name}() goes on after {first.text} around {statement}: PostgreSQL has "
            "aborted the transaction by then, every later statement fails with “current "
            "transaction is aborted”, and the true error is lost."
        )
        hint = (
            "Put `with transaction.atomic():` (a savepoint) around the statement inside the try, "
            "or better don't catch it: a migration that can't do its work should stop."
        )
    else:
        message = (
            f"{reading.name}() ignores every error of {statement} ({first.text}: pass): rows that "
            "fail are left as they were, the migration counts as applied, and nobody knows."
        )
        hint = (
            "Catch the one error that is expected, or let it stop the migration; RunInBatches "
            "goes on with the other rows and names those that failed."
        )
    return seen("DSM708", first, place, message + lines(found), hint)


WAITING = {
    outside.SLEEP: "sleeps",
    outside.NETWORK: "waits for another server",
    outside.THREADS: "starts threads",
    outside.PROCESSES: "runs another program",
    outside.MAIL: "sends mail",
    outside.QUEUE: "queues a task",
    outside.FILES: "changes files",
}


def waits(reading: Reading, place: Place) -> Observation | None:
    """DSM709: something outside of the database is waited for, or changed, in a transaction."""
    found = [
        event
        for event in reading.of(Kind.WAIT)
        if place.one_transaction
        or event.outside is not None
        or event.detail in (outside.THREADS, outside.PROCESSES)
    ]
    # One file that comes with the code is no matter; one for each row is.
    found = [event for event in found if event.detail != outside.FILES or event.innermost_whole]
    if not found:
        return None
    first = found[0]
    what = WAITING[first.detail]
    if first.detail == outside.THREADS:
        reason = (
            "a thread has a connection of its own, which sees nothing of this transaction and "
            "waits for its locks: the migration can wait for itself for ever"
        )
    elif first.detail == outside.QUEUE:
        reason = (
            "a worker takes the task before the commit, doesn't find what was written here, and "
            "finds it again if the migration is rolled back"
        )
    elif first.detail in (outside.FILES, outside.MAIL):
        reason = "a rollback doesn't take that back, and running it again does it twice"
    else:
        reason = (
            "what the migration has locked stays locked for as long as the other side takes, and "
            "a rollback doesn't undo what was done there"
        )
    return seen(
        "DSM709",
        first,
        place,
        f"{reading.name}() {what} ({first.text}) inside a transaction: {reason}.{lines(found)}",
        "Do it in a management command that is run after the deploy, or with "
        "transaction.on_commit.",
    )


def resaved(reading: Reading, place: Place) -> Observation | None:
    """DSM711: rows are saved unchanged, for a save() or signal that doesn't run here."""
    found = [event for event in reading.of(Kind.RESAVE) if place.in_use(event.model)]
    if not found:
        return None
    first = found[0]
    table = place.called(first.model)
    return seen(
        "DSM711",
        first,
        place,
        f"{reading.name}() saves every row of {table} without changing any: the historical model "
        "has no save() of yours and sends no signal to receivers of the real class, so each row is "
        f"only rewritten as it was.{lines(found)}",
        "Write out here what save() or the receiver would have computed; if it was for triggers of "
        "the database, use RunInBatches with BatchSQL.",
    )


def not_reentrant(reading: Reading, place: Place) -> Observation | None:
    """DSM712: without a transaction, a second run does everything twice."""
    if place.one_transaction:
        return None
    found = [
        event
        for event in reading.of(Kind.INSERT, Kind.UPDATE)
        if event.loops
        and event.outside != 0
        and "reentrant" not in event.detail
        and (event.kind is Kind.INSERT or event.detail == "increments")
        and not event.guarded
        and any(loop.kind >= LoopKind.GROUPS for loop in event.loops)
        and not any(loop.filtered or loop.skips for loop in event.loops)
        and place.in_use(event.model)
    ]
    found += [
        event
        for event in reading.of(Kind.UPDATE)
        if event.detail == "increments" and event.loops and event.outside != 0
    ]
    if not found:
        return None
    first = found[0]
    again = (
        "the second run inserts the same rows again, or fails with IntegrityError"
        if first.kind is Kind.INSERT
        else "the second run adds once more to the rows that were done already"
    )
    return seen(
        "DSM712",
        first,
        place,
        f"{reading.name}() runs without a transaction. Stopped half-way (a deploy is cancelled, a "
        f"server restarts), what is done stays, and {again} ({first.text}).{lines(found)}",
        "Leave out what is done: filter the rows that still need it, get_or_create, "
        "bulk_create(…, ignore_conflicts=True); or RunInBatches, which remembers where it was.",
    )


def not_read(reading: Reading, place: Place) -> Observation | None:
    """DSM405: something that it calls can't be followed."""
    found = reading.of(Kind.UNREAD, Kind.DDL)
    if not found:
        return None
    first = found[0]
    if first.kind is Kind.DDL:
        return seen(
            "DSM405",
            first,
            place,
            f"{reading.name}() changes the schema by itself ({first.text}), which is not inspected "
            f"and not known to the state.{lines(found)}",
            "Use the operation (migrations.AddField, AddIndexConcurrently, …): it is judged, and "
            "can be reversed.",
        )
    return seen(
        "DSM405",
        first,
        place,
        f"{reading.name}() hands the models to {first.detail}, whose source can't be read here: what "
        f"it does was not inspected.{lines(found)}",
        "Look at what it does, and say what you found: "
        "# safemigrations: ignore DSM405 -- which rows it changes, and in what transactions",
    )
