"""A migrator that dies after any of its changes can be started again, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection

from tests.invariants.cases import (
    CASES,
    DIES_AGAIN_AND_AGAIN,
    KILLED,
    KILLED_ON_THE_WAY_BACK,
    NOT_KILLABLE,
    NOT_KILLABLE_ON_THE_WAY_BACK,
    among,
    parameters,
)
from tests.kit import chain as chains
from tests.kit.case import Case
from tests.kit.databases import scratch_database
from tests.kit.kill import run_killed, run_killed_after_something_new
from tests.kit.prepared import Content, Prepared, prepare

MOST_KILLS = 250
"""No chain of the cases has so many changes; more would be a loop that never ends."""


KILLABLE = [case for case in CASES if case.name not in NOT_KILLABLE]
KILLABLE_BACK = [case for case in KILLABLE if case.name not in NOT_KILLABLE_ON_THE_WAY_BACK]
BEYOND_US = [case for case in CASES if case.name in NOT_KILLABLE]
BEYOND_US_BACK = [case for case in CASES if case.name in NOT_KILLABLE_ON_THE_WAY_BACK]


@pytest.mark.parametrize("case", parameters(KILLABLE, among(KILLED)))
def test_killed_after_each_change_and_run_again_it_ends_in_the_same_schema_and_rows(
    case: Case,
) -> None:
    with prepare(case) as prepared:
        _kill_everywhere(prepared, prepared.template, prepared.run, prepared.after)


@pytest.mark.parametrize("case", parameters(KILLABLE_BACK, among(KILLED_ON_THE_WAY_BACK)))
def test_killed_on_the_way_back_and_run_again_it_ends_where_it_began(case: Case) -> None:
    with prepare(case) as prepared, prepared.database():
        prepared.run()
        name = str(connection.settings_dict["NAME"])
        connection.close()
        _kill_everywhere(prepared, name, prepared.reverse, prepared.back)


@pytest.mark.parametrize("case", parameters(BEYOND_US, lambda case: False))
def test_what_is_left_out_here_plain_django_cannot_do_either(case: Case) -> None:
    with prepare(case) as prepared:
        with pytest.raises(AssertionError, match="COMMIT: then ProgrammingError"):
            _kill_everywhere(
                prepared,
                prepared.template,
                lambda: _plainly(prepared),
                prepared.after,
            )


@pytest.mark.parametrize("case", parameters(BEYOND_US_BACK, lambda case: False))
def test_what_is_left_out_on_the_way_back_plain_django_cannot_do_either(case: Case) -> None:
    with prepare(case) as prepared, prepared.database():
        _plainly(prepared)
        name = str(connection.settings_dict["NAME"])
        connection.close()
        with pytest.raises(AssertionError, match="COMMIT: then ProgrammingError"):
            _kill_everywhere(
                prepared,
                name,
                lambda: _plainly_back(prepared),
                prepared.back,
            )


@pytest.mark.parametrize("case", parameters(KILLABLE, among(DIES_AGAIN_AND_AGAIN)))
def test_dying_whenever_it_has_come_one_step_further_it_gets_there_and_back(case: Case) -> None:
    with prepare(case) as prepared, prepared.database():
        problems = _stumble(prepared.run)
        problems += prepared.content().differences(prepared.after)
        if not problems and case.name not in NOT_KILLABLE_ON_THE_WAY_BACK:
            problems += _stumble(prepared.reverse)
            problems += prepared.content().differences(prepared.back)
        assert problems == [], prepared.explain(problems)


def _stumble(work: Callable[[], None]) -> list[str]:
    """Run `work` until it ends, killed each time after the first change that it died at never yet.

    A change that every run makes anew is died at only once, so this ends.
    """
    known: set[str] = set()
    for _ in range(MOST_KILLS):
        try:
            killed = run_killed_after_something_new(work, known)
        except AssertionError as error:
            return [f"after {len(known)} deaths, {error}"]
        if killed.finished:
            return []
    return [f"not finished after {MOST_KILLS} runs"]


def _plainly(prepared: Prepared) -> None:
    chains.migrate(prepared.plain, prepared.plain.change[-1])


def _plainly_back(prepared: Prepared) -> None:
    chains.migrate(prepared.plain, prepared.plain.initial[-1])


def _kill_everywhere(
    prepared: Prepared, template: str, work: Callable[[], None], wanted: Content
) -> None:
    problems: list[str] = []
    for n in range(1, MOST_KILLS):
        with scratch_database(template):
            killed = run_killed(work, n)
            if killed.finished:
                break
            at = f"killed after change {n}, {' '.join(killed.at.split())[:200]}"
            try:
                work()
            except Exception as error:  # noqa: BLE001 - each point is tried, then all reported
                problems.append(f"{at}: then {type(error).__name__}: {error}")
                continue
            problems += [f"{at}: {line}" for line in prepared.content().differences(wanted)]
    else:
        problems.append(f"not finished after {MOST_KILLS} changes")
    assert problems == [], prepared.explain(problems)
