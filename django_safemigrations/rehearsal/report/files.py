"""Writes a report: whole or not at all, and for nobody else's eyes."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from datetime import UTC
from pathlib import Path

from django_safemigrations.exceptions import ReportNotWritten
from django_safemigrations.rehearsal.report.page import render_html
from django_safemigrations.rehearsal.results import Rehearsal

SCHEMA = 1
"""Version of the JSON document: counts up when a key goes or changes its meaning."""
PREFIX, UNFINISHED = ".rehearsal-", ".unfinished"
ABANDONED = 3600.0
"""Seconds after which an unfinished file belongs to a process that was killed."""
HASH = 12
"""How much of the plan's hash a name holds."""


def write_report(rehearsal: Rehearsal, directory: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a report and return the paths of its HTML and JSON file.

    Both are readable by their owner only, since they name tables and quote errors. They are there
    whole or not at all.

    Args:
        rehearsal: what was found out.
        directory: where to; made if it does not exist, readable by its owner only.

    Raises:
        ReportNotWritten: the directory can't be made or written to, or the disk is full.
    """
    place = Path(directory)
    document = json.dumps({"schema": SCHEMA, **rehearsal.as_json()}, indent=1)
    page = render_html(rehearsal)
    try:
        _make(place)
        _forget_abandoned(place)
        name = report_name(rehearsal)
        json_path, html_path = place / f"{name}.json", place / f"{name}.html"
        _write(json_path, f"{document}\n")
        _write(html_path, page)
    except OSError as error:
        raise ReportNotWritten(
            f"The report can't be written to {place}: {error.strerror or error}. Free space there, "
            "or name another directory that you may write to, and run rehearsemigrations again."
        ) from error
    return html_path, json_path


def report_name(rehearsal: Rehearsal) -> str:
    """Return the name of a report's files without suffix: date, time and short hash of the plan."""
    at = rehearsal.started_at
    at = at.astimezone(UTC) if at.tzinfo else at
    plan = "".join(c for c in rehearsal.plan_hash if c.isascii() and c.isalnum())[:HASH]
    return f"rehearsal-{at:%Y-%m-%dT%H-%M-%S}-{plan or 'plan'}"


def _make(directory: Path) -> None:
    """Make a directory; unlike `Path.mkdir`, parents that are missing are private too."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    if directory in missing:
        # It is often inside a checkout, and belongs into no commit.
        _write(directory / ".gitignore", "*\n")


def _forget_abandoned(directory: Path) -> None:
    for path in directory.glob(f"{PREFIX}*{UNFINISHED}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > ABANDONED:
                path.unlink()


def _write(path: Path, text: str) -> None:
    # mkstemp makes it 0600 and follows no link; replacing keeps that, whatever was there before
    handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=UNFINISHED, dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
