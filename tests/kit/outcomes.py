"""What a call came to: a failure with its statement, or a write that is not in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, models, transaction

from tests.kit.case import Case, Generation

ANY = ...
"""In `Case.filled`: a NULL of old code becomes some value, no matter which."""


class LostWriteError(AssertionError):
    """A row does not hold what was last written to it."""


@dataclass(frozen=True)
class Failure:
    """A call that raised.

    Attributes:
        generation: which code made the call.
        call: such as `order.bulk_create`.
        error: class and message.
        statement: the last SQL statement that was sent.
        trace: the traceback.
    """

    generation: str
    call: str
    error: str
    statement: str
    trace: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.generation} {self.call}: {self.error}\n      {self.statement}"


class LastStatement:
    """An execute wrapper that keeps the last statement, for failure reports."""

    def __init__(self) -> None:
        self.sql = ""

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.sql = str(sql)
        return execute(sql, params, many, context)


def differences(
    case: Case,
    model: type[models.Model],
    wanted: Mapping[str, Any],
    row: Mapping[str, Any],
    *,
    across: bool = False,
) -> dict[str, tuple[Any, Any]]:
    """Return what a row holds and what it should hold, for every column that differs.

    Args:
        case: the case.
        model: whose columns.
        wanted: what was written, by attname.
        row: what was read.
        across: whether one generation wrote it and the other read it.
    """
    wrong = {}
    for f in model._meta.concrete_fields:
        if f.attname not in wanted or f.attname not in row:
            continue
        expected, actual = wanted[f.attname], row[f.attname]
        if isinstance(actual, memoryview):
            actual = bytes(actual)
        if expected is None and f.name in case.filled:
            fill = case.filled[f.name]
            if actual is None or fill is ANY or actual == fill:
                continue
        if across and f.name in case.alike and None not in (expected, actual):
            expected, actual = case.alike[f.name](expected), case.alike[f.name](actual)
        if expected != actual:
            wrong[f.attname] = (actual, expected)
    return wrong


def lost_writes(
    case: Case,
    written_by: Generation,
    read_by: Generation,
    label: str,
    owned: Mapping[Any, Mapping[str, Any]],
    using: str = "default",
) -> list[str]:
    """Compare what one generation wrote with what a generation's models read.

    Args:
        case: the case, for the names on either side.
        written_by: the generation that wrote.
        read_by: the generation whose models read.
        label: the model's name in lower case, as the writer calls it.
        owned: last written values by primary key and attname.
        using: the database alias.
    """
    reader_label = label if written_by == read_by else case.model_counterpart(label, written_by)
    model = case.model(read_by, reader_label)
    manager = model._base_manager.using(using)
    found = {instance.pk: instance.__dict__ for instance in manager.filter(pk__in=list(owned))}
    lost = []
    for key, values in owned.items():
        if key not in found:
            lost.append(f"{label} {key!r}, written by {written_by}: no such row for {read_by}")
            continue
        wanted = {
            name if written_by == read_by else case.counterpart(label, name, written_by): value
            for name, value in values.items()
        }
        wrong = differences(case, model, wanted, found[key], across=written_by != read_by)
        if wrong:
            lost.append(
                f"{label} {key!r}, written by {written_by} and read by {read_by}: "
                + ", ".join(f"{n} is {a!r}, not {w!r}" for n, (a, w) in wrong.items())
            )
    return lost


def disagreements(case: Case, using: str = "default") -> list[str]:
    """Compare every row as old code reads it with the same row as new code reads it."""
    found = []
    with transaction.atomic(using=using):
        # One snapshot for both reads: others may be writing.
        with connections[using].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for model in case.models("old"):
            label = model._meta.model_name or ""
            if case.has_model("new", "old", label):
                rows = model._base_manager.using(using).all()
                owned = {row.pk: _column_values(row) for row in rows}
                found += lost_writes(case, "old", "new", label, owned, using)
    return found


def _column_values(row: models.Model) -> dict[str, Any]:
    values = {f.attname: row.__dict__[f.attname] for f in row._meta.concrete_fields}
    return {k: bytes(v) if isinstance(v, memoryview) else v for k, v in values.items()}


def watch_last_statement(using: str) -> tuple[LastStatement, Any]:
    """Return a recorder of the last statement on an alias and its context manager."""
    last = LastStatement()
    return last, connections[using].execute_wrapper(last)
