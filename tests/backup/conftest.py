"""The command's project, whose database is in use, for what is dropped from it."""

from tests.command.conftest import database_in_use, project

__all__ = ["database_in_use", "project"]
