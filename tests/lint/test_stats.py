"""Sizes of production's tables decide whether work on every row is a note or an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_safemigrations.checklist.inspected import concurrent
from django_safemigrations.checklist.verdicts import Context, State
from django_safemigrations.conf import Settings
from django_safemigrations.hazards import CATALOGUE, Severity, Work
from django_safemigrations.lint import LintLoader, lint_migrations
from django_safemigrations.lint.stats import (
    SPEEDS,
    BadStats,
    Size,
    Stats,
    estimate,
    in_bytes,
    in_time,
    read_stats,
    said_age,
)
from tests.lint.conftest import Project, forget
from tests.lint.test_command import refused, run

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def stats(**rows: int | None) -> Stats:
    """Sizes of tables of 100 bytes a row."""
    return Stats(
        NOW,
        ("public",),
        {
            f"public.{name}": Size(number, 100 * (number or 0), 20 * (number or 0))
            for name, number in rows.items()
        },
    )


def written(path: Path, sizes: Stats) -> str:
    path.write_text(json.dumps(sizes.as_dict()))
    return str(path)


@pytest.fixture
def index(project: Project) -> Project:
    project.add(
        "0002_index",
        'operations = [migrations.AddIndex("order", '
        'models.Index(fields=["total"], name="total_idx"))]',
    )
    return project


def weighed(sizes: Stats, code: str = "DSM101") -> tuple[Severity, str]:
    """Return severity and message of the one finding of a code in the app."""
    forget()
    found = lint_migrations(LintLoader(None, ignore_no_migrations=True), stats=sizes)
    (one,) = [f for f in found if f.app_label == "store" and f.code == code]
    return one.severity, one.message


# --- weighing ------------------------------------------------------------------------------------


def test_a_build_on_few_rows_is_a_note_that_never_fails(index: Project, tmp_path: Path) -> None:
    severity, message = weighed(stats(store_order=200))
    assert severity is Severity.NOTE
    assert message.endswith("store_order has 200 rows, 20 kB: done in an instant.")
    path = written(tmp_path / "sizes.json", stats(store_order=200))
    code, printed = run("store", "--stats", path, "--fail-on", "warning")
    assert code == 0
    assert "note DSM101" in printed
    assert "2 migrations read: 0 errors, 0 warnings, 1 note." in printed


def test_a_build_on_many_rows_is_an_error_with_the_time_that_it_takes(index: Project) -> None:
    severity, message = weighed(stats(store_order=200_000_000))
    assert severity is Severity.ERROR
    assert "store_order has 200,000,000 rows, 20 GB: about " in message
    assert message.endswith(", by a rough estimate.")


def test_between_small_and_large_the_severity_is_the_hazards_own(index: Project) -> None:
    severity, message = weighed(stats(store_order=50_000))
    assert severity is CATALOGUE["DSM101"].severity
    assert "by a rough estimate" in message


def test_a_warning_becomes_an_error_on_a_large_table(project: Project) -> None:
    with override_settings(SAFE_MIGRATIONS={"LINT_LARGE_ROWS": 1000}):
        assert promoted(project) is Severity.ERROR
    explicit = {"LINT_LARGE_ROWS": 1000, "LINT_SEVERITIES": {"DSM101": "warning"}}
    with override_settings(SAFE_MIGRATIONS=explicit):
        assert promoted(project) is Severity.WARNING


def promoted(project: Project) -> Severity:
    project.last = "0001_initial"
    project.add(
        "0002_index",
        'operations = [migrations.AddIndex("order", models.Index(fields=["total"], name="i"))]',
    )
    return weighed(stats(store_order=20_000))[0]


@pytest.mark.parametrize(("rows", "expected"), [(500, Severity.NOTE), (501, Severity.ERROR)])
def test_what_is_small_is_a_setting(index: Project, rows: int, expected: Severity) -> None:
    with override_settings(SAFE_MIGRATIONS={"LINT_SMALL_ROWS": 500}):
        assert weighed(stats(store_order=rows))[0] is expected


def test_few_rows_that_are_huge_are_not_small(index: Project) -> None:
    huge = Stats(NOW, ("public",), {"public.store_order": Size(9000, 90_000_000_000, 0)})
    severity, message = weighed(huge)
    assert severity is Severity.ERROR
    assert "9,000 rows, 90 GB: about " in message


def test_what_breaks_old_code_stays_a_warning_on_a_small_table(project: Project) -> None:
    project.add(
        "0002_null",
        'operations = [migrations.AlterField("customer", "email", '
        "models.CharField(max_length=254))]",
    )
    severity, message = weighed(stats(store_customer=10), "DSM201")
    assert severity is Severity.WARNING
    assert message.endswith(
        "store_customer has 10 rows, 1.0 kB: done in an instant; but old code that writes NULL "
        "fails, whatever its size."
    )


def test_what_does_not_depend_on_rows_is_not_weighed(project: Project) -> None:
    project.add("0002_gone", 'operations = [migrations.RemoveField("order", "total")]')
    severity, message = weighed(stats(store_order=10), "DSM503")
    assert severity is Severity.ERROR
    assert "rows" not in message


def test_a_table_that_is_not_in_the_file_counts_as_large(index: Project) -> None:
    severity, message = weighed(stats(other=10))
    assert severity is Severity.ERROR
    assert message.endswith("store_order is not in the file of table sizes, so it counts as large.")


def test_a_table_that_was_never_analysed_is_not_small(index: Project) -> None:
    severity, message = weighed(stats(store_order=None))
    assert severity is Severity.ERROR
    assert "an unknown number of rows (never analysed)" in message


def test_work_inside_a_container_is_weighed_by_its_own_table(project: Project) -> None:
    project.add(
        "0002_index",
        """
        operations = [
            migrations.SeparateDatabaseAndState(
                database_operations=[
                    migrations.AddIndex("tag", models.Index(fields=["label"], name="l_idx")),
                ],
                state_operations=[],
            ),
        ]
        """,
    )
    assert weighed(stats(store_tag=10, store_order=10**9))[0] is Severity.NOTE


def test_the_checklist_takes_a_note_for_nothing(index: Project) -> None:
    for rows, state in ((10, State.MET), (10**9, State.UNMET)):
        forget()
        loader = LintLoader(None, ignore_no_migrations=True)
        found = lint_migrations(loader, [("store", "0002_index")], stats=stats(store_order=rows))
        context = Context(
            using="default",
            migrations=(loader.disk_migrations["store", "0002_index"],),
            plan_hash="",
            findings=tuple(found),
            evidence=(),
            settings=Settings(),
            now=NOW,
            command="",
            waivers={},
        )
        assert concurrent(context)[0] is state


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("store_order", "public.store_order"),
        ('"store_order"', "public.store_order"),
        ('"old"."store_order"', "old.store_order"),
        ("only_old", "old.only_old"),
        ("hidden", None),
        ('"old"."nothing"', None),
    ],
)
def test_a_table_is_found_by_its_schema_or_along_the_search_path(
    name: str, key: str | None
) -> None:
    tables = {
        key: Size(number, 0, 0)
        for number, key in enumerate(
            ["old.store_order", "public.store_order", "old.only_old", "other.hidden"]
        )
    }
    found = Stats(NOW, ("public", "old"), tables).find(name)
    assert found == (tables[key] if key else None)


# --- estimates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("work", list(SPEEDS))
def test_an_estimate_grows_with_the_table_and_is_a_range(work: Work) -> None:
    last = (0.0, 0.0)
    for rows in (10**3, 10**5, 10**7, 10**9):
        now = estimate(work, Size(rows, rows * 100, rows * 50))
        assert now[0] < now[1]
        assert now > last
        last = now


def test_every_work_but_none_has_a_speed() -> None:
    assert set(SPEEDS) == set(Work) - {Work.NONE}


def test_every_work_is_that_of_some_hazard() -> None:
    assert {hazard.work for hazard in CATALOGUE.values()} == set(Work)


# Measured on PostgreSQL 18.6, two cores shared with other work: seconds for tables of 3 million
# rows of 77 bytes without indexes and with six, and of 400,000 rows of 1 kB.
MEASURED = [
    (Work.SCAN, Size(3_000_000, 229_777_408, 0), 0.29),
    (Work.SCAN, Size(3_000_000, 229_777_408, 0), 4.58),
    (Work.BUILD, Size(3_000_000, 229_777_408, 0), 1.61),
    (Work.BUILD, Size(3_000_000, 229_777_408, 0), 4.12),
    (Work.REWRITE, Size(3_000_000, 229_777_408, 67_387_392), 10.98),
    (Work.REWRITE, Size(3_000_000, 229_777_408, 441_294_848), 34.51),
    (Work.UPDATE, Size(3_000_000, 229_777_408, 441_294_848), 513.44),
    (Work.SCAN, Size(400_000, 409_747_456, 0), 0.36),
    (Work.SCAN, Size(400_000, 409_747_456, 0), 1.78),
    (Work.BUILD, Size(400_000, 409_747_456, 0), 0.53),
    (Work.BUILD, Size(400_000, 409_747_456, 0), 6.37),
    (Work.REWRITE, Size(400_000, 409_747_456, 9_011_200), 9.32),
    (Work.REWRITE, Size(400_000, 409_747_456, 135_602_176), 29.34),
]


@pytest.mark.parametrize(("work", "size", "seconds"), MEASURED)
def test_an_estimate_holds_what_was_measured(work: Work, size: Size, seconds: float) -> None:
    low, high = estimate(work, size)
    assert low <= seconds <= high


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.2, 0.9, "less than 1 s"),
        (0.2, 90, "less than 1 s to 90 s"),
        (100, 400, "100 s to 7 min"),
        (6000, 9000, "100 min to 2 h"),
        (3600 * 40, 3600 * 24 * 5, "40 h to 5 days"),
    ],
)
def test_times_are_said_for_people(low: float, high: float, said: str) -> None:
    assert in_time(low, high) == said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 bytes"), (8192, "8.2 kB"), (20_000_000, "20 MB"), (3e12, "3.0 TB")]
)
def test_sizes_are_said_for_people(number: float, said: str) -> None:
    assert in_bytes(int(number)) == said


# --- the file ------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    sizes = stats(a=1, b=None)
    assert read_stats(written(tmp_path / "sizes.json", sizes)) == sizes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "is not JSON"),
        ([], "it holds no object"),
        ({"version": 7}, "its version is 7, and not 1"),
        ({"exported_at": "yesterday"}, "exported_at is not a date and time"),
        ({"search_path": "public"}, "search_path is not a list of schemas"),
        ({"tables": []}, "tables is not an object"),
        ({"tables": {"public.a": 5}}, "tables['public.a'] is not an object"),
        ({"tables": {"public.a": {"rows": "5"}}}, "tables['public.a'] needs whole numbers"),
        (
            {
                "tables": {
                    "a.b": {"rows": 1, "bytes": 1, "index_bytes": 1, "writes_per_second": "x"}
                }
            },
            "writes_per_second is not a number",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong(
    tmp_path: Path, change: Any, said: str
) -> None:
    path = tmp_path / "sizes.json"
    if isinstance(change, dict):
        path.write_text(json.dumps({**stats(a=1).as_dict(), **change}))
    elif change is not None:
        path.write_text(change if isinstance(change, str) else json.dumps(change))
    with pytest.raises(BadStats) as caught:
        read_stats(str(path))
    assert said in str(caught.value)
    assert "--export-stats" in str(caught.value)


def test_a_file_that_cannot_be_used_is_wrong_usage(index: Project, tmp_path: Path) -> None:
    assert refused("store", "--stats", str(tmp_path / "missing.json")).returncode == 2


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (0, "Table sizes from sizes.json, of today"),
        (1, "Table sizes from sizes.json, 1 day old"),
        (30, "Table sizes from sizes.json, 30 days old"),
        (31, "Table sizes from sizes.json, 31 days old: export them again, tables grow"),
    ],
)
def test_the_age_of_the_file_is_said(days: int, said: str) -> None:
    assert said_age(stats(), "sizes.json", NOW + timedelta(days=days)).startswith(said)


def test_the_age_is_printed_with_the_report(index: Project, tmp_path: Path) -> None:
    path = written(tmp_path / "sizes.json", stats(store_order=5))
    assert "days old: export them again" in run("store", "--stats", path)[1]
