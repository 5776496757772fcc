"""What a rehearsal says in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from django_safemigrations.management.rehearsing.recorded import Done
from django_safemigrations.rehearsal.report.figures import counted, duration, size
from django_safemigrations.rehearsal.results import PassTrace, Rehearsal

WIDTH = 100


def rehearsal_lines(done: Done, *, unicode: bool) -> list[str]:
    """Return what was found, the verdict first and what to type next last."""
    rehearsal = done.rehearsal
    yes, no = ("✓", "✗") if unicode else ("ok", "NO")
    lines = [""]
    if rehearsal.passed:
        lines.append(f"{yes} The rehearsal passed: nothing speaks against this plan.")
    else:
        lines.append(f"{no} The rehearsal found {counted(len(rehearsal.problems), 'problem')}:")
        for problem in rehearsal.problems:
            lines += ["", *_wrapped(problem)]
    lines += ["", *_facts(rehearsal)]
    lines += [f"  {'Report':<16}{done.html}", f"  {'':<16}{done.json}"]
    if rehearsal.passed:
        lines += ["", f"Recorded for the plan {done.rehearsal.plan_hash}. Now: {done.next_command}"]
    else:
        lines += ["", "Nothing was recorded. Mend the plan and run the rehearsal again."]
    return lines


def _facts(rehearsal: Rehearsal) -> Iterator[str]:
    copy = rehearsal.copy
    sampled = "" if copy.sampled >= 1 else f", a sample of {copy.sampled:.1%} of the rows"
    yield f"  {'Copy':<16}{copy.source}, {size(copy.size_bytes)}{sampled}, in {duration(copy.seconds)}"
    for one in rehearsal.passes:
        yield f"  {str(one.direction).capitalize():<16}{_pass(one)}"
    for note in (*rehearsal.notes, *copy.notes, *rehearsal.round_trip.not_compared):
        yield from _wrapped(f"Note: {note}")


def _pass(one: PassTrace) -> str:
    calls = sum(check.calls for check in one.boundaries)
    return (
        f"{duration(one.seconds)}: {counted(len(one.steps), 'step')}, "
        f"{counted(calls, 'call')} of old and new code at "
        f"{counted(len(one.boundaries), 'boundary', 'boundaries')}"
    )


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, WIDTH, initial_indent="  ", subsequent_indent="    ") or [
            ""
        ]
    return lines
