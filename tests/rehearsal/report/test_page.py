"""The page: it is sound HTML, loads nothing, says everything, and nothing in it can harm."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable

import pytest
from django.test import override_settings
from django.utils import translation
from justhtml import JustHTML

from django_safemigrations.rehearsal.report import render_html
from django_safemigrations.rehearsal.report.shown import visible
from django_safemigrations.rehearsal.results import ItemSeen, Rehearsal
from tests.rehearsal.report import sample
from tests.rehearsal.report.markup import Element, read

SAMPLES: dict[str, Callable[[], Rehearsal]] = {
    "failed": sample.rehearsal,
    "passed": lambda: sample.rehearsal(failing=False),
    "hostile": sample.hostile,
    "empty": sample.empty,
    "enormous": lambda: sample.enormous(statements=1),
}


@functools.cache
def page(name: str) -> str:
    return render_html(SAMPLES[name]())


@functools.cache
def tree(name: str) -> Element:
    return read(page(name))


every_sample = pytest.mark.parametrize("name", SAMPLES)


@every_sample
def test_every_element_is_closed_where_it_was_opened(name: str) -> None:
    assert [element.name for element in tree(name).elements("html", "head", "body")] == [
        "html",
        "head",
        "body",
    ]


@pytest.mark.parametrize("name", ["failed", "hostile", "empty"])
def test_a_strict_parser_has_nothing_to_say(name: str) -> None:
    errors = JustHTML(page(name), sanitize=False, collect_errors=True).errors
    assert [str(error) for error in errors] == []


@every_sample
def test_ids_are_unique_and_every_reference_leads_to_one(name: str) -> None:
    elements = list(tree(name).elements())
    ids = Counter(e.attributes["id"] for e in elements if "id" in e.attributes)
    assert [id_ for id_, times in ids.items() if times > 1] == []
    wanted = set()
    for element in elements:
        for attribute in ("aria-labelledby", "aria-describedby", "for"):
            wanted.update(element.attributes.get(attribute, "").split())
        if "href" in element.attributes:
            assert element.attributes["href"].startswith("#")
            wanted.add(element.attributes["href"][1:])
        if url := re.fullmatch(r"url\(#([\w-]+)\)", element.attributes.get("fill", "")):
            wanted.add(url[1])
    assert wanted <= set(ids)


@every_sample
def test_nothing_is_loaded_and_nothing_is_executed(name: str) -> None:
    for element in tree(name).elements():
        assert element.name not in {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
        }
        for attribute in element.attributes:
            assert not attribute.startswith("on")
            assert attribute not in {"src", "srcset", "action", "style", "xlink:href", "data"}
    style = tree(name).one("style").text
    assert "url(" not in style
    assert "@import" not in style


@every_sample
def test_the_policy_allows_our_style_sheet_and_nothing_else(name: str) -> None:
    root = tree(name)
    policy = root.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    style = root.one("style").text
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@every_sample
def test_headings_go_down_one_level_at_a_time(name: str) -> None:
    levels = [int(e.name[1]) for e in tree(name).elements("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


@every_sample
def test_landmarks_sections_and_tables_have_names(name: str) -> None:
    root = tree(name)
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("head").one("title").text
    assert len(list(root.elements("main"))) == len(list(root.elements("nav"))) == 1
    for section in root.elements("section"):
        assert section.attributes["aria-labelledby"]
    for scroller in root.elements("div"):
        if "tabindex" in scroller.attributes:
            assert scroller.attributes["aria-label"]
    for table in root.elements("table"):
        assert all(cell.attributes.get("scope") for cell in table.elements("th"))


def all_text(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in all_text(part)]
    return [text for part in value for text in all_text(part)] if isinstance(value, list) else []


def elements(root: Element) -> list[str]:
    # long SQL is folded under its first line, or cut; a longer name leaves less room for labels
    varying = {"details", "summary", "code", "text", "p", "span"}
    return [element.name for element in root.elements() if element.name not in varying]


@functools.cache
def plain_elements() -> list[str]:
    return elements(read(render_html(sample.with_text("x"))))


@pytest.mark.parametrize(
    "text", [text for text in sample.HOSTILE if text], ids=lambda text: ascii(text)[:30]
)
def test_whatever_the_database_says_is_text(text: str) -> None:
    """The page of a hostile text has the very elements of a page that says "x" everywhere."""
    root = read(render_html(sample.with_text(text)))
    assert elements(root) == plain_elements()
    if text.strip() and len(text) < 200:
        assert " ".join(visible(text).split()) in " ".join(root.text.split())


def test_what_is_invisible_or_reorders_text_is_shown_as_a_sign() -> None:
    text = tree("hostile").text
    for hidden in "\x00\x07\x1b\x7f\x85\u2028\ufeff\u202e\u202c\u2066\u2069\ufffe":
        assert hidden not in text
    for sign in (
        "⟨U+0000⟩",
        "⟨U+001B⟩",
        "⟨U+007F⟩",
        "⟨U+202E⟩",
        "⟨U+2066⟩",
        "⟨U+FEFF⟩",
        "⟨U+D800⟩",
        "⟨U+10FFFF⟩",
    ):
        assert sign in text
    page("hostile").encode()


def test_text_that_reads_from_right_to_left_is_kept_apart() -> None:
    assert "שלום order عربي" in tree("hostile").text
    assert "unicode-bidi: isolate" in tree("hostile").one("style").text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e15])
def test_no_figure_is_too_odd_to_be_shown(number: float) -> None:
    root = read(render_html(sample.with_figure(number)))
    drawn = [e.attributes for e in root.elements("rect", "path", "svg", "text")]
    assert not {"nan", "inf", "-inf"} & {value for found in drawn for value in found.values()}


def test_the_projects_formats_and_language_change_nothing() -> None:
    with (
        override_settings(USE_THOUSAND_SEPARATOR=True, TEMPLATES=[], TIME_ZONE="Asia/Tokyo"),
        translation.override("de"),
    ):
        assert render_html(sample.rehearsal()) == page("failed")


def test_the_verdict_comes_first_with_its_reasons_and_what_to_type() -> None:
    header = tree("failed").one("header")
    assert "Not passed" in header.one("h1").text
    assert [li.text.strip() for li in header.one("ol").elements("li")] == list(
        sample.rehearsal().problems
    )
    assert "python manage.py rehearsemigrations" in header.text
    assert "safemigrate" not in header.text
    assert tree("failed").one("head").one("title").text.startswith("Not passed: ")


def test_a_plan_that_passed_says_how_to_run_both_phases() -> None:
    header = tree("passed").one("header")
    assert "Passed" in header.one("h1").text
    commands = [pre.text for pre in header.elements("pre")]
    assert commands == [
        "python manage.py safemigrate",
        "python manage.py safemigrate --phase contract",
    ]
    assert not list(header.elements("ol"))


def test_a_plan_that_passed_says_what_the_checklist_still_asks_for() -> None:
    unmet = ItemSeen("backup", "A backup", "unmet", "None was taken.")
    made = dataclasses.replace(sample.empty(), problems=(), checklist=(unmet,))
    header = read(render_html(made)).one("header")
    assert "The checklist still asks for backup. Run it:" in header.text


def test_of_very_many_problems_the_first_are_unfolded() -> None:
    made = dataclasses.replace(sample.empty(), problems=tuple(f"problem {n}" for n in range(30)))
    header = read(render_html(made)).one("header")
    assert len(list(header.elements("li"))) == 30
    folded = header.one("details")
    assert folded.one("summary").text == "20 more problems"
    assert len(list(folded.elements("li"))) == 20


def test_the_alias_of_the_database_is_quoted_in_commands() -> None:
    commands = [pre.text for pre in tree("hostile").one("header").elements("pre")]
    assert commands == [
        "python manage.py rehearsemigrations --database ''\"'\"'\"><img src=x onerror=alert(1)>'"
    ]


def test_what_is_no_problem_is_noted_under_the_verdict() -> None:
    noted = tree("passed").one("div", **{"class": "noted"})
    assert [li.text for li in noted.elements("li")] == list(sample.rehearsal().notes)


def section(name: str, id_: str) -> Element:
    return tree(name).one("section", id=id_)


def test_every_item_of_the_checklist_is_there_with_mark_state_and_evidence() -> None:
    items = list(section("failed", "checklist").one("ul").elements("li"))
    given = sample.rehearsal().checklist
    assert len(items) == len(given) == 7
    for shown, item in zip(items, given, strict=True):
        words = " ".join(shown.text.split())
        for part in (item.item, item.title, item.state, item.evidence):
            assert part in words
    assert [i.one("span", **{"class": "mark"}).text for i in items] == list("✓✗✓✓✗~–")


def test_the_plan_lists_migrations_with_phase_and_steps() -> None:
    body = section("failed", "plan").one("tbody")
    rows = [[cell.text for cell in row.elements("th", "td")] for row in body.elements("tr")]
    assert rows[0] == ["1", "store.0007_order_total_expand", "expand", "1–2"]
    assert rows[-1] == ["8", "store.0014_order_note_contract", "contract", "12"]
    assert len(rows) == 8


def test_estimates_are_added_up_and_long_locks_pointed_out() -> None:
    table = section("failed", "production").one("table")
    total = [cell.text for cell in table.one("tfoot").elements("th", "td")]
    assert total == ["", "Together", "26 min 21 s", "21.6 s", "7.3 GB", "4.0 GB"]
    (marked,) = (row.text for row in table.elements("tr") if list(row.elements("strong")))
    assert "refresh_archive()" in marked
    assert "! 21.6 s" in marked


def test_failures_of_old_code_are_said_once_with_step_call_statement_and_error() -> None:
    code = section("failed", "code")
    first = next(iter(code.elements("li"))).text
    for part in ("Old code", "after steps 7–11", "store.Order", "bulk_create([Order(…)])"):
        assert part in first
    assert 'INSERT INTO "store_order"' in first
    assert "23502 NotNullViolation" in first
    assert code.text.count("fails after") == 2  # once in each pass forwards


def test_the_matrix_has_a_row_a_boundary_and_a_column_a_generation() -> None:
    body = next(iter(section("failed", "code").elements("tbody")))
    rows = [
        [" ".join(c.text.split()) for c in row.elements("th", "td")] for row in body.elements("tr")
    ]
    assert rows[0] == ["Before the first step", "✓ works", "– not running", "48"]
    assert rows[7] == [
        "After step 7: SET NOT NULL on total",
        "✗ 1 failure",
        "– not running",
        "48",
    ]
    assert rows[-1] == [
        "After step 12: Drop column note of order",
        "– not running",
        "✓ works",
        "48",
    ]
    assert len(rows) == 13


def test_what_was_not_tried_is_said_once() -> None:
    code = section("passed", "code").text
    assert code.count("store.Event: its table is not on the copy.") == 2  # the passes forwards


def test_writes_that_became_much_slower_are_told() -> None:
    assert "14 times as long as before the plan" in section("failed", "code").text
    assert "Much slower" not in section("passed", "code").text


def test_many_boundaries_at_which_all_is_well_become_one_row() -> None:
    body = next(iter(section("enormous", "code").elements("tbody")))
    (row,) = body.elements("tr")
    assert [" ".join(c.text.split()) for c in row.elements("th", "td")] == [
        "After steps 1–200",
        "✓ works",
        "✓ works",
        "19,200",
    ]


def test_latency_stands_beside_its_baseline() -> None:
    text = " ".join(section("failed", "load").text.split())
    assert "31 ms against 6.8 ms: 4.6 times" in text
    assert "✗ 37" in text
    assert "23502 null value" in text
    assert "18.2 s: store.Order filter(pk=…), during store.0013_archive_view 0" in text


def test_statements_show_what_they_did_and_batches_only_once() -> None:
    statements = section("failed", "statements")
    fill = " ".join(statements.one("details", id="pass-1-step-4").text.split())
    assert fill.count('UPDATE "store_order"') == 1
    assert "1,204 times" in fill
    assert "24,080,000 rows changed" in fill
    assert "got its locks at attempt 3" in statements.one("details", id="pass-1-step-7").text
    raw = " ".join(statements.one("details", id="pass-1-step-11").text.split())
    for part in (
        "DSM606",
        "lintmigrations --explain DSM606",
        'rewrites "Archive"."Old ""orders"""',
        "ACCESS EXCLUSIVE",
        "blocks reads and writes",
        "WAL",
    ):
        assert part in raw


