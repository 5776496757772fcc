"""The checklist refuses with exit 3 and changes nothing, unless evidence or waivers meet it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_safemigrations import ledger
from django_safemigrations.checklist import ITEMS, record_evidence
from django_safemigrations.conf import CHECKLIST_ITEMS
from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.models import Evidence, Run
from tests.command.project import WAIVERS, Project
from tests.kit.databases import create_database, drop_database, use_database

ADD = "ALTER TABLE store_item ADD COLUMN extra int"
EVIDENCED = ("rehearsed", "backup", "rollback_plan")


def plan_hash(project: Project, *args: str) -> str:
    result = project.run("--plan", "--format", "json", *args)
    assert result.code == 0, result.said
    return str(result.document["plan_hash"])


def verdicts(project: Project, *args: str) -> dict[str, dict[str, Any]]:
    document = project.run("--plan", "--format", "json", *args).document
    return {verdict["item"]: verdict for verdict in document["checklist"]}


def tables(project: Project) -> Any:
    return project.value("SELECT array_agg(relname ORDER BY 1) FROM pg_class WHERE relkind = 'r'")


@pytest.fixture(autouse=True)
def backup_wanted() -> Iterator[None]:
    """A backup is asked for, although these plans drop nothing."""
    with override_settings(SAFE_MIGRATIONS={"BACKUP": {"ALWAYS": True}}):
        yield


@pytest.fixture
def with_ledger(project: Project) -> Project:
    """The ledger exists, and one expand migration is to be run."""
    assert project.run().code == 0
    project.expand("store", "0002_more", ADD)
    return project


def test_the_items_are_the_seven_of_the_settings() -> None:
    assert tuple(item.name for item in ITEMS) == CHECKLIST_ITEMS


def test_unmet_items_refuse_and_nothing_at_all_is_changed(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    before = tables(project)
    result = project.run()
    assert result.code == 3
    assert tables(project) == before
    assert project.applied("store") == ["0001_initial"]
    for item in CHECKLIST_ITEMS:
        assert item in result.err
    assert "nothing is recorded" in result.err
    assert 'manage.py safemigrate --waive backup="why it is safe without"' in result.err
    assert 'manage.py safemigrate --waive rehearsed="..." --waive backup="..."' in result.err
    assert "--waive rollback_plan" not in result.err


def test_a_refusal_is_told_as_json(project: Project) -> None:
    project.expand("store", "0002_more", ADD)
    document = project.run("--format", "json").document
    assert document["result"] == "refused"
    assert document["exit_code"] == 3
    states = {verdict["item"]: verdict["state"] for verdict in document["checklist"]}
    assert list(states) == list(CHECKLIST_ITEMS)
    assert states["backup"] == "unmet"
    assert states["concurrent"] == "met"


def test_a_refusal_is_remembered_once_there_is_a_ledger(with_ledger: Project) -> None:
    assert with_ledger.run().code == 3
    run = with_ledger.last_run()
    assert (run.status, run.migrations) == ("refused", [])
    assert with_ledger.applied("store") == ["0001_initial"]


def test_waivers_are_kept_with_their_reasons(with_ledger: Project) -> None:
    result = with_ledger.run(*(f"--waive={item}=because {item}" for item in EVIDENCED))
    assert result.code == 0, result.said
    # The way back is worked out, so its waiver was not needed.
    needed = EVIDENCED[:2]
    assert with_ledger.last_run().waivers == {item: f"because {item}" for item in needed}
    kept = [(row.item, row.kind, row.reason) for row in with_ledger.evidence()]
    assert kept == [
        *((item, "waiver", f"because {item}") for item in needed),
        ("rollback_plan", "recorded", ""),
    ]
    assert "waived: because backup" in result.out


def test_a_waiver_that_is_not_needed_is_not_kept(with_ledger: Project) -> None:
    result = with_ledger.run(*WAIVERS, "--waive=concurrent=for nothing")
    assert result.code == 0, result.said
    assert "concurrent" not in with_ledger.last_run().waivers


def test_a_waiver_counts_for_one_run_only(with_ledger: Project) -> None:
    assert with_ledger.safely().code == 0
    with_ledger.expand("store", "0003_more", "ALTER TABLE store_item ADD COLUMN b int")
    assert with_ledger.run().code == 3


def test_recorded_evidence_meets_its_items(with_ledger: Project) -> None:
    hashed = plan_hash(with_ledger)
    for item in EVIDENCED:
        record_evidence("default", item, hashed, {"by": "a test"})
    result = with_ledger.run()
    assert result.code == 0, result.said
    assert "by: a test" in result.out


def test_evidence_is_bound_to_one_byte_of_a_file(with_ledger: Project) -> None:
    for item in EVIDENCED:
        record_evidence("default", item, plan_hash(with_ledger), {})
    path = with_ledger.path("store", "0002_more")
    with_ledger.put("store", "0002_more", path.read_text() + " ")
    result = with_ledger.run()
    assert result.code == 3
    assert "for other files or another" in result.err


def test_evidence_is_bound_to_its_database(with_ledger: Project) -> None:
    hashed = plan_hash(with_ledger)
    name = str(connection.settings_dict["NAME"])
    connection.close()
    other = create_database(name)
    try:
        with use_database(other):
            assert plan_hash(with_ledger) != hashed
    finally:
        drop_database(other)


def test_evidence_expires(with_ledger: Project) -> None:
    hashed = plan_hash(with_ledger)
    for item in EVIDENCED:
        record_evidence("default", item, hashed, {}, now=timezone.now() - timedelta(hours=25))
    result = with_ledger.run()
    assert result.code == 3
    assert "is 25 h old" in result.err
    with override_settings(SAFE_MIGRATIONS={"EVIDENCE_MAX_AGE": 26}):
        assert with_ledger.run().code == 0


def test_edited_evidence_does_not_count(with_ledger: Project) -> None:
    hashed = plan_hash(with_ledger)
    for item in EVIDENCED:
        record_evidence("default", item, hashed, {}, now=timezone.now() - timedelta(hours=25))
    Evidence.objects.update(created_at=timezone.now())
    result = with_ledger.run()
    assert result.code == 3
    assert "was edited" in result.err


def test_evidence_needs_a_known_item_and_a_ledger(project: Project) -> None:
    with pytest.raises(SafeMigrationsError, match="Did you mean 'backup'"):
        record_evidence("default", "backups", "x", {})
    with pytest.raises(SafeMigrationsError, match=r"manage\.py safemigrate"):
        record_evidence("default", "backup", "x", {})


def test_levels_of_the_settings_are_kept(with_ledger: Project) -> None:
    levels = {"rehearsed": "warn", "backup": "off", "rollback_plan": "off"}
    with override_settings(SAFE_MIGRATIONS={"CHECKLIST": levels}):
        found = verdicts(with_ledger)
        result = with_ledger.run()
    assert found["backup"]["state"] == "off"
    assert (found["rehearsed"]["state"], found["rehearsed"]["level"]) == ("unmet", "warn")
    assert result.code == 0, result.said
    assert "warns only" in result.out


@pytest.mark.parametrize(
    ("item", "operations", "atomic"),
    [
        ("reversible", "migrations.RunSQL('SELECT 1'),", True),
        (
            "concurrent",
            "migrations.AddIndex('Item', models.Index(fields=['total'], name='by_total')),",
            True,
        ),
        ("no_downtime", "migrations.RenameField('Item', 'total', 'amount'),", True),
    ],
)
def test_the_files_themselves_answer_for(
    with_ledger: Project, item: str, operations: str, atomic: bool
) -> None:
    with_ledger.write("store", "0002_more", operations, after="0001_initial", atomic=atomic)
    found = verdicts(with_ledger)
    assert found[item]["state"] == "unmet", found
    assert "store.0002_more" in found[item]["evidence"]
    assert with_ledger.run(*WAIVERS).code == 3
    result = with_ledger.run(*WAIVERS, f"--waive={item}=a test", "--waive=no_downtime=a test")
    assert result.code == 0, result.said


def test_only_the_migrations_about_to_run_are_judged(with_ledger: Project) -> None:
    with_ledger.contract("store", "0003_less", "ALTER TABLE store_item DROP COLUMN total")
    expand = plan_hash(with_ledger, "--phase", "expand")
    assert with_ledger.safely().code == 0
    contract = plan_hash(with_ledger, "--phase", "contract")
    assert expand != contract
    assert with_ledger.run("--phase", "contract").code == 3


def test_this_app_s_own_migrations_are_not_asked_about(project: Project) -> None:
    result = project.run()
    assert result.code == 0, result.said
    assert project.applied(ledger.APP_LABEL) == ["0001_initial", "0002_backfill_ranges"]
    assert not Run.objects.exists()


class TestSmallTables:
    """What works on every row of a small table is done before anybody notices."""

    WIDER = 'migrations.AlterField("item", "total", models.BigIntegerField(null=True)),'
    UNIQUE = 'migrations.AddField("item", "code", models.IntegerField(null=True, unique=True)),'

    def test_work_on_a_small_table_is_no_downtime(self, with_ledger: Project) -> None:
        with_ledger.write("store", "0003_code", self.UNIQUE)
        found = verdicts(with_ledger)["no_downtime"]
        assert found["state"] == "met", found["evidence"]
        assert "done in an instant" in found["evidence"]
        assert "DSM502" in found["evidence"]

    def test_what_counts_as_small_is_a_setting(self, with_ledger: Project) -> None:
        with_ledger.write("store", "0003_code", self.UNIQUE)
        with override_settings(SAFE_MIGRATIONS={"LINT_SMALL_ROWS": 300}):
            assert verdicts(with_ledger)["no_downtime"]["state"] == "met"
            with_ledger.execute(
                "INSERT INTO store_item (name, total) SELECT '', generate_series(1, 900)"
            )
            assert verdicts(with_ledger)["no_downtime"]["state"] == "unmet"

    def test_what_old_code_may_not_bear_needs_a_rehearsal_in_which_it_did(
        self, with_ledger: Project
    ) -> None:
        with_ledger.write("store", "0003_wider", self.WIDER)
        found = verdicts(with_ledger)["no_downtime"]
        assert found["state"] == "unmet"
        assert found["type_next"] == "manage.py rehearsemigrations"
        record_evidence("default", "rehearsed", plan_hash(with_ledger), {"summary": "passed"})
        assert verdicts(with_ledger)["no_downtime"]["state"] == "met"

    def test_what_breaks_old_code_does_so_on_a_small_table_too(self, with_ledger: Project) -> None:
        with_ledger.write("store", "0003_name", 'migrations.RemoveField("item", "total"),')
        record_evidence("default", "rehearsed", plan_hash(with_ledger), {"summary": "passed"})
        assert verdicts(with_ledger)["no_downtime"]["state"] == "unmet"
