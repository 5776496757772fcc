"""A contract asks whether old code is really gone, and whether all it needs is proven."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import override_settings

from django_safemigrations import releases
from django_safemigrations.checklist import equal_columns
from django_safemigrations.checklist.equal_columns import differing_rows
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.models import Evidence, Run
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.sessions import other_sessions
from django_safemigrations.releases import release_in, short, tagged
from django_safemigrations.schedule import Action, Entry
from tests.command.project import Project
from tests.kit.databases import connect

MORE = "ALTER TABLE store_item ADD COLUMN more int"
LESS = "COMMENT ON TABLE store_item IS 'old code is gone'"
RENAME = """
Expand(
    state_operations=[migrations.RenameField("item", "total", "amount")],
    database_operations=[
        AddSyncedColumns("item", {"total": "amount"}),
        BackfillSyncedColumns("item", {"total": "amount"}),
        CopyIndexes("item", {"total": "amount"}),
        CopyConstraints("item", {"total": "amount"}),
    ],
),
"""
IMPORTS = (
    "from django_safemigrations.operations import (AddSyncedColumns, BackfillSyncedColumns,"
    " CopyConstraints, CopyIndexes, DropSyncedColumns)"
)


@contextmanager
def release(name: str | None, **more: Any) -> Iterator[None]:
    with override_settings(SAFE_MIGRATIONS={"RELEASE": name, **more}):
        yield


@pytest.fixture
def expanded(project: Project) -> Project:
    """Release 2 has run its expand while release 1 was connected; its contract is to run."""
    project.expand("store", "0002_more", MORE, "ALTER TABLE store_item DROP COLUMN more")
    project.contract("store", "0003_less", LESS)
    with release("2"), connect(application_name="shop release=1"):
        assert project.safely().code == 0
    return project


def no_downtime(project: Project, *args: str) -> dict[str, Any]:
    result = project.run("--plan", "--phase", "contract", "--format", "json", *args)
    assert result.code == 0, result.said
    (verdict,) = (v for v in result.document["checklist"] if v["item"] == "no_downtime")
    assert isinstance(verdict, dict)
    return verdict


class TestOldSessions:
    def test_a_contract_is_refused_while_one_is_connected(self, expanded: Project) -> None:
        with release("2"), connect(application_name="shop release=1") as old:
            result = expanded.safely("--phase", "contract")
            assert result.code == 3
            assert f"pid {old.info.backend_pid}, user" in " ".join(result.err.split())
            assert "shop release=1, since" in " ".join(result.err.split())
            assert expanded.applied("store")[-1] == "0002_more"
            old.close()
            result = expanded.safely("--phase", "contract")
        assert result.code == 0, result.said
        assert "no session of another release than 2" in result.out

    def test_it_can_be_waived_with_a_reason(self, expanded: Project) -> None:
        with release("2"), connect(application_name="shop release=1"):
            result = expanded.safely("--phase", "contract", "--waive=no_downtime=only a report")
        assert result.code == 0, result.said
        assert expanded.last_run().waivers["no_downtime"] == "only a report"

    def test_code_of_the_release_that_expanded_is_no_old_code(self, expanded: Project) -> None:
        """Contracts of one release may run in the pipeline of the next, while the first serves."""
        with release("3"), connect(application_name="release=2"):
            assert no_downtime(expanded)["state"] == "met"

    def test_a_release_that_migrated_nothing_is_known_when_its_pipeline_ran(
        self, expanded: Project
    ) -> None:
        with release("2.1"):
            assert expanded.run().code == 0
        with release("3"), connect(application_name="release=2.1"):
            assert no_downtime(expanded)["state"] == "met"
        with release("3"), connect(application_name="release=2.2"):
            assert no_downtime(expanded)["state"] == "unmet"

    def test_old_code_that_runs_the_command_again_does_not_become_new(
        self, expanded: Project
    ) -> None:
        kept = expanded.path("store", "0002_more").read_text()
        late = expanded.path("store", "0003_less").read_text()
        expanded.remove("store", "0003_less")
        expanded.remove("store", "0002_more")
        with release("1"):
            assert expanded.run().code == 0
        expanded.put("store", "0002_more", kept)
        expanded.put("store", "0003_less", late)
        with release("2"), connect(application_name="release=1"):
            assert no_downtime(expanded)["state"] == "unmet"

    def test_sessions_without_a_release_are_told_of(self, expanded: Project) -> None:
        with release("2"), connect(application_name="psql") as other:
            verdict, pid = no_downtime(expanded), other.info.backend_pid
        assert verdict["state"] == "met"
        assert f"1 other session without a release: pid {pid}, user" in verdict["evidence"]

    def test_without_a_release_the_question_stays_with_people(self, expanded: Project) -> None:
        with connect(application_name="shop release=1"):
            verdict = no_downtime(expanded)
        assert verdict["state"] == "met"
        assert "RELEASE is not set, so 1 other session can't be told apart" in verdict["evidence"]

    def test_an_edited_record_of_a_release_does_not_count(self, expanded: Project) -> None:
        row = Evidence.objects.get(item="no_downtime")
        assert row.details == {"release": "2", "connected": ["1"]}
        Evidence.objects.filter(pk=row.pk).update(details={"release": "1", "connected": []})
        with release("3"), connect(application_name="release=1"):
            assert no_downtime(expanded)["state"] == "unmet"

    def test_an_expand_asks_nothing(self, project: Project) -> None:
        project.expand("store", "0002_more", MORE)
        with release("2"), connect(application_name="release=1"):
            assert project.safely().code == 0

    @pytest.mark.postgres_versions
    def test_a_role_without_rights_sees_names_and_is_told_what_to_grant(
        self, expanded: Project
    ) -> None:
        expanded.execute("CREATE ROLE kit_plain")
        try:
            with connect(application_name="release=1"), release("2"):
                expanded.execute("SET ROLE kit_plain")
                (session,) = other_sessions(connection)
                expanded.execute("RESET ROLE")
            assert session.hidden
            assert (release_in(session.application), session.since) == ("1", None)
        finally:
            expanded.execute("DROP ROLE kit_plain")


class TestSoak:
    def test_a_contract_waits_until_the_time_is_over(self, expanded: Project) -> None:
        with override_settings(SAFE_MIGRATIONS={"SOAK": 24}):
            verdict = no_downtime(expanded)
            assert verdict["state"] == "unmet"
            assert "SOAK asks for 24 h; 24.0 h are left" in verdict["evidence"]
            assert verdict["type_next"].endswith('--waive no_downtime="why it is safe without"')
            expanded.execute("UPDATE django_migrations SET applied = applied - interval '25 h'")
            verdict = no_downtime(expanded)
        assert verdict["state"] == "met"
        assert "applied 25.0 h ago; SOAK asks for 24 h" in verdict["evidence"]

    def test_without_time_zones_too(self, expanded: Project) -> None:
        with override_settings(USE_TZ=False, SAFE_MIGRATIONS={"SOAK": 1, "RELEASE": "3"}):
            connection.close()
            assert "SOAK asks for 1 h" in no_downtime(expanded)["evidence"]
            assert expanded.run("--check").code == 4

    def test_both_phases_in_one_run_leave_no_time(self, project: Project) -> None:
        project.expand("store", "0002_more", MORE)
        project.contract("store", "0003_less", LESS)
        with override_settings(SAFE_MIGRATIONS={"SOAK": 0.5}):
            result = project.safely("--phase", "all")
        assert result.code == 3
        assert "its expand is not applied yet, and SOAK asks for 0.5 h" in result.err

    def test_overdue_contracts_are_reported(self, expanded: Project) -> None:
        result = expanded.run("--check")
        assert (result.code, "Overdue" in result.out) == (4, False)
        expanded.execute("UPDATE django_migrations SET applied = applied - interval '20 days'")
        for option, code in (("--check", 4), ("--status", 0)):
            result = expanded.run(option)
            assert result.code == code
            assert "store.0003_less, 20 days after its expand" in result.out
            (row,) = expanded.run(option, "--format", "json").document["overdue"]
            assert (row["name"], row["days"]) == ("0003_less", 20)
        with override_settings(SAFE_MIGRATIONS={"CONTRACT_OVERDUE": 30}):
            assert expanded.run("--check", "--format", "json").document["overdue"] == []


class TestEqualColumns:
    @pytest.fixture
    def renamed(self, project: Project) -> Project:
        project.write("store", "0002_rename", RENAME, before=IMPORTS, atomic=False)
        project.write(
            "store",
            "0003_drop",
            'Contract(database_operations=[DropSyncedColumns("item", {"total": "amount"})]),',
            before=IMPORTS,
            atomic=False,
        )
        assert project.safely().code == 0
        return project

    def test_equal_ones_are_told_before_the_contract(self, renamed: Project) -> None:
        verdict = no_downtime(renamed)
        assert verdict["state"] == "met", verdict
        assert '"total" to "amount" of public.store_item: equal in every row' in (
            verdict["evidence"].replace('"public"."store_item"', "public.store_item")
        )

    def test_rows_that_differ_refuse_it(self, renamed: Project) -> None:
        renamed.execute("SET session_replication_role = replica")
        renamed.execute("ALTER TABLE store_item DISABLE TRIGGER ALL")
        renamed.execute("UPDATE store_item SET total = 41, amount = 42")
        renamed.execute("ALTER TABLE store_item ENABLE TRIGGER ALL")
        renamed.execute("RESET session_replication_role")
        verdict = no_downtime(renamed)
        assert verdict["state"] == "unmet"
        assert "the columns differ in 1 row;" in verdict["evidence"]
        assert renamed.safely("--phase", "contract").code == 3
        assert {"total", "amount"} <= renamed.columns("store_item")

    def test_no_time_to_count_is_no_refusal(
        self, renamed: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(equal_columns, "PATIENCE", 0.1)
        executor = PhasedExecutor(connection)
        migration = executor.loader.graph.nodes["store", "0003_drop"]
        entry = Entry(migration, Action.APPLY, Phase.CONTRACT)
        with connect() as other, other.transaction():
            other.execute("LOCK TABLE store_item IN ACCESS EXCLUSIVE MODE")
            problems, notes = differing_rows(connection, executor.loader, [entry])
        assert problems == ()
        assert "not counted within 0.1 s" in notes[0]
        assert renamed.value("SHOW statement_timeout") == "0"


class TestTheMark:
    @pytest.mark.parametrize(
        ("name", "release", "written"),
        [
            ("", "8", "release=8"),
            ("shop-web", "8", "shop-web release=8"),
            ("shop-web release=7", "8", "shop-web release=8"),
            ("prerelease=7", "8", "prerelease=7 release=8"),
            ("w" * 80, "8", "w" * 53 + " release=8"),
            ("ü" * 40, "8", "ü" * 26 + " release=8"),
        ],
    )
    def test_it_stands_behind_the_name_in_63_bytes(
        self, name: str, release: str, written: str
    ) -> None:
        assert tagged(name, release) == written
        assert len(written.encode()) <= 63
        assert release_in(written) == release

    def test_long_and_strange_releases_stay_different(self) -> None:
        one, two = short("x" * 50 + "1"), short("x" * 50 + "2")
        assert one != two
        assert len(one) == releases.LONGEST_RELEASE
        assert short("ein Stück") != short("ein-St-ck")
        assert " " not in short("ein Stück")

    def test_connections_carry_it_and_later_ones_from_their_start(self, project: Project) -> None:
        connection.close()
        with release("2026.11"):
            connection.ensure_connection()
            assert project.value("SHOW application_name") == "release=2026.11"
            with psycopg.connect(**parameters()) as second:
                assert second.info.parameter_status("application_name") == "release=2026.11"

    def test_the_application_s_own_name_is_kept(self, project: Project) -> None:
        connection.close()
        options = connection.settings_dict["OPTIONS"]
        connection.settings_dict["OPTIONS"] = {**options, "application_name": "shop-web"}
        with release("8"):
            connection.ensure_connection()
            assert project.value("SHOW application_name") == "shop-web release=8"

    def test_a_function_is_called_once_and_its_failure_breaks_nothing(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls = []

        def found() -> str:
            calls.append(1)
            return "from git"

        def broken() -> str:
            raise OSError("no git here")

        for _ in range(2):
            connection.close()
            with override_settings(SAFE_MIGRATIONS={"RELEASE": found}):
                assert str(project.value("SHOW application_name")).startswith("release=from-git~")
        assert calls == [1]
        connection.close()
        with override_settings(SAFE_MIGRATIONS={"RELEASE": broken}):
            assert project.value("SELECT 1") == 1
        assert "RELEASE could not be found out" in caplog.text

    def test_the_environment_says_it_where_the_setting_does_not(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SAFEMIGRATIONS_RELEASE", "env-1")
        assert releases.current_release() == "env-1"
        with release("set-1"):
            assert releases.current_release() == "set-1"

    def test_without_a_release_nothing_is_said(self, project: Project) -> None:
        connection.close()
        assert "release=" not in str(project.value("SHOW application_name"))


def parameters() -> dict[str, Any]:
    found: dict[str, Any] = connection.get_connection_params()
    return {k: v for k, v in found.items() if k not in ("cursor_factory", "context")}


def test_a_run_without_a_release_records_none(project: Project) -> None:
    project.expand("store", "0002_more", MORE)
    assert project.safely().code == 0
    assert not Evidence.objects.filter(item="no_downtime").exists()
    assert Run.objects.count() == 1
