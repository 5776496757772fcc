"""The picture of locks: to no scale, and yet in order, visible and complete."""

from __future__ import annotations

import itertools

import pytest

from django_safemigrations.rehearsal.report.bars import LANE, LEAST_BAR, LETTER, Bar
from django_safemigrations.rehearsal.report.locks import rank, uses
from django_safemigrations.rehearsal.report.scale import LEAST_COLUMN, Scale, Span, scale
from django_safemigrations.rehearsal.report.timeline import (
    HEAD,
    MOST_LANES,
    Picture,
    picture,
    ranges,
)
from django_safemigrations.rehearsal.results import StepTrace
from tests.rehearsal.report import sample
from tests.rehearsal.report.sample import AEL, ITEM, ORDER, SUE, lock, say

DAY = [
    Span(0.0, 0.003, (0.001, 0.002)),
    Span(0.003, 1200.0, (0.004, 600.0, 1199.9)),
    Span(1203.0, 1203.0),
    Span(1203.0, 1203.5, (1203.2, 1203.1)),
    Span(1300.0, 90_000.0),
]


def drawn(*steps: StepTrace) -> Picture:
    return picture(steps, range(1, len(steps) + 1))


def step(*statements: object) -> StepTrace:
    return sample.Clock().step(sample.ADD, *statements)  # type: ignore[arg-type]


def all_bars(made: Picture) -> list[Bar]:
    return [bar for lane in made.lanes for bar in lane.bars]


def test_later_is_never_further_left() -> None:
    x = scale(DAY, 800.0)
    moments = sorted(
        [0.0, *(m for span in DAY for m in (span.started, span.ended, *span.marks)), 1e6]
    )
    places = [x(moment) for moment in moments]
    assert places == sorted(places)
    assert places[0] == 0.0
    assert places[-1] == pytest.approx(x.width)


def test_steps_have_columns_that_do_not_touch_and_fill_the_picture() -> None:
    x = scale(DAY, 800.0)
    assert all(column.width >= LEAST_COLUMN for column in x.columns)
    for left, right in itertools.pairwise(x.columns):
        assert left.x + left.width < right.x
    assert x.width == pytest.approx(800.0)
    assert max(x.columns, key=lambda c: c.width) == x.columns[-1]


def test_many_steps_take_the_room_they_need() -> None:
    spans = [Span(float(n), n + 0.5) for n in range(200)]
    x = scale(spans, 800.0)
    assert x.width > 200 * LEAST_COLUMN


def test_milliseconds_stay_visible_beside_hours() -> None:
    x = scale([Span(0.0, 7200.0, (3600.0, 3600.003))], 200.0)
    assert x(3600.003) - x(3600.0) >= LEAST_BAR


def test_no_steps_are_a_scale_of_nothing() -> None:
    assert scale([]) == Scale((), (), ())
    assert scale([])(3.0) == scale([]).width == 0.0


def test_a_wait_ends_where_the_lock_begins() -> None:
    made = drawn(step(say("ALTER", 0.01, lock(ORDER, AEL, 0.01, waited=0.3))))
    (bar,) = all_bars(made)
    assert float(bar.wait_x) + float(bar.wait_width) == pytest.approx(float(bar.x), abs=0.11)
    assert float(bar.wait_width) > float(bar.width) > LEAST_BAR
    assert "held 10 ms, waited for 300 ms" in bar.title


def test_the_stronger_the_lock_the_taller_its_bar() -> None:
    modes = ("AccessShareLock", SUE, "ShareLock", AEL)
    made = drawn(*(step(say("LOCK", 1.0, lock(ORDER, mode, 1.0))) for mode in modes))
    heights = [int(bar.height) for bar in sorted(all_bars(made), key=lambda bar: bar.rank)]
    assert heights == sorted(set(heights))
    assert rank("something new") == rank("writes")


def batch(seconds: float, **facts: int) -> object:
    return say("UPDATE", seconds, lock(ORDER, "RowExclusiveLock", 0.099), **facts)


@pytest.mark.parametrize(
    "statements", [[batch(118.0, repeats=1204)], [batch(0.098)] * 1204], ids=["told as one", "each"]
)
def test_thousands_of_batches_are_one_row_of_ticks(statements: list[object]) -> None:
    made = drawn(step(*statements))
    (bar,) = all_bars(made)
    assert 5 < bar.ticks.count("M") < 200
    (row,) = made.rows
    assert (row.times, row.held) == ("1,204", "99 ms")


