"""Figures in words, and names and texts made fit to be shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from django_safemigrations.rehearsal.report import figures
from django_safemigrations.rehearsal.report.shown import all_visible, relation_name, visible
from tests.rehearsal.report import sample


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (0.00001, "<0.1 ms"),
        (0.0031, "3.1 ms"),
        (0.31, "310 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.41, "9.41 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (1205, "20 min 5 s"),
        (3599.7, "1 h"),
        (7380, "2 h 3 min"),
        (86400 * 1500, "1,500 d"),
        (90000, "1 d 1 h"),
        (float("nan"), "unknown"),
        (float("inf"), "unknown"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert figures.duration(seconds) == words


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 kB"),
        (1024 * 1024 - 1, "1.0 MB"),
        (5_794_611_200, "5.4 GB"),
        (-2048, "−2.0 kB"),
        (2**70, "1,048,576 PB"),
    ],
)
def test_sizes_have_the_units_of_pg_size_pretty(amount: int, words: str) -> None:
    assert figures.size(amount) == words


def test_moments_are_given_in_utc_where_that_is_known() -> None:
    tokyo = datetime(2026, 11, 23, 9, 5, tzinfo=timezone(timedelta(hours=9)))
    assert figures.moment(tokyo) == "2026-11-23 00:05:00 UTC"
    assert figures.moment(tokyo.astimezone(UTC)) == "2026-11-23 00:05:00 UTC"
    assert figures.moment(tokyo.replace(tzinfo=None)) == "2026-11-23 09:05:00"


def test_shares_and_ratios_leave_out_what_makes_no_sense() -> None:
    assert figures.share(0.05) == "5 %"
    assert figures.share(0.001) == "0.1 %"
    assert figures.times(0.0312, 0.0068) == "4.6 times"
    assert figures.times(1.0, 0.0) == figures.times(float("nan"), 1.0) == ""
    assert [figures.counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("relation", "name"),
    [
        ('"public"."store_order"', "store_order"),
        ('"shop"."store_order"', "shop.store_order"),
        ('"public"."Order"', '"Order"'),
        ('"Archive"."Old ""orders"""', '"Archive"."Old ""orders"""'),
        ('"public"."a.b"', '"a.b"'),
        ('"public"."2nd"', '"2nd"'),
        ('"public".""', '""'),
        ("store_order", "store_order"),
        ('"public"', "public"),
        ('"open', '"open'),
        ('"a"."b".', '"a"."b".'),
        ("", ""),
    ],
)
def test_relations_are_named_as_short_as_nothing_is_lost(relation: str, name: str) -> None:
    assert relation_name(relation) == name


def test_text_that_can_be_read_stays_as_it_is() -> None:
    for text in ("naïve 名前 🐘 👩‍👩‍👧", "שלום", "two\n\tlines", "می‌خواهم", ""):
        assert visible(text) == text
    assert visible("one\r\ntwo\rthree") == "one\ntwo⟨U+000D⟩three"


def test_values_in_which_nothing_is_hidden_are_not_built_anew() -> None:
    made = sample.rehearsal()
    assert all_visible(made) is made
