"""What a rehearsal says against a plan: each thing once, with the place and the code it is about."""

from __future__ import annotations

from django_safemigrations.management.rehearsing.judging import problems_of
from django_safemigrations.rehearsal.results import (
    BoundaryCheck,
    CallFailure,
    Direction,
    LoadSeen,
    PassTrace,
    RoundTrip,
    StepKey,
)

STEP = StepKey("shop", "0002_more", "0", "expand", "Raw SQL operation")
FAILURE = CallFailure("old", "shop.Order", "all()", "SELECT  1", "no such column (SQLSTATE 42703)")
NOTHING = RoundTrip()


def broken(direction: Direction, *failures: CallFailure) -> PassTrace:
    check = BoundaryCheck(STEP, ("old", "new"), 9, failures)
    return PassTrace(direction, 1.0, boundaries=(check,))


def test_nothing_wrong_is_no_problem() -> None:
    passes = [PassTrace(direction, 1.0) for direction in Direction]
    assert problems_of(passes, NOTHING, []) == ()


def test_what_happens_in_two_passes_is_told_once() -> None:
    passes = [broken(Direction.FORWARDS, FAILURE), broken(Direction.FORWARDS_AGAIN, FAILURE)]
    [problem] = problems_of(passes, NOTHING, [])
    assert problem == (
        "forwards and forwards again: after shop.0002_more 0 (Raw SQL operation), the code that "
        "serves now fails while it may still be running. shop.Order: all(): no such column "
        "(SQLSTATE 42703) (SELECT 1)"
    )


def test_both_generations_are_told_apart_and_many_failures_counted() -> None:
    new = CallFailure("new", "shop.Order", "save()", "", "not null (SQLSTATE 23502)")
    [old_said, new_said] = problems_of(
        [broken(Direction.FORWARDS, *[FAILURE] * 9, new)], NOTHING, []
    )
    assert "the code that serves now" in old_said
    assert "and 4 more" in old_said
    assert "the new code fails" in new_said


def test_an_error_a_load_and_differences_are_told() -> None:
    load = LoadSeen(100, 3, 0.1, 0.2, 0.3, 0.1, ("deadlock",))
    one = PassTrace(Direction.FORWARDS, 1.0, load=load, error="shop.0002_more: division by zero")
    trip = RoundTrip(("index gone",), ("default left",), ("type differs",), ("rows lost",))
    problems = problems_of([one], trip, ["DSM101 seen"])
    assert problems[0] == "DSM101 seen"
    said = "\n".join(problems)
    for word in (
        "the plan fails on the copy. shop.0002_more: division by zero",
        "3 of 100 requests of the generated load failed: deadlock",
        "the way back is not whole: index gone",
        "the schema that the models ask for: default left",
        "elsewhere than the first time: type differs",
        "is not what it was: rows lost",
    ):
        assert word in said
