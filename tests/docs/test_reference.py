"""The reference pages for operations and settings say what the code says."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest
from django.db.models import NOT_PROVIDED

from django_safemigrations import operations
from django_safemigrations.conf import (
    BACKFILL_CHECKS,
    BACKUP_CHECKS,
    CHECKLIST_ITEMS,
    CHECKS,
    GROUPINGS,
    LEVELS,
    LINT_SEVERITIES,
    PLAIN_MIGRATE_WAYS,
    PROFILES,
    REHEARSAL_CHECKS,
    RENAME_WAYS,
    BackfillSettings,
    BackupSettings,
    RehearsalSettings,
    Settings,
    validate,
)
from tests.docs.markdown import DOCS, rows, sections

OPERATIONS = sections(DOCS / "reference" / "operations.md", 3)
SETTINGS = DOCS / "reference" / "settings.md"
CHOICES = {
    "RENAME_FIELD": RENAME_WAYS,
    "GROUPING": GROUPINGS,
    "PLAIN_MIGRATE": PLAIN_MIGRATE_WAYS,
    "CHECKLIST": LEVELS,
    "LINT_SEVERITIES": LINT_SEVERITIES,
    "PROFILE": PROFILES,
}
UNITS = {
    "LOCK_TIMEOUT": "milliseconds",
    "LOCK_BUDGET": "seconds",
    "BATCH_TIME": "milliseconds",
    "EVIDENCE_MAX_AGE": "hours",
}
UNITS_FROM_NOTHING = {"SOAK": "hours", "CONTRACT_OVERDUE": "days"}


def table_of_settings() -> dict[str, list[str]]:
    """Return default, unit and allowed values by key, from the page's first table."""
    found = {}
    for cells in rows(SETTINGS.read_text()):
        key = cells[0].strip("[").partition("]")[0].strip("`")
        if key in CHECKS:
            found[key] = cells[1:]
    return found


def written(default: Any) -> str:
    return "NOT_PROVIDED" if default is NOT_PROVIDED else repr(default)


def test_every_public_operation_has_a_section_and_no_other_has_one() -> None:
    assert sorted(OPERATIONS) == sorted(operations.__all__)


@pytest.mark.parametrize("name", operations.__all__)
def test_the_documented_arguments_are_those_of_the_signature(name: str) -> None:
    parameters = inspect.signature(getattr(operations, name)).parameters.values()
    listed = ", ".join(
        p.name if p.default is p.empty else f"{p.name}={written(p.default)}" for p in parameters
    )
    section = OPERATIONS[name]
    assert section.lstrip().startswith(f"`{name}({listed})`\n")
    assert [cells[0].strip("`") for cells in rows(section)] == [p.name for p in parameters]


@pytest.mark.parametrize("name", operations.__all__)
def test_every_section_tells_locks_reversal_errors_and_an_example(name: str) -> None:
    section = OPERATIONS[name]
    for heading in (
        "* **Locks**: ",
        "* **Reversal**: ",
        "* **Raises**: ",
        "```python operations\n",
    ):
        assert heading in section, heading
    assert f"{name}(" in section.partition("```python operations\n")[2]


def test_the_page_of_settings_lists_every_key_with_its_default() -> None:
    defaults = Settings()
    table = table_of_settings()
    assert list(table) == list(CHECKS) == [option.name.upper() for option in fields(Settings)]
    for option in fields(Settings):
        default, _, _ = table[option.name.upper()]
        value = getattr(defaults, option.name)
        if option.name == "checklist":
            assert set(value.values()) == {"require"}
            assert default == 'every item `"require"`'
        elif option.name in ("backfill", "rehearsal", "backup"):
            assert default == "`{}`"
        else:
            assert eval(default.strip("`")) == value


def test_the_page_of_settings_gives_units_and_allowed_values() -> None:
    for key, (_, unit, allowed) in table_of_settings().items():
        assert unit == {**UNITS, **UNITS_FROM_NOTHING}.get(key, "")
        for choice in CHOICES.get(key, ()):
            assert f'`"{choice}"`' in allowed
        if key in UNITS:
            whole = unit == "milliseconds"
            assert allowed == ("a whole number, 1 or more" if whole else "a number above 0")
            assert bool(validate({key: 0.5})) is whole
            assert validate({key: 0})


def test_the_page_of_settings_has_a_section_for_each_key() -> None:
    assert [name for name in sections(SETTINGS, 2) if name in CHECKS] == list(CHECKS)


def test_the_page_of_settings_lists_every_key_of_backfill_with_its_default() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows(sections(SETTINGS, 2)["BACKFILL"])}
    assert list(listed) == list(BACKFILL_CHECKS)
    for option in fields(BackfillSettings):
        written_default = eval(listed[option.name.upper()].strip("`"))
        assert written_default == getattr(BackfillSettings(), option.name), option.name
    assert len(listed) == len(fields(BackfillSettings))


def test_the_page_of_settings_lists_every_key_of_rehearsal_with_its_default() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows(sections(SETTINGS, 2)["REHEARSAL"])}
    assert list(listed) == list(REHEARSAL_CHECKS)
    for option in fields(RehearsalSettings):
        written_default = eval(listed[option.name.upper()].strip("`"))
        assert written_default == getattr(RehearsalSettings(), option.name), option.name
    assert len(listed) == len(fields(RehearsalSettings))


def test_the_page_of_settings_lists_every_key_of_backup_with_its_default() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows(sections(SETTINGS, 2)["BACKUP"])}
    assert list(listed) == list(BACKUP_CHECKS)
    for option in fields(BackupSettings):
        written_default = eval(listed[option.name.upper()].strip("`"))
        assert written_default == getattr(BackupSettings(), option.name), option.name
    assert len(listed) == len(fields(BackupSettings))


def test_the_page_of_settings_lists_every_checklist_item() -> None:
    listed = [cells[0].strip("`") for cells in rows(sections(SETTINGS, 2)["CHECKLIST"])]
    assert listed == list(CHECKLIST_ITEMS)


def test_the_page_of_settings_describes_every_choice() -> None:
    found = sections(SETTINGS, 2)
    for key, choices in CHOICES.items():
        for choice in choices:
            assert f'`"{choice}"`\n: ' in found[key]
