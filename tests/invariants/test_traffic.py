"""A rolling deploy under real traffic: old code, then both, then new code, and no request fails."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from django_safemigrations.conf import CHECKLIST_ITEMS
from tests.invariants.cases import CASES, REPRESENTATIVE, among, parameters
from tests.kit import chain as chains
from tests.kit.calls import unique_keys
from tests.kit.case import LABEL, Case
from tests.kit.databases import connect
from tests.kit.forks import fork, wait_for
from tests.kit.outcomes import disagreements
from tests.kit.prepared import Prepared, prepare
from tests.kit.seed import seed_many
from tests.kit.traffic import Report, Traffic

ROWS = 1_500
LONGEST = 1.0
"""Seconds no call may take: far more than a lock that is given up after 50 ms explains."""

# The renames of tables that have a unique key, on which upserts of old and new code can meet.
RACES = [
    case
    for case in CASES
    if case.renames
    and any(unique_keys(model) for model in case.models("old"))
    and any(unique_keys(model) for model in case.models("new"))
]


@contextmanager
def traffic_on(prepared: Prepared, old: int, new: int) -> Iterator[Traffic]:
    """Fill the `default` database and start processes on it."""
    seed_many(prepared.case, ROWS)
    with Traffic(prepared.case, old=old, new=new) as traffic:
        yield traffic


def assert_nothing_failed(prepared: Prepared, report: Report, lost: list[str]) -> None:
    assert report.problems() == [], prepared.explain(report.problems())
    assert lost == [], prepared.explain(lost)
    longest = report.longest()
    assert longest is not None
    assert longest.seconds < LONGEST, longest


def test_no_request_fails_and_no_write_is_lost_in_a_rolling_deploy(
    representative: Prepared,
) -> None:
    prepared = representative
    with prepared.database(), traffic_on(prepared, old=1, new=1) as traffic:
        traffic.start("old")
        traffic.wait_until(40)
        for name in prepared.expands:
            chains.migrate(prepared.chain, name)
        traffic.wait_until(40)
        traffic.start("new")
        traffic.wait_until(150)
        traffic.stop("old")
        # Both generations see what either wrote, while the old columns are still there.
        lost = traffic.lost_writes("old", "new") + disagreements(prepared.case)
        for name in prepared.contracts:
            chains.migrate(prepared.chain, name)
        traffic.wait_until(40)
        report = traffic.stop()
        lost += traffic.lost_writes("new")
        assert_nothing_failed(prepared, report, lost)
        lines = [
            line
            for line in prepared.content().differences(prepared.after)
            if " row " not in line.split(":")[0]
        ]
        assert lines == [], prepared.explain(lines)


@pytest.mark.parametrize("case", parameters(RACES, among(REPRESENTATIVE)))
def test_upserts_of_one_key_by_both_generations_never_fail(case: Case) -> None:
    """The overlap only: this is where two unique indexes that are kept in sync could collide."""
    with prepare(case) as prepared, prepared.database():
        for name in prepared.expands:
            chains.migrate(prepared.chain, name)
        with Traffic(case, old=2, new=2, racing=True) as traffic:
            traffic.start("old", "new")
            traffic.wait_until(250)
            report = traffic.stop()
            lost = traffic.lost_writes("old", "new") + disagreements(case)
            assert_nothing_failed(prepared, report, lost)


def _expand_by_command(prepared: Prepared) -> None:
    # The command puts what stays as Django wrote it under the lock guard, too.
    setting = {**prepared.case.settings, "CHECKLIST": dict.fromkeys(CHECKLIST_ITEMS, "off")}
    with prepared.chain.installed(), override_settings(SAFE_MIGRATIONS=setting):
        call_command("safemigrate", LABEL, interactive=False, stdout=io.StringIO())


def test_a_long_transaction_delays_the_migration_but_no_request(representative: Prepared) -> None:
    prepared = representative
    with prepared.database(), traffic_on(prepared, old=1, new=0) as traffic:
        name = str(connection.settings_dict["NAME"])
        tables = [model._meta.db_table for model in prepared.case.models("old")]
        if not prepared.expands:
            return
        traffic.start("old")
        traffic.wait_until(20)
        connection.close()
        with connect(name) as reader:
            reader.execute("BEGIN")
            for table in tables:
                reader.execute(f'SELECT * FROM "{table}" LIMIT 1')
            pid, pipe = fork(lambda: _expand_by_command(prepared))
            traffic.wait_until(300)
            reader.execute("ROLLBACK")
        ended = wait_for(pid, pipe)
        assert ended.error == "", ended.error
        traffic.wait_until(20)
        report = traffic.stop()
        assert_nothing_failed(prepared, report, traffic.lost_writes("old"))
