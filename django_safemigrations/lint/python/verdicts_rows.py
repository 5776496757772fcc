"""Verdicts on how many rows a function locks, writes or keeps in memory, and for how long."""

from __future__ import annotations

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.python.events import CHANGES, Event, Kind, LoopKind, Reading
from django_safemigrations.lint.python.hints import in_batches, lines
from django_safemigrations.lint.python.place import Place, seen
from django_safemigrations.lint.python.values import Extent, Model


def unbatched(reading: Reading, place: Place) -> Observation | None:
    """DSM402: rows of a whole table are changed in one transaction."""
    found = [
        event
        for event in reading.of(*CHANGES, Kind.LOCK)
        if place.in_use(event.model)
        and event.total(one_transaction=place.one_transaction) is Extent.WHOLE
        and not _is_of_small_loop(event, place)
    ]
    if not found:
        return None
    found.sort(key=lambda event: event.kind is Kind.INSERT)
    first = found[0]
    table = place.called(first.model)
    together = _why_together(first, place)
    if first.kind is Kind.INSERT:
        source = first.innermost_whole
        origin = (
            f" for each row of {place.called(source.model)}"
            if source is not None and source.model is not None and source.model != first.model
            else ""
        )
        message = (
            f"{reading.name}() inserts into {table}{origin} {together}: until its commit, rows that "
            "the new ones refer to can't be deleted, a request that inserts the same unique value "
            "waits, and VACUUM cleans up nothing anywhere."
        )
    else:
        verb = VERBS[first.kind]
        in_memory = first.innermost_whole is not None and first.innermost_whole.in_memory
        message = (
            f"{reading.name}() {verb} {table} {together}: each row stays locked from its change to "
            "the commit, and every UPDATE, DELETE and SELECT … FOR UPDATE of it waits that long."
            + (" All rows are read into memory first." if in_memory else "")
        )
    return seen("DSM402", first, place, message + lines(found), _batch_hint(first, place))


VERBS = {
    Kind.UPDATE: "updates as many rows as there are in",
    Kind.SAVE: "updates, one by one, as many rows as there are in",
    Kind.DELETE: "deletes as many rows as there are in",
    Kind.LOCK: "locks as many rows as there are in",
}


def _is_of_small_loop(event: Event, place: Place) -> bool:
    """Return whether nothing but a loop over few rows repeats a statement."""
    if event.extent is Extent.WHOLE:
        return False
    whole = [loop for loop in event.loops if loop.kind in (LoopKind.WHOLE, LoopKind.GROUPS)]
    turns = any(loop.kind is LoopKind.TURNS for loop in event.loops)
    return bool(whole) and not turns and all(not place.in_use(loop.model) for loop in whole)


def _why_together(event: Event, place: Place) -> str:
    batches = event.extent is Extent.PART and any(
        loop.kind is LoopKind.TURNS for loop in event.loops
    )
    if place.one_transaction:
        return (
            f"in batches, and all of them in one transaction ({place.why_one})"
            if batches
            else f"in one transaction ({place.why_one})"
        )
    if event.outside is not None:
        return "in one transaction (transaction.atomic around the loop)"
    return "in one statement" if event.detail != "bulk" else "in one transaction (that of bulk_…)"


def _batch_hint(event: Event, place: Place) -> str:
    batches = event.extent is Extent.PART and any(
        loop.kind is LoopKind.TURNS for loop in event.loops
    )
    if batches and event.outside is not None and not place.one_transaction:
        return "Put `with transaction.atomic():` inside the loop, around one batch."
    if batches:
        return (
            "Give it a migration of its own and write `atomic = False` there: each batch then "
            "commits by itself, and its rows are free again."
        )
    return in_batches(event, place.app_label)


