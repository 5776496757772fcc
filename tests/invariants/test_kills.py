"""A migrator that dies after any of its changes can be started again, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection

from tests.kit.databases import scratch_database
from tests.kit.kill import run_killed
from tests.kit.prepared import Content, Prepared

MOST_KILLS = 80
"""No chain of the cases has so many changes; more would be a loop that never ends."""


def test_killed_after_each_change_and_run_again_it_ends_in_the_same_schema_and_rows(
    representative: Prepared,
) -> None:
    _kill_everywhere(
        representative, representative.template, representative.run, representative.after
    )


def test_killed_on_the_way_back_and_run_again_it_ends_where_it_began(
    representative: Prepared,
) -> None:
    with representative.database():
        representative.run()
        name = str(connection.settings_dict["NAME"])
        connection.close()
        _kill_everywhere(representative, name, representative.reverse, representative.back)


@pytest.mark.exhaustive
def test_killed_after_one_change_more_each_time_it_still_gets_there(prepared: Prepared) -> None:
    """One database, a kill after the first change, after the second of the next run, and so on."""
    with prepared.database():
        for n in range(1, MOST_KILLS):
            if run_killed(prepared.run, n).finished:
                break
        lines = prepared.content().differences(prepared.after)
        assert lines == [], prepared.explain(lines)


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
