"""The files of a report: private, whole, under a telling name, and read back as they were."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_safemigrations.exceptions import ReportNotWritten
from django_safemigrations.rehearsal.report import write_report
from django_safemigrations.rehearsal.report.files import ABANDONED, SCHEMA, report_name
from django_safemigrations.rehearsal.results import Rehearsal
from tests.rehearsal.report import sample


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_directories_are_the_owners_only(tmp_path: Path) -> None:
    html, document = write_report(sample.rehearsal(), tmp_path / "reports" / "today")
    assert mode(html) == mode(document) == 0o600
    assert mode(tmp_path / "reports") == mode(tmp_path / "reports" / "today") == 0o700
    assert sorted(html.parent.iterdir()) == sorted([html.parent / ".gitignore", html, document])


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_report(sample.rehearsal(), str(tmp_path))
    assert mode(tmp_path) == 0o755


def test_names_hold_the_date_and_the_short_hash_of_the_plan(tmp_path: Path) -> None:
    html, document = write_report(sample.rehearsal(), tmp_path)
    assert html.name == "rehearsal-2026-11-23T05-14-26-9f2c41d7e6b8.html"
    assert document == html.with_suffix(".json")


@pytest.mark.parametrize("plan", ["../../etc/passwd", "", "/", "a\x00b", "é" * 9])
def test_no_hash_leads_out_of_the_directory(tmp_path: Path, plan: str) -> None:
    html, _ = write_report(dataclasses.replace(sample.empty(), plan_hash=plan), tmp_path)
    assert html.parent == tmp_path
    assert html.exists()
    assert report_name(sample.empty()).endswith("-plan")


@pytest.mark.parametrize(
    "made",
    [sample.rehearsal(), sample.hostile(), sample.empty()],
    ids=["failed", "hostile", "empty"],
)
def test_the_document_reads_back_as_the_same_rehearsal(made: Rehearsal, tmp_path: Path) -> None:
    _, path = write_report(made, tmp_path)
    document = json.loads(path.read_text())
    assert document["schema"] == SCHEMA
    assert Rehearsal.from_json(document) == made


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    name = tmp_path / f"{report_name(sample.rehearsal())}.html"
    name.symlink_to(other)
    html, _ = write_report(sample.rehearsal(), tmp_path)
    assert other.read_text() == "untouched"
    assert not html.is_symlink()
    assert mode(html) == 0o600


def test_where_it_can_not_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportNotWritten, match="name another directory"):
        write_report(sample.empty(), tmp_path / "file" / "reports")


FULL = """
import resource, signal, sys
sys.path[:0] = {path!r}
from django.conf import settings
settings.configure()
from django_safemigrations.exceptions import ReportNotWritten
from django_safemigrations.rehearsal.report import write_report
from tests.rehearsal.report import sample
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write_report(sample.rehearsal(), {directory!r})
except ReportNotWritten as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE  # stands for a full disk: writing fails in the midst of a file
    assert signal.SIGXFSZ
    code = FULL.format(path=sys.path, limit=20_000, directory=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "can't be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    old, young = tmp_path / ".rehearsal-a.unfinished", tmp_path / ".rehearsal-b.unfinished"
    mine = tmp_path / "rehearsal-notes.txt"
    for path in (old, young, mine):
        path.write_text("half")
    at = old.stat().st_mtime - ABANDONED - 1
    for path in (old, mine):
        os.utime(path, (at, at))
    write_report(sample.rehearsal(), tmp_path)
    assert not old.exists()
    assert young.exists()
    assert mine.exists()
