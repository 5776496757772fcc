"""What is shown of a step's statements when there are few, many, and far too many."""

from __future__ import annotations

from django_safemigrations.rehearsal.report.statements import (
    FOLDED,
    LONGEST,
    MOST_OF_A_STEP,
    Limits,
    shown_statements,
)
from django_safemigrations.rehearsal.results import StatementTrace
from tests.rehearsal.report.sample import AEL, ORDER, lock

LIMITS = Limits(statements=3, characters=LONGEST)


def trace(sql: str, seconds: float = 0.1, **facts: object) -> StatementTrace:
    return StatementTrace(sql, 0.0, seconds, **facts)  # type: ignore[arg-type]


def test_the_same_statement_is_shown_once_where_it_was_first_sent() -> None:
    shown = shown_statements([trace("a", rows=2), trace("b"), trace("a", 0.3, rows=3)], LIMITS)
    assert [group.sql for group in shown.groups] == ["a", "b"]
    assert shown.groups[0].facts == (
        "2 times",
        "400 ms together",
        "longest 300 ms",
        "5 rows changed",
    )
    assert shown.rest == ""


def test_statements_told_as_one_count_as_often_as_they_were_sent() -> None:
    (group,) = shown_statements([trace("a", 8.0, repeats=1000, rows=5)], LIMITS).groups
    assert group.facts == ("1,000 times", "8.00 s together", "8.0 ms each", "5 rows changed")


def test_waits_and_attempts_are_told() -> None:
    (group,) = shown_statements([trace("a", waited=0.4, attempts=3)], LIMITS).groups
    assert group.facts == ("100 ms", "waited for 400 ms", "got its locks at attempt 3")


def test_of_too_many_those_that_block_and_take_long_stay_in_their_order() -> None:
    statements = [trace(f"s{n}", n / 1000) for n in range(100)]
    statements[5] = trace("blocks", 0.0, locks=(lock(ORDER, AEL, 0.1),))
    statements[7] = trace("rewrites", 0.0, rewrites=(ORDER,))
    shown = shown_statements(statements, LIMITS)
    assert [group.sql for group in shown.groups] == ["blocks", "rewrites", "s99"]
    assert shown.rest == "97 more statements, 4.84 s together."


def test_limits_are_wide_for_a_few_steps_and_narrow_for_many() -> None:
    few = Limits.of([[trace("a")]])
    assert few == Limits(MOST_OF_A_STEP, LONGEST)
    many = Limits.of([[trace(f"s{n}") for n in range(9)]] * 600)
    assert many.statements < 5
    assert many.characters < FOLDED


def test_long_sql_is_folded_and_very_long_sql_is_cut() -> None:
    (long,) = shown_statements([trace("SELECT 1 --" + "x" * FOLDED)], LIMITS).groups
    assert long.first_line == "SELECT 1 --" + "x" * 107 + " …"
    assert long.left_out == ""
    (longer,) = shown_statements([trace("first\n" + "x" * 10_000)], LIMITS).groups
    assert longer.first_line == "first"
    assert (len(longer.sql), longer.left_out) == (LONGEST, "2,006")


def test_what_a_statement_did_not_do_is_not_mentioned() -> None:
    (group,) = shown_statements([trace("SELECT 1")], LIMITS).groups
    assert group.facts == ("100 ms",)
    assert not (group.locks or group.rewrites or group.index_builds or group.scans)
