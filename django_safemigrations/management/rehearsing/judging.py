"""What of a rehearsal speaks against the plan, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django_safemigrations.rehearsal.results import (
    BoundaryCheck,
    CallFailure,
    PassTrace,
    RoundTrip,
)

SHOWN = 5
WHO = {
    "old": "the code that serves now",
    "new": "the new code",
}


def problems_of(
    passes: Sequence[PassTrace], round_trip: RoundTrip, undeclared: Iterable[str]
) -> tuple[str, ...]:
    """Return why a plan did not pass, a paragraph each; nothing if it did.

    Args:
        passes: what was seen.
        round_trip: what differed.
        undeclared: hazards that were seen and that lintmigrations does not know of.
    """
    found: dict[str, list[str]] = {}
    for one in passes:
        for text in _of_pass(one):
            found.setdefault(text, []).append(str(one.direction))
    told = [f"{_listed(directions)}: {text}" for text, directions in found.items()]
    # What is wrong with the files comes first: the rest may follow from it.
    return tuple(dict.fromkeys([*undeclared, *told, *_differences(round_trip)]))


def _of_pass(one: PassTrace) -> Iterator[str]:
    if one.error:
        yield f"the plan fails on the copy. {one.error}"
    for check in one.boundaries:
        yield from _broken(check)
        if check.slower:
            yield f"{_place(check)}, writes are much slower than before. " + "; ".join(check.slower)
    if one.load is not None and one.load.failed:
        errors = "; ".join(one.load.errors[:SHOWN])
        yield (
            f"{one.load.failed} of {one.load.requests} requests of the generated load failed: "
            f"{errors}"
        )


def _broken(check: BoundaryCheck) -> Iterator[str]:
    place = _place(check)
    for generation in check.generations:
        failures = [f for f in check.failures if f.generation == generation]
        if failures:
            shown = [_call(failure) for failure in failures[:SHOWN]]
            if len(failures) > SHOWN:
                shown.append(f"and {len(failures) - SHOWN} more")
            yield (
                f"{place}, {WHO.get(generation, generation)} fails while it may still be running. "
                + "; ".join(shown)
            )


def _place(check: BoundaryCheck) -> str:
    return f"after {check.after}" if check.after is not None else "at the beginning"


def _listed(directions: Sequence[str]) -> str:
    once = list(dict.fromkeys(directions))
    return once[0] if len(once) == 1 else f"{', '.join(once[:-1])} and {once[-1]}"


def _call(failure: CallFailure) -> str:
    sent = f" ({' '.join(failure.statement.split())[:300]})" if failure.statement else ""
    return f"{failure.model}: {failure.call}: {failure.error}{sent}"


def _differences(round_trip: RoundTrip) -> Iterator[str]:
    parts = (
        (
            round_trip.schema_after_back,
            "forwards and backwards does not lead back to where it began: the way back is not whole",
        ),
        (
            round_trip.schema_after_forwards,
            "the plan does not end at the schema that the models ask for",
        ),
        (
            round_trip.schema_after_again,
            "run a second time after a way back, the plan ends elsewhere than the first time",
        ),
        (round_trip.data, "data that the plan does not name is not what it was"),
    )
    for lines, what in parts:
        if lines:
            shown = "; ".join(lines[:SHOWN])
            more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            yield f"{what[0].upper()}{what[1:]}: {shown}{more}"
