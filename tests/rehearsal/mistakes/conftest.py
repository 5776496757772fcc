"""A project on disk for every plan, whose copies, reports and backups stay in its directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from tests.command.conftest import database_in_use, project
from tests.command.project import Project

__all__ = ["database_in_use", "project"]


@pytest.fixture
def ready(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project that gathers its evidence by itself."""
    given = {
        # Two hundred rows are many here.
        "LINT_SMALL_ROWS": 50,
        "REHEARSAL": {"SERVER": "same", "REPORTS": str(tmp_path / "reports")},
        "BACKUP": {"DIRECTORY": str(tmp_path / "backups")},
    }
    with override_settings(SAFE_MIGRATIONS=given):
        yield project