def test_long_sql_is_folded_under_its_first_line() -> None:
    trigger = section("failed", "statements").one("details", id="pass-1-step-3")
    fold = trigger.one("details", **{"class": "fold"})
    assert fold.one("summary").text == sample.LONG_SQL.partition("\n")[0]
    assert fold.one("pre").text == sample.LONG_SQL[: len(fold.one("pre").text)]


def test_the_second_way_forwards_does_not_repeat_the_first() -> None:
    again = section("failed", "statements").one("details", id="pass-3-step-4")
    assert "The same 1,204 statements as the first time." in again.text
    assert not list(again.elements("pre"))


def test_differences_of_the_round_trip_are_listed() -> None:
    trip = section("failed", "round-trip")
    states = [span.text for span in trip.elements("span") if span.attributes["class"] == "state"]
    assert states == ["the same", "differs", "the same", "unchanged"]
    for line in (*sample.rehearsal().round_trip.differences, "only counted"):
        assert line in trip.text


def test_what_was_not_compared_is_not_called_the_same() -> None:
    trip = section("empty", "round-trip")
    states = {span.text for span in trip.elements("span") if span.attributes["class"] == "state"}
    assert states == {"not compared: the rehearsal ended before"}


def test_the_way_back_and_the_copy_are_told() -> None:
    assert section("failed", "rollback").one("pre").text.rstrip("\n").split("\n") == list(
        sample.rehearsal().rollback_plan
    )
    text = " ".join(section("failed", "copy").text.split())
    for part in (
        "Dumped and restored",
        "shop on db.internal",
        "PostgreSQL 18.1",
        "38 GB",
        "12 min 14 s",
    ):
        assert part in text
    assert 'extension "pg_cron"' in text


def test_a_rehearsal_that_did_not_begin_says_so_everywhere() -> None:
    text = tree("empty").text
    for part in (
        "The copy could not be made.",
        "There are no estimates",
        "The plan did not run",
        "No step ran.",
    ):
        assert part in text


def test_two_hundred_steps_in_three_passes_stay_small() -> None:
    made = render_html(sample.enormous(statements=6))
    assert len(made.encode()) < 2_000_000
    assert "more statements" in made