def row_by_row(reading: Reading, place: Place) -> Observation | None:
    """DSM701: a statement is sent for each row of a table."""
    kinds = (Kind.READ, Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.LOCK, Kind.SQL)
    found = [
        event
        for event in reading.of(*kinds)
        if event.is_each_row and place.in_use(_loop_model(event)) and event.detail != "bulk"
    ]
    if not found:
        return None
    first = found[0]
    table = place.called(_loop_model(first))
    what = (
        f"reads the relation {first.text}" if first.detail == "relation" else f"sends {first.text}"
    )
    if all(event.kind is Kind.READ for event in found):
        remedy = (
            "Read what it needs with the rows: select_related(…), prefetch_related(…), annotate(…) "
            "or one dict filled before the loop."
        )
    elif first.kind is Kind.INSERT or any(event.kind is Kind.INSERT for event in found):
        remedy = (
            "Collect the new rows, and bulk_create(rows, batch_size=1000) whenever 1000 are "
            "together; or let the database do it: InsertRows with RunInBatches."
        )
    elif any(event.kind is Kind.DELETE for event in found):
        remedy = "Delete by condition: DeleteRows with RunInBatches, or filter(pk__in=batch)."
    else:
        remedy = (
            "Write many rows with one statement: RunInBatches with UpdateRows or @row_function, "
            "or bulk_update(rows, fields) whenever 1000 are together."
        )
    # A loop in one transaction holds its locks for as long as all these round trips take.
    held = ", and what is locked stays locked for all that time" if place.one_transaction else ""
    message = (
        f"{reading.name}() {what} once for each row of {table}: a million rows are a million round "
        f"trips to the database{held}.{lines(found)}"
    )
    observation = seen("DSM701", first, place, message, remedy)
    model = _loop_model(first)
    return Observation(
        observation.code,
        observation.message,
        observation.hint,
        observation.line,
        place.table(model) if model is not None else "",
    )


def _loop_model(event: Event) -> Model | None:
    loop = event.innermost_whole
    return loop.model if loop is not None else None


def stale_rows(reading: Reading, place: Place) -> Observation | None:
    """DSM702: rows that were read long before are written back with all their columns."""
    again = {event.line for event in reading.of(Kind.RESAVE)}
    found = [
        event
        for event in reading.of(Kind.SAVE)
        if event.detail == "looped"
        and event.is_each_row
        and place.in_use(event.model)
        and event.line not in again
        and not any(loop.model is not None and not place.in_use(loop.model) for loop in event.loops)
    ]
    if not found:
        return None
    first = found[0]
    named = [name for name in first.fields if name.isidentifier()]
    fields = ", ".join(repr(name) for name in named) or "…"
    message = (
        f"{reading.name}() calls {first.text} without update_fields for each row of "
        f"{place.called(first.model)}: every column is written back as it was when the loop read "
        "the row, and what requests have written since is lost. It is one round trip a row, too."
        f"{lines(found)}"
    )
    return seen(
        "DSM702",
        first,
        place,
        message,
        f"Write only what changes: save(update_fields=[{fields}]), or better "
        f"bulk_update(rows, [{fields}]) in batches; @row_function(writes=[{fields}]) with "
        "RunInBatches also notices rows that were changed in between.",
    )


def in_memory(reading: Reading, place: Place) -> Observation | None:
    """DSM703: a whole table is gathered in the memory of the process."""
    found = [event for event in reading.of(Kind.GATHER) if place.in_use(event.model)]
    if not found:
        return None
    first = found[0]
    table = place.called(first.model)
    if first.detail == "list":
        message = (
            f"{reading.name}() reads all rows of {table} into memory ({first.text}): with a large "
            "table the process is killed, and the deploy stops half-way."
        )
        hint = "Go through .iterator(chunk_size=2000), or through slices by primary key."
    else:
        message = (
            f"{reading.name}() calls {first.detail} for as many rows as there are, without "
            f"batch_size ({first.text}): all of them are in memory, and in one statement that "
            "PostgreSQL has to parse and keep as well."
        )
        hint = (
            f"Call {first.detail} whenever 1000 rows are together and empty the list; "
            "batch_size=1000 shortens the statements, but not the transaction."
        )
    return seen("DSM703", first, place, message + lines(found), hint)
