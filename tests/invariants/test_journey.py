"""What holds for every case: the same end as plain Django's, code that works, and a way back."""

from __future__ import annotations

import io

from django.core.management import call_command
from django.db import connection

from django_safemigrations.lint import lint_migrations
from django_safemigrations.lint.finding import Finding
from django_safemigrations.phases import Phase, migration_phase
from tests.kit import chain as chains
from tests.kit.case import LABEL
from tests.kit.databases import use_database
from tests.kit.journey import FreshJourney, Journey
from tests.kit.prepared import Prepared, content, plain_on_a_fresh_database
from tests.kit.schema import diff

OF_THE_FILE = {"DSM406"}
"""What operations do to each other in one transaction, beside each one's own hazard."""


def test_final_schema_and_rows_are_those_of_plain_django(journey: Journey) -> None:
    lines = journey.there.check().differences(journey.prepared.after)
    assert lines == [], journey.prepared.explain(lines)


def test_running_code_works_at_every_step_boundary(journey: Journey) -> None:
    assert not journey.there.error, journey.there.error
    assert journey.there.boundaries > 0
    assert journey.there.problems == [], journey.prepared.explain(journey.there.problems)


def test_the_way_back_ends_at_the_schema_and_rows_before(journey: Journey) -> None:
    lines = journey.back.check().differences(journey.prepared.back)
    assert lines == [], journey.prepared.explain(lines)


def test_the_way_back_before_any_contract_ends_there_too(journey: Journey) -> None:
    case = journey.prepared
    # What the expand filled stays filled; without one nothing was touched.
    wanted = case.back if case.expands else case.before
    lines = journey.again.check().differences(wanted)
    assert lines == [], journey.prepared.explain(lines)


def test_a_chain_that_was_reversed_can_be_run_again(journey: Journey) -> None:
    lines = journey.finally_.check().differences(journey.prepared.after)
    assert lines == [], journey.prepared.explain(lines)


def test_no_row_is_read_while_a_lock_makes_others_wait(journey: Journey) -> None:
    prepared = journey.prepared
    assert journey.held_back.looks, "no statement was seen"
    assert journey.held.looks, "no statement was seen"
    # What PostgreSQL can only do under a lock is left to the developer, and said by the linter.
    problems = [] if findings_of(prepared) else journey.held.problems
    problems = [p for p in problems if not is_for_small_tables(p)]
    problems += [
        p
        for p in journey.held_back.problems
        if not is_plain_going_back(p) and not is_for_small_tables(p)
    ]
    assert problems == [], prepared.explain(problems)


def is_plain_going_back(problem: str) -> bool:
    """Whether a statement is one that only exists on the way back, and has no other form there.

    A type that is widened without any work is narrowed on the way back, a stored generated
    column is computed anew, and an exclusion constraint can't be built concurrently;
    `safemigrate --rollback --plan` shows what each does.
    """
    _, _, statement = problem.partition(": ")
    return statement.startswith("ALTER TABLE") and (
        " TYPE " in statement or statement.endswith(" STORED") or " EXCLUDE USING " in statement
    )


def is_for_small_tables(problem: str) -> bool:
    """Whether a statement is one that is refused on a large table.

    `operations/test_rename_refusals.py` holds that for columns of a domain with a constraint.
    """
    return problem.endswith(" by_hand") and " ADD COLUMN " in problem


def findings_of(prepared: Prepared) -> list[Finding]:
    """Return what the linter says of the files that the installed autodetector writes."""
    with prepared.chain.installed():
        keys = [(LABEL, migration.name) for migration in prepared.migrations]
        return lint_migrations(prepared.chain.loader(), keys)


def test_nothing_is_left_for_makemigrations(journey: Journey) -> None:
    chain = journey.prepared.chain
    with chain.installed():
        left = chain.detect("new", chains.installed_autodetector())
    assert left == {}, chain.source()


def test_expands_come_before_contracts_and_files_say_what_they_are_for(journey: Journey) -> None:
    phases = [migration_phase(m) for m in journey.prepared.migrations]
    assert phases == sorted(phases, key=[Phase.EXPAND, Phase.CONTRACT].index)
    for migration in journey.prepared.migrations:
        text = (journey.prepared.chain.path / f"{migration.name}.py").read_text()
        ours = any(hasattr(operation, "phase") for operation in migration.operations)
        assert bool(migration.__doc__) == ours, text
        assert ("atomic = False" in text) == (not migration.atomic), text


def test_staged_operations_lint_clean(prepared: Prepared) -> None:
    findings = findings_of(prepared)
    staged = {
        (migration.name, str(place))
        for migration in prepared.migrations
        for place, operation in enumerate(migration.operations)
        if hasattr(operation, "phase")
    }
    found = [f for f in findings if (f.migration, str(f.operation).split(".")[0]) in staged]
    codes = tuple(finding.code for finding in found)
    assert codes == prepared.case.hazards, prepared.explain([str(finding) for finding in found])


def test_what_plain_django_writes_gives_its_hazard(prepared: Prepared) -> None:
    wanted = prepared.case.plain_hazards
    with prepared.plain.installed():
        keys = [(LABEL, name) for name in prepared.plain.change]
        findings = lint_migrations(prepared.plain.loader(), keys)
    codes = sorted({finding.code for finding in findings} - OF_THE_FILE)
    assert wanted is None or codes == sorted(wanted), prepared.plain.source()


def test_makemigrations_asks_nothing_that_django_would_not_ask(journey: Journey) -> None:
    assert sorted(journey.prepared.chain.asked) == sorted(journey.prepared.plain.asked)


def test_sqlmigrate_prints_sql_and_changes_nothing(prepared: Prepared) -> None:
    with use_database(prepared.template):
        ledger = _ledger()
        with prepared.chain.installed():
            for migration in prepared.migrations:
                forwards = _sqlmigrate(migration.name)
                backwards = _sqlmigrate(migration.name, backwards=True)
                works = [op for op in migration.operations if getattr(op, "phase", None)]
                if works:
                    # Django says so itself where a stage has nothing to do.
                    assert ";" in forwards or "-- (no-op)" in forwards, forwards
                assert isinstance(backwards, str)
        lines = content(prepared.case).differences(prepared.before)
        assert lines == [], prepared.explain(lines)
        assert _ledger() == ledger


def test_a_fresh_database_gets_the_schema_of_plain_django(
    prepared: Prepared, fresh_journey: FreshJourney
) -> None:
    lines = diff(fresh_journey.there.check().schema, plain_on_a_fresh_database(prepared))
    assert lines == [], prepared.explain(lines)


def test_nothing_is_left_of_a_chain_that_is_reversed_on_a_fresh_database(
    prepared: Prepared, fresh_journey: FreshJourney
) -> None:
    lines = fresh_journey.back.check().differences(fresh_journey.empty)
    assert lines == [], prepared.explain(lines)


def _sqlmigrate(name: str, *, backwards: bool = False) -> str:
    out = io.StringIO()
    call_command("sqlmigrate", LABEL, name, backwards=backwards, stdout=out, no_color=True)
    return out.getvalue()


def _ledger() -> list[object]:
    found: list[object] = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relname ~ '^django_(safemigrations_|migrations$)' ORDER BY 1"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
            found.append((table, cursor.fetchall()))
    return found
