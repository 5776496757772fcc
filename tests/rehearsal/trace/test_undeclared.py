"""What happened on the copy is compared with what the linter said, and weighed by the table's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.rehearsal.results import HazardSeen, StepKey, StepTrace
from django_safemigrations.rehearsal.trace import is_small, notes, undeclared
from django_safemigrations.rehearsal.trace.judging import BUILDS, ELSE, REWRITES, SCANS
from django_safemigrations.rehearsal.trace.undeclared import SAID_BY

KEY = StepKey("shop", "0002_tidy", "3.0", "expand", "Raw SQL operation")
BUILD = HazardSeen(
    code="DSM101",
    message='"public"."order" had its index built under ShareLock: writes would have waited',
    relation='"public"."order"',
    statement="SELECT tidy()",
    blocks="writes",
    held=2.0,
    rows=1_000_000,
    bytes=10**9,
)


def step(*hazards: HazardSeen) -> StepTrace:
    return StepTrace(KEY, 0.0, 3.0, (), hazards)


def test_a_hazard_that_the_linter_did_not_name_is_a_problem() -> None:
    [problem] = undeclared([step(BUILD)], {})
    for part in (
        "shop.0002_tidy 3.0",
        "DSM101",
        "writes would have waited",
        "SELECT tidy()",
        "1000000 rows",
        "lintmigrations --explain DSM101",
        "--waive no_downtime=",
    ):
        assert part in problem


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [
        ("3.0", "DSM101", True),
        ("3", "DSM101", True),
        ("3", "DSM507", True),  # the same, of a constraint
        ("3.0.1", "DSM101", True),
        ("2", "DSM101", False),
        ("30", "DSM101", False),
        ("3", "DSM402", False),
        ("3", "DSM405", False),  # not inspected: nothing was said
    ],
)
def test_it_is_none_if_the_linter_named_it_at_that_operation(
    operation: str, code: str, said: bool
) -> None:
    expected = {("shop", "0002_tidy", operation): {code}}
    assert (undeclared([step(BUILD)], expected) == ()) is said
    assert undeclared([step(BUILD)], {("shop", "0003_next", operation): {code}})


def test_a_hazard_of_the_whole_transaction_may_be_named_at_any_operation_of_its_migration() -> None:
    held = replace(BUILD, code="DSM406", of_migration=True)
    assert undeclared([step(held)], {("shop", "0002_tidy", "7"): {"DSM406"}}) == ()
    assert undeclared([step(held)], {("shop", "0003_next", "7"): {"DSM406"}})


def test_on_a_small_table_it_is_a_note() -> None:
    small = replace(BUILD, held=0.004, rows=200, bytes=50_000)
    assert undeclared([step(small)], {}) == ()
    [note] = notes([step(small)])
    assert "DSM101" in note
    assert "200 rows" in note
    assert notes([step(BUILD)]) == ()
    assert len(notes([step(BUILD, small)], everything=True)) == 2


@pytest.mark.parametrize(
    "much", [{"held": 0.06}, {"rows": 20_000}, {"bytes": 20 * 1024**2}], ids=str
)
def test_a_table_is_small_only_in_every_respect(much: dict[str, float]) -> None:
    small = replace(BUILD, held=0.004, rows=200, bytes=50_000)
    assert is_small(small, lock_timeout=50)
    assert not is_small(replace(small, **much), lock_timeout=50)  # type: ignore[arg-type]


def test_a_sample_is_no_small_table() -> None:
    sampled = replace(BUILD, held=0.004, rows=200, bytes=50_000)
    rows = {'"public"."order"': (200, 200_000)}
    assert not is_small(sampled, rows=rows)
    [problem] = undeclared([step(sampled)], {}, rows=rows)
    assert "in production it would be about 4.0 s" in problem
    assert is_small(sampled, rows={"public.customer": (1, 1000)})


def test_every_code_that_a_trace_gives_is_in_the_catalogue() -> None:
    given = {code for code, _ in (*REWRITES, *BUILDS, *SCANS)} | set(ELSE.values())
    given |= {"DSM402", "DSM406", "DSM701", "DSM707", "DSM709", "DSM203"}
    assert given | set(SAID_BY) | set().union(*SAID_BY.values()) <= set(CATALOGUE)
