"""Signals and ON_PROGRESS tell what a run does, and nothing that they do breaks it; the ledger tells who."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from django.test import override_settings

from django_safemigrations import signals
from django_safemigrations.backfill.report import Standing
from django_safemigrations.management.announcing import EVERY, Announced, Announcer
from django_safemigrations.management.workers import Silence
from tests.command.project import WAIVERS, Project
from tests.docs.markdown import DOCS, blocks

NAMES = (
    "checklist_judged",
    "run_started",
    "migration_started",
    "migration_finished",
    "step_progress",
    "run_finished",
)
MORE = ("ALTER TABLE store_item ADD COLUMN more int", "ALTER TABLE store_item DROP COLUMN more")
FILL = """
Expand(database_operations=[BackfillNulls("item", "total", 7)]),
"""

heard_by_path: list[dict[str, Any]] = []


def hear(event: dict[str, Any]) -> None:
    heard_by_path.append(event)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What receivers of all signals hear."""
    found: list[tuple[str, dict[str, Any]]] = []
    receivers = []
    for name in NAMES:

        def receiver(sender: str, _name: str = name, **facts: Any) -> None:
            facts.pop("signal")
            found.append((_name, {"sender": sender, **facts}))

        receivers.append((getattr(signals, name), receiver))
        getattr(signals, name).connect(receiver)
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def test_a_run_is_told_from_its_judgement_to_its_end(
    project: Project, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    assert project.run().code == 0
    heard.clear()
    project.expand("store", "0002_more", *MORE)
    assert project.safely().code == 0
    assert [name for name, _ in heard] == [
        "checklist_judged",
        "run_started",
        "migration_started",
        "migration_finished",
        "run_finished",
    ]
    run = project.last_run()
    facts = dict(heard)
    assert all(told["sender"] == "default" for _, told in heard)
    assert facts["checklist_judged"]["plan_hash"] == run.plan_hash
    assert facts["run_started"]["run"] == run.pk
    assert facts["run_started"]["operator"] == run.operator
    assert facts["run_started"]["waivers"] == run.waivers
    assert facts["migration_started"]["name"] == "0002_more"
    assert facts["migration_finished"]["outcome"] == "applied"
    assert facts["migration_finished"]["seconds"] >= 0
    assert facts["run_finished"]["status"] == "succeeded"
    assert facts["run_finished"]["migrations"][0]["action"] == "applied"


def test_a_refusal_a_failure_and_a_way_back_are_told(
    project: Project, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    project.expand("store", "0002_more", *MORE)
    assert project.run().code == 3
    assert [name for name, _ in heard] == ["checklist_judged"]
    project.safely()
    heard.clear()
    assert project.run("--rollback").code == 0
    assert dict(heard)["migration_finished"]["direction"] == "backwards"
    assert dict(heard)["run_finished"]["kind"] == "rollback"
    heard.clear()
    project.expand("store", "0003_bad", "SELECT 1/0")
    assert project.safely().code == 1
    assert dict(heard)["migration_finished"]["outcome"] == "failed"
    assert dict(heard)["run_finished"]["status"] == "failed"
    assert "division by zero" in dict(heard)["run_finished"]["error"]


@pytest.mark.parametrize("given", ["tests.command.test_progress_signals.hear", hear])
def test_a_callable_is_told_the_same_as_plain_dicts(project: Project, given: Any) -> None:
    project.expand("store", "0002_more", *MORE)
    heard_by_path.clear()
    with override_settings(SAFE_MIGRATIONS={"ON_PROGRESS": given}):
        assert project.safely().code == 0
    events = [event["event"] for event in heard_by_path]
    assert (events[0], events[-1]) == ("checklist_judged", "run_finished")
    assert all(event["database"] == "default" and event["at"] for event in heard_by_path)


@pytest.mark.parametrize("given", ["shop.no_such.module", lambda event: 1 / 0])
def test_what_fails_there_breaks_no_migration(
    project: Project, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**facts: Any) -> None:
        raise RuntimeError("the chat is down")

    project.expand("store", "0002_more", *MORE)
    signals.migration_started.connect(broken)
    try:
        with override_settings(SAFE_MIGRATIONS={"ON_PROGRESS": given}):
            result = project.safely()
    finally:
        signals.migration_started.disconnect(broken)
    assert result.code == 0, result.said
    assert "more" in project.columns("store_item")
    assert "ON_PROGRESS failed at migration_finished" in caplog.text


def test_backfills_are_told(project: Project, heard: list[tuple[str, dict[str, Any]]]) -> None:
    project.execute("INSERT INTO store_item (name) VALUES ('b')")
    project.write(
        "store",
        "0002_fill",
        FILL,
        before="from django_safemigrations.operations import BackfillNulls",
        atomic=False,
    )
    quiet = {"BACKFILL": {"MAX_LAG": None, "MAX_SLOT_BYTES": None, "VACUUM": "off"}}
    with override_settings(SAFE_MIGRATIONS=quiet):
        assert project.safely().code == 0
    told = [facts for name, facts in heard if name == "step_progress"]
    assert told[-1]["ended"].startswith("proven complete")
    assert told[-1]["changed"] == 1


def test_batches_are_told_now_and_then(heard: list[tuple[str, dict[str, Any]]]) -> None:
    moments = iter([0.0, 0.0, 1.0, EVERY, EVERY + 1, EVERY + 2])
    announced = Announced(Silence(), Announcer("default", lambda: next(moments)))
    for seen, ended in ((1, ""), (2, ""), (3, ""), (4, ""), (5, "done")):
        announced.standing(Standing("key", "title", seen=seen, ended=ended))
    assert [facts["rows"] for _, facts in heard] == [1, 3, 5]


class TestHistory:
    def test_it_tells_who_ran_what_when_and_with_which_waivers(self, project: Project) -> None:
        project.expand("store", "0002_more", *MORE)
        waivers = ("--waive=rehearsed=the table has 3 rows", *WAIVERS[1:])
        assert project.run(*waivers).code == 0
        assert project.run("--rollback").code == 0
        text = project.run("--history").out
        run = project.last_run()
        assert f"Run {run.pk}, " in text
        assert f"by {run.operator}" in text
        assert "waived         rehearsed: the table has 3 rows" in text
        assert "applied        store.0002_more" in text
        assert "unapplied      store.0002_more" in text
        assert "rolled back 20" in text

    def test_it_is_told_as_json_newest_first(self, project: Project) -> None:
        project.expand("store", "0002_more", *MORE)
        with override_settings(SAFE_MIGRATIONS={"RELEASE": "8"}):
            assert project.safely().code == 0
        assert project.run("--rollback").code == 0
        rows = project.run("--history", "--format", "json").document["history"]
        assert [row["kind"] for row in rows] == ["rollback", "forwards"]
        assert rows[1]["release"] == "8"
        assert rows[1]["waivers"]["rehearsed"] == "tested here"
        assert rows[1]["checklist"][0]["item"] == "reversible"
        (row,) = project.run("--history", "1", "--format", "json").document["history"]
        assert row["kind"] == "rollback"

    def test_before_the_first_run_there_is_none(self, project: Project) -> None:
        assert "No run yet" in project.run("--history").out
        assert project.run("--history", "0").code == 2

    def test_the_status_names_who_and_the_waivers(self, project: Project) -> None:
        project.expand("store", "0002_more", *MORE)
        assert project.safely().code == 0
        text = project.run("--status").out
        assert project.last_run().operator in text
        assert "waived rehearsed: tested here" in text


class _Chat(BaseHTTPRequestHandler):
    posted: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def test_the_documented_function_tells_a_chat(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (
        block
        for block in blocks(DOCS / "how-to" / "follow-a-run.md")
        if block.attributes.get("title") == "shop/deploys.py"
    )
    names: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), names)
    server = HTTPServer(("127.0.0.1", 0), _Chat)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("CHAT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/")
        project.expand("store", "0002_more", *MORE)
        _Chat.posted.clear()
        with override_settings(SAFE_MIGRATIONS={"ON_PROGRESS": names["tell_the_chat"]}):
            assert project.safely().code == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [told["text"] for told in _Chat.posted] == [
        "default run_started",
        "default migration_finished store.0002_more: applied",
        "default run_finished succeeded",
    ]
