"""SAFE_MIGRATIONS["BACKUP"] and ["KEEP_DROPPED"] are checked, and read into values."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_safemigrations.conf import get_settings, validate


def test_nothing_set_dumps_and_keeps_nothing() -> None:
    with override_settings(SAFE_MIGRATIONS={}):
        settings = get_settings()
    assert (settings.backup.strategy, settings.backup.always) == ("pg_dump", False)
    assert settings.keep_dropped is None


def test_values_are_read() -> None:
    raw = {
        "BACKUP": {"STRATEGY": "command", "COMMAND": ["snap", "--now"], "DIRECTORY": Path("/x")},
        "KEEP_DROPPED": "2 weeks",
    }
    with override_settings(SAFE_MIGRATIONS=raw):
        settings = get_settings()
    assert settings.backup.command == ("snap", "--now")
    assert settings.backup.directory == "/x"
    assert settings.keep_dropped == timedelta(days=14)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"BACKUP": []}, "BACKUP"),
        ({"BACKUP": {"STRATEGIE": "pg_dump"}}, "BACKUP['STRATEGIE']"),
        ({"BACKUP": {"STRATEGY": "tape"}}, "BACKUP['STRATEGY']"),
        ({"BACKUP": {"STRATEGY": "command"}}, "BACKUP['COMMAND']"),
        ({"BACKUP": {"COMMAND": "snap --now"}}, "BACKUP['COMMAND']"),
        ({"BACKUP": {"COMMAND": []}}, "BACKUP['COMMAND']"),
        ({"BACKUP": {"DIRECTORY": ""}}, "BACKUP['DIRECTORY']"),
        ({"BACKUP": {"JOBS": 0}}, "BACKUP['JOBS']"),
        ({"BACKUP": {"TABLES": "some"}}, "BACKUP['TABLES']"),
        ({"BACKUP": {"VERIFY": False}}, "BACKUP['VERIFY']"),
        ({"BACKUP": {"MAX_AGE": -1}}, "BACKUP['MAX_AGE']"),
        ({"BACKUP": {"ALWAYS": "yes"}}, "BACKUP['ALWAYS']"),
        *(
            ({"KEEP_DROPPED": value}, "KEEP_DROPPED")
            for value in ("7", 7, "0 days", "x days", "7 months", "-1 day", "²  days", True)
        ),
    ],
)
def test_what_can_not_be_used_is_named(raw: dict[str, Any], key: str) -> None:
    assert [problem.key for problem in validate(raw)] == [key]
    assert all(problem.hint for problem in validate(raw))
