"""Bugs that other tools for safe migrations have, as regression tests of ours.

Each entry of `BUGS` names one that was reproduced or read in source, and the tests that stand
for it: those of this module, or where the mechanism has tests anyway, those. What is not ours
to have (versioned views that compare the search_path, touching a primary key to fire a
trigger, `DROP COLUMN … CASCADE`) is listed with the test of what is done instead.
"""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.models import Index

from django_safemigrations.exceptions import ViolatingRows
from tests.kit.case import LABEL, Case, define
from tests.kit.databases import connect
from tests.kit.statements import watch_changes
from tests.operations.started import Started, rename, started
from tests.postgres.sessions import value

TESTS = Path(__file__).parents[1]
HERE = "operations/test_peer_bugs.py"

BUGS: dict[str, tuple[str, ...]] = {
    # Indexes
    "an INVALID leftover is accepted by IF NOT EXISTS, or ends every further run": (
        "operations/test_indexes.py::test_the_leftover_of_a_killed_build_is_dropped_and_the_index_built",
    ),
    "an INVALID unique index goes on refusing writes after a failed build": (
        "operations/test_indexes.py::test_equal_keys_are_reported_and_the_unfinished_index_is_dropped_at_once",
    ),
    "an index of the same name in another schema counts as there": (
        f"{HERE}::test_an_index_of_the_same_name_in_another_schema_is_not_taken_for_ours",
    ),
    "an index of the same name and another definition counts as there": (
        "operations/test_indexes.py::test_a_valid_index_of_another_definition_is_not_taken_for_ours",
    ),
    "mixed-case and quoted tables are not found in the catalog": (
        f"{HERE}::test_a_foreign_key_of_a_mixed_case_table_goes_before_its_column",
        "invariants/test_shapes.py::test_a_change_ends_as_plain_djangos_or_is_refused_with_a_way_out",
        "postgres/test_triggers.py::test_columns_of_any_name_are_kept_in_sync",
        "backfill/test_keyset.py::test_tables_and_columns_of_any_name_are_filled",
    ),
    "copies of indexes lose expressions, operator classes, order, INCLUDE or WHERE": (
        "operations/test_copies.py::test_what_a_dba_added_is_there_afterwards_and_after_the_way_back",
    ),
    "sqlmigrate wraps CONCURRENTLY into a transaction": (
        f"{HERE}::test_sqlmigrate_prints_no_transaction_around_a_concurrent_build",
    ),
    # Constraints
    "included columns of a unique constraint are lost, or written as broken SQL": (
        "operations/test_peer_bugs_constraints.py::test_included_columns_are_in_the_index_and_no_constraint_is_tried",
    ),
    "a condition and NULLS NOT DISTINCT are written in the wrong order": (
        "operations/test_peer_bugs_constraints.py::test_a_condition_and_nulls_not_distinct_go_together",
    ),
    "DEFERRABLE INITIALLY IMMEDIATE is left out": (
        "operations/test_peer_bugs_constraints.py::test_a_deferrable_constraint_is_deferrable_as_asked_for",
    ),
    "duplicates of a unique build leave timeouts changed": (
        "operations/test_peer_bugs_constraints.py::test_timeouts_are_as_before_after_duplicates_were_found",
    ),
    "unique_together is left to a blocking statement": (
        "operations/test_constraints.py::test_a_set_that_takes_the_place_of_another_stands_before_that_goes",
    ),
    # Session settings and locks
    "lock_timeout or statement_timeout stay changed after a failed statement": (
        f"{HERE}::test_timeouts_are_as_before_after_a_build_that_failed",
        f"{HERE}::test_timeouts_are_as_before_after_a_scan_that_found_rows",
        "postgres/test_lock_guard.py::test_lock_timeout_is_as_before_after_an_error",
    ),
    "the second attempt runs without a timeout, or attempts never end": (
        "postgres/test_lock_guard.py::test_each_attempt_waits_fifty_milliseconds",
        "postgres/test_lock_guard.py::test_after_the_budget_the_sessions_in_the_way_are_named",
    ),
    "a foreign key is dropped together with its column, under both tables' locks": (
        f"{HERE}::test_a_foreign_key_of_a_mixed_case_table_goes_before_its_column",
    ),
    "a copied foreign key is validated while writes are blocked": (
        "operations/test_relations.py::test_no_statement_validates_while_it_adds",
    ),
    "volatile defaults and stored generated columns rewrite the table without a word": (
        "operations/test_additions.py::test_the_table_is_never_written_anew",
        "lint/test_fields.py::test_an_added_field_is_judged_by_what_django_writes_for_it",
    ),
    # Two columns in sync
    "an UPDATE of both columns leaves them different": (
        f"{HERE}::test_an_update_of_both_columns_leaves_them_equal",
        "postgres/test_triggers.py::test_the_column_that_changed_wins_and_the_new_one_if_both_did",
    ),
    "an INSERT of both columns leaves them different": (
        "postgres/test_triggers.py::test_what_is_given_is_in_both_columns_and_the_new_one_wins",
    ),
    "NULLs are not carried over": (f"{HERE}::test_a_null_is_carried_over_both_ways",),
    "a default on both columns overwrites what old code wrote": (
        f"{HERE}::test_a_default_does_not_beat_what_either_code_wrote",
        "postgres/test_triggers.py::test_the_default_of_the_old_column_serves_both",
    ),
    "a stale row saved by new code before its backfill wipes the old value": (
        f"{HERE}::test_an_unrelated_update_of_an_unfilled_row_loses_nothing",
        "postgres/test_triggers.py::test_a_row_that_was_not_filled_yet_is_filled_when_it_is_touched",
    ),
    "the direction depends on the session's search_path": (
        "postgres/test_triggers.py::test_an_empty_search_path_does_not_break_it",
    ),
    "an application's own trigger that fires later makes the columns differ": (
        "postgres/test_triggers.py::test_what_an_application_s_trigger_sets_reaches_the_other_column",
    ),
    "logical apply (session_replication_role) skips the trigger": (
        "postgres/test_triggers.py::test_a_replication_role_of_replica_does_not_switch_it_off",
    ),
    "types without an equality operator break the comparison": (
        f"{HERE}::test_a_column_without_an_equality_operator_is_kept_in_sync",
    ),
    "open sessions fail with a plan of the trigger that is out of date": (
        f"{HERE}::test_a_session_that_was_open_all_along_goes_on_writing",
        "operations/test_keys.py::test_a_trigger_of_the_application_goes_on_working_in_open_sessions",
    ),
    "writes between the backfill and the trigger are not synced": (
        "invariants/test_traffic.py::test_no_request_fails_and_no_write_is_lost_in_a_rolling_deploy",
    ),
    # Backfills
    "a backfill trusts its own predicate and finishes with nothing copied": (
        f"{HERE}::test_columns_are_proven_equal_before_the_old_one_goes",
        "backfill/test_keyset.py::test_what_was_finished_but_has_rows_left_starts_over",
    ),
    "a backfill chases rows that are written meanwhile, or never ends": (
        "backfill/test_keyset.py::test_something_that_writes_it_back_is_reported_after_a_few_passes",
    ),
    "a touching UPDATE of the key fails for GENERATED ALWAYS identities": (
        f"{HERE}::test_a_key_that_is_generated_always_can_be_filled",
    ),
    "NULLs that old code writes between the fill and the NOT NULL end it": (
        "postgres/test_not_null.py::test_a_null_that_was_written_after_the_look_ends_it_as_before",
        "invariants/test_journey.py::test_running_code_works_at_every_step_boundary",
    ),
    "one value of uuid4 goes into every row": (
        "operations/test_additions.py::test_each_row_gets_a_unique_value_of_its_own_and_so_does_old_codes",
    ),
    # What goes with a column
    "views and foreign keys are dropped along by CASCADE": (
        "operations/test_rename_refusals.py::test_what_stands_in_the_way_is_named_and_nothing_is_done",
        "operations/test_removals.py::test_a_foreign_key_to_the_column_is_never_cascaded_away",
    ),
    "grants on a column are lost": (
        "operations/test_copies.py::test_a_second_role_keeps_its_grants_on_the_new_column_during_the_overlap",
    ),
    "a sequence is looked for under the name it usually has": (
        "operations/test_keys.py::test_sequence_goes_on_where_it_was_with_all_it_had",
    ),
    # makemigrations
    "findings are left to the developer for one ordinary edit": (
        "invariants/test_journey.py::test_staged_operations_lint_clean",
    ),
    "another package's autodetector is replaced instead of composed": (
        "hook/test_composition.py::test_any_order_of_installed_apps_works",
    ),
    "a squash strands what a contract had still to do": (
        "invariants/test_squash.py::test_a_squashed_chain_gives_a_fresh_database_the_schema_of_plain_django",
    ),
}


