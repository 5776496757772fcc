"""Every change on every kind of table: the same end as plain Django's, code that works, a way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import override_settings

from tests.invariants.cases import parameters
from tests.invariants.shape_cases import (
    BEYOND_DJANGO,
    MADE_ANEW,
    NEVER,
    PAIRWISE,
    REFUSALS,
    REPRESENTATIVES,
    SHAPE_CASES,
    refusal,
)
from tests.kit import chain as chains
from tests.kit.case import LABEL, Case
from tests.kit.databases import admin, scratch_database
from tests.kit.journey import Journey, travel
from tests.kit.prepared import Prepared, base_template, content, migrate_plainly, prepare
from tests.kit.probe import probe
from tests.kit.shapes import Shape
from tests.kit.statements import watch_changes


def major() -> int:
    """Return the server's major version."""
    row = admin().execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
    assert row is not None
    return int(row[0])


def beyond_django(case: Case) -> bool:
    """Whether plain Django fails, so that only the code and the way back tell."""
    return (Shape(case.shape), case.change) in BEYOND_DJANGO


def quick(case: Case) -> bool:
    return (Shape(case.shape), case.change) in PAIRWISE


@pytest.fixture(scope="package", params=parameters(SHAPE_CASES, quick))
def shape(request: pytest.FixtureRequest, case_app: None, templates: None) -> Iterator[Prepared]:
    """A change on a table of some kind, with its copy of the old database as `default`."""
    case: Case = request.param
    plain_ends = refusal(case, major()) is None and not beyond_django(case)
    with prepare(case, plain_ends=plain_ends) as found:
        yield found


@pytest.fixture(scope="package")
def shape_journey(shape: Prepared) -> Journey:
    """What became of it on its way there and back."""
    with shape.database():
        return travel(shape, short=True)


def test_a_change_ends_as_plain_djangos_or_is_refused_with_a_way_out(
    shape_journey: Journey,
) -> None:
    case = shape_journey.prepared.case
    expected = refusal(case, major())
    if expected is not None:
        error = shape_journey.there.error
        assert error, f"{case} was to be refused, but runs: remove it from REFUSALS"
        assert expected.error.__name__ in error, error
        assert expected.matches(error), error
        return
    got = shape_journey.there.check()
    if not beyond_django(case):
        lines = got.differences(shape_journey.prepared.after)
        assert lines == [], shape_journey.prepared.explain(lines)


def test_code_works_at_every_step_boundary_on_tables_of_every_kind(shape_journey: Journey) -> None:
    problems = shape_journey.there.problems
    assert problems == [], shape_journey.prepared.explain(problems)


def test_the_way_back_ends_at_the_schema_before_on_tables_of_every_kind(
    shape_journey: Journey,
) -> None:
    prepared = shape_journey.prepared
    case = prepared.case
    if refusal(case, major()) is not None:
        return
    wanted = prepared.back
    if (Shape(case.shape), case.change) in MADE_ANEW:
        with scratch_database(prepared.template):
            for name in (prepared.plain.change[-1], prepared.plain.initial[-1]):
                migrate_plainly(prepared.plain, name)
            wanted = content(case)
    lines = shape_journey.back.check().differences(wanted)
    assert lines == [], prepared.explain(lines)


def test_what_a_refused_change_had_begun_can_be_undone(shape: Prepared) -> None:
    expected = refusal(shape.case, major())
    if expected is None:
        return
    with shape.database():
        with pytest.raises(expected.error):
            shape.run()
        assert probe(shape.case, "old") == []
        shape.reverse()
        lines = shape.content().differences(shape.before)
        assert lines == [], shape.explain(lines)


class Elsewhere:
    """A router that sends the cases' app to another database than `default`."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == LABEL and db == "default" else None


@pytest.mark.parametrize("case", parameters(REPRESENTATIVES.values(), lambda case: not case.extra))
def test_nothing_runs_on_a_database_that_the_router_keeps_the_app_from(case: Case) -> None:
    chain = chains.make_chain(case)
    seen: list[str] = []
    with (
        override_settings(DATABASE_ROUTERS=[Elsewhere()]),
        scratch_database(base_template()),
    ):
        before = content(case)
        with watch_changes(connection, before=seen.append):
            chains.migrate(chain, chain.change[-1])
            assert content(case).differences(before) == []
            chains.migrate(chain, None)
        assert content(case).differences(before) == []
    assert [sql for sql in seen if "django_" not in sql] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "case", [case for case in SHAPE_CASES if beyond_django(case)], ids=lambda case: case.slug
)
def test_where_plain_django_is_no_yardstick_its_statements_fail(case: Case) -> None:
    with pytest.raises(DatabaseError), prepare(case):
        raise AssertionError("plain Django gets there: remove it from BEYOND_DJANGO")


def test_every_refusal_and_every_pair_that_never_meets_is_about_a_change_there_is() -> None:
    changes = {
        change
        for _, change in [
            *REFUSALS,
            *NEVER,
            *PAIRWISE,
            *BEYOND_DJANGO,
            *MADE_ANEW,
        ]
    }
    assert changes <= set(REPRESENTATIVES)
    assert not set(REFUSALS) & set(NEVER)