def test_a_lock_that_took_several_attempts_was_waited_for_before_the_last_one() -> None:
    statements = [say("UPDATE", 1.0), say("ALTER", 0.01, lock(ORDER, AEL, 0.01, 0.5), attempts=3)]
    traced = step(*statements)
    (use,) = uses(traced.statements)
    last = traced.statements[1].started
    assert use.started == pytest.approx(last - 0.5)
    assert use.ended == pytest.approx(last + 0.01)


def test_a_lock_that_outlives_its_step_reaches_into_the_next_ones() -> None:
    clock = sample.Clock()
    first = clock.step(sample.ADD, say("ALTER", 0.01, lock(ORDER, AEL, 5.0)))
    second = clock.step(sample.DEFAULT, say("UPDATE", 4.98))
    made = drawn(first, second)
    (bar,) = all_bars(made)
    assert float(bar.x) + float(bar.width) > float(made.heads[1].x)


def test_labels_never_lie_on_each_other_or_on_other_bars() -> None:
    locks = [lock(ORDER, mode, held) for mode, held in ((AEL, 0.1), ("ShareLock", 0.3), (SUE, 0.9))]
    several = [step(say("a", 0.2, *locks), say("b", 0.9, locks[1]), say("c", 0.01, locks[0]))]
    for steps in (several, sample.rehearsal().passes[0].steps, sample.hostile().passes[0].steps):
        for lane in drawn(*steps).lanes:
            labels = [bar for bar in lane.bars if bar.label]
            starts = sorted((float(bar.label_x), len(bar.label) * LETTER) for bar in labels)
            for (left, width), (right, _) in itertools.pairwise(starts):
                assert left + width < right
            for bar in labels:
                if not bar.inside:
                    spans = [
                        (float(b.x), float(b.x) + float(b.width)) for b in lane.bars if b != bar
                    ]
                    start = float(bar.label_x)
                    end = start + len(bar.label) * LETTER
                    assert all(end < left or start > right for left, right in spans)


def test_the_strongest_locks_get_the_lanes_and_all_are_in_the_table() -> None:
    weak = [
        step(say("SELECT", 0.1, lock(f'"public"."t{n}"', "AccessShareLock", 0.1)))
        for n in range(40)
    ]
    strong = step(say("ALTER", 0.1, lock(ITEM, AEL, 0.1)))
    made = drawn(*weak, strong)
    assert made.lanes[0].relation == "store_item"
    assert len(made.lanes) == 8
    assert made.left_out == 33
    assert {row.relation for row in made.rows} == {"store_item", *(f"t{n}" for n in range(40))}
    many = drawn(
        *(step(say("ALTER", 0.1, lock(f'"public"."t{n}"', AEL, n / 10))) for n in range(40))
    )
    assert len(many.lanes) == MOST_LANES
    assert {lane.relation for lane in many.lanes} == {f"t{n}" for n in range(16, 40)}


def test_everything_is_drawn_inside_of_the_picture() -> None:
    for made in (
        drawn(*one.steps) for one in (*sample.rehearsal().passes, *sample.hostile().passes)
    ):
        for lane in made.lanes:
            for bar in lane.bars:
                assert lane.y <= float(bar.y)
                assert float(bar.y) + int(bar.height) <= lane.y + LANE
                assert float(bar.x) >= 0
                assert float(bar.x) + float(bar.width) <= float(made.width) + 1
        assert made.height >= HEAD + LANE * len(made.lanes)


def test_figures_that_are_no_numbers_are_drawn_as_nothing() -> None:
    made = drawn(step(say("ALTER", 0.1, lock(ORDER, AEL, float("nan"), waited=float("inf")))))
    (bar,) = all_bars(made)
    assert float(bar.width) == LEAST_BAR


def test_a_pass_without_locks_says_so() -> None:
    assert drawn(step(say("SELECT 1", 0.1))).summary == "No table was locked."
    assert drawn().lanes == ()


def test_locks_of_a_kind_are_put_together_with_the_longest_of_each() -> None:
    statements = step(
        say("one", 1.0, lock(ORDER, AEL, 1.0, waited=0.5)), say("two", 1.0, lock(ORDER, AEL, 3.0))
    ).statements
    (use,) = uses(statements)
    assert (use.times, use.held, use.waited, use.mode) == (2, 3.0, 0.5, "ACCESS EXCLUSIVE")


@pytest.mark.parametrize(
    ("numbers", "words"), [([], ""), ([3], "3"), ([2, 1, 3, 3], "1–3"), ([1, 3, 4, 9], "1, 3–4, 9")]
)
def test_runs_of_numbers_are_written_short(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words
