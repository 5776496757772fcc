"""The plan and the checklist as text of 100 columns, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django_safemigrations.checklist import State, Verdict
from django_safemigrations.plan import Plan, Step

WIDTH = 100
SQL_LINES = 3
MARKS = {State.MET: "✓", State.UNMET: "✗", State.WAIVED: "~", State.OFF: "-"}
ASCII_MARKS = {State.MET: "ok", State.UNMET: "NO", State.WAIVED: "~", State.OFF: "-"}


def plan_lines(plan: Plan, titles: dict[str, str]) -> Iterator[str]:
    """Yield the plan line by line.

    Args:
        plan: the steps.
        titles: a line for each phase, shown above its first step.
    """
    last_phase = ""
    for (phase, app_label, name), found in groupby(
        plan.steps, key=lambda step: (step.phase, step.app_label, step.migration)
    ):
        steps = list(found)
        if phase != last_phase:
            yield ""
            yield titles.get(phase, phase.upper())
            last_phase = phase
        yield ""
        yield f"  {app_label}.{name}"
        yield "    " + _row("", "lock", "who waits", "work", "table")
        for step in steps:
            yield from _step_lines(step)


def _step_lines(step: Step) -> Iterator[str]:
    head = f"{step.operation:<5}{step.description}"
    if step.hazards:
        head += f"  [{', '.join(step.hazards)}]"
    yield from _wrapped(head, "    ", "         ")
    if step.note:
        yield from _wrapped(f"({step.note})", "         ", "         ")
    for statement in step.statements:
        table = statement.table or ""
        yield "    " + _row(
            "", statement.lock or "no table lock", statement.blocks, statement.work, table
        )
        yield from _sql_lines(statement.sql)
    if step.table_bytes is not None:
        yield f"         table size: {size(step.table_rows, step.table_bytes)}"


def _row(first: str, lock: str, waits: str, work: str, table: str) -> str:
    return f"{first:<5}{lock:<24}{waits:<25}{work:<9}{table}".rstrip()


def _sql_lines(sql: str) -> Iterator[str]:
    lines = textwrap.wrap(" ".join(sql.split()), WIDTH - 13, break_long_words=True)
    if len(lines) > SQL_LINES:
        lines = [*lines[:SQL_LINES], "…"]
    for line in lines:
        yield f"             {line}"


def _wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)


def size(rows: int | None, size_in_bytes: int) -> str:
    """Write the size of a table."""
    count = "rows not counted yet (ANALYZE)" if rows is None else f"about {rows:,} rows"
    units = ["bytes", "kB", "MB", "GB", "TB"]
    amount = float(size_in_bytes)
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{count}, {amount:,.{0 if units[0] == 'bytes' else 1}f} {units[0]}"


def plan_document(plan: Plan) -> list[dict[str, Any]]:
    """Return the steps as JSON types."""
    return [{**asdict(step), "phase": str(step.phase)} for step in plan.steps]


def checklist_lines(
    verdicts: Sequence[Verdict], titles: dict[str, str], *, unicode: bool
) -> Iterator[str]:
    """Yield the seven items with mark, evidence, and what to type next."""
    marks = MARKS if unicode else ASCII_MARKS
    for verdict in verdicts:
        mark = marks[verdict.state]
        warned = verdict.state is State.UNMET and verdict.level == "warn"
        title = titles[verdict.item] + (" (warns only)" if warned else "")
        yield f"  {mark:<3}{verdict.item:<15}{title}"
        for line in verdict.evidence.split("\n"):
            yield from _wrapped(line, " " * 20, " " * 20)
        if verdict.type_next and verdict.state is State.UNMET:
            # Not wrapped: it is to be copied.
            yield f"{' ' * 20}type: {verdict.type_next}"


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table whose columns are as wide as they need to be."""
    rows = [head, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()
