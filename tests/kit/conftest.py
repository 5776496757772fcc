"""Fixtures of the kit's own tests."""

from tests.kit.fixtures import case_app, database_access

__all__ = ["case_app", "database_access"]
