"""What the reader wants to know first: whether it passed, what it will cost, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from django_safemigrations.rehearsal.report.figures import count, counted, duration, times
from django_safemigrations.rehearsal.report.locks import figure
from django_safemigrations.rehearsal.report.steps import NOTHING, Expected
from django_safemigrations.rehearsal.results import Direction, Rehearsal

DEFAULT = "default"
WIDEST = 160
"""Pixels of the longest bar of a latency."""


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page; `state` is "ok", "bad" or empty."""

    title: str
    value: str
    note: str
    state: str = ""


@dataclass(frozen=True)
class Next:
    """What to do now, in words, and the commands that do it."""

    words: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Clients:
    """What clients felt in a pass, in words; `bars` are the widths of p99 and its baseline."""

    title: str
    requests: str
    failed: str
    p50: str
    p99: str
    longest: str
    baseline: str
    slower: str
    bars: tuple[int, int]
    errors: tuple[str, ...]
    slowest: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class Comparison:
    """One comparison of the round trip: what with what, and what differs.

    `equal` says that nothing does; it is empty if the comparison was not made.
    """

    title: str
    equal: str
    lines: tuple[str, ...]


def tiles(rehearsal: Rehearsal, estimates: Expected) -> tuple[Tile, ...]:
    """Return the figures at the top."""
    found = []
    if estimates.rows:
        scaled = "scaled up from a sample" if estimates.scaled else "as measured on the copy"
        found.append(Tile("Time in production", estimates.seconds, scaled))
        found.append(
            Tile(
                "Longest blocking lock",
                duration(0) if estimates.blocking == NOTHING else estimates.blocking,
                "during which reads or writes wait",
                "bad" if estimates.long else "ok",
            )
        )
    calls = sum(check.calls for one in rehearsal.passes for check in one.boundaries)
    failed = sum(len(check.failures) for one in rehearsal.passes for check in one.boundaries)
    if calls or failed:
        note = f"in {counted(calls, 'call')} of old and new code"
        found.append(Tile("Failures", count(failed), note, "bad" if failed else "ok"))
    unlike = len(rehearsal.round_trip.differences)
    if unlike or any(comparison.equal for comparison in differences(rehearsal)):
        note = "after going forwards, back, and forwards again"
        found.append(Tile("Differences", count(unlike), note, "bad" if unlike else "ok"))
    return tuple(found)


def what_next(rehearsal: Rehearsal) -> Next:
    """Return what to type."""
    database = rehearsal.database
    option = "" if database == DEFAULT else f" --database {shlex.quote(database)}"
    if not rehearsal.passed:
        return Next(
            "When this is mended, rehearse again:",
            (f"python manage.py rehearsemigrations{option}",),
        )
    open_items = [item.item for item in rehearsal.checklist if item.state == "unmet"]
    first = f"The checklist still asks for {' and '.join(open_items)}. " if open_items else ""
    phases = {step.key.phase for one in rehearsal.passes for step in one.steps}
    run = f"python manage.py safemigrate{option}"
    if phases == {"contract"}:
        words = "Once no old code is left, run it:"
        return Next(first + words, (f"{run} --phase contract",))
    if "contract" in phases:
        words = "Run the first now, and the second once no old code is left:"
        return Next(first + words, (run, f"{run} --phase contract"))
    return Next(f"{first}Run it:", (run,))


def clients(rehearsal: Rehearsal, directions: Mapping[Direction, str]) -> tuple[Clients, ...]:
    """Return what clients felt, by pass."""
    longest = max(
        (
            max(figure(one.load.p99), figure(one.load.baseline_p99))
            for one in rehearsal.passes
            if one.load
        ),
        default=0.0,
    )
    scale = WIDEST / longest if longest else 0.0
    return tuple(
        Clients(
            title=directions[one.direction],
            requests=count(one.load.requests),
            failed=count(one.load.failed),
            p50=duration(one.load.p50),
            p99=duration(one.load.p99),
            longest=duration(one.load.longest),
            baseline=duration(one.load.baseline_p99),
            slower=times(one.load.p99, one.load.baseline_p99),
            bars=(
                max(round(figure(one.load.p99) * scale), 1),
                max(round(figure(one.load.baseline_p99) * scale), 1),
            ),
            errors=one.load.errors,
            slowest=one.load.slowest,
            state="bad" if one.load.failed else "ok",
        )
        for one in rehearsal.passes
        if one.load
    )


def differences(rehearsal: Rehearsal) -> tuple[Comparison, ...]:
    """Return the comparisons of the round trip; one that a pass did not live to see is not made."""
    trip = rehearsal.round_trip
    ended_well = {one.direction for one in rehearsal.passes if not one.error}
    forwards = Direction.FORWARDS in ended_well
    back = forwards and Direction.BACKWARDS in ended_well
    again = back and Direction.FORWARDS_AGAIN in ended_well
    return tuple(
        Comparison(title, equal if made else "", lines)
        for title, equal, made, lines in (
            (
                "Schema after going forwards, against what Django alone makes",
                "the same",
                forwards,
                trip.schema_after_forwards,
            ),
            (
                "Schema after going back, against the beginning",
                "the same",
                back,
                trip.schema_after_back,
            ),
            (
                "Schema after going forwards again, against the first time",
                "the same",
                again,
                trip.schema_after_again,
            ),
            ("Rows and columns that the plan does not touch", "unchanged", back, trip.data),
        )
    )