def _tests(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_of_the_list_has_its_tests(bug: str) -> None:
    for named in BUGS[bug]:
        path, _, test = named.partition("::")
        assert test in _tests(path), named


def adding(unique: bool = False, field: Any = None, **more: Any) -> Case:
    """Return a case that adds an index, or makes a field unique, or NOT NULL."""

    def order(new: bool) -> None:
        code = models.TextField(unique=unique and new)
        number = models.IntegerField(null=field == "null" and not new)
        indexes = [Index(fields=["number"], name="order_number")]
        meta = {"indexes": indexes if new and not unique and not field else []}
        define("Order", meta=meta, number=number, code=code)

    return Case("peer", lambda: order(False), lambda: order(True), **more)


def timeouts() -> tuple[str, str]:
    return (
        value(connection, "SELECT current_setting('lock_timeout')"),
        value(connection, "SELECT current_setting('statement_timeout')"),
    )


def set_timeouts(change: Started) -> None:
    change.run("SET lock_timeout = '1234ms'")
    change.run("SET statement_timeout = '56s'")


def test_an_index_of_the_same_name_in_another_schema_is_not_taken_for_ours() -> None:
    with started(
        adding(),
        "CREATE TABLE crm.caseapp_order (number int)",
        "CREATE INDEX order_number ON crm.caseapp_order (number)",
    ) as change:
        elsewhere = "SELECT 'crm.order_number'::regclass::oid::bigint"
        before = change.value(elsewhere)
        change.expand()
        assert change.value("SELECT to_regclass('public.order_number') IS NOT NULL")
        change.back()
        assert change.value("SELECT to_regclass('public.order_number') IS NULL")
        assert change.value(elsewhere) == before


def test_timeouts_are_as_before_after_a_build_that_failed() -> None:
    with started(adding(unique=True), "UPDATE caseapp_order SET code = 'same'") as change:
        set_timeouts(change)
        with pytest.raises(ViolatingRows):
            change.contract()
        assert timeouts() == ("1234ms", "56s")


def test_timeouts_are_as_before_after_a_scan_that_found_rows() -> None:
    with started(adding(field="null")) as change:
        set_timeouts(change)
        with pytest.raises(ViolatingRows):
            change.contract()
        assert timeouts() == ("1234ms", "56s")


def test_sqlmigrate_prints_no_transaction_around_a_concurrent_build() -> None:
    with started(adding()) as change, change.chain.installed():
        out = io.StringIO()
        call_command("sqlmigrate", LABEL, change.chain.change[-1], stdout=out, no_color=True)
    assert "CREATE INDEX CONCURRENTLY" in out.getvalue()
    assert "BEGIN" not in out.getvalue()
    assert "COMMIT" not in out.getvalue()


def test_a_foreign_key_of_a_mixed_case_table_goes_before_its_column() -> None:
    def order(new: bool) -> None:
        customer = define("Customer", meta={"db_table": "My Customer"}, code=models.TextField())
        more = {} if new else {"customer": models.ForeignKey(customer, models.CASCADE)}
        define("Order", meta={"db_table": "MyOrder"}, number=models.IntegerField(), **more)

    seen: list[str] = []
    case = Case("peer", lambda: order(False), lambda: order(True))
    with started(case) as change, watch_changes(connection, before=seen.append):
        change.contract()
        assert change.objects('constraint public."MyOrder"').keys() == {
            'constraint public."MyOrder"."MyOrder_pkey"'
        }
    dropped = [place for place, sql in enumerate(seen) if "DROP CONSTRAINT" in sql]
    [column] = [place for place, sql in enumerate(seen) if "DROP COLUMN" in sql]
    assert dropped, seen
    assert dropped[0] < column


@pytest.fixture
def overlap() -> Any:
    """A renamed column, total to amount, after the expand: both generations are writing."""
    with started(rename(models.IntegerField(null=True))) as change:
        change.expand()
        yield change


def test_an_update_of_both_columns_leaves_them_equal(overlap: Started) -> None:
    overlap.run("UPDATE caseapp_order SET total = 5, amount = 6")
    overlap.run("UPDATE caseapp_order SET total = 7, amount = NULL WHERE id % 2 = 0")
    assert overlap.value("SELECT bool_and(total IS NOT DISTINCT FROM amount) FROM caseapp_order")
    overlap.contract()


def test_a_null_is_carried_over_both_ways(overlap: Started) -> None:
    overlap.run("UPDATE caseapp_order SET total = 1")
    overlap.run("UPDATE caseapp_order SET total = NULL WHERE id = 1")
    overlap.run("UPDATE caseapp_order SET amount = NULL WHERE id = 2")
    found = overlap.rows("SELECT total, amount FROM caseapp_order ORDER BY id LIMIT 3")
    assert found == [(None, None), (None, None), (1, 1)]


def test_a_default_does_not_beat_what_either_code_wrote() -> None:
    with started(rename(models.IntegerField(db_default=5))) as change:
        change.expand()
        for column, wrote in (("total", 1), ("amount", 2), ("total", 5), ("amount", 5)):
            change.run(
                f"INSERT INTO caseapp_order (number, code, {column}) VALUES (1, 'x', {wrote})"
            )
            pair = change.rows("SELECT total, amount FROM caseapp_order ORDER BY id DESC LIMIT 1")
            assert pair == [(wrote, wrote)]
        change.run("INSERT INTO caseapp_order (number, code) VALUES (1, 'x')")
        assert change.rows("SELECT total, amount FROM caseapp_order ORDER BY id DESC LIMIT 1") == [
            (5, 5)
        ]
        change.contract()


class Stop(Exception):
    """Ends a run."""


def test_an_unrelated_update_of_an_unfilled_row_loses_nothing() -> None:
    def stop(sql: str) -> None:
        if sql.startswith("UPDATE"):
            raise Stop

    with started(rename()) as change:
        before = change.rows("SELECT total FROM caseapp_order ORDER BY id")
        with pytest.raises(Stop), watch_changes(connection, before=stop):
            change.expand()
        # As if it had been killed: nobody waits for the lease of a session that is gone.
        connection.close()
        assert change.value("SELECT count(amount) FROM caseapp_order") == 0
        # As new code saves a row that it has read: every column, this one NULL as it was.
        change.run("UPDATE caseapp_order SET code = 'saved', number = number + 1, amount = amount")
        assert change.rows("SELECT total FROM caseapp_order ORDER BY id") == before
        change.contract()
        assert change.rows("SELECT amount FROM caseapp_order ORDER BY id") == before


@pytest.mark.parametrize("type_", ["json", "point"])
def test_a_column_without_an_equality_operator_is_kept_in_sync(type_: str) -> None:
    kind = "json USING to_json(total)" if type_ == "json" else "point USING point(total, 1)"
    made = "'{\"a\": [1, null]}'" if type_ == "json" else "'(3,4)'"
    with started(
        rename(models.IntegerField()),
        f"ALTER TABLE caseapp_order ALTER COLUMN total TYPE {kind}",
    ) as change:
        change.expand()
        change.run(f"UPDATE caseapp_order SET total = {made} WHERE id = 1")
        change.run(f"UPDATE caseapp_order SET amount = {made} WHERE id = 2")
        change.run(f"INSERT INTO caseapp_order (number, code, amount) VALUES (1, 'x', {made})")
        assert change.value("SELECT bool_and(total::text = amount::text) FROM caseapp_order")
        change.contract()
        wrote = change.value(
            f"SELECT count(*) FROM caseapp_order WHERE amount::text = {made}::{type_}::text"
        )
        assert wrote == 3


def test_a_session_that_was_open_all_along_goes_on_writing() -> None:
    with started(rename()) as change, connect(str(connection.settings_dict["NAME"])) as open_:

        def write(column: str) -> None:
            insert = f"INSERT INTO caseapp_order (number, code, {column}) VALUES (1, 'x', 1)"
            for _ in range(7):
                # Five runs make a generic plan, which the next statement has to notice is old.
                open_.execute(insert, prepare=True)
                open_.execute(f"UPDATE caseapp_order SET {column} = {column} + 1", prepare=True)

        write("total")
        change.expand()
        write("total")
        write("amount")
        change.contract()
        write("amount")
        change.back()
        write("total")


def test_columns_are_proven_equal_before_the_old_one_goes() -> None:
    """Not by what the backfill looked for, but by a comparison of all rows."""
    from django_safemigrations.exceptions import DataDiffers

    with started(rename(models.IntegerField(db_default=0))) as change:
        change.expand()
        change.run("ALTER TABLE caseapp_order DISABLE TRIGGER USER")
        change.run("UPDATE caseapp_order SET amount = 0 WHERE id = 1")
        change.run("ALTER TABLE caseapp_order ENABLE TRIGGER USER")
        with pytest.raises(DataDiffers):
            change.contract()
        assert change.value("SELECT count(total) FROM caseapp_order") == 6


def test_a_key_that_is_generated_always_can_be_filled() -> None:
    with started(
        rename(), "ALTER TABLE caseapp_order ALTER COLUMN id SET GENERATED ALWAYS"
    ) as change:
        change.expand()
        change.contract()
        assert change.value("SELECT count(amount) FROM caseapp_order") == 6
